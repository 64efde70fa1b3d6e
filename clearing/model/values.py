"""The rows of the house's state: what an entry's fact may change.

Every number is an integer. The unit stands last in the name: ``_minor`` smallest units of the
asset, ``_ticks`` price ticks, ``_lots`` lots, ``_bp`` basis points, ``_ppm`` parts per million, ``_ms``
milliseconds (times are UTC since 1970).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from clearing.model.ids import (
    AccountKey,
    AssetId,
    DefaultId,
    FeedId,
    InstrumentId,
    MemberId,
    ParticipantId,
    RegulatorId,
    SetId,
    SourceId,
    TradeKey,
)

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
BP = 10_000
"""Basis points in one."""
PPM = 1_000_000
"""Parts per million in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRange:
    """How far a model moves the price of an underlying, and its volatility (as a share of itself).

    ``open_notional_lower_minor``, ``open_notional_upper_minor``: between which open notionals ``static`` raises its
    rate to 100 %; both zero: nowhere.
    """

    underlying: FeedId
    move_bp: int
    volatility_bp: int = 0
    open_notional_lower_minor: int = 0
    open_notional_upper_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """Inter-commodity credit: the share of two opposite exposures that offsets (rulebook §9.2)."""

    first: FeedId
    second: FeedId
    rate_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidity:
    """What is traded of an underlying in a day (ADV), in the settlement asset (rulebook §9)."""

    underlying: FeedId
    daily_volume_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Every number that the rulebook puts in brackets; the defaults are the rulebook's. Hashed as a risk array is."""

    margin_model: str = "expected_shortfall"
    scan_ranges: tuple[ScanRange, ...] = ()
    offsets: tuple[Offset, ...] = ()
    liquidity: tuple[Liquidity, ...] = ()
    basis_floor_bp: int = 50
    short_option_bp: int = 100
    tail_bp: int = 250
    stress_weight_bp: int = 2_500
    impact_bp: int = BP
    free_volume_bp: int = 1_000
    offset_cap_bp: int = 8_000
    requirement_bp: int = 12_500
    price_quorum: int = 3
    outlier_bp: int = 500
    observation_validity_ms: int = MINUTE_MS
    mark_validity_ms: int = HOUR_MS
    price_band_bp: int = 1_000
    reducing_band_bp: int = 100
    option_price_floor_bp: int = 1_000
    trade_fee_bp: int = 2
    option_fee_cap_bp: int = 1_250
    trade_lots_max: int = 10**12
    half_ms: int = HOUR_MS
    fee_share_bp: int = 2_000
    funding_cap_ppm: int = 7_500
    call_ms: int = HOUR_MS
    liquidation_step_ms: int = MINUTE_MS
    liquidation_step_bp: int = 2_000
    liquidation_whole_below_bp: int = 5_000
    liquidation_minimum_minor: int = 0
    liquidation_stop_bp: int = 10_200
    assignment_discount_bp: int = 100
    penalty_notional_bp: int = 50
    penalty_released_bp: int = 2_000
    answer_ms: int = HOUR_MS
    pool_rate_bp: int = 500
    pool_floor_minor: int = 0
    fund_event_cap_bp: int = BP
    assessment_cap_bp: int = 20_000
    assessment_ms: int = DAY_MS
    replenishment_cap_bp: int = BP
    replenishment_business_days: int = 5
    restoration_ms: int = 30 * DAY_MS
    capped_period_business_days: int = 20
    capped_period_max_ms: int = 92 * DAY_MS
    liquidity_line_minor: int = 0
    change_delay_ms: int = DAY_MS
    proposal_validity_ms: int = 7 * DAY_MS
    breaker_move_bp: int = 0
    breaker_window_ms: int = 5 * MINUTE_MS
    breaker_drawdown_bp: int = 0
    breaker_pause_ms: int = 15 * MINUTE_MS
    breaker_liquidation_bp: int = 0
    unlink_business_days: int = 1
    trade_validity_ms: int = 15 * MINUTE_MS
    withdraw_validity_ms: int = 5 * MINUTE_MS
    attest_validity_ms: int = DAY_MS
    outage_after_ms: int = HOUR_MS
    resume_after_ms: int = MINUTE_MS
    outage_close_ms: int = 15 * MINUTE_MS
    outage_haircut_bp: int = 1_000
    auction_ms: int = MINUTE_MS // 2
    close_out_auction_ms: int = 10 * MINUTE_MS
    porting_ms: int = DAY_MS
    shadow_model: str = ""

    def __hash__(self) -> int:
        return hash((self.margin_model, len(self.scan_ranges)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Charter:
    """The house itself: its name, the one asset in which it settles, and the parameters in force."""

    house: str
    settlement_asset: AssetId
    parameters: Parameters
    parameters_version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """An asset that custody holds.

    ``tick_value_minor``: smallest units of the settlement asset that one whole unit is worth per
    tick of ``feed``; zero for the settlement asset itself, which is worth itself. ``issuer`` is the
    member whose own token it is: for that member it counts zero (rulebook §8). What one participant posts above
    ``concentration_minor`` smallest units (0: no limit) has ``concentration_haircut_bp`` instead of ``haircut_bp``.
    """

    id: AssetId
    decimals: int
    feed: FeedId | None = None
    tick_value_minor: int = 0
    haircut_bp: int = 0
    issuer: MemberId | None = None
    concentration_minor: int = 0
    concentration_haircut_bp: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SetImpact:
    """A netting set that would not meet R under other parameters, and how it stands now (healths of §8).

    ``short_minor``: what a call would ask for, what is missing to M, or what is missing to nothing.
    """

    netting_set: SetId
    before: str
    after: str
    equity_minor: int
    maintenance_minor: int
    requirement_minor: int
    short_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What other parameters would do at the newest marks (rulebook §13). ``sets`` lists the largest shortfalls
    when there are too many; the counts and the sums are of all.
    """

    requirement_before_minor: int
    requirement_after_minor: int
    called: int
    called_minor: int
    liquidated: int
    liquidated_minor: int
    bankrupt: int
    bankrupt_minor: int
    sets: tuple[SetImpact, ...]


class ProposalState(Enum):
    """Where a proposal stands. A lapsed one met other parameters or terms than it was made for. Only a change of
    parameters is ``approved`` before it is in force: any other takes effect with its approval.
    """

    OPEN = "open"
    APPROVED = "approved"
    IN_FORCE = "in_force"
    WITHDRAWN = "withdrawn"
    REJECTED = "rejected"
    EXPIRED = "expired"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParametersProposal:
    """A change of parameters that one administrator wants and another approves (rulebook §13).

    ``base_version``: the version of the parameters that it changes. ``expires_ms``: until when it can be approved,
    and once it was, until when it can still take effect.
    """

    id: str
    parameters: Parameters
    reason: str
    immediate: bool
    proposed_by: str
    proposed_ms: int
    base_version: int
    expires_ms: int
    impact: Impact
    state: ProposalState = ProposalState.OPEN
    approved_by: str = ""
    effective_ms: int = 0
    ended_by: str = ""
    ended_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeProposal:
    """Any other change that takes two administrators: a command, by the name of its type and its canonical text."""

    id: str
    command: str
    body: str
    reason: str
    proposed_by: str
    proposed_ms: int
    expires_ms: int
    state: ProposalState = ProposalState.OPEN
    approved_by: str = ""
    ended_by: str = ""
    ended_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A certificate that is good for nothing any more, by its serial number in hexadecimal digits."""

    serial: str
    reason: str
    revoked_by: str
    revoked_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The jurisdictions to whose members a regulator is limited, in their order. One without a grant sees all."""

    regulator: RegulatorId
    jurisdictions: tuple[str, ...]


class BreakerState(Enum):
    """What a circuit breaker lets through: every trade, reducing ones, none (rulebook §13)."""

    OPEN = "open"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"


class BreakerTrigger(Enum):
    """What put a breaker into its state; only the rules reopen by rule."""

    ADMINISTRATORS = "administrators"
    PRICE_MOVE = "price_move"
    POOL_DRAWDOWN = "pool_drawdown"
    LIQUIDATION_VOLUME = "liquidation_volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """The circuit breaker of an instrument, or of everything (scope ``*``).

    ``reopens_ms``: when a rule reopens it at the earliest. ``asked``: what one administrator wants it loosened to,
    and another has not confirmed yet.
    """

    scope: str
    state: BreakerState
    trigger: BreakerTrigger
    reason: str
    since_ms: int
    set_by: str = ""
    reopens_ms: int = 0
    asked: BreakerState | None = None
    asked_by: str = ""
    asked_reason: str = ""
    asked_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailPoint:
    """What a mark was at a time."""

    at_ms: int
    price_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """Where the mark of a feed came from: a few points that reach back over the breakers' window."""

    feed: FeedId
    points: tuple[TrailPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePoint:
    """How many lots of an instrument were open at a time, and how many liquidations and close-outs had closed."""

    at_ms: int
    open_lots: int
    closed_lots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeTrail:
    """How much of an instrument was open and had been closed: a few points, as of a mark."""

    instrument: InstrumentId
    points: tuple[VolumePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageClosing:
    """A default that one administrator wants closed at the last good price; ``let_by``: the other, who let it be."""

    default: DefaultId
    asked_by: str
    asked_ms: int
    asked_reason: str
    let_by: str = ""
    let_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Marks are too old, or everything was halted, and normal work has not resumed yet (rulebook §6).

    ``began_ms``: when the clocks of calls stopped. ``fresh_since_ms``: since when every needed feed has had a fresh
    quorum; zero while one has none.
    """

    began_ms: int
    fresh_since_ms: int = 0
    closings: tuple[OutageClosing, ...] = ()


class InstrumentKind(Enum):
    """What a position in the instrument is."""

    PERPETUAL = "perpetual"
    FUTURE = "future"
    OPTION = "option"


class Right(Enum):
    """What the holder of an option may do at its strike."""

    CALL = "call"
    PUT = "put"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionTerms:
    """A European option, settled in cash (rulebook §5). ``volatility_feed``: by which its underlying's Black-76
    volatility for its expiry is published, in basis points of one a year.
    """

    right: Right
    strike_ticks: int
    volatility_feed: FeedId


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """A cleared instrument, marked by the price of ``feed``; of an option that is the price of its forward.

    ``tick_value_minor``: what one lot gains when the price rises by one tick. A tick is
    10^-price_decimals of the quote currency, a lot 10^-lot_decimals of the underlying. ``final_ticks``: the
    mark at which an expired future was settled for good, or what one that was an option was worth in the end.
    """

    id: InstrumentId
    kind: InstrumentKind
    underlying: FeedId
    feed: FeedId
    tick_value_minor: int
    price_decimals: int
    lot_decimals: int
    expires_ms: int | None = None
    final_ticks: int | None = None
    option: OptionTerms | None = None

    @property
    def feeds(self) -> frozenset[FeedId]:
        """What must be marked before it can be margined: its price, and the volatility of an option."""
        return frozenset({self.feed} if self.option is None else {self.feed, self.option.volatility_feed})


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """A published rate that the next snapshot pays: millionths of the notional, positive when longs pay."""

    instrument: InstrumentId
    rate_ppm: int


class MemberStatus(Enum):
    """Where a member stands. Nothing leads back out of ``defaulted`` and ``left``: who comes again applies under
    another name.
    """

    APPLIED = "applied"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DEFAULTED = "defaulted"
    LEFT = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member protocol and the pool contribution that is required of it.

    ``suspended_for``: why it is suspended. ``left_ms``: when it left; until it is released, ``default/exits`` says
    when, it stays liable with its contribution and its assessments. ``group``: the name that it shares with its
    affiliates, which are expected to fail together (rulebook §12); empty for a member that stands alone.
    ``jurisdiction``: the country under whose law it stands, by its code (ISO 3166-1 alpha-2); empty if not stated.
    """

    id: MemberId
    name: str
    status: MemberStatus = MemberStatus.ACTIVE
    required_contribution_minor: int = 0
    suspended_for: str = ""
    left_ms: int = 0
    group: str = ""
    jurisdiction: str = ""

    @property
    def belongs(self) -> bool:
        """Whether it is a member now and not in default: its dues count in full, suspended or not."""
        return self.status in (MemberStatus.ACTIVE, MemberStatus.SUSPENDED)


class AccountKind(Enum):
    """Whose money an account holds."""

    HOUSE = "house"
    CLIENT = "client"


class AccountStatus(Enum):
    """What an account may still do."""

    ACTIVE = "active"
    CLOSED_OUT = "closed_out"
    PORTED = "ported"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingAccount:
    """An account of a member, who stands behind it, and the netting set that margins it.

    ``ported_to``: the account at another member that took over what it held, once it was ported.
    """

    key: AccountKey
    member: MemberId
    kind: AccountKind
    participant: ParticipantId
    netting_set: SetId
    status: AccountStatus = AccountStatus.ACTIVE
    ported_to: AccountKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NettingSet:
    """One account, or all linked accounts of one participant: margined as one portfolio."""

    id: SetId
    participant: ParticipantId
    accounts: tuple[AccountKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkProposal:
    """Accounts of one participant that wait for the consent of every member concerned."""

    id: SetId
    participant: ParticipantId
    accounts: tuple[AccountKey, ...]
    accepted_by: tuple[MemberId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlinkingPart:
    """An account that will stand alone again, and what it then lacked to its requirement at the notice."""

    account: AccountKey
    short_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlinking:
    """Notice to undo a link: until it is due, the set only reduces and its parts are to be paid up (rulebook §2)."""

    netting_set: SetId
    noticed_by: MemberId
    noticed_ms: int
    due_ms: int
    parts: tuple[UnlinkingPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Porting:
    """A netting set with accounts at members in default, which another member may take over until it is due
    (rulebook §10.4). Its due time never moves in house time, as that of a call.
    """

    netting_set: SetId
    members: tuple[MemberId, ...]
    opened_ms: int
    due_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A price source: its Ed25519 public key (hex) and the last sequence number it used.

    A retired one stays on record: its name and its key are never used again.
    """

    id: SourceId
    public_key: str
    sequence: int = 0
    retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A liquidity provider's backstop: notional it declared to take, and has been assigned since (rulebook §10.2).

    Declared again, it counts anew. What the provider wins by bids does not count.
    """

    account: AccountKey
    capacity_minor: int
    taken_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The newest price that a source published of a feed."""

    source: SourceId
    feed: FeedId
    price_ticks: int
    observed_ms: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The price that a quorum of sources supports, and who was too far off to count."""

    feed: FeedId
    price_ticks: int
    sources: tuple[SourceId, ...]
    dropped: tuple[SourceId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionMark:
    """What an option is worth by Black-76, and the marks of its forward and its volatility that say so."""

    instrument: InstrumentId
    price_ticks: int
    forward_ticks: int
    volatility_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentRisk:
    """One instrument's row of the risk array: P&L of one lot per scenario, rounded down.

    ``long_minor`` for a holder of +1 lot, ``short_minor`` for −1 lot. ``delta_minor``: the notional to which one
    lot of an option is equivalent, None for a linear instrument, which is worth its own.
    """

    instrument: InstrumentId
    underlying: FeedId
    notional_minor: int
    long_minor: Sequence[int]
    short_minor: Sequence[int]
    delta_minor: int | None = None

    @property
    def weight_minor(self) -> int:
        """What one lot counts of its underlying: its notional, of an option its delta."""
        return self.notional_minor if self.delta_minor is None else self.delta_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskArray:
    """The array of a cycle: with positions it gives every requirement exactly. Of a model that knows recent days and
    days of stress, the first ``filtered`` scenarios are the recent ones.

    What is made of an array is kept for it; to hash all of its numbers would take longer than to use them.
    """

    model: str
    instruments: tuple[InstrumentRisk, ...]
    filtered: int = 0

    def __hash__(self) -> int:
        return hash((self.model, len(self.instruments)))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenInterest:
    """How many lots of an instrument are held long, which is as many as are held short."""

    instrument: InstrumentId
    lots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderlyingMove:
    """The return of an underlying over a day, in parts per million of its price before, rounded down; None if it had
    not closed before. ``close_ticks`` is the mark of ``feed`` at which the day ended; zero if the house did not see it.
    """

    underlying: FeedId
    move_ppm: int | None
    feed: FeedId | None = None
    close_ticks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyMoves:
    """What the market did on a UTC day, written 2026-01-31 (rulebook §9.1)."""

    day: str
    moves: tuple[UnderlyingMove, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """The newest clearing cycle. ``margined``: the instruments that have a row in its risk array, which is made of
    them, the marks, the parameters in force and the daily moves, and on every machine the same. ``short`` lists the
    netting sets that did not meet R at its end. ``fees_kept_minor``: the balance of ``house/fees`` after the last share
    went to the insurance fund.
    """

    number: int
    accepted_ms: int
    closed: bool
    marks: tuple[Mark, ...]
    margined: tuple[OpenInterest, ...]
    short: tuple[SetId, ...] = ()
    fees_kept_minor: int = 0
    option_marks: tuple[OptionMark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSet:
    """What the shadow would have required of a netting set, and how the set would stand (healths of §8)."""

    netting_set: SetId
    before: str
    after: str
    live_minor: int
    shadow_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """What another margin model would have required at the end of a cycle (rulebook §9). Requirements are R.

    ``called`` and ``liquidated`` count the sets that would be, ``risen`` and ``fallen`` those that would have to hold
    more or less; ``risen_most`` is the one that would by the most, None if none would have to hold more. ``sets`` lists
    those with the largest differences; the counts and the sums are of all.
    """

    cycle: int
    model: str
    version: str
    live_model: str
    live_version: str
    live_minor: int
    shadow_minor: int
    called: int
    liquidated: int
    risen: int
    fallen: int
    risen_most: ShadowSet | None
    sets: tuple[ShadowSet, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRefusal:
    """The newest publication of a source that was its own and in time, and said of ``feed`` what no market does
    (rulebook §6). ``reason`` is the name of why; ``price_ticks``, what it said, may be beyond any bound.
    """

    source: SourceId
    feed: FeedId
    reason: str
    price_ticks: int
    sequence: int
    refused_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A novated trade. One between two members has a row for each, with the ``trade_ref`` that joined them."""

    key: TradeKey
    instrument: InstrumentId
    buyer: AccountKey
    seller: AccountKey
    lots: int
    price_ticks: int
    executed_ms: int
    trade_ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """What one of two members said of their trade; it waits for the half of the other (rulebook §4)."""

    trade: Trade
    due_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A transfer that custody reported under its own reference."""

    reference: str
    account: AccountKey
    asset: AssetId
    amount_minor: int


class WithdrawalState(Enum):
    """Held; sent, when custody was instructed to pay; then paid by custody, or released."""

    HELD = "held"
    SENT = "sent"
    PAID = "paid"
    RELEASED = "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """An outflow on its way."""

    id: str
    account: AccountKey
    asset: AssetId
    amount_minor: int
    state: WithdrawalState


class CallKind(Enum):
    """Why a netting set was called."""

    MARGIN = "margin"
    CASH = "cash"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPart:
    """A member's part of an amount."""

    member: MemberId
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An open call on a netting set. Its amount follows the shortfall. Its due time never moves in house time: an
    outage, in which its clock stops, moves it by just as long (rulebook §6, §10.1).
    """

    kind: CallKind
    netting_set: SetId
    amount_minor: int
    parts: tuple[MemberPart, ...]
    issued_ms: int
    due_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidation:
    """A netting set that is being closed in steps."""

    netting_set: SetId
    opened_ms: int
    next_step_ms: int
    steps: int
    requirement_at_open_minor: int
    notional_closed_minor: int


class AuctionKind(Enum):
    """What is sold: a step's slice, the positions of an event, or collateral (of an event, or for a cash call)."""

    LIQUIDATION = "liquidation"
    CLOSE_OUT = "close_out"
    COLLATERAL = "collateral"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """One thing on offer. ``size``: lots with the sign of the position, or an asset's smallest units."""

    account: AccountKey
    unit: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Auction:
    """A sealed-bid auction whose window is open (rulebook §10.2, §10.3). ``subject``: a netting set or a default."""

    id: str
    kind: AuctionKind
    subject: str
    offered: tuple[Offered, ...]
    opened_ms: int
    closes_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid:
    """What a provider offers: up to a share of all that is on offer, at a discount to the mark (negative: above it)."""

    auction: str
    account: AccountKey
    discount_bp: int
    share_bp: int
    placed_ms: int


class Stage(Enum):
    """Where a default stands (rulebook §10.3)."""

    DECLARED = "declared"
    CLOSED_OUT = "closed_out"
    ANSWERING = "answering"
    ASSESSING = "assessing"
    RECOVERING = "recovering"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultedSet:
    """A netting set in default. ``weights``: how the members answer for its deficit (rulebook §10.5).

    ``deficit_minor``: what it still owed when the loss was fixed; None before, and where that was not written down.
    """

    netting_set: SetId
    equity_minor: int
    weights: tuple[MemberPart, ...]
    deficit_minor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What a netting set won from T0's cycle to close-out."""

    netting_set: SetId
    gain_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What a tier took from a payer. ``payer`` is a member, a netting set or a fund of the house."""

    tier: int
    payer: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TierResult:
    """What a tier had, what it paid, and what it passed on."""

    tier: int
    name: str
    available_minor: int
    paid_minor: int
    passed_on_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a payer is still to get back from recoveries. Tier 0: an answering member (rulebook §10.5)."""

    tier: int
    payer: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """One event: everything declared in one cycle, from T0 to the last recovery.

    ``answers`` is what each answering member still owes; ``losses`` the holes that the waterfall
    filled, one a defaulted member. ``bidders``: members whose bids counted in its auction (rulebook §11.5).
    ``won_before``: what sets had won (or lost, negative) before T0's cycle in a window that an earlier event keeps
    open; ``closed_out_cycle``: the cycle in which the event's own window ended. ``restored_minor``: what the house
    put back into its skin in the game.
    """

    id: DefaultId
    stage: Stage
    declared_ms: int
    cycle: int
    journal_size: int
    survivors: tuple[MemberId, ...]
    sets: tuple[DefaultedSet, ...]
    gains: tuple[Gain, ...] = ()
    answers: tuple[MemberPart, ...] = ()
    answers_due_ms: int = 0
    losses: tuple[MemberPart, ...] = ()
    draws: tuple[Draw, ...] = ()
    tiers: tuple[TierResult, ...] = ()
    uncovered_minor: int = 0
    claims: tuple[Claim, ...] = ()
    recovered_minor: int = 0
    bidders: tuple[MemberId, ...] = ()
    won_before: tuple[Gain, ...] = ()
    closed_out_cycle: int = 0
    restored_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a survivor of a default owes by a time and has not paid yet: an assessment, or its contribution back."""

    default: DefaultId
    member: MemberId
    amount_minor: int
    due_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CappedPeriod:
    """The period over which one cap of assessments and one of replenishments hold, and what each member was
    called for, and to replenish, in it.
    """

    begins_ms: int
    ends_ms: int
    called: tuple[MemberPart, ...] = ()
    replenished: tuple[MemberPart, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NonDefaultLoss:
    """An asset of which custody lost some without any default, as long as it is not made good (rulebook §3).

    How much is missing is the balance of ``house/non_default_losses``. ``reason`` is of the newest loss.
    """

    asset: AssetId
    since_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationRecord:
    """A published attestation: its number, the cycle and journal it speaks of, the envelope as signed."""

    sequence: int
    cycle: int
    tree_size: int
    payload_sha256: str
    envelope: str


class Form(Enum):
    """The form of a report's file. JSON and CSV are canonical; XLSX and HTML are made of the JSON and name its digest.
    FILE is a report that has a form of its own.
    """

    JSON = "json"
    CSV = "csv"
    XLSX = "xlsx"
    HTML = "html"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a report was asked for with: a parameter of it, and its text."""

    key: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAsked:
    """Which report: whoever asks for the same gets the same bytes. ``as_of``: of the first so many entries of the
    journal. ``given`` in the order of their keys. ``members``: whose part of it, in order; None for all of it.
    """

    report: str
    as_of: int
    form: Form
    given: tuple[Given, ...] = ()
    members: tuple[MemberId, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedReport:
    """A report that was made for the first time, and the envelope in which officers signed what it is
    (``attest/report.py``). ``sha256`` of the file, lower-case hex; ``size`` in bytes.
    """

    asked: ReportAsked
    sha256: str
    size: int
    envelope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WoundDown:
    """That the house was wound down, when and why (rulebook §11.9): from then on it only pays back."""

    at_ms: int
    reason: str
