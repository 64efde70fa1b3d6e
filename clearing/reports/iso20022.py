"""What reports have in common that are shaped as ISO 20022 messages of central counterparties (auth.055 to auth.068).

Rules kept here (rulebook §14):

1. Each block of a message that repeats is a table, and each occurrence of it is a row. The title of a table is the
   path of the block from the root of the message, the title of a column the path of the element from the block, in the
   tags of the message as they are spelt there; ``../`` leads to the block around it. Ids are made of these paths: lower
   case, ``_`` for ``/`` and for ``/@``, nothing for ``../``, since no tag of these messages has a ``_``:
   ``EndOfDayRqrmnt`` and ``InitlMrgnRqrmnts/Cdt`` are the table ``endofdayrqrmnt`` and its column
   ``initlmrgnrqrmnts_cdt``.
2. An amount is never negative. Where it can be owed either way its sign is in ``Sgn``: ``true`` for plus.
3. An amount has all decimals of the settlement asset, which the unit of its column names; a share is a decimal
   fraction. A message allows five decimals and a currency of three letters: who files it rounds and translates.
4. What a message has room for and the house cannot know stands in the table ``not_computed`` with the input that is
   missing, and is never a zero.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from clearing.model.house import House
from clearing.reports import figures, sources
from clearing.reports.document import Chart, Column, Measure, Row, Table

NOT_COMPUTED = "not_computed"
ISSUER_LENGTH_MAX = 35
"""An ``Issr`` is a Max35Text."""


class Scheme(Enum):
    """SchemeIdentificationType1Code: what an identification names."""

    MARGIN = "MARG"
    COLLATERAL = "COLL"
    POSITION = "POSI"
    MEMBER = "CLIM"


@dataclass(frozen=True, slots=True)
class Missing:
    """An element that is not filled: its path from the root of the message, and the input that is missing."""

    path: str
    missing: str


def id_of(path: str) -> str:
    """The id of the table or the column of a path."""
    return path.replace("../", "").replace("/@", "_").replace("/", "_").lower()


def block(
    root: str,
    path: str,
    columns: tuple[Column, ...],
    rows: Iterable[Row],
    *,
    note: str = "",
    charts: tuple[Chart, ...] = (),
) -> Table:
    """The table of a block of the message ``root``."""
    return Table(id=id_of(path), title=f"{root}/{path}", columns=columns, rows=rows, note=note, charts=charts)


def element(path: str, measure: Measure = Measure.TEXT, unit: str = "") -> Column:
    """The column of an element that is no amount of the settlement asset."""
    return Column(id_of(path), path, measure, unit)


def amount(house: House, path: str) -> Column:
    """The column of an amount, ``ActiveCurrencyAndAmount``."""
    return Column(id_of(path), path, Measure.AMOUNT, house.settlement)


def amount_and_direction(house: House, path: str) -> tuple[Column, Column]:
    """The columns of an amount with its sign, ``AmountAndDirection102``."""
    return amount(house, f"{path}/Amt"), element(f"{path}/Sgn")


def identification(path: str) -> tuple[Column, Column, Column]:
    """The columns of a ``GenericIdentification165``."""
    return element(f"{path}/Id"), element(f"{path}/Issr"), element(f"{path}/SchmeNm")


def named(house: House, name: str, scheme: Scheme) -> tuple[str, str, str]:
    """The cells of what the house calls ``name``."""
    return name, house.founded.house[:ISSUER_LENGTH_MAX], scheme.value


def directed(house: House, amount_minor: int) -> tuple[str, str]:
    """The cells of an amount with its sign; nothing is plus."""
    return figures.money(house, abs(amount_minor)), indicator(amount_minor >= 0)


def indicator(said: bool) -> str:
    """A TrueFalseIndicator or a PlusOrMinusIndicator."""
    return "true" if said else "false"


def not_computed(root: str, missing: Iterable[Missing]) -> Table:
    """What is missing in every message, and in this one."""
    everywhere = (
        Missing(
            "@Ccy", "the ISO 4217 code for the settlement asset, which the authority and the house agree on"
        ),
        Missing("SplmtryData", "what the authority asks for beyond the message"),
    )
    rows = [
        Row(f"{root}/{one.path}", (one.missing,), sources.outside(one.missing))
        for one in (*missing, *everywhere)
    ]
    return Table(
        id=NOT_COMPUTED,
        title="Elements of the message that this system does not compute",
        columns=(Column("missing", "Input that is missing"),),
        rows=rows,
        note="The field of a row is the path of the element. A message has no date and no sender in its body: "
        "both are in the head of this report.",
    )
