"""What netting sets must hold and what they hold: by set, account, member, asset, and by house and client (§8-§9, §14).

Rules kept here:

1. The figures of a set are those of an attestation of the same state (``margin/assess.measured_sets``), so their sums
   are its margin required, its margin held and its netting.
2. What an account brings of the requirement of its set is Euler's attribution (``margin/explain``): the parts of a set
   sum exactly to its requirement, so the sums by account, by member and by house and client are all the same.
3. A set that was closed out is not margined, and is not here.
4. Who sees one of the accounts of a link sees the figures of the link, as it does when it asks for its margin, and of
   the accounts only its own.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from clearing import chart
from clearing.margin.assess import (
    Holding,
    Measured,
    after_haircut,
    assess,
    health_of,
    holdings,
    market_value,
    measured_sets,
    option_value,
    portfolio_of,
    price_of_asset,
)
from clearing.margin.explain import shares
from clearing.margin.table import MODELS
from clearing.model.codec import encode
from clearing.model.house import House, ordered
from clearing.model.ids import AccountKey, AssetId, member_of
from clearing.model.kinds import Kind
from clearing.model.values import AccountKind
from clearing.reports import figures, sources
from clearing.reports.document import Chart, Column, Drawing, Measure, Row, Table
from clearing.reports.facts import ACCOUNT_KINDS, CHARTER_KINDS, newest, put_by
from clearing.reports.reading import Reading, shows_account, shows_set
from ledger.entry import Json
from ledger.require import InvariantViolated

MODEL, TOTALS, SETS, ACCOUNTS, POSTED = "model", "totals", "netting_sets", "accounts", "collateral"
BY_KIND, BY_MEMBER, BY_ASSET = "house_and_client", "members", "assets"
OPTION_VALUE = "net_option_value"
MODEL_PARAMETERS = (
    "requirement_bp",
    "offset_cap_bp",
    "basis_floor_bp",
    "short_option_bp",
    "tail_bp",
    "stress_weight_bp",
    "impact_bp",
    "free_volume_bp",
    "scan_ranges",
    "offsets",
    "liquidity",
)
"""The parameters on which a requirement depends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What an account holds of an asset other than cash, and what of that counts."""

    asset: AssetId
    amount_minor: int
    market_minor: int
    counted_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An account of a living netting set: what it holds, brings of the requirement, and would need alone."""

    account: AccountKey
    kind: AccountKind
    requirement_minor: int
    standalone_minor: int
    cash_minor: int
    option_value_minor: int
    posted: tuple[Posted, ...] = field(default=())

    @property
    def collateral_minor(self) -> int:
        """What its collateral counts after haircut."""
        return sum(one.counted_minor for one in self.posted)

    @property
    def equity_minor(self) -> int:
        """Its part of the equity of its set."""
        return self.cash_minor + self.collateral_minor + self.option_value_minor


def build(reading: Reading) -> Iterator[Table]:
    """The model, the sets, their accounts, and the sums of both."""
    house = reading.house
    measured = [one for one in measured_sets(house) if shows_set(reading, one.netting_set)]
    standing = [
        one for row in measured for one in standings_of(house, row) if shows_account(reading, one.account)
    ]
    yield Table(
        id=MODEL, title="Margin model", columns=(Column("value", "Value"),), rows=_model(reading, house)
    )
    yield _totals(house, measured)
    yield _sets(reading, house, measured)
    yield _accounts(reading, house, standing)
    yield _posted(house, standing)
    yield _grouped(house, standing, BY_KIND, "By house and client", lambda one: one.kind.value)
    yield _grouped(house, standing, BY_MEMBER, "By member", lambda one: member_of(one.account))
    yield _by_asset(house, standing)


def standings_of(house: House, measured: Measured) -> Iterator[Standing]:
    """How each account of a measured netting set stands."""
    accounts = house.netting_sets[measured.netting_set].accounts
    brought = {accounts[0]: (measured.requirement_minor, measured.standalone_minor)}
    if len(accounts) > 1:
        found = shares(house, assess(house, measured.netting_set))
        brought = {one.account: (one.contribution_minor, one.standalone_minor) for one in found}
    for key in accounts:
        requirement, alone = brought[key]
        yield Standing(
            account=key,
            kind=house.accounts[key].kind,
            requirement_minor=requirement,
            standalone_minor=alone,
            cash_minor=house.cash(key),
            option_value_minor=sum(option_value(house, *one) for one in sorted(house.positions(key).items())),
            posted=tuple(posted_by(house, accounts, key)),
        )


def posted_by(house: House, accounts: Sequence[AccountKey], key: AccountKey) -> Iterator[Posted]:
    """What an account of the netting set of ``accounts`` posted, by asset; the token of one of their members counts
    nothing.
    """
    members = set(map(member_of, accounts))
    counted = {one.asset.id: one for one in holdings(house, (key,)) if one.asset.issuer not in members}
    for asset in ordered(house.assets):
        amount = 0 if asset.id == house.settlement else house.balance(chart.collateral(key, asset.id))
        if amount:
            yield Posted(
                asset=asset.id,
                amount_minor=amount,
                market_minor=market_value(house, asset, amount),
                counted_minor=_counted(house, counted.get(asset.id)),
            )


def _counted(house: House, held: Holding | None) -> int:
    return 0 if held is None else after_haircut(held, price_of_asset(house, held.asset))


# --- the model -----------------------------------------------------------------------------------------


def _model(reading: Reading, house: House) -> Iterator[Row]:
    """Name, version and parameters of the model, and the market that it looked at."""
    model, parameters = MODELS[house.parameters.margin_model], encode(house.parameters)
    if not isinstance(parameters, dict):
        raise InvariantViolated("parameters are encoded by name")
    charter = sources.entries(put_by(reading, "charter", *CHARTER_KINDS)[""][-1:])
    stated = "" if house.attestation is None else sources.attestation(house.attestation.sequence)
    yield Row("name", (model.name,), charter)
    yield Row("version", (model.version,), sources.joined(sources.figure(MODEL, "name"), stated))
    yield Row("parameters_version", (str(house.founded.parameters_version),), charter)
    for name in MODEL_PARAMETERS:
        yield Row(name, (_said(parameters[name]),), charter)
    yield Row("instruments", (str(len(house.instruments)),), sources.kind(Kind.INSTRUMENT_LISTED))
    yield Row(
        "assets",
        (str(len(house.assets)),),
        sources.joined(sources.kind(Kind.HOUSE_FOUNDED), sources.kind(Kind.ASSET_LISTED)),
    )
    if house.cycle is not None:
        snapshot = sources.entries(newest(reading, Kind.SNAPSHOT_ACCEPTED))
        yield Row("cycle", (str(house.cycle.number),), snapshot)
        yield Row("marks_of", (figures.time(house.cycle.accepted_ms),), snapshot)
    if model.looks_back:
        days = sources.joined(sources.kind(Kind.DAY_ENDED), sources.kind(Kind.HISTORY_IMPORTED))
        yield Row("days_of_history", (str(len(house.daily_moves)),), days)


def _said(value: Json) -> str:
    """A parameter as the journal has it; a list as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


# --- totals and netting sets ---------------------------------------------------------------------------


def _totals(house: House, measured: Sequence[Measured]) -> Table:
    """The sums that an attestation states, over the sets in the report."""
    required = sum(one.requirement_minor for one in measured)
    alone = sum(one.standalone_minor for one in measured)
    short = [one.requirement_minor - one.equity_minor for one in measured if _excess(one) < 0]
    sums = {
        "margin_required": required,
        "margin_held": sum(one.equity_minor for one in measured),
        "shortfall": sum(short),
        "standalone": alone,
        "netting_benefit": alone - required,
    }
    rows = [Row(name, (figures.money(house, sums[name]), ""), sources.figure(SETS)) for name in sums]
    benefit = figures.percent(alone - required, alone)
    rows[-1] = Row(rows[-1].field, (rows[-1].cells[0], benefit), rows[-1].source)
    return Table(
        id=TOTALS,
        title="Totals",
        columns=(
            figures.in_settlement(house, "amount", "Amount"),
            Column("share", "Share of standalone", Measure.PERCENT),
        ),
        rows=rows,
        note="Shortfall is the sum over the sets that do not meet their requirement; what others have to spare does "
        "not count against it.",
    )


def _excess(measured: Measured) -> int:
    return measured.equity_minor - measured.requirement_minor


def _sets(reading: Reading, house: House, measured: Sequence[Measured]) -> Table:
    names = {
        "cash": "Cash",
        "collateral": "Collateral after haircut",
        "option_value": "Net option value",
        "equity": "Held (equity)",
        "maintenance": "Maintenance",
        "requirement": "Requirement",
        "excess": "Excess",
        "shortfall": "Shortfall",
        "standalone": "Sum of the accounts alone",
        "benefit": "Netting benefit",
    }
    chart_of = Chart(Drawing.BARS, "Requirement, and without netting", "field", ("standalone", "requirement"))
    return Table(
        id=SETS,
        title="Netting sets",
        columns=(
            Column("participant", "Participant"),
            Column("accounts", "Accounts", Measure.COUNT),
            Column("health", "Health"),
            *(figures.in_settlement(house, name, title) for name, title in names.items()),
            Column("benefit_share", "Netting benefit, share of alone", Measure.PERCENT),
        ),
        rows=(_set(reading, house, one) for one in measured),
        charts=(chart_of,),
    )


def _set(reading: Reading, house: House, measured: Measured) -> Row:
    row, portfolio = house.netting_sets[measured.netting_set], portfolio_of(house, measured.netting_set)
    requirement, alone, excess = measured.requirement_minor, measured.standalone_minor, _excess(measured)
    amounts = (
        portfolio.cash_minor,
        portfolio.collateral_minor,
        portfolio.option_value_minor,
        measured.equity_minor,
        measured.maintenance_minor,
        requirement,
        max(0, excess),
        max(0, -excess),
        alone,
        alone - requirement,
    )
    cells = (
        row.participant,
        str(len(row.accounts)),
        health_of(measured.equity_minor, measured.maintenance_minor, requirement).value,
        *(figures.money(house, amount) for amount in amounts),
        figures.percent(alone - requirement, alone),
    )
    own = [key for key in row.accounts if shows_account(reading, key)]
    hidden = (
        "" if len(own) == len(row.accounts) else sources.outside("the accounts of the link at other members")
    )
    behind = (sources.figure(ACCOUNTS, key) for key in own)
    return Row(row.id, cells, sources.joined(sources.figure(MODEL), *behind, hidden))


# --- accounts and what they hold -----------------------------------------------------------------------


def _accounts(reading: Reading, house: House, standing: Sequence[Standing]) -> Table:
    opened = put_by(reading, "accounts", *ACCOUNT_KINDS)
    return Table(
        id=ACCOUNTS,
        title="Accounts",
        columns=(
            Column("member", "Member"),
            Column("kind", "House or client"),
            Column("netting_set", "Netting set"),
            *_amounts(house),
            figures.in_settlement(house, "standalone", "Requirement alone"),
        ),
        rows=(_account(house, one, opened[one.account]) for one in standing),
        note="Requirement is what the positions of the account bring of that of its netting set.",
    )


def _account(house: House, one: Standing, opened: Iterable[int]) -> Row:
    row = house.accounts[one.account]
    cells = (row.member, one.kind.value, row.netting_set, *_summed(house, [one]))
    cash = chart.cash(one.account, house.settlement)
    positions = (
        chart.position(one.account, instrument) for instrument in sorted(house.positions(one.account))
    )
    source = sources.joined(
        sources.figure(MODEL),
        sources.about("cash", sources.account(cash.path, cash.unit)),
        *(
            sources.about("collateral", sources.figure(POSTED, f"{one.account}:{posted.asset}"))
            for posted in one.posted
        ),
        *(sources.account(position.path, position.unit) for position in positions),
        sources.about("netting_set", sources.entries(opened)),
    )
    return Row(one.account, (*cells, figures.money(house, one.standalone_minor)), source)


def _posted(house: House, standing: Sequence[Standing]) -> Table:
    return Table(
        id=POSTED,
        title="Collateral by account and asset",
        columns=(
            Column("account", "Account"),
            Column("kind", "House or client"),
            Column("asset", "Asset"),
            Column("amount", "Amount", Measure.AMOUNT),
            figures.in_settlement(house, "market_value", "Market value"),
            figures.in_settlement(house, "counted", "Value after haircut"),
        ),
        rows=(_posting(house, one, posted) for one in standing for posted in one.posted),
        note="Cash, which is the settlement asset, stands in the table of the accounts. The field is ACCOUNT:ASSET.",
    )


def _posting(house: House, one: Standing, posted: Posted) -> Row:
    cells = (
        one.account,
        one.kind.value,
        posted.asset,
        figures.asset_amount(house, posted.asset, posted.amount_minor),
        figures.money(house, posted.market_minor),
        figures.money(house, posted.counted_minor),
    )
    ledger = chart.collateral(one.account, posted.asset)
    source = sources.joined(sources.account(ledger.path, ledger.unit), sources.figure(MODEL, "marks_of"))
    return Row(f"{one.account}:{posted.asset}", cells, source)


# --- sums ----------------------------------------------------------------------------------------------


def _amounts(house: House) -> tuple[Column, ...]:
    return (
        figures.in_settlement(house, "requirement", "Requirement"),
        figures.in_settlement(house, "cash", "Cash"),
        figures.in_settlement(house, "collateral", "Collateral after haircut"),
        figures.in_settlement(house, "option_value", "Net option value"),
        figures.in_settlement(house, "equity", "Held (equity)"),
    )


def _summed(house: House, standing: Sequence[Standing]) -> tuple[str, ...]:
    sums = (
        sum(one.requirement_minor for one in standing),
        sum(one.cash_minor for one in standing),
        sum(one.collateral_minor for one in standing),
        sum(one.option_value_minor for one in standing),
        sum(one.equity_minor for one in standing),
    )
    return tuple(figures.money(house, amount) for amount in sums)


def _grouped(
    house: House, standing: Sequence[Standing], table: str, title: str, group: Callable[[Standing], str]
) -> Table:
    """The sums of the accounts by what ``group`` says of each."""
    groups: dict[str, list[Standing]] = {}
    for one in standing:
        groups.setdefault(group(one), []).append(one)
    source = sources.figure(ACCOUNTS)
    rows = [
        Row(name, (str(len(groups[name])), *_summed(house, groups[name])), source) for name in sorted(groups)
    ]
    columns = (Column("accounts", "Accounts", Measure.COUNT), *_amounts(house))
    return Table(id=table, title=title, columns=columns, rows=rows)


def _by_asset(house: House, standing: Sequence[Standing]) -> Table:
    """What is held as margin, by asset; with the value of options the counted values sum to the margin held."""
    columns = (
        Column("amount", "Amount", Measure.AMOUNT),
        figures.in_settlement(house, "market_value", "Market value"),
        figures.in_settlement(house, "house", "Value after haircut, house accounts"),
        figures.in_settlement(house, "client", "Value after haircut, client accounts"),
        figures.in_settlement(house, "counted", "Value after haircut"),
    )
    return Table(id=BY_ASSET, title="By asset", columns=columns, rows=_assets(house, standing))


def _assets(house: House, standing: Sequence[Standing]) -> Iterator[Row]:
    cash = [(one.kind, one.cash_minor) for one in standing]
    held = sum(amount for _, amount in cash)
    accounts = sources.figure(ACCOUNTS)
    yield _asset(house, house.settlement, figures.money(house, held), held, cash, accounts)
    for asset in ordered(house.assets):
        found = [(one.kind, row) for one in standing for row in one.posted if row.asset == asset.id]
        if found:
            amount = figures.asset_amount(house, asset.id, sum(row.amount_minor for _, row in found))
            market = sum(row.market_minor for _, row in found)
            counted = [(kind, row.counted_minor) for kind, row in found]
            yield _asset(house, asset.id, amount, market, counted, sources.figure(POSTED))
    options = [(one.kind, one.option_value_minor) for one in standing]
    yield _asset(house, OPTION_VALUE, "", sum(value for _, value in options), options, accounts)


def _asset(
    house: House,
    name: str,
    amount: str,
    market_minor: int,
    counted: list[tuple[AccountKind, int]],
    source: str,
) -> Row:
    by_kind = [sum(value for kind, value in counted if kind is wanted) for wanted in AccountKind]
    values = (market_minor, *by_kind, sum(by_kind))
    return Row(name, (amount, *(figures.money(house, value) for value in values)), source)
