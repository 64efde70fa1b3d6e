"""Which entries of the journal belong to a default: from the first call that was never met, to the last recovery.

Rules kept here (rulebook §10, §11):

1. A default begins for a netting set with the first entry of the trouble that led to it: calls, liquidations, and what
   they gave back, as long as something was open or one request went from one to the next. Trouble that ended well is
   not part of it. So is the snapshot at which it was declared, and the approval if people declared it.
2. From then on what closes positions and collateral of the set is part of it: auctions, bids, awards, assignments.
3. What names the default, changes its row or what is owed for it, is part of it to the end. An entry may be part of
   two: an assessment that is not paid is the next event.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from clearing.model.house import Change, House, Put, decode_changes
from clearing.model.ids import AccountKey, DefaultId, MemberId, SetId, house_account
from clearing.model.kinds import Kind
from clearing.model.values import Default, Stage
from clearing.reports import closing
from clearing.reports.facts import rows_put
from clearing.reports.reading import Reading, Recorded
from ledger.entry import Entry

_OPENS = ("calls", "liquidations")
_BEGINNINGS = (
    Kind.CALL_ISSUED,
    Kind.CALL_MET,
    Kind.CALL_EXPIRED,
    Kind.LIQUIDATION_OPENED,
    Kind.LIQUIDATION_CLOSED,
    Kind.WITHDRAWAL_RELEASED,
    Kind.DEFAULT_DECLARED,
    Kind.MEMBER_DEFAULTED,
    Kind.SNAPSHOT_ACCEPTED,
    Kind.CHANGE_APPROVED,
)
_NAMING = (
    Kind.POSITIONS_TORN_UP,
    Kind.LOSS_FIXED,
    Kind.ANSWER_PAID,
    Kind.MEMBER_DEFAULTED,
    Kind.WATERFALL,
    Kind.RECOVERY_RECEIVED,
    Kind.RECOVERY_DISTRIBUTED,
    Kind.SKIN_RESTORED,
    Kind.LOSS_SHARED,
    Kind.PORTING_OPENED,
    Kind.ASSESSMENT_PAID,
    Kind.ASSESSMENT_DEFAULTED,
    Kind.REPLENISHMENT_PAID,
    Kind.REPLENISHMENT_DEFAULTED,
)
"""Their first reference is a default, or ``default/member``."""
FOLLOWED = (
    *_BEGINNINGS,
    *_NAMING,
    Kind.CALL_CHANGED,
    Kind.CALL_MOVED,
    Kind.LIQUIDATION_STEPPED,
    Kind.POSITION_ASSIGNED,
    Kind.POSITIONS_NETTED,
    Kind.COLLATERAL_SOLD,
    Kind.AUCTION_OPENED,
    Kind.AUCTION_CLOSED,
    Kind.AUCTION_VOIDED,
    Kind.BID_PLACED,
    Kind.BID_WITHDRAWN,
    Kind.BID_AWARDED,
    Kind.COLLATERAL_AWARDED,
    Kind.CLOSED_OUT,
    Kind.ACCOUNTS_CLOSED_OUT,
    Kind.DEFAULT_RECOVERING,
    Kind.POOL_CONTRIBUTED,
    Kind.PORTED,
    Kind.PORTING_MOVED,
    Kind.OUTAGE_CLOSING_ASKED,
    Kind.OUTAGE_CLOSING_LET,
    Kind.HOUSE_WOUND_DOWN,
)
"""Every kind of entry that may be part of a default."""


@dataclass(frozen=True, slots=True)
class Belonging:
    """An entry, what it changed, the defaults that it is part of, the newest snapshot before it, and the default that
    each account in one is in.
    """

    recorded: Recorded
    changes: tuple[Change, ...]
    defaults: tuple[DefaultId, ...]
    snapshot: Recorded | None
    accounts: Mapping[AccountKey, DefaultId]


@dataclass(frozen=True, slots=True)
class Begun:
    """The default in which something is, the entry from which on, and its time."""

    default: DefaultId
    sequence: int
    time_ms: int


@dataclass
class Beginnings:
    """Where defaults begin: for each netting set that ended in one, and of single entries."""

    sets: dict[SetId, Begun] = field(default_factory=dict)
    entries: dict[int, DefaultId] = field(default_factory=dict)


@dataclass
class _Trouble:
    """What is open of a set; it began with an entry, and changed last by a request."""

    begun: Recorded
    request: str
    open: set[str] = field(default_factory=set)

    def goes_on(self, recorded: Recorded) -> bool:
        """Whether an entry is of the same trouble."""
        return bool(self.open) or self.request == recorded.entry.request_id


def beginnings(reading: Reading) -> Beginnings:
    """Where each default begins, for each of its netting sets."""
    house, found = reading.house, Beginnings()
    troubles: dict[SetId, _Trouble] = {}
    snapshot: int | None = None
    approval: Recorded | None = None
    for recorded in reading.entries(*_BEGINNINGS):
        entry = recorded.entry
        if entry.kind == Kind.SNAPSHOT_ACCEPTED:
            snapshot = recorded.sequence
        elif entry.kind == Kind.CHANGE_APPROVED:
            approval = recorded
        elif entry.kind in (Kind.DEFAULT_DECLARED, Kind.MEMBER_DEFAULTED):
            changes = decode_changes(entry.fact)
            default_id = _declared(entry, changes)
            if approval is not None and approval.entry.request_id == entry.request_id:
                found.entries.setdefault(approval.sequence, default_id)
            if entry.kind == Kind.DEFAULT_DECLARED:
                if snapshot is not None:
                    found.entries.setdefault(snapshot, default_id)
                _begin(found, troubles, recorded, changes)
        else:
            _trouble(troubles, house, recorded, decode_changes(entry.fact))
    return found


def _declared(entry: Entry, changes: Iterable[Change]) -> DefaultId:
    """The default that an entry declares, or in which it puts a member."""
    if entry.kind == Kind.MEMBER_DEFAULTED:
        return DefaultId(entry.references[0])
    return next(rows_put(changes, Default)).id


def _begin(
    found: Beginnings, troubles: dict[SetId, _Trouble], recorded: Recorded, changes: Iterable[Change]
) -> None:
    for change in changes:
        if isinstance(change, Put) and isinstance(change.row, Default):
            for one in change.row.sets:
                trouble = troubles.pop(one.netting_set, None)
                is_old = trouble is None or not trouble.goes_on(recorded)
                first = recorded if trouble is None or is_old else trouble.begun
                begun = Begun(change.row.id, first.sequence, first.entry.effective_ms)
                found.sets.setdefault(one.netting_set, begun)


def _trouble(
    troubles: dict[SetId, _Trouble], house: House, recorded: Recorded, changes: Iterable[Change]
) -> None:
    """A set got into trouble, or out of some of it."""
    for change in changes:
        set_id = _set_of(house, change)
        if set_id is None:
            continue
        known = troubles.get(set_id)
        if known is None or not known.goes_on(recorded):
            known = troubles[set_id] = _Trouble(recorded, "")
        known.request = recorded.entry.request_id
        if change.table in _OPENS:
            thing = f"{change.table}/{change.key}"
            known.open = known.open | {thing} if isinstance(change, Put) else known.open - {thing}


def _set_of(house: House, change: Change) -> SetId | None:
    """The netting set whose call, liquidation, or held withdrawal a change is about."""
    match change.table:
        case "calls":
            return SetId(change.key.partition("/")[2])
        case "liquidations":
            return SetId(change.key)
        case "withdrawals" if isinstance(change, Put):
            return house.accounts[house.holder(change.row.account)].netting_set
        case _:
            return None


def belonging(reading: Reading, wanted: DefaultId | None) -> Iterator[Belonging]:
    """The entries that are part of a default, of ``wanted`` alone if it is given, in order."""
    if not reading.house.defaults:
        return
    following = _Following(reading.house, beginnings(reading))
    snapshot: Recorded | None = None
    for recorded in reading.entries(*FOLLOWED):
        is_heavy = recorded.entry.kind == Kind.SNAPSHOT_ACCEPTED
        snapshot = recorded if is_heavy else snapshot
        changes = () if is_heavy else decode_changes(recorded.entry.fact)
        defaults = following.defaults(recorded, changes)
        told = tuple(sorted(one for one in defaults if wanted in (None, one)))
        if told:
            yield Belonging(recorded, changes, told, snapshot, following.accounts())


class _Following:
    """Goes along the journal and tells of each entry to which defaults it belongs."""

    def __init__(self, house: House, begun: Beginnings) -> None:
        self._house, self._begun = house, begun
        self._accounts = {
            key: found
            for set_id, found in begun.sets.items()
            for key in (house.netting_sets[set_id].accounts if set_id in house.netting_sets else ())
        }
        self._auctions: dict[str, DefaultId] = {}
        self._portings: dict[str, DefaultId] = {}
        self._answering: dict[AccountKey, tuple[DefaultId, int]] = {}
        self._closed_out: set[DefaultId] = set()

    def accounts(self) -> Mapping[AccountKey, DefaultId]:
        """The default that each account is in, or that it will be in."""
        return {key: begun.default for key, begun in self._accounts.items()}

    def defaults(self, recorded: Recorded, changes: tuple[Change, ...]) -> set[DefaultId]:
        """The defaults that an entry is part of; entries are asked in their order."""
        sequence, entry = recorded.sequence, recorded.entry
        found: set[DefaultId] = set()
        if sequence in self._begun.entries:
            found.add(self._begun.entries[sequence])
        if entry.kind in _NAMING:
            found.add(DefaultId(entry.references[0].partition("/")[0]))
        for change in changes:
            found.update(self._by_change(recorded, change))
        found |= self._by_account(recorded)
        self._learn(recorded, changes)
        return found

    def _by_change(self, recorded: Recorded, change: Change) -> Iterator[DefaultId]:
        match change.table:
            case "defaults" | "assessments" | "replenishments":
                yield DefaultId(change.key.partition("/")[0])
            case "calls":
                yield from self._of_set(SetId(change.key.partition("/")[2]), recorded.sequence)
            case "liquidations":
                yield from self._of_set(SetId(change.key), recorded.sequence)
            case "auctions":
                yield from self._auction(recorded, change)
            case "bids":
                yield from self._of_auction(change.key.partition("/")[0])
            case "accounts" if recorded.entry.kind == Kind.ACCOUNTS_CLOSED_OUT:
                yield from self._of_account(AccountKey(change.key), recorded.sequence)
            case "withdrawals":
                yield from self._withdrawal(recorded, change)
            case "portings":
                yield from self._porting(recorded, change)
            case "outage":
                yield from self._outage(recorded, change)
            case _:
                pass

    def _of_set(self, set_id: SetId, sequence: int) -> Iterator[DefaultId]:
        yield from _if_begun(self._begun.sets.get(set_id), sequence)

    def _auction(self, recorded: Recorded, change: Change) -> Iterator[DefaultId]:
        if isinstance(change, Put):
            subject = change.row.subject
            known = subject in self._house.defaults
            found = [DefaultId(subject)] if known else list(self._of_set(SetId(subject), recorded.sequence))
            self._auctions.update((change.key, one) for one in found)
        yield from self._of_auction(change.key)

    def _of_auction(self, auction: str) -> Iterator[DefaultId]:
        if auction in self._auctions:
            yield self._auctions[auction]

    def _of_account(self, key: AccountKey, sequence: int) -> Iterator[DefaultId]:
        yield from _if_begun(self._accounts.get(key), sequence)

    def _withdrawal(self, recorded: Recorded, change: Change) -> Iterator[DefaultId]:
        if not isinstance(change, Put) or recorded.entry.kind != Kind.WITHDRAWAL_RELEASED:
            return
        key = self._house.holder(change.row.account)
        yield from (one for one in self._of_account(key, recorded.sequence) if one not in self._closed_out)
        yield from self._of_answering(key, recorded)

    def _of_answering(self, key: AccountKey, recorded: Recorded) -> Iterator[DefaultId]:
        """What the house account of a member that answers is left with when the answer is due, is taken for it."""
        default_id, due_ms = self._answering.get(key, (DefaultId(""), 0))
        if default_id and due_ms <= recorded.entry.effective_ms:
            yield default_id

    def _porting(self, recorded: Recorded, change: Change) -> Iterator[DefaultId]:
        if recorded.entry.kind in (Kind.PORTED, Kind.PORTING_MOVED) and change.key in self._portings:
            yield self._portings[change.key]

    def _outage(self, recorded: Recorded, change: Change) -> Iterator[DefaultId]:
        is_closing = recorded.entry.kind in (Kind.OUTAGE_CLOSING_ASKED, Kind.OUTAGE_CLOSING_LET)
        if is_closing and isinstance(change, Put):
            yield change.row.closings[-1].default

    def _by_account(self, recorded: Recorded) -> set[DefaultId]:
        """What closed something of an account that is in default."""
        entry = recorded.entry
        match entry.kind:
            case Kind.BID_AWARDED | Kind.COLLATERAL_AWARDED:
                return set(self._of_auction(entry.references[0]))
            case Kind.POSITION_ASSIGNED:
                return set(self._of_account(AccountKey(entry.references[0]), recorded.sequence))
            case Kind.COLLATERAL_SOLD:
                key = AccountKey(entry.references[0])
                return {*self._of_account(key, recorded.sequence), *self._of_answering(key, recorded)}
            case Kind.POSITIONS_NETTED:
                keys = {piece.seller for piece in closing.pieces(entry)}
                return {one for key in keys for one in self._of_account(key, recorded.sequence)}
            case _:
                return set()

    def _learn(self, recorded: Recorded, changes: tuple[Change, ...]) -> None:
        """What later entries are looked at by."""
        for change in changes:
            if not isinstance(change, Put):
                continue
            if change.table == "defaults":
                self._learn_default(change.row)
            elif change.table == "portings" and recorded.entry.kind == Kind.PORTING_OPENED:
                self._portings[change.key] = DefaultId(recorded.entry.references[0])
            elif change.table == "members" and recorded.entry.kind == Kind.MEMBER_DEFAULTED:
                self._learn_member(MemberId(change.key), recorded)

    def _learn_default(self, row: Default) -> None:
        if row.stage is not Stage.DECLARED:
            self._closed_out.add(row.id)
        self._answering = {key: one for key, one in self._answering.items() if one[0] != row.id}
        if row.stage is Stage.ANSWERING:
            self._answering |= {
                house_account(part.member): (row.id, row.answers_due_ms) for part in row.answers
            }

    def _learn_member(self, member: MemberId, recorded: Recorded) -> None:
        """Its house account is closed out with the default, unless that has it already."""
        default_id = DefaultId(recorded.entry.references[0])
        found = Begun(default_id, recorded.sequence, recorded.entry.effective_ms)
        self._accounts.setdefault(house_account(member), found)


def _if_begun(begun: Begun | None, sequence: int) -> Iterator[DefaultId]:
    if begun is not None and begun.sequence <= sequence:
        yield begun.default


@dataclass(frozen=True, slots=True)
class Turn:
    """An entry that changed the row of a default: what it was before, None for none, and what it is after."""

    recorded: Recorded
    before: Default | None
    after: Default


def turns(reading: Reading, wanted: DefaultId | None) -> Iterator[Turn]:
    """The entries that changed a default, in order."""
    known: dict[str, Default] = {}
    for recorded in reading.entries(*_TURNING):
        for change in decode_changes(recorded.entry.fact):
            if change.table == "defaults" and isinstance(change, Put) and wanted in (None, change.key):
                yield Turn(recorded, known.get(change.key), change.row)
                known[change.key] = change.row


_TURNING = (
    Kind.DEFAULT_DECLARED,
    Kind.CLOSED_OUT,
    Kind.LOSS_FIXED,
    Kind.ANSWER_PAID,
    Kind.WATERFALL,
    Kind.ASSESSMENT_DEFAULTED,
    Kind.REPLENISHMENT_DEFAULTED,
    Kind.DEFAULT_RECOVERING,
    Kind.RECOVERY_DISTRIBUTED,
    Kind.LOSS_SHARED,
    Kind.SKIN_RESTORED,
)
"""Every kind of entry that puts the row of a default."""
