"""What a command is answered: accepted, or refused for a reason that is stable and public.

An answer also lists the events that the command and its follow-ups caused, so that a caller can act
on the answer alone, and gets the same one when it asks again.
"""

from dataclasses import dataclass
from enum import Enum

from clearing.model.kinds import Kind


class Reason(Enum):
    """Why something was refused. The name is the ``reason`` of ErrorInfo; the value is one plain sentence."""

    HOUSE_NOT_FOUNDED = "the house has no charter yet"
    HOUSE_ALREADY_FOUNDED = "the house has its charter"
    NAME_MALFORMED = "a name has characters or a length that names may not have"
    ALREADY_EXISTS = "something of this name exists"
    TERM_OUT_OF_RANGE = "a term or parameter is not one that the house can work with"
    MEMBER_UNKNOWN = "no such member"
    MEMBER_NOT_ACTIVE = "the member is in default: it may only reduce and pay"
    MEMBER_NOT_ADMITTED = "the protocol has applied and is not admitted yet"
    MEMBER_SUSPENDED = "the member is suspended: it may only reduce, pay and withdraw"
    MEMBER_LEFT = "the member has left the house: it may only pay and withdraw"
    MEMBER_NOT_SUSPENDED = "the member is not suspended"
    MEMBER_BOUND = "the member has something open that must end before it leaves"
    ASSET_UNKNOWN = "no such asset"
    AMOUNT_NOT_POSITIVE = "an amount must be positive"
    AMOUNT_TOO_LARGE = "the amount is beyond what the book can hold"
    ACCOUNT_UNKNOWN = "no such account"
    ACCOUNT_CLOSED_OUT = "the account was closed out in a default"
    ACCOUNT_PORTED = "the account was ported: what it held is at another member now"
    ACCOUNT_LINKED = "the account belongs to a link already"
    OTHER_NOT_LINKABLE = (
        "an account of another member is not there, not of the participant, or cannot be linked now"
    )
    LINK_UNKNOWN = "the participant has no accounts that are linked"
    LINK_TOO_SMALL = "a link takes two accounts or more, each once, and has a limit"
    CALL_OPEN = "the netting set has an open call, whose due time never moves: meet it first"
    PORTING_UNKNOWN = "the netting set is not offered for porting"
    PORTING_OVER = "the time in which the porting could be accepted is over"
    PORTING_OF_A_LINK = "accounts of a link are ported to the members that are left in it"
    SET_NOT_HEALTHY = "the netting set does not meet its requirement"
    DEFAULT_OPEN = "a loss is being allocated: until then nothing changes by which it is divided"
    PARTICIPANT_DIFFERS = "the accounts belong to different participants"
    ACCOUNT_NOT_YOURS = "a member acts for its own accounts only"
    PUBLIC_KEY_UNSOUND = "not a sound Ed25519 public key"
    PROVIDER_KNOWN = "the account is a provider already, and nothing of this capacity is used"
    BATCH_EMPTY = "a batch needs one element at least"
    BATCH_TOO_LARGE = "the batch has more elements than one command takes"
    SOURCE_UNKNOWN = "no such price source"
    SOURCE_RETIRED = "the price source is retired"
    SIGNATURE_INVALID = "the signature does not verify under the source's key"
    SEQUENCE_REPLAYED = "the source has used this sequence number or a later one"
    PRICE_STALE = "the observation is too old, or from the future"
    PRICE_NOT_POSITIVE = "a price must be positive"
    PRICE_TOO_LARGE = "a price is beyond what the book can hold"
    PRICE_TOO_SMALL = "a volatility is below what is taken from a source"
    FEED_UNKNOWN = "nothing is marked by this feed"
    FEED_REPEATED = "a publication names each feed once"
    TRADE_DUPLICATE = "the trade was sent before: nothing more is done, this is how it stands"
    TRADE_ID_REUSED = "the trade id was used for another trade"
    INSTRUMENT_UNKNOWN = "no such instrument"
    INSTRUMENT_NOT_ACTIVE = "the instrument has expired or has no mark yet"
    INSTRUMENT_NOT_PERPETUAL = "only perpetuals pay funding"
    TRADE_REF_NOT_WANTED = "a trade reference joins the halves of two members: this trade is of one"
    TRADE_REF_TAKEN = "another half of the member waits under this trade reference"
    HALVES_DIFFER = "the other member's half says something else"
    HALF_IN_GROUP = "a linked group stands or falls at once: a half that has to wait cannot be part of one"
    GROUP_REFUSED = "another trade of the linked group was refused"
    BUYER_IS_SELLER = "buyer and seller are the same account"
    LOTS_OUT_OF_RANGE = "lots must be positive and within the limit"
    HALTED = "trading is halted"
    REDUCE_ONLY = "only reducing trades are taken now"
    MARK_STALE = "the mark is too old for this use"
    PRICE_OUTSIDE_BAND = "the price is outside the band around the mark"
    MARGIN_INSUFFICIENT = "the trade would leave a netting set below its requirement"
    GAIN_WITHHELD = "gains are withheld while a loss is open: the trade would pay some of them away"
    CASH_INSUFFICIENT = "the trade would leave a netting set with negative cash"
    GATE_SHUT = "the outflow gate is shut"
    WITHDRAWAL_EXCEEDS = "the withdrawal would leave cash negative or less than the requirement needs"
    WITHDRAWAL_UNKNOWN = "no such withdrawal"
    WITHDRAWAL_SETTLED = "the withdrawal was settled before"
    WITHDRAWAL_SENT = "custody was instructed to pay the withdrawal before"
    WITHDRAWAL_NOT_SENT = "custody was not instructed to pay the withdrawal"
    ACCOUNTS_NOT_LINKED = "the accounts are not linked with each other"
    SET_ENDING = "the netting set is being unlinked, liquidated or closed out"
    MOVE_EXCEEDS = "the account has less cash than it is to give"
    CUSTODY_INSUFFICIENT = "custody does not hold what it is said to have paid or lost"
    LOSS_SMALLER = "not as much is missing"
    NOTHING_DUE = "the member owes nothing"
    DEFAULT_UNKNOWN = "no such default"
    DEFAULT_NOT_RECOVERING = "recoveries are taken once the waterfall of the default is done"
    SERIAL_MALFORMED = "a serial number is 1 to 40 hexadecimal digits in lower case, without leading zeros"
    JURISDICTION_MALFORMED = "a jurisdiction is a country code of two capital letters (ISO 3166-1 alpha-2)"
    GRANT_UNKNOWN = "the regulator has no grant: it sees all"
    NOT_AN_ADMINISTRATOR = "only an administrator of the house may do this"
    SAME_ADMINISTRATOR = "two different administrators are needed"
    TWO_ADMINISTRATORS_NEEDED = "one administrator proposes this change and another approves it"
    HISTORY_MALFORMED = "a history is a run of days that have ended, each with a possible return"
    HISTORY_KNOWN = "the return of that day is known already"
    CHANGE_MALFORMED = (
        "a proposal names a command that takes two administrators, and gives its canonical text"
    )
    REASON_MALFORMED = "a reason is needed, of printable characters and within its length"
    PROPOSAL_UNKNOWN = "no such proposal"
    PROPOSAL_ENDED = "the proposal is not open to this any more"
    PROPOSAL_OUTDATED = "the parameters were changed since the proposal: propose again"
    NOT_A_TIGHTENING = "only a change that moves every number to the safe side may be immediate"
    OUTAGE = "prices are in an outage: until they are back nothing new is begun by the old ones"
    NO_OUTAGE = "there is no outage"
    OUTAGE_TOO_SHORT = "the outage has not lasted long enough for this"
    DEFAULT_NOT_DECLARED = "the default is not waiting for its close-out"
    AUCTION_UNKNOWN = "no auction of this name is open"
    AUCTION_CLOSED = "the window of the auction is over"
    NOT_A_PROVIDER = "only a registered liquidity provider bids"
    BIDDER_EXCLUDED = "the provider is itself being closed, or in default"
    BID_UNKNOWN = "the account has no bid in this auction"
    NOTHING_UNCOVERED = "no loss is left that no tier could pay: the house is not wound down"
    HOUSE_WOUND_DOWN = "the house was wound down: it only takes in what is owed and pays back what is left"
    ATTESTATION_OUT_OF_ORDER = "attestations are numbered without a gap"


class Status(Enum):
    """Whether a command, or one element of a batch, took effect, or waits for another member."""

    ACCEPTED = "accepted"
    PENDING = "pending"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A refusal as a value. ``detail`` names the figures that decided."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one element of a batch (or of the command itself, with an empty key).

    ``reason`` is the name of a :class:`Reason`, empty when it is accepted or waits.
    """

    key: str
    status: Status
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that a command or its follow-ups caused: what, about whom, how much (settlement asset)."""

    kind: str
    subject: str
    amount_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer to a command.

    ``next_due_ms`` is the next time at which the house owes something to the clock, or None.
    """

    results: tuple[Result, ...]
    events: tuple[Event, ...] = ()
    next_due_ms: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether every element took effect."""
        return all(result.status is Status.ACCEPTED for result in self.results)


def accepted(key: str = "") -> Result:
    """An accepted element."""
    return Result(key=key, status=Status.ACCEPTED)


def pending(key: str) -> Result:
    """An element that waits for its counterpart."""
    return Result(key=key, status=Status.PENDING)


def refused(rejected: Rejected, key: str = "") -> Result:
    """A refused element."""
    return Result(key=key, status=Status.REFUSED, reason=rejected.reason.name, detail=rejected.detail)


def event(kind: Kind, subject: str, amount_minor: int = 0) -> Event:
    """An event of ``kind`` about ``subject``."""
    return Event(kind=kind.name, subject=subject, amount_minor=amount_minor)
