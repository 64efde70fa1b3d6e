"""What margin and losses are made of, as rows to which the sources of figures refer: by which kinds of entries it comes
into the state. Of accounts only what is asked for is named; terms are the same for everybody.
"""

from collections.abc import Iterator, Mapping

from clearing.default.scenarios import SCENARIOS, Scenario, origin_of
from clearing.model.kinds import Kind
from clearing.reports import sources
from clearing.reports.document import Column, Row
from clearing.reports.facts import ACCOUNT_KINDS, CHARTER_KINDS

COLUMNS = (Column("what", "What"),)

TERMS: Mapping[str, tuple[str, tuple[Kind, ...]]] = {
    "parameters": ("Model and parameters in force", CHARTER_KINDS),
    "instruments": (
        "Instruments, their tick values and last prices",
        (Kind.INSTRUMENT_LISTED, Kind.FUTURE_SETTLED, Kind.OPTION_SETTLED),
    ),
    "history": ("Returns that scenarios of margin are made of", (Kind.DAY_ENDED, Kind.HISTORY_IMPORTED)),
    "sets": (
        "Netting sets and their accounts",
        ACCOUNT_KINDS,
    ),
    "assets": ("Assets: haircuts, limits, and whose token one is", (Kind.HOUSE_FOUNDED, Kind.ASSET_LISTED)),
    "groups": ("Groups of affiliates", (Kind.MEMBER_ADMITTED, Kind.MEMBER_GROUPED)),
    "sizes": (
        "What else the owner of a set holds, for the charge on size",
        (
            Kind.TRADE_NOVATED,
            Kind.FUTURE_SETTLED,
            Kind.OPTION_SETTLED,
            Kind.POSITION_ASSIGNED,
            Kind.POSITIONS_NETTED,
            Kind.BID_AWARDED,
            Kind.POSITIONS_TORN_UP,
            Kind.PORTED,
            Kind.POSITIONS_WOUND_DOWN,
        ),
    ),
    "answering": ("How members answer for sets in default", (Kind.DEFAULT_DECLARED,)),
}


def scenario(one: Scenario, column: str) -> str:
    """Where a stress scenario comes from, which ``column`` says: data outside of the house, or the tokens that members
    issued.
    """
    term = sources.outside(origin_of(one).data) if one in SCENARIOS else sources.kind(Kind.ASSET_LISTED)
    return sources.about(column, term)


def rows(*names: str) -> Iterator[Row]:
    """Those of ``names``, in this order; the field is the name."""
    for name in names:
        what, kinds = TERMS[name]
        yield Row(name, (what,), sources.joined(*(sources.kind(kind) for kind in kinds)))
