"""How an attestation came about, for whom it concerns: the recompute bundle, and proofs of what is owed.

Both are made again from the state that the attestation speaks of, and are the same bytes each time (attestation.md §6,
§9). The newest such state is at hand; an older one is replayed from the journal, which takes as long as a start.

Rules kept here:

1. Whoever may ask can keep the house busy only so much: one state at a time is replayed, and none for ``REST_TIMES`` as
   long as the last one took. Who wants the same one waits for it, who wants another is told to come back, and has a
   place in line: who asks for many of them keeps none from others.
2. Nothing is given out that does not lead to what was attested. A house with another blinding secret, or a program
   that computes otherwise, says that it cannot make it again.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from clearing.attest.balances import liabilities_of
from clearing.attest.envelope import VerifiedPayload
from clearing.attest.envelope import parse as parse_envelope
from clearing.attest.inputs import OtherInputs, bundle_of
from clearing.attest.liabilities import Proof, SumTree, context_of, prove
from clearing.attest.recompute_bundle import RecomputeBundle
from clearing.attest.statement import Statement, parse
from clearing.model.house import House
from clearing.model.ids import MemberId
from clearing.model.values import AttestationRecord
from clearing.store.past import house_at
from clearing.store.queries import AttestationIndex
from ledger.store.connect import Database

KEPT = 8
"""States that are at hand because somebody pulls a report of them."""
LINE_S = 10.0
"""Who was told to come back and does not for so long has no place in line any more."""
REST_TIMES = 4
"""So many times as long as a replay took, none is begun."""


class NothingAttested(LookupError):
    """None of the entries asked about is an attestation."""


class Replaying(Exception):
    """The state asked for would have to be replayed, and another one is, or was just now. Ask again later."""


class NotReproduced(Exception):
    """What was found now is not what was attested then; the message says of which attestation."""


@dataclass(frozen=True, slots=True)
class Attested:
    """An attestation of this house, and the state that it speaks of."""

    statement: Statement
    house: House


class Workings:
    """What attestations of one house were made from. Any thread may ask.

    ``recent`` gives the state of the newest attestation, if this process made it. ``blinding`` is the house's secret.
    """

    def __init__(
        self,
        database: Database,
        recent: Callable[[], House | None],
        blinding: bytes,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._recent, self._blinding, self._clock_s = database, recent, blinding, clock_s
        self._kept: OrderedDict[int, House] = OrderedDict()
        self._index = AttestationIndex(database)
        self._changed = threading.Condition()
        self._replaying: int | None = None
        self._replayed: House | None = None
        self._rest_until_s = 0.0
        self._line: dict[str, float] = {}
        self._counting = threading.Lock()
        self._counted: tuple[int, SumTree] | None = None

    def keep(self, house: House) -> None:
        """A state that will be asked for soon; the last ``KEPT`` are at hand. They share what they have in common."""
        with self._changed:
            self._kept[house.size] = house
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def attestations(self) -> list[AttestationRecord]:
        """Every attestation in the journal, oldest first. Raises ``StoreUnreachable``."""
        return self._index.all()

    def bodies(self) -> list[bytes]:
        """The bodies of their entries. Raises ``StoreUnreachable``."""
        return self._index.bodies()

    def bundle(self, as_of: int, member: MemberId | None, *, who: str = "") -> RecomputeBundle:
        """The bundle of the newest attestation among the first ``as_of`` entries, or of it what ``member`` may see.

        Raises :class:`NothingAttested`, :class:`Replaying`, :class:`NotReproduced`, ``StoreUnreachable``.
        """
        attested = self.newest(as_of, who=who)
        try:
            return bundle_of(attested.house, attested.statement, self._blinding, member)
        except OtherInputs:
            raise _not_reproduced(attested.statement) from None

    def liability(self, as_of: int, account: str, *, who: str = "") -> Proof:
        """That what ``account``, a path of the ledger, is owed was counted in that attestation.

        Raises as :meth:`bundle` does, and ``LiabilityRefused`` (``NOT_COUNTED``) if it is owed nothing.
        """
        return prove(self._tree(self.newest(as_of, who=who)), account)

    def attested_size(self, as_of: int) -> int:
        """Of how many entries the newest attestation among the first ``as_of`` speaks. Raises :class:`NothingAttested`,
        ``StoreUnreachable``.
        """
        return self._record(as_of).tree_size

    def newest(self, as_of: int, *, who: str = "") -> Attested:
        """The newest attestation among the first ``as_of`` entries of the journal. Raises as :meth:`bundle`."""
        record = self._record(as_of)
        return Attested(_statement(record), self.house(record.tree_size, who=who))

    def _record(self, as_of: int) -> AttestationRecord:
        record = self._index.newest(as_of)
        if record is None:
            raise NothingAttested(f"none of the first {as_of} entries is an attestation")
        return record

    def _tree(self, attested: Attested) -> SumTree:
        """What was owed then; the one that was asked for last is kept."""
        statement = attested.statement
        with self._counting:
            if self._counted is None or self._counted[0] != statement.sequence:
                context = context_of(attested.statement)
                owed, tree = liabilities_of(attested.house, context, self._blinding)
                if owed.root != statement.liabilities.root:
                    raise _not_reproduced(statement)
                self._counted = statement.sequence, tree
            return self._counted[1]

    def house(self, size: int, *, who: str = "") -> House:
        """The state that the first ``size`` entries led to, for ``who``.

        Raises :class:`Replaying`, ``StoreUnreachable``.
        """
        recent = self._recent()
        if recent is not None and recent.size == size:
            return recent
        with self._changed:
            if size in self._kept:
                return self._kept[size]
            self._changed.wait_for(lambda: self._replaying != size)
            if self._replayed is not None and self._replayed.size == size:
                return self._replayed
            self._take_turn(size, who)
            self._replaying = size
        began_s, found = self._clock_s(), None
        try:
            found = house_at(self._database, size)
            return found
        finally:
            with self._changed:
                now_s = self._clock_s()
                self._replaying, self._rest_until_s = None, now_s + REST_TIMES * (now_s - began_s)
                self._replayed = found or self._replayed
                self._changed.notify_all()

    def _take_turn(self, size: int, who: str) -> None:
        """Raise :class:`Replaying` until nothing is replayed and it is the turn of ``who``."""
        now_s = self._clock_s()
        self._line = {one: at_s for one, at_s in self._line.items() if now_s - at_s < LINE_S}
        if self._replaying is not None or now_s < self._rest_until_s or next(iter(self._line), who) != who:
            self._line[who] = now_s  # who stood in line before keeps the place
            raise Replaying(f"of {size} entries")
        self._line.pop(who, None)


def _not_reproduced(statement: Statement) -> NotReproduced:
    return NotReproduced(f"attestation {statement.sequence}")


def _statement(record: AttestationRecord) -> Statement:
    """What an attestation states. It came from the journal of this house, so it is not verified again."""
    return parse(VerifiedPayload(parse_envelope(record.envelope.encode()).payload))
