"""Publication: sign, journal, and only then show (attestation.md §3, §5).

Rules kept here:

1. Nothing is signed that a crash may lose: an attestation speaks of a tree whose leaves are committed, whose
   tiles are on disk, and which the anchor has.
2. An attestation is a leaf of the journal before anyone sees it, so two different ones for the same sequence
   cannot both be shown.
3. A log that was signed with other keys is not written on.
4. Officers whose keys are away hold up no more than attestations: :attr:`Publisher.unattested` says why, and the newest
   closed cycle is attested when enough of them are back.
5. Figures that no attestation can state, because one is larger than its form allows, hold up no more either: the log
   and :attr:`Publisher.unattested` say which, and the next cycle is tried.
6. What is committed is shown soon. If it cannot be for ``UNSHOWN_MAX_MS``, the house takes no command until it is:
   :meth:`Publisher.why_not` says so.

What is shown is offered to whoever collects cosignatures (``cosigning.py``), which nothing here waits for.

Proofs are made of the tiles, so what is kept in memory does not grow with the journal. One thread publishes at a time.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog

from clearing.attest.envelope import EnvelopeRefused, SignerAway
from clearing.attest.liabilities import LiabilityRefused
from clearing.attest.signer import SigningKeys, sign_attestation, sign_checkpoint
from clearing.attest.statement import StatementRefused
from clearing.engine import Engine
from clearing.market.validity import Use, usable
from clearing.model.house import House
from clearing.model.outcomes import Outcome
from ledger.checkpoint import NoteRefused, VerifierKey, open_note, verifier_key
from ledger.require import require
from ledger.store.public_log import PublicLog
from ledger.store.writer import Published

UNSHOWN_MAX_MS = 10_000
"""How long there may be more in the journal than the public log shows."""

ASK_AGAIN_MS = 3_000
"""So long officers who were away are left alone."""


class Offer(Protocol):
    """Takes a checkpoint that was shown, without waiting for anything."""

    def __call__(self, note: bytes, *, attested: bool) -> None:
        """From now on ``note`` may be cosigned; ``attested`` if an attestation speaks of its tree."""


def keep_to_oneself(note: bytes, *, attested: bool) -> None:  # nobody is asked
    """An :class:`Offer` where no witness is asked for."""


class ForeignLog(Exception):
    """The folder for tiles shows a log that these keys have not signed."""


class Publisher:
    """Signs for one house and shows its log, from construction on.

    ``clock`` gives milliseconds that never go back; without it the log is never late. ``renewed`` gives who signs
    attestations now, if that may change; the log's key stays. ``offer`` takes what is shown.
    Raises :class:`ForeignLog`, ``AnchorRefused`` if the anchor is not the one that was kept for this journal,
    and all that :meth:`show` raises.
    """

    def __init__(
        self,
        engine: Engine,
        keys: SigningKeys,
        log: PublicLog,
        *,
        clock: Callable[[], int] = lambda: 0,
        renewed: Callable[[], SigningKeys] | None = None,
        offer: Offer = keep_to_oneself,
    ) -> None:
        self._engine, self._keys, self._log, self._clock, self._offer = engine, keys, log, clock, offer
        self._renewed = renewed or (lambda: keys)
        self.unattested, self._tried_ms = "", 0
        self._unstated = 0
        self._turn = threading.Lock()
        self._attested: House | None = None
        attested = engine.view.state.attestation
        log.anchor.require_covers(0 if attested is None else attested.tree_size)
        _require_own(log.checkpoint(), keys)
        self._show(engine.view)

    @property
    def attested(self) -> House | None:
        """The state of which the newest attestation speaks, if it was made here."""
        return self._attested

    def publish_if_due(self) -> Outcome | None:
        """Attest the newest cycle if it is closed and not attested yet; the outcome of journaling it.

        A cycle whose marks are too old to be current is not attested (rulebook §6): the next one is.
        """
        with self._turn:
            return self._publish_if_due()

    def _publish_if_due(self) -> Outcome | None:
        view = self._engine.view
        house = view.state
        if house.cycle is None or not house.cycle.closed:
            return None
        if house.attestation is not None and house.attestation.cycle == house.cycle.number:
            return None
        if house.cycle.number == self._unstated:
            return None
        if not usable(house, Use.ATTEST, self._engine.now_ms()) or self._waits():
            return None
        self._show(view, attested=True)
        tree = self._log.tree()
        require((tree.size, tree.root) == (view.size, view.frontier.root()), "what is attested is shown")
        try:
            command = sign_attestation(house, tree, self._renewed())
        except SignerAway as away:
            self._tell(str(away))
            return None
        except (EnvelopeRefused, LiabilityRefused, StatementRefused) as refused:
            self._unstated, self.unattested = house.cycle.number, str(refused)
            structlog.get_logger().error("no attestation: figures that it cannot state", why=str(refused))
            return None
        self._tell("")
        self._attested = house
        return self._engine.execute(
            command,
            request_id=f"attestation/{command.sequence}",
            actor=f"house/{house.founded.house}",
            body=bytes.fromhex(command.payload_sha256),  # signed again by a token, it has other signatures
        )

    def _waits(self) -> bool:
        """Whether officers who were away are not asked again yet: the figures would be computed for nothing."""
        return bool(self.unattested) and self._clock() - self._tried_ms < ASK_AGAIN_MS

    def _tell(self, why: str) -> None:
        """Log that there are too few officers, or that nothing is in the way of an attestation any more."""
        if why and not self.unattested:
            structlog.get_logger().error("no attestation: too few officers can sign", why=why)
        if self.unattested and not why:
            said = "figures can be stated again" if self._unstated else "enough officers can sign again"
            structlog.get_logger().info(said)
        self.unattested, self._tried_ms, self._unstated = why, self._clock(), 0

    def show(self) -> None:
        """Sign and show what is committed now, if it is more than what is shown.

        Raises ``StoreUnreachable`` if it may be tried again; ``AnchorRefused``, ``PublishRefused``,
        ``TileRefused`` and ``NoteRefused`` if what is on disk is not what was signed.
        """
        with self._turn:
            view = self._engine.view
            if view.size > self._size:
                self._show(view)
            self._shown_ms = self._clock()

    def why_not(self) -> str:
        """Why no command is to be taken, for :meth:`Engine.hold`; empty if the log is not late. Any thread may ask."""
        unshown_ms = self._clock() - self._shown_ms if self._engine.view.size > self._size else 0
        return f"the log shows no new entry for {unshown_ms} ms" if unshown_ms > UNSHOWN_MAX_MS else ""

    def _show(self, view: Published[House], *, attested: bool = False) -> None:
        sign = partial(sign_checkpoint, self._keys)
        note = self._log.show(view.size, view.frontier.root(), sign)
        self._size, self._shown_ms = view.size, self._clock()
        self._offer(note, attested=attested)


def _require_own(note: bytes | None, keys: SigningKeys) -> None:
    if note is None:
        return
    try:
        shown = open_note(note, _log_keys(keys)).checkpoint
    except NoteRefused as refused:
        raise ForeignLog(
            f"the checkpoint in the folder for tiles is not signed with these keys: {refused}"
        ) from None
    if shown.origin != keys.origin:
        raise ForeignLog(
            f"the folder for tiles shows the log {shown.origin}, these keys are of {keys.origin}"
        )


def _log_keys(keys: SigningKeys) -> list[VerifierKey]:
    """The keys that this log was signed with, up to now."""
    own = verifier_key(keys.origin, keys.log_key)
    return [own, *(key for key in keys.retired if key.raw != own.raw)]
