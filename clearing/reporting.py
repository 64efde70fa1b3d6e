"""Reports as files: read from the journal, made once, signed by officers, and the same ever after (rulebook §14).

Rules kept here:

1. A report is made of the first ``as_of`` entries of the journal and the state that they lead to, of nothing else.
2. What officers signed of it when it was made first is journaled before anybody gets it. From then on the report is the
   file with that digest: one that is made again and comes out otherwise is not given out.
3. XLSX and HTML are made of the JSON, which is made, and kept, for it.
"""

import hashlib
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TypeVar

from clearing.attest.envelope import PAYLOAD_TYPE, sign
from clearing.attest.liabilities import format_proof
from clearing.attest.recompute_bundle import format_bundle
from clearing.attest.report import ReportStatement, build
from clearing.attest.signer import SigningKeys
from clearing.attest.statement import format_time
from clearing.engine import Engine
from clearing.margin.table import MODELS
from clearing.model.codec import from_text, to_text
from clearing.model.commands import RecordReport
from clearing.model.house import House
from clearing.model.ids import MemberId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome
from clearing.model.values import Form, ReportAsked, SignedReport
from clearing.reports.canonical import to_json
from clearing.reports.document import Head
from clearing.reports.reading import Moved, Recorded, RefusedCall
from clearing.reports.render import SUFFIXES, render
from clearing.reports.statement import ACCOUNT
from clearing.reports.table import REPORTS
from clearing.spool import Download, Spool, Spooled
from clearing.store.past import states
from clearing.store.queries import Found, SignedReportIndex
from clearing.workings import Workings
from ledger.account import Account
from ledger.leaf import LEAF_BYTES, decode_leaf
from ledger.require import InvariantViolated, require
from ledger.store import history
from ledger.store.connect import Database, reading, snapshot
from ledger.store.history import AccountUnknown
from ledger.store.public_log import PublicLog
from ledger.store.queries import Directory, Segment, refused_between, segments_with

R = TypeVar("R")

_KIND_AT = 4
PAGE_BYTES = 2**20
PAGE_LINES = 1_000
MAKERS_MAX = 2
"""So many reports are made at a time: more would only keep the house from its work."""


class NotShown(Exception):
    """The public log does not show so many entries yet. Ask again in a moment."""


class ReportChanged(Exception):
    """A report that was signed before came out otherwise. The message says which."""


@dataclass(frozen=True, slots=True)
class Made:
    """A report: its file, what was signed of it, and the body of the entry that journals that."""

    download: Download
    file_name: str
    envelope: str
    body: bytes


def finished(making: Generator[int, None, R]) -> R:
    """What is being made, once it is made."""
    while True:
        try:
            next(making)
        except StopIteration as done:
            made: R = done.value
            return made


class JournalReading:
    """A :class:`clearing.reports.reading.Reading` of a journal in a store."""

    def __init__(self, database: Database, house: House, asked: ReportAsked) -> None:
        self._database, self._asked = database, asked
        self.house = house

    @property
    def as_of(self) -> int:
        """How many entries are read."""
        return self._asked.as_of

    @cached_property
    def members(self) -> frozenset[MemberId] | None:
        """Whose part of the report it is."""
        return None if self._asked.members is None else frozenset(self._asked.members)

    @cached_property
    def given(self) -> Mapping[str, str]:
        """What it was asked for with."""
        return {one.key: one.text for one in self._asked.given}

    def entries(self, *kinds: Kind) -> Iterator[Recorded]:
        """The entries of these kinds, without any all, in order; pages of the store are read as they are needed."""
        directory, at = Directory(self.house.book.find), 0
        while at < self.as_of:
            with reading(self._database) as connection:
                page = segments_with(connection, at, PAGE_BYTES)
            for segment in page:
                if segment.first_sequence >= self.as_of:
                    return
                at = segment.first_sequence + segment.count
                if _has(segment, kinds):
                    yield from self._chosen(directory, segment, kinds)

    def _chosen(self, directory: Directory, segment: Segment, kinds: tuple[Kind, ...]) -> Iterator[Recorded]:
        """What stands behind ``as_of`` is not decoded: its accounts are not known then."""
        first = segment.first_sequence
        for sequence, entry in enumerate(islice(directory.decode(segment), self.as_of - first), first):
            if not kinds or entry.kind in kinds:
                yield Recorded(sequence, entry)

    def states(self, *kinds: Kind) -> Iterator[tuple[Recorded, House]]:
        """After each entry of these kinds: it, and the state that it led to."""
        for sequence, entry, house in states(self._database, self.as_of):
            if entry.kind in kinds:
                yield Recorded(sequence, entry), house

    def moves(self, account: Account) -> Iterator[Moved]:
        """The legs of an account, in order."""
        after: tuple[int, int] | None = None
        while True:
            with snapshot(self._database) as connection:
                try:
                    page = history.statement(
                        connection, account.id, 0, self.as_of, after=after, limit=PAGE_LINES
                    )
                except AccountUnknown:
                    return
            for line in page.lines:
                one = line.entry
                yield Moved(one.sequence, one.kind, one.effective_ms, line.leg, line.amount, line.balance)
            after = page.after
            if after is None:
                return

    def refused(self) -> Iterator[RefusedCall]:
        """The requests that were refused before the last of the entries."""
        with snapshot(self._database) as connection:
            for request_id, at, answer in refused_between(connection, 0, self.as_of):
                yield _refused(request_id, at, answer)


def _refused(request_id: str, at: int, answer: str) -> RefusedCall:
    reasons = [one.reason for one in from_text(Outcome, answer).results if one.reason]
    counts = {reason: reasons.count(reason) for reason in sorted(set(reasons))}
    caller, colon, _ = request_id.partition(":")
    return RefusedCall(at, caller if colon else "house", counts)


def _has(segment: Segment, kinds: tuple[Kind, ...]) -> bool:
    """Whether any leaf is of these kinds, by the two bytes that say it (attestation.md §2)."""
    marks = {kind.to_bytes(2, "big") for kind in kinds}
    places = range(_KIND_AT, len(segment.leaves), LEAF_BYTES)
    return not kinds or any(bytes(segment.leaves[at : at + 2]) in marks for at in places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """How a report is sealed.

    ``root_at`` gives the root of the tree over so many entries, under the log's ``origin``; ``sign`` the envelope over
    a payload, raising ``SignerAway``; ``record`` journals what was signed; ``clock`` the time at which it is.
    """

    origin: str
    root_at: Callable[[int], bytes]
    sign: Callable[[bytes], str]
    record: Callable[[SignedReport], None]
    clock: Callable[[], int]


def sealed(engine: Engine, log: PublicLog, signing: Callable[[], SigningKeys]) -> Seal:
    """How a house seals its reports: signed as it signs attestations, over the tree that its log shows, and journaled.

    ``signing`` gives who signs now.
    """

    def now_ms() -> int:
        return max(engine.now_ms(), engine.view.time_ms)

    def root_at(size: int) -> bytes:
        tree = log.tree()
        if size > tree.size:
            raise NotShown(f"it shows {tree.size} entries, not {size}")
        return log.earlier(tree, size).root

    def sign_payload(payload: bytes) -> str:
        officers, threshold = signing().officers_at(now_ms())
        return sign(payload, PAYLOAD_TYPE, officers, at_least=threshold).decode()

    def record(signed: SignedReport) -> None:
        asked = to_text(signed.asked).encode("ascii")
        outcome = engine.execute(
            RecordReport(signed=signed),
            request_id=f"report/{hashlib.sha256(asked).hexdigest()}",
            actor=f"house/{engine.view.state.founded.house}",
            body=asked,  # signed again by a token, it has other signatures
        )
        require(outcome.accepted, f"a report that was made is journaled: {outcome.results}")

    return Seal(origin=signing().origin, root_at=root_at, sign=sign_payload, record=record, clock=now_ms)


class Reporting:
    """Makes reports of one house. Any thread may ask."""

    def __init__(self, database: Database, workings: Workings, spool: Spool, seal: Seal) -> None:
        self._database, self._workings, self._spool, self._seal = database, workings, spool, seal
        self._index = SignedReportIndex(database)
        self._makers = threading.BoundedSemaphore(MAKERS_MAX)
        self._signing = threading.Lock()

    def keep(self, house: House) -> None:
        """A state of which a report will be asked for soon."""
        self._workings.keep(house)

    def public_size(self, as_of: int) -> int:
        """Of how many of the first ``as_of`` entries a report is that anybody may pull: as many as were attested last.

        The difference between two such reports would tell what one member did between them, if anybody could choose
        them; what was attested is public already. Raises ``NothingAttested``, ``StoreUnreachable``.
        """
        return self._workings.attested_size(as_of)

    def make(self, asked: ReportAsked, who: str = "") -> Generator[int, None, Made]:
        """The report that ``who`` asks for; while it is made, how many bytes there are.

        Raises :class:`ReportChanged`, ``NotRenderable``, ``SignerAway``, ``Replaying``, ``NothingAttested``,
        ``NotReproduced``, ``LiabilityRefused``, ``StoreUnreachable``, and what ``record`` and ``root_at`` raise.
        """
        signed = self._index.find(asked)
        with self._makers:
            download, json_sha256 = yield from self._file(asked, signed, who)
        try:
            found = signed or self._signed(asked, download.spooled, json_sha256, who)
            _require_same(asked, found.row, download.spooled)
        except BaseException:
            download.file.close()
            raise
        return Made(download, _named(asked), found.row.envelope, found.body)

    def _file(
        self, asked: ReportAsked, signed: Found[SignedReport] | None, who: str
    ) -> Generator[int, None, tuple[Download, str]]:
        """The file, found or made, and the digest of the JSON that it is made of."""
        sha256 = None if signed is None else signed.row.sha256
        if asked.form is Form.FILE:
            download = yield from self._spool.fetch(
                to_text(asked), lambda: self._own_form(asked, who), sha256
            )
            return download, download.spooled.sha256
        if asked.form is Form.JSON:
            download = yield from self._spool.fetch(to_text(asked), lambda: self._json(asked, who), sha256)
            return download, download.spooled.sha256
        as_json = replace(asked, form=Form.JSON)
        source, json_sha256 = yield from self._file(as_json, self._index.find(as_json), who)
        with source.file:
            download = yield from self._spool.fetch(
                to_text(asked), lambda: render(asked.form, source.file, json_sha256), sha256
            )
        return download, json_sha256

    def _json(self, asked: ReportAsked, who: str) -> Iterator[bytes]:
        build = REPORTS[asked.report].build
        if build is None:
            raise InvariantViolated(f"{asked.report} is made of no tables")
        read = JournalReading(self._database, self._workings.house(asked.as_of, who=who), asked)
        yield from to_json(self._head(asked, read.house), build(read))

    def _own_form(self, asked: ReportAsked, who: str) -> Iterator[bytes]:
        """The reports that are not tables."""
        if asked.report == "liability-proof":
            given = {one.key: one.text for one in asked.given}
            yield format_proof(self._workings.liability(asked.as_of, given[ACCOUNT], who=who))
            return
        member = None if asked.members is None else _only(asked.members)
        yield from format_bundle(self._workings.bundle(asked.as_of, member, who=who))

    def _head(self, asked: ReportAsked, house: House) -> Head:
        report, parameters = REPORTS[asked.report], house.parameters
        model = MODELS[parameters.margin_model]
        return Head(
            report=report.id,
            title=report.title,
            rule=report.rule,
            house=house.founded.house,
            as_of=asked.as_of,
            as_of_ms=self._time_ms(asked.as_of - 1),
            origin=self._seal.origin,
            root=self._seal.root_at(asked.as_of),
            parameters_version=house.founded.parameters_version,
            parameters_digest=hashlib.sha256(to_text(parameters).encode("ascii")).digest(),
            model=model.name,
            model_version=model.version,
            given={one.key: one.text for one in asked.given},
            members=asked.members,
        )

    def _time_ms(self, sequence: int) -> int:
        with reading(self._database) as connection:
            (segment, *_) = segments_with(connection, sequence, 1)
        index = sequence - segment.first_sequence
        return decode_leaf(segment.leaves[index * LEAF_BYTES : (index + 1) * LEAF_BYTES]).effective_ms

    def _signed(
        self, asked: ReportAsked, spooled: Spooled, json_sha256: str, who: str
    ) -> Found[SignedReport]:
        """What officers sign of a report that was made for the first time, journaled."""
        with self._signing:
            known = self._index.find(asked)
            if known is not None:
                return known
            said = self._head(asked, self._workings.house(asked.as_of, who=who)).lines() | {
                "form": asked.form.value,
                "json_sha256": json_sha256,
                "signed_time": format_time(self._seal.clock()),
            }
            statement = ReportStatement(file_name=_named(asked), sha256=spooled.sha256, said=said)
            envelope = self._seal.sign(build(statement))
            self._seal.record(
                SignedReport(asked=asked, sha256=spooled.sha256, size=spooled.size, envelope=envelope)
            )
            recorded = self._index.find(asked)
            if recorded is None:
                raise InvariantViolated(f"{_named(asked)} is journaled and not found")
            return recorded


def _require_same(asked: ReportAsked, signed: SignedReport, spooled: Spooled) -> None:
    if spooled.sha256 != signed.sha256:
        raise ReportChanged(f"{_named(asked)} was signed with the digest {signed.sha256}")


def _only(members: tuple[MemberId, ...]) -> MemberId:
    (member,) = members
    return member


def _named(asked: ReportAsked) -> str:
    return f"{asked.report}-{asked.as_of}{SUFFIXES[asked.form]}"
