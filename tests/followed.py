"""What reports are checked against: balances summed from the legs by hand, and sources followed to what they name.

Besides the stories there is a book with what makes margin hard: a link over two members that hedges, a size that the
market does not take in a day, an option, collateral above its limit, a withdrawal that waits and calls.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache

from clearing.attest.figures import compute, statement_of
from clearing.attest.statement import Journal, Statement
from clearing.model.commands import AdmitMember, ListAsset, ListInstrument, RequestWithdrawal
from clearing.model.house import House
from clearing.model.ids import AssetId, MemberId, account_key
from clearing.model.kinds import Kind
from clearing.model.values import Liquidity, Right
from clearing.reports.document import Table
from clearing.reports.sources import Origin, answered, between, parse, sequences
from tests.builders import (
    ALICE,
    BOB,
    BTC,
    ETH,
    ETH_PERP,
    ETHER,
    USD,
    USDC,
    World,
    contribute,
    empty_house,
    fund,
    link,
    size_pool,
    with_provider,
)
from tests.readings import WorldReading, built, reading
from tests.stories import a_long_life, the_end_of_a_house
from tests.unit.test_options import CALL, OPTION_PARAMETERS, option

DEX, OTHER = MemberId("dex"), MemberId("other")
ALICE_THERE, CAROL = account_key(OTHER, "alice"), account_key(OTHER, "carol")
CROWDED = AssetId("CRWD")
WHOLE = 10**18


@cache
def a_linked_book() -> World:
    """Alice is long bitcoin at dex and short ether at other, as one set; bob and carol stand against her."""
    thin = (Liquidity(underlying=BTC, daily_volume_minor=10_000 * USD),)
    world = empty_house(replace(OPTION_PARAMETERS, liquidity=thin, auction_ms=30_000))
    world.ok(ListInstrument(instrument=option(CALL, Right.CALL)))
    crowded = replace(
        ETHER,
        id=CROWDED,
        concentration_minor=10 * WHOLE,
        concentration_haircut_bp=5_000,
        issuer=MemberId("desk"),
    )
    world.ok(ListAsset(asset=crowded))
    for member in (DEX, OTHER):
        world.ok(AdmitMember(member=member, name=f"The {member}"))
    with_provider(world)
    for at, name, cash in (("dex", "alice", 3_000), ("dex", "bob", 20_000), ("other", "carol", 9_000)):
        world.deposit(world.account(at, name), cash * USD)
    world.account("other", "alice")
    world.deposit(ALICE, 2 * WHOLE, ETH)
    world.deposit(ALICE_THERE, 12 * WHOLE, CROWDED)
    world.deposit(account_key(MemberId("desk"), "provider"), WHOLE, CROWDED)
    fund(
        world, capital=500 * USD, skin_in_the_game=50 * USD, second_tranche=20 * USD, insurance_fund=10 * USD
    )
    world.prices(BTC=80_000, ETH=2_000, BTCVOL=6_000)
    size_pool(world)
    contribute(world, dex=100 * USD, other=100 * USD)
    link(world, "alice", ALICE, ALICE_THERE)
    assert world.trade(ALICE, BOB, 1_000, 80_100).accepted
    assert world.trade(CAROL, ALICE_THERE, 2_000, 2_000, ETH_PERP).accepted
    assert world.trade(BOB, account_key(DEX, "alice"), 10, 5_483, CALL).accepted
    world.ok(RequestWithdrawal(withdrawal="w1", account=CAROL, asset=USDC, amount_minor=5 * USD))
    world.prices(BTC=79_000, ETH=2_010, BTCVOL=6_000)
    world.wait(24 * 3_600_000)
    world.prices(BTC=78_000, ETH=2_030, BTCVOL=6_100)
    assert world.trade(BOB, ALICE, 10, 78_010).accepted
    world.prices(BTC=38_500, ETH=2_100, BTCVOL=6_100)
    world.prices(BTC=38_400, ETH=2_100, BTCVOL=6_100)
    return world


WORLDS = {
    "a long life": cache(a_long_life),
    "the end of a house": cache(the_end_of_a_house),
    "a linked book": a_linked_book,
}


def prefixes(world: World) -> list[int]:
    """How many entries there are after the first cycle, some later ones and the last, and in all."""
    closed = [number + 1 for number, one in enumerate(world.entries) if one.kind == Kind.CYCLE_CLOSED]
    return [closed[0], closed[len(closed) // 3], closed[2 * len(closed) // 3], closed[-1], len(world.entries)]


def balances(world: World, as_of: int) -> dict[tuple[str, str], int]:
    """Credits less debits of each account, by path and unit."""
    found: dict[tuple[str, str], int] = {}
    for entry in world.entries[:as_of]:
        for leg in entry.legs:
            place = leg.account.path, leg.account.unit
            found[place] = found.get(place, 0) - leg.amount
    return found


def summed(amounts: Mapping[tuple[str, str], int], path: str, unit: str) -> int:
    """What the accounts of a pattern have together."""
    return sum(amount for (one, of), amount in amounts.items() if of == unit and matches(path, one))


def matches(pattern: str, path: str) -> bool:
    """Whether ``path`` is one of a pattern, in which * stands for any part."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[^/]+"), path) is not None


def steps(text: str, decimals: int = 6) -> int:
    """A decimal string in its smallest units."""
    return int(Decimal(text or "0").scaleb(decimals))


def total(rows: Iterable[Mapping[str, str]], column: str, decimals: int = 6) -> int:
    """The sum of a column."""
    return sum(steps(row[column], decimals) for row in rows)


def stated(house: House) -> Statement:
    """What an attestation of this state would say."""
    journal = Journal(
        origin="h/journal", tree_size=house.size, root_hash=bytes(32), previous_tree_size=0, consistency=()
    )
    return statement_of(house, "h", journal, compute(house, journal, bytes(32)))


def require_followed(report: str, read_from: WorldReading) -> list[Table]:
    """Every row has a source, and whatever one names is there."""
    tables = built(report, read_from)
    fields = {table.id: {row.field for row in table.rows} for table in tables}
    for table in tables:
        columns = {"", *(column.id for column in table.columns)}
        for row in table.rows:
            terms = parse(row.source)
            assert terms, f"{report} {table.id} {row.field} has no source"
            for term in terms:
                assert term.column in columns, row
                _follow(term.origin, term.said, read_from, fields)
    return tables


def _follow(origin: Origin, said: str, read_from: WorldReading, fields: Mapping[str, set[str]]) -> None:
    match origin:
        case Origin.ENTRIES:
            assert all(run.stop <= read_from.as_of for run in sequences(said)), said
        case Origin.KIND:
            _, first, last = between(said)
            assert first <= (read_from.as_of - 1 if last is None else last) < read_from.as_of, said
        case Origin.ACCOUNT:
            path, unit = said.rsplit(" ", 1)
            house, own = read_from.house, read_from.members
            assert unit in house.assets or unit in house.instruments, said
            parts = path.split("/")
            assert own is None or (parts[0] in ("members", "withdrawals") and parts[1] != "*"), said
            assert own is None or parts[0] != "members" or parts[1] in own, said
        case Origin.ANSWERS:
            assert answered(said), said
        case Origin.FIGURE:
            table, _, field = said.partition(" ")
            assert table in fields, said
            assert not field or field in fields[table], said
        case Origin.ATTESTATION:
            newest = read_from.house.attestation
            assert newest is not None, said
            assert int(said) <= newest.sequence, said
        case Origin.OUTSIDE:
            assert said


def text_of(tables: Iterable[Table]) -> str:
    """All that a report says, in one text."""
    return "\n".join(" ".join((row.field, *row.cells, row.source)) for table in tables for row in table.rows)


def everything(world: World, as_of: int | None = None) -> WorldReading:
    """A reading for who sees all."""
    return reading(world, as_of)


def part(world: World, member: str, as_of: int | None = None) -> WorldReading:
    """A reading for one member."""
    return reading(world, as_of, members=frozenset({MemberId(member)}))
