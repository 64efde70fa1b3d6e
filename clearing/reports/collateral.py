"""Collateral by asset, whose it is and what it counts; and that custody holds all: nothing is invested (§3, §14).

Rules kept here:

1. What members have with the house stands in three lines of the chart: cash, collateral, and what is held for a
   withdrawal. Who sees a part of the house sees that part.
2. Value is at the newest mark, and counts after haircut as in equity (rulebook §8): what a participant posted above the
   limit of an asset has the higher haircut, and a token of a member of the set counts nothing.
3. For every asset custody holds what members are owed, the house's own funds and what is on its way through a default,
   less what is owed to the house. Each account of the ledger stands in one line of that sum. The ledger has no line for
   an asset that is invested, lent or pledged: what custody does not hold would show as a difference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from clearing import chart
from clearing.chart import Line, line_of
from clearing.margin.assess import price_of_asset, value_at
from clearing.margin.owners import accounts_by_owner
from clearing.model import units
from clearing.model.house import House, ordered
from clearing.model.ids import AccountKey, AssetId, member_of
from clearing.model.kinds import Kind
from clearing.model.values import AccountKind, Asset
from clearing.reports import figures, sources
from clearing.reports.document import Chart, Column, Drawing, Measure, Row, Table
from clearing.reports.facts import newest, put_by, seen_members
from clearing.reports.margin import Posted, posted_by
from clearing.reports.reading import Reading, shows, shows_account
from ledger.account import Account

ASSETS, ACCOUNTS, TERMS, LIMITS = "assets", "accounts", "terms", "limits"
RECONCILIATION, INVESTMENTS = "reconciliation", "investments"


class Side(Enum):
    """What a line of the chart is in the sum that custody has to hold."""

    MEMBERS = "owed to members"
    OWN = "own funds of the house"
    DEFAULTS = "in defaults"
    CUSTODY = "held in custody"
    LOTS = "lots"


SIDES: Mapping[Line, Side] = {
    Line.CASH: Side.MEMBERS,
    Line.COLLATERAL: Side.MEMBERS,
    Line.WITHDRAWAL: Side.MEMBERS,
    Line.POOL: Side.MEMBERS,
    Line.CAPITAL: Side.OWN,
    Line.SKIN_IN_THE_GAME: Side.OWN,
    Line.SECOND_TRANCHE: Side.OWN,
    Line.INSURANCE_FUND: Side.OWN,
    Line.FEES: Side.OWN,
    Line.NON_DEFAULT_LOSSES: Side.OWN,
    Line.ASSESSMENT: Side.DEFAULTS,
    Line.LOSS: Side.DEFAULTS,
    Line.CLAIMS: Side.DEFAULTS,
    Line.ACCOUNT_CLAIM: Side.DEFAULTS,
    Line.MEMBER_CLAIM: Side.DEFAULTS,
    Line.HOUSE_CLAIM: Side.DEFAULTS,
    Line.RECOVERIES: Side.DEFAULTS,
    Line.UNCOVERED: Side.DEFAULTS,
    Line.CUSTODY: Side.CUSTODY,
    Line.POSITION: Side.LOTS,
    Line.NOVATION: Side.LOTS,
}
_PATTERNS: Mapping[Line, tuple[str, ...]] = {line: (chart.pattern_of(line),) for line in Line} | {
    Line.WITHDRAWAL: (chart.pattern_of(Line.WITHDRAWAL), f"{chart.pattern_of(Line.WITHDRAWAL)}/*/*")
}
"""The paths of all accounts of a line, for a source: the id of a withdrawal may begin with its account."""


@dataclass(frozen=True, slots=True)
class Held:
    """What an account of a member has of an asset; of the settlement asset it is cash, and may be negative."""

    account: AccountKey
    kind: AccountKind
    posted: Posted


def build(reading: Reading) -> Iterator[Table]:
    """What is held, by asset and by account; for who sees everything the limits and where all of it is."""
    house = reading.house
    held, marks = list(held_of(reading, house)), sources.entries(newest(reading, Kind.SNAPSHOT_ACCEPTED))
    yield _terms(reading, house, marks)
    yield _assets(reading, house, held)
    yield _accounts(house, held, marks)
    if reading.members is None:
        yield _limits(house)
        yield _reconciliation(house)
        yield _investments(house)


def held_of(reading: Reading, house: House) -> Iterator[Held]:
    """What the accounts in the report have, by account and asset; an account that was closed out too."""
    for row in ordered(house.accounts):
        if not shows_account(reading, row.key):
            continue
        if cash := house.cash(row.key):
            posted = Posted(asset=house.settlement, amount_minor=cash, market_minor=cash, counted_minor=cash)
            yield Held(row.key, row.kind, posted)
        for posted in posted_by(house, house.netting_sets[row.netting_set].accounts, row.key):
            yield Held(row.key, row.kind, posted)


# --- assets --------------------------------------------------------------------------------------------


def _terms(reading: Reading, house: House, marks: str) -> Table:
    """On which terms each asset is taken."""
    columns = (
        figures.in_settlement(house, "price", "Price of one whole unit"),
        Column("haircut", "Haircut", Measure.PERCENT),
        Column("limit", "Concentration limit of a participant", Measure.AMOUNT),
        Column("haircut_beyond", "Haircut above the limit", Measure.PERCENT),
        Column("issuer", "Member that issued it"),
    )
    listed = put_by(reading, "assets", Kind.HOUSE_FOUNDED, Kind.ASSET_LISTED)
    rows = (_term(house, asset, listed.get(asset.id, []), marks) for asset in ordered(house.assets))
    return Table(id=TERMS, title="Terms of the assets", columns=columns, rows=rows)


def _term(house: House, asset: Asset, listed: list[int], marks: str) -> Row:
    is_cash, price = asset.id == house.settlement, price_of_asset(house, asset)
    whole = 10**asset.decimals
    has_limit = asset.concentration_minor > 0
    cells = (
        figures.money(house, value_at(asset, whole, price)) if price and not is_cash else "",
        figures.basis_points(asset.haircut_bp),
        figures.asset_amount(house, asset.id, asset.concentration_minor) if has_limit else "",
        figures.basis_points(asset.concentration_haircut_bp) if has_limit else "",
        asset.issuer or "",
    )
    source = sources.joined(sources.entries(listed), "" if is_cash else sources.about("price", marks))
    return Row(asset.id, cells, source)


def _assets(reading: Reading, house: House, held: list[Held]) -> Table:
    """What is held of each asset, for house and client accounts, and what it counts."""
    columns = (
        Column("house", "Held for house accounts", Measure.AMOUNT),
        Column("client", "Held for client accounts", Measure.AMOUNT),
        Column("withdrawals", "Held for withdrawals", Measure.AMOUNT),
        figures.in_settlement(house, "market_value", "Market value on the accounts"),
        figures.in_settlement(house, "counted", "Value after haircut"),
        Column("share", "Share of the value after haircut", Measure.PERCENT),
    )
    rows = (_asset(reading, house, asset, held) for asset in ordered(house.assets))
    chart_of = Chart(Drawing.BARS, "Value after haircut by asset", "field", ("counted",))
    return Table(
        id=ASSETS,
        title="Collateral by asset",
        columns=columns,
        rows=rows,
        note="Cash is the settlement asset; what accounts owe lowers it.",
        charts=(chart_of,),
    )


def _asset(reading: Reading, house: House, asset: Asset, held: list[Held]) -> Row:
    found = [one for one in held if one.posted.asset == asset.id]
    own, clients = (sum(one.posted.amount_minor for one in found if one.kind is kind) for kind in AccountKind)
    waiting, unit = _waiting(reading, house, asset.id), units.of_asset(asset)
    counted = sum(one.posted.counted_minor for one in found)
    cells = (
        unit.render(own),
        unit.render(clients),
        unit.render(sum(amount for _, amount in waiting)),
        figures.money(house, sum(one.posted.market_minor for one in found)),
        figures.money(house, counted),
        figures.percent(counted, sum(one.posted.counted_minor for one in held)),
    )
    behind = (chart.pattern_of(_line_of(house, asset), member) for member in seen_members(reading))
    source = sources.joined(
        *(sources.account(path, asset.id) for path in behind),
        *(sources.about("withdrawals", sources.account(one.path, one.unit)) for one, _ in waiting),
        sources.figure(ACCOUNTS),
        sources.figure(TERMS, asset.id),
    )
    return Row(asset.id, cells, source)


def _line_of(house: House, asset: Asset) -> Line:
    """The line of the chart on which accounts of members hold an asset."""
    return Line.CASH if asset.id == house.settlement else Line.COLLATERAL


def _waiting(reading: Reading, house: House, asset: AssetId) -> list[tuple[Account, int]]:
    """What is held for withdrawals from accounts in the report."""
    rows = [
        one
        for one in ordered(house.withdrawals)
        if one.asset == asset and shows(reading, member_of(house.holder(one.account)))
    ]
    accounts = [chart.withdrawal(one.id, asset) for one in rows]
    return [(account, amount) for account in accounts if (amount := house.balance(account))]


# --- accounts ------------------------------------------------------------------------------------------


def _accounts(house: House, held: list[Held], marks: str) -> Table:
    columns = (
        Column("account", "Account"),
        Column("kind", "House or client"),
        Column("status", "Status"),
        Column("asset", "Asset"),
        Column("amount", "Amount", Measure.AMOUNT),
        figures.in_settlement(house, "market_value", "Market value"),
        figures.in_settlement(house, "haircut_value", "Haircut"),
        figures.in_settlement(house, "counted", "Value after haircut"),
    )
    return Table(
        id=ACCOUNTS,
        title="Collateral by account",
        columns=columns,
        rows=(_held(house, one, marks) for one in held),
        note="The field is ACCOUNT:ASSET.",
    )


def _held(house: House, one: Held, marks: str) -> Row:
    posted, is_cash = one.posted, one.posted.asset == house.settlement
    cells = (
        one.account,
        one.kind.value,
        house.accounts[one.account].status.value,
        posted.asset,
        figures.asset_amount(house, posted.asset, posted.amount_minor),
        figures.money(house, posted.market_minor),
        figures.money(house, posted.market_minor - posted.counted_minor),
        figures.money(house, posted.counted_minor),
    )
    ledger = chart.cash(one.account, posted.asset) if is_cash else chart.collateral(one.account, posted.asset)
    valued = "" if is_cash else sources.joined(marks, sources.figure(TERMS, posted.asset))
    source = sources.joined(sources.account(ledger.path, ledger.unit), valued)
    return Row(f"{one.account}:{posted.asset}", cells, source)


# --- concentration limits ------------------------------------------------------------------------------


def _limits(house: House) -> Table:
    """How far each participant uses the concentration limits, in all its accounts together."""
    columns = (
        Column("participant", "Participant"),
        Column("kind", "House or client"),
        Column("asset", "Asset"),
        Column("posted", "Posted", Measure.AMOUNT),
        Column("limit", "Limit", Measure.AMOUNT),
        Column("use", "Use of the limit", Measure.PERCENT),
        Column("beyond", "Above the limit", Measure.AMOUNT),
    )
    return Table(
        id=LIMITS,
        title="Concentration limits and their use",
        columns=columns,
        rows=_uses(house),
        note="Assets without a limit are not here. The field is KIND:PARTICIPANT:ASSET.",
        charts=(Chart(Drawing.BARS, "Use of the limits", "field", ("use",)),),
    )


def _uses(house: House) -> Iterator[Row]:
    limited = [asset for asset in ordered(house.assets) if asset.concentration_minor]
    owners = sorted(accounts_by_owner(house.accounts).items(), key=lambda one: (one[0][0].value, one[0][1]))
    for (kind, participant), keys in owners:
        for asset in limited:
            accounts = [chart.collateral(key, asset.id) for key in keys if asset.id != house.settlement]
            posted = {account: amount for account in accounts if (amount := house.balance(account))}
            if posted:
                whole, limit = sum(posted.values()), asset.concentration_minor
                amounts = (whole, limit, max(0, whole - limit))
                texts = [figures.asset_amount(house, asset.id, amount) for amount in amounts]
                cells = (
                    participant,
                    kind.value,
                    asset.id,
                    *texts[:2],
                    figures.percent(whole, limit),
                    texts[2],
                )
                behind = (sources.account(account.path, account.unit) for account in posted)
                source = sources.joined(*behind, sources.about("limit", sources.figure(TERMS, asset.id)))
                yield Row(f"{kind.value}:{participant}:{asset.id}", cells, source)


# --- where all of it is --------------------------------------------------------------------------------


def sums_by_line(house: House) -> dict[AssetId, dict[Line, tuple[int, int]]]:
    """For each asset and each line of the chart the sums of debit and of credit balances."""
    sums: dict[AssetId, dict[Line, tuple[int, int]]] = {asset: {} for asset in sorted(house.assets)}
    for account, balance in house.book.debit_balances():
        line = line_of(account.path)[0]
        if SIDES[line] is not Side.LOTS:
            of_asset = sums[AssetId(account.unit)]
            debits, credits = of_asset.get(line, (0, 0))
            of_asset[line] = (debits + max(0, balance), credits + max(0, -balance))
    return sums


def _reconciliation(house: House) -> Table:
    """Line by line what custody has to hold, and what it holds."""
    columns = (
        Column("asset", "Asset"),
        Column("line", "Line of the chart of accounts"),
        Column("side", "What it is"),
        Column("credits", "Owed by the house, or its own", Measure.AMOUNT),
        Column("debits", "Owed to the house, or missing", Measure.AMOUNT),
        Column("net", "To be held", Measure.AMOUNT),
    )
    return Table(
        id=RECONCILIATION,
        title="What custody has to hold, line by line",
        columns=columns,
        rows=_lines(house),
        note="The line of custody itself is what it holds: the sum of all other lines of the asset. The field is "
        "ASSET:LINE.",
    )


def _lines(house: House) -> Iterator[Row]:
    for asset, lines in sums_by_line(house).items():
        for line in SIDES:
            if line in lines:
                debits, credits = lines[line]
                texts = [
                    figures.asset_amount(house, asset, one) for one in (credits, debits, credits - debits)
                ]
                cells = (asset, line.value, SIDES[line].value, *texts)
                source = sources.joined(*(sources.account(path, asset) for path in _PATTERNS[line]))
                yield Row(f"{asset}:{line.value}", cells, source)


def _investments(house: House) -> Table:
    """Per asset what custody holds against what it has to hold; the difference would be invested elsewhere."""
    columns = (
        Column("members", "Owed to members, net", Measure.AMOUNT),
        Column("own", "Own funds of the house", Measure.AMOUNT),
        Column("defaults", "In defaults, net", Measure.AMOUNT),
        Column("to_be_held", "To be held", Measure.AMOUNT),
        Column("in_custody", "Held in custody", Measure.AMOUNT),
        Column("invested", "Held elsewhere or invested", Measure.AMOUNT),
        Column("custodians", "By custodian or address"),
    )
    return Table(
        id=INVESTMENTS,
        title="Investments",
        columns=columns,
        rows=(_investment(house, asset, lines) for asset, lines in sums_by_line(house).items()),
        note="The house invests nothing. What it has to hold and does not hold in custody would be invested, lent or "
        "pledged: it is the difference of both, and the chart of accounts has no line for it.",
    )


def _investment(house: House, asset: AssetId, lines: Mapping[Line, tuple[int, int]]) -> Row:
    net = {line: credits - debits for line, (debits, credits) in lines.items()}
    sides = [
        sum(amount for line, amount in net.items() if SIDES[line] is side)
        for side in (Side.MEMBERS, Side.OWN, Side.DEFAULTS)
    ]
    custody = -net.get(Line.CUSTODY, 0)
    amounts = (*sides, sum(sides), custody, sum(sides) - custody)
    outside = sources.outside("how much each custodian or chain address holds")
    source = sources.joined(
        *(sources.figure(RECONCILIATION, f"{asset}:{line.value}") for line in SIDES if line in lines),
        sources.about("custodians", outside),
    )
    return Row(asset, (*(figures.asset_amount(house, asset, one) for one in amounts), ""), source)
