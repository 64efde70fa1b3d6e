"""How old a price may be for what it is used for (rulebook §6): every use has its own rule.

What cannot be taken back asks for the freshest price, what lowers risk takes an older one rather than none:

1. SETTLE: an observation, to become part of a mark; variation margin is settled in the moment a mark is made.
2. WITHDRAW: the marks of the newest snapshot, for money to leave.
3. TRADE: for new risk to come in. A reducing trade is taken at any mark, in an outage too.
4. LIQUIDATE: for calls to expire, and for liquidations and the undoing of links to go on.
5. ATTEST: for a cycle to be attested, and its attestation to be taken for current.

In an outage a snapshot serves none of these but the last, however young it is.
"""

from enum import Enum

from clearing.market.outage import outage_of
from clearing.model.house import House
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import Parameters


class Use(Enum):
    """What a price is wanted for."""

    SETTLE = "settle"
    TRADE = "trade"
    WITHDRAW = "withdraw"
    LIQUIDATE = "liquidate"
    ATTEST = "attest"


def age_max_ms(parameters: Parameters, use: Use) -> int:
    """The greatest age at which a price still serves ``use``."""
    return {
        Use.SETTLE: parameters.observation_validity_ms,
        Use.TRADE: parameters.trade_validity_ms,
        Use.WITHDRAW: parameters.withdraw_validity_ms,
        Use.LIQUIDATE: parameters.mark_validity_ms,
        Use.ATTEST: parameters.attest_validity_ms,
    }[use]


def why_not(house: House, use: Use, now_ms: int) -> Rejected | None:
    """Why the marks of the newest snapshot do not serve ``use``, or None when they do."""
    outage = None if use is Use.ATTEST else outage_of(house, now_ms)
    if outage is not None:
        return Rejected(Reason.OUTAGE, f"since {outage.began_ms}")
    if house.cycle is None:
        return Rejected(Reason.MARK_STALE, "there is no mark yet")
    age_ms, most_ms = now_ms - house.cycle.accepted_ms, age_max_ms(house.parameters, use)
    if age_ms > most_ms:
        return Rejected(Reason.MARK_STALE, f"{age_ms} ms old, at most {most_ms} to {use.value}")
    return None


def usable(house: House, use: Use, now_ms: int) -> bool:
    """Whether the marks of the newest snapshot serve ``use``."""
    return why_not(house, use, now_ms) is None
