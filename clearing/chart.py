"""The chart of accounts (rulebook §3). No other module spells an account path."""

from enum import Enum
from functools import cache

from clearing.model.ids import AccountKey, AssetId, DefaultId, InstrumentId, MemberId
from ledger.account import Account, Limit, Side

NEVER_NEGATIVE = Limit.DEBITS_MUST_NOT_EXCEED_CREDITS
"""The limit of an account whose normal side is credit and that may not be overdrawn."""


class Line(Enum):
    """The lines of the chart, spelt as in rulebook §3."""

    CUSTODY = "custody"
    CASH = "members/{m}/accounts/{a}/cash"
    COLLATERAL = "members/{m}/accounts/{a}/collateral"
    POSITION = "members/{m}/accounts/{a}/position"
    NOVATION = "novation"
    WITHDRAWAL = "withdrawals/{w}"
    POOL = "members/{m}/pool"
    ASSESSMENT = "members/{m}/assessment"
    CAPITAL = "house/capital"
    SKIN_IN_THE_GAME = "house/skin_in_the_game"
    SECOND_TRANCHE = "house/second_tranche"
    INSURANCE_FUND = "house/insurance_fund"
    FEES = "house/fees"
    NON_DEFAULT_LOSSES = "house/non_default_losses"
    LOSS = "defaults/{d}/members/{m}/loss"
    CLAIMS = "defaults/{d}/claims"
    ACCOUNT_CLAIM = "members/{m}/accounts/{a}/claim"
    MEMBER_CLAIM = "members/{m}/claim"
    HOUSE_CLAIM = "house/claims/{tier}"
    RECOVERIES = "defaults/{d}/recoveries"
    UNCOVERED = "defaults/{d}/uncovered"


@cache
def custody(asset: AssetId) -> Account:
    """What custodians and chain addresses hold for the house."""
    return Account("custody", asset, Side.DEBIT, Limit.CREDITS_MUST_NOT_EXCEED_DEBITS)


@cache
def cash(key: AccountKey, settlement: AssetId) -> Account:
    """An account's cash: deposits, variation margin, premium, fees. May go negative."""
    return Account(f"{_account(key)}/cash", settlement)


@cache
def collateral(key: AccountKey, asset: AssetId) -> Account:
    """An account's posted collateral in another asset."""
    return Account(f"{_account(key)}/collateral", asset, limit=NEVER_NEGATIVE)


@cache
def position(key: AccountKey, instrument: InstrumentId) -> Account:
    """An account's position in lots: long is a credit balance."""
    return Account(f"{_account(key)}/position", instrument)


@cache
def novation(instrument: InstrumentId) -> Account:
    """The house between buyer and seller: zero after every entry."""
    return Account("novation", instrument)


@cache
def withdrawal(withdrawal_id: str, asset: AssetId) -> Account:
    """Held until custody confirms or proves non-payment."""
    return Account(f"withdrawals/{withdrawal_id}", asset, limit=NEVER_NEGATIVE)


@cache
def pool(member: MemberId, settlement: AssetId) -> Account:
    """A member's contribution to the mutualised insurance pool."""
    return Account(f"members/{member}/pool", settlement, limit=NEVER_NEGATIVE)


@cache
def assessment(member: MemberId, settlement: AssetId) -> Account:
    """Called by tier 7 and not yet paid: a receivable."""
    return Account(
        f"members/{member}/assessment", settlement, Side.DEBIT, Limit.CREDITS_MUST_NOT_EXCEED_DEBITS
    )


@cache
def house_capital(settlement: AssetId) -> Account:
    """The house's own money that is not at risk in the waterfall."""
    return Account("house/capital", settlement)


@cache
def skin_in_the_game(settlement: AssetId) -> Account:
    """The house's first tranche at risk (tier 3)."""
    return Account("house/skin_in_the_game", settlement, limit=NEVER_NEGATIVE)


@cache
def second_tranche(settlement: AssetId) -> Account:
    """The house's second tranche at risk (tier 6)."""
    return Account("house/second_tranche", settlement, limit=NEVER_NEGATIVE)


@cache
def insurance_fund(settlement: AssetId) -> Account:
    """Penalties and a share of fees (tier 4)."""
    return Account("house/insurance_fund", settlement, limit=NEVER_NEGATIVE)


@cache
def fees(settlement: AssetId) -> Account:
    """Trading fees that the house keeps."""
    return Account("house/fees", settlement, limit=NEVER_NEGATIVE)


@cache
def non_default_losses(asset: AssetId) -> Account:
    """What custody lost without a default and the house has not made good."""
    return Account("house/non_default_losses", asset, Side.DEBIT, Limit.CREDITS_MUST_NOT_EXCEED_DEBITS)


@cache
def loss(default: DefaultId, member: MemberId, settlement: AssetId) -> Account:
    """The hole that the waterfall fills: zero when the event is resolved."""
    return Account(
        f"defaults/{default}/members/{member}/loss",
        settlement,
        Side.DEBIT,
        Limit.CREDITS_MUST_NOT_EXCEED_DEBITS,
    )


@cache
def claims(default: DefaultId, settlement: AssetId) -> Account:
    """Contra of all claims of the event."""
    return Account(f"defaults/{default}/claims", settlement, Side.DEBIT, Limit.CREDITS_MUST_NOT_EXCEED_DEBITS)


@cache
def account_claim(key: AccountKey, settlement: AssetId) -> Account:
    """A haircut winner's claim on recoveries."""
    return Account(f"{_account(key)}/claim", settlement, limit=NEVER_NEGATIVE)


@cache
def member_claim(member: MemberId, settlement: AssetId) -> Account:
    """A contributing or answering member's claim on recoveries."""
    return Account(f"members/{member}/claim", settlement, limit=NEVER_NEGATIVE)


@cache
def house_claim(tier: int, settlement: AssetId) -> Account:
    """The house's claim on recoveries for a tier that was its own money."""
    return Account(f"house/claims/{tier}", settlement, limit=NEVER_NEGATIVE)


@cache
def recoveries(default: DefaultId, settlement: AssetId) -> Account:
    """Recovered and not yet distributed."""
    return Account(f"defaults/{default}/recoveries", settlement, limit=NEVER_NEGATIVE)


@cache
def uncovered(default: DefaultId, settlement: AssetId) -> Account:
    """What no tier could pay."""
    return Account(
        f"defaults/{default}/uncovered", settlement, Side.DEBIT, Limit.CREDITS_MUST_NOT_EXCEED_DEBITS
    )


def counts_lots(path: str) -> bool:
    """Whether an account counts lots of an instrument; all others count an asset."""
    return path.rpartition("/")[2] in (Line.NOVATION.value, "position")


@cache
def holder(path: str) -> tuple[AccountKey, str] | None:
    """The clearing account and the last path element, if ``path`` belongs to a clearing account."""
    parts = path.split("/")
    if len(parts) == 5 and parts[0] == "members" and parts[2] == "accounts":
        return AccountKey(f"{parts[1]}/{parts[3]}"), parts[4]
    return None


@cache
def line_of(path: str) -> tuple[Line, str]:
    """The line on which ``path`` stands, and whose it is there: the key of the account, or the id of the member,
    withdrawal or default; empty for what is the house's own. Raises ``ValueError`` for a path that is on no line.
    """
    if (held := holder(path)) is not None:
        return Line(f"members/{{m}}/accounts/{{a}}/{held[1]}"), held[0]
    match path.split("/"):
        case ["members", member, what]:
            return Line(f"members/{{m}}/{what}"), member
        case ["withdrawals", *names]:
            return Line.WITHDRAWAL, "/".join(names)
        case ["defaults", default, "members", _, what]:
            return Line(f"defaults/{{d}}/members/{{m}}/{what}"), default
        case ["defaults", default, what]:
            return Line(f"defaults/{{d}}/{what}"), default
        case ["house", "claims", _]:
            return Line.HOUSE_CLAIM, ""
        case _:
            return Line(path), ""


def _account(key: AccountKey) -> str:
    member, account = key.split("/", 1)
    return f"members/{member}/accounts/{account}"


def pattern_of(line: Line, member: str = "*") -> str:
    """The path of all accounts on a line, of one member or of all, with * for any part between slashes."""
    parts = line.value.replace("{m}", member).split("/")
    return "/".join("*" if part.startswith("{") else part for part in parts)
