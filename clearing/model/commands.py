"""All that the house can be asked to do. Every write is one of these and goes through ``Engine.execute``.

A command is a frozen value; it carries no clock, no key and no database. Who asks (``actor``) and
the request id travel beside it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

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
)
from clearing.model.values import Asset, BreakerState, Instrument, Parameters, ReportAsked, SignedReport

TRADES_MAX = 1_000
"""Trades in one batch."""
OBSERVATIONS_MAX = 1_000
"""Prices in one publication."""
HISTORY_DAYS_MAX = 1_000
"""Days that one command brings in."""
PRICE_TICKS_MAX = 10**15
"""The highest price that is taken from a source."""
VOLATILITY_BP_MIN = 100
VOLATILITY_BP_MAX = 100_000
"""The lowest and the highest volatility that is taken from a source: 1 % and 1,000 % a year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundHouse:
    """The first command: names the house, its settlement asset and its parameters."""

    house: str
    settlement: Asset
    parameters: Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAsset:
    """Accept an asset as collateral."""

    asset: Asset


@dataclass(frozen=True, slots=True, kw_only=True)
class ListInstrument:
    """Clear an instrument from its first mark on."""

    instrument: Instrument


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyForMembership:
    """A protocol asks to become a member. Until it is admitted it has no account."""

    member: MemberId
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitMember:
    """Admit a member protocol, which may have applied; its house account is opened with it.

    ``name`` is what people will know it by, also where it applied under another.
    """

    member: MemberId
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendMember:
    """An administrator lets a member only reduce, pay and withdraw from now on."""

    member: MemberId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinstateMember:
    """End the suspension of a member."""

    member: MemberId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """Count a member with its affiliates: all that have the same ``group`` (rulebook §12). Empty: it stands alone."""

    member: MemberId
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetJurisdiction:
    """Say under whose law a member stands: ISO 3166-1 alpha-2, upper case. Empty: it is not stated."""

    member: MemberId
    jurisdiction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRegulator:
    """Let a regulator see the members of ``jurisdictions`` and no others (rulebook §14). Empty: it sees all."""

    regulator: RegulatorId
    jurisdictions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareDefault:
    """Declare a member in default that is known to be unable to pay (rulebook §10.3). Nothing undoes it."""

    member: MemberId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveHouse:
    """A member resigns. It must have nothing open; it stays liable as rulebook §11.7 says."""

    member: MemberId


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAccount:
    """Open a client account of ``participant`` at ``member``."""

    member: MemberId
    account: str
    participant: ParticipantId


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAccounts:
    """One member proposes to margin ``accounts`` of one participant as one portfolio, or accepts the same
    proposal. The link holds when every member concerned has sent it (rulebook §2).
    """

    member: MemberId
    participant: ParticipantId
    accounts: tuple[AccountKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlinkAccounts:
    """A member gives notice to undo the link of a participant's accounts (rulebook §2)."""

    member: MemberId
    participant: ParticipantId


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptPorting:
    """A member takes over what a netting set has at members in default, into its account ``account``: a new one,
    or one of its own in the same link (rulebook §10.4).
    """

    member: MemberId
    netting_set: SetId
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeParameters:
    """An administrator proposes new parameters, all of them, and says why (rulebook §13).

    ``immediate``: to take effect on approval, without the delay; only a tightening may. ``base_version``: the version
    that they change, refused if another one is in force; None for whatever is.
    """

    proposal: str
    parameters: Parameters
    reason: str
    immediate: bool = False
    base_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeChange:
    """An administrator proposes a command that takes two administrators, and says why (rulebook §2).

    ``command`` is the name of its type, ``body`` its canonical text (``codec.to_text``).
    """

    proposal: str
    command: str
    body: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveProposal:
    """Another administrator approves a proposal: parameters take effect after the delay, anything else at once."""

    proposal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectProposal:
    """An administrator ends a proposal that is not in force yet; who proposed it, withdraws it."""

    proposal: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeCertificate:
    """An administrator says that a certificate is good for nothing from now on.

    ``serial`` is its serial number in hexadecimal digits, as ``clearing keys list`` shows it.
    """

    serial: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBreaker:
    """An administrator puts the breaker of an instrument, or of everything (``*``), into a state (rulebook §13).

    Tightening holds at once; loosening needs a second administrator, who sends the same.
    """

    scope: str
    state: BreakerState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseInOutage:
    """Two administrators, one after the other, let a declared default close at the last good price (rulebook §6)."""

    default: DefaultId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSource:
    """Register a price source by its Ed25519 public key (64 hex digits)."""

    source: SourceId
    public_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireSource:
    """Take no more prices from a source, and let those it published no longer count."""

    source: SourceId


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportHistory:
    """Bring in what the market did before the house knew it: returns of an underlying on consecutive UTC days from
    ``first_day`` on (2026-01-31), each in parts per million of the close before.
    """

    underlying: FeedId
    first_day: str
    moves_ppm: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterProvider:
    """Register a member account as liquidity provider that backs up to a notional, or renew what it declared."""

    account: AccountKey
    capacity_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceBid:
    """A provider's sealed bid in an open auction; it takes the place of the account's earlier one (rulebook §10.2).

    It takes up to ``share_bp`` of everything on offer, at the mark less ``discount_bp`` (for a short position:
    plus); a negative discount is a premium.
    """

    auction: str
    account: AccountKey
    discount_bp: int
    share_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawBid:
    """A provider takes its bid back while the auction's window is open."""

    auction: str
    account: AccountKey


class HouseMoney(Enum):
    """The house's own accounts that can be funded."""

    CAPITAL = "capital"
    SKIN_IN_THE_GAME = "skin_in_the_game"
    SECOND_TRANCHE = "second_tranche"
    INSURANCE_FUND = "insurance_fund"


@dataclass(frozen=True, slots=True, kw_only=True)
class FundHouse:
    """Pay the house's own money in."""

    into: HouseMoney
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """Custody reports that ``amount_minor`` of ``asset`` arrived for ``account``.

    ``reference``: what custody calls the transfer, which counts once; empty where custody has no name for it.
    """

    account: AccountKey
    asset: AssetId
    amount_minor: int
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestWithdrawal:
    """Hold an amount for withdrawal, if the gate is open and the margin allows (rulebook §8).

    ``withdrawal`` is a name that nobody took, or such a name under the account's own key (``member/account/name``),
    which nobody else can take.
    """

    withdrawal: str
    account: AccountKey
    asset: AssetId
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendWithdrawal:
    """Instruct custody to pay a held withdrawal; from then on only custody says what became of it."""

    withdrawal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleWithdrawal:
    """Custody confirms that a withdrawal that was sent was paid, or proves that one was not."""

    withdrawal: str
    paid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveCash:
    """A member moves cash from its account to another one of the same netting set, at whatever member (rulebook §2)."""

    member: MemberId
    source: AccountKey
    target: AccountKey
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePool:
    """Set every member's required pool contribution from the requirements of now (rulebook §12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContributeToPool:
    """A member pays into the mutualised insurance pool."""

    member: MemberId
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceObservation:
    """One price of one feed."""

    feed: FeedId
    price_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyPrices:
    """A source publishes prices, signed over :func:`clearing.market.prices.signed_bytes`.

    ``signature`` is hex. ``sequence`` rises with every publication of the source.
    """

    source: SourceId
    observed_ms: int
    sequence: int
    prices: tuple[PriceObservation, ...]
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishFunding:
    """The rate of one payment between holders of a perpetual, in millionths of the notional; the next snapshot
    pays it. Positive: longs pay shorts.
    """

    instrument: InstrumentId
    rate_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTrade:
    """A trade between two accounts of the submitting member, or its half of a trade with another member.

    A half names the other member's account too, and the ``trade_ref`` under which both send theirs. Trades of
    one ``group`` that stand next to each other in a batch stand or fall together.
    """

    trade_id: str
    instrument: InstrumentId
    buyer: AccountKey
    seller: AccountKey
    lots: int
    price_ticks: int
    executed_ms: int
    trade_ref: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitTrades:
    """A batch of trades; each gets its own result, and only a group is atomic."""

    member: MemberId
    trades: tuple[NewTrade, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PayDue:
    """A member pays what it owes (answers and assessments) from the cash of its house account, now."""

    member: MemberId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRecovery:
    """Money recovered from a defaulter's estate arrived in custody; it is distributed at once (rulebook §11)."""

    default: DefaultId
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordNonDefaultLoss:
    """Custody lost an amount, and nobody's default is the cause: theft, a failed investment (rulebook §3)."""

    asset: AssetId
    amount_minor: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceLostAsset:
    """Custody reports that the house, or who had it, brought back some of what a non-default loss took."""

    asset: AssetId
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindDown:
    """End the house: a loss is left that no tier could pay (rulebook §11.9). Nothing undoes it."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAttestation:
    """Journal a signed attestation, so that no second one can be shown for the same sequence."""

    sequence: int
    cycle: int
    tree_size: int
    payload_sha256: str
    envelope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullReport:
    """Journal that somebody pulls a report (rulebook §14); the actor of its entry says who."""

    asked: ReportAsked


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordReport:
    """Journal what a report was when it was made for the first time."""

    signed: SignedReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Nothing but the passing of time: runs what has become due."""


Command: TypeAlias = (
    FoundHouse
    | ListAsset
    | ListInstrument
    | ApplyForMembership
    | AdmitMember
    | SuspendMember
    | ReinstateMember
    | GroupMember
    | LeaveHouse
    | OpenAccount
    | LinkAccounts
    | UnlinkAccounts
    | AcceptPorting
    | ProposeParameters
    | ProposeChange
    | ApproveProposal
    | RejectProposal
    | SetBreaker
    | CloseInOutage
    | RegisterSource
    | RetireSource
    | RegisterProvider
    | PlaceBid
    | WithdrawBid
    | FundHouse
    | Deposit
    | RequestWithdrawal
    | SendWithdrawal
    | SettleWithdrawal
    | MoveCash
    | SizePool
    | ContributeToPool
    | ApplyPrices
    | PublishFunding
    | SubmitTrades
    | PayDue
    | RecordRecovery
    | RecordNonDefaultLoss
    | ReplaceLostAsset
    | RecordAttestation
    | PullReport
    | RecordReport
    | Tick
    | WindDown
    | RevokeCertificate
    | DeclareDefault
    | ImportHistory
    | SetJurisdiction
    | GrantRegulator
)
