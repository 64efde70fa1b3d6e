"""Tables of what a house answered."""

from collections.abc import Iterable, Iterator

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from clearctl.amounts import account_name, grouped, is_zero, own_name, percent, trimmed, word
from clearinghouse.v1 import account_service_pb2 as account_pb
from clearinghouse.v1 import common_pb2 as common
from clearinghouse.v1 import default_service_pb2 as default_pb
from clearinghouse.v1 import house_service_pb2 as house_pb
from clearinghouse.v1 import margin_service_pb2 as margin_pb

_HEALTH_STYLES = {
    margin_pb.HEALTH_HEALTHY: "green",
    margin_pb.HEALTH_CALL: "yellow",
    margin_pb.HEALTH_LIQUIDATION: "red",
    margin_pb.HEALTH_BANKRUPT: "bold red",
}


def unit_of(found: house_pb.GetHouseResponse) -> str:
    """What amounts are in."""
    return own_name(found.house.settlement_asset.name)


def status(found: house_pb.GetHouseResponse) -> Iterator[RenderableType]:
    """The house as a whole."""
    house = found.house
    cycle = "none yet"
    if house.cycle:
        ended = "closed" if house.cycle_closed else "open"
        cycle = f"{house.cycle}, {ended}, prices of {_time(house.cycle_accept_time)}"
    members = f"{house.member_count}, {house.defaulted_member_count} in default"
    if house.suspended_member_count:
        members += f", {house.suspended_member_count} suspended"
    about = Table.grid(padding=(0, 2))
    about.add_row("House", house.house)
    about.add_row("Settles in", f"{unit_of(found)} ({house.settlement_asset.decimals} decimals)")
    about.add_row("Members", members)
    about.add_row("Cycle", cycle)
    about.add_row("Margin model", f"{house.margin_model}, parameters version {house.parameters_version}")
    about.add_row("Journal", f"{found.journal_size:,} entries, root {found.journal_root}")
    about.add_row("Withdrawals", "open" if not house.gates else Text("shut", style="yellow"))
    yield about
    if house.gates:
        yield _gates(house.gates)
    yield _instruments(house)


def _gates(gates: Iterable[house_pb.Gate]) -> Table:
    table = _table("Shut gates", left=("scope", "reason", "since", "opens with"))
    for gate in gates:
        table.add_row(gate.scope, gate.reason, _time(gate.since_time), gate.release)
    return table


def _instruments(house: house_pb.House) -> Table:
    table = _table("Instruments", left=("instrument", "kind"), right=("mark", "tick", "lot", "expires"))
    for row in house.instruments:
        table.add_row(
            own_name(row.name),
            word(house_pb.InstrumentKind.Name(row.kind).removeprefix("INSTRUMENT_")),
            grouped(row.mark_price) if row.mark_price else "none yet",
            row.tick_size,
            row.lot_size,
            _time(row.expire_time) if row.HasField("expire_time") else "",
        )
    return table


def accounts(found: Iterable[account_pb.Account], unit: str) -> Iterator[RenderableType]:
    """One line an account, one more for each further position or collateral asset."""
    table = _table(
        "Accounts",
        left=("account", "of", "netting set"),
        right=(f"cash {unit}", "collateral", "position", "size"),
    )
    for account in found:
        held = [f"{trimmed(row.amount)} {own_name(row.asset)}" for row in account.collateral]
        positions = [(own_name(row.instrument), grouped(row.size)) for row in account.positions]
        name = account_name(account.name)
        if account.status == account_pb.ACCOUNT_STATUS_CLOSED_OUT:
            name += " (closed out)"
        elif account.status == account_pb.ACCOUNT_STATUS_PORTED:
            name += " (ported)"
        first = (name, own_name(account.participant), own_name(account.netting_set), grouped(account.cash))
        for line in range(max(1, len(held), len(positions))):
            table.add_row(
                *(first if line == 0 else ("",) * 4),
                held[line] if line < len(held) else "",
                *(positions[line] if line < len(positions) else ("", "")),
            )
    yield table


def margins(
    found: Iterable[margin_pb.Margin], calls: Iterable[margin_pb.MarginCall], unit: str
) -> Iterator[RenderableType]:
    """Margins, and open calls below if there are any."""
    table = _table(
        f"Margin, in {unit}",
        left=("netting set", "health"),
        right=("equity", "cash", "collateral", "options", "maintenance", "requirement", "alone"),
    )
    for row in found:
        health = Text(word(margin_pb.Health.Name(row.health)), style=_HEALTH_STYLES.get(row.health, ""))
        worth = (row.equity, row.cash, row.collateral, row.net_option_value)
        figures = (*worth, row.maintenance, row.requirement)
        table.add_row(
            own_name(row.netting_set), health, *map(grouped, (*figures, row.standalone_requirement))
        )
    yield table
    open_calls = _table(
        f"Open calls, in {unit}", left=("netting set", "kind", "issued", "due"), right=("amount",)
    )
    for call in calls:
        open_calls.add_row(
            own_name(call.netting_set),
            word(margin_pb.CallKind.Name(call.kind).removeprefix("CALL_")),
            _time(call.issue_time),
            _time(call.due_time),
            grouped(call.amount),
        )
    if open_calls.row_count:
        yield open_calls


def preview(found: margin_pb.PreviewDefaultResponse, unit: str) -> Iterator[RenderableType]:
    """Who would pay."""
    moves = ", ".join(f"{own_name(move.feed)} {percent(move.move_bp)}" for move in found.moves)
    yield Text(f"If {own_name(found.member)} failed now, after {moves or 'no move'}:")
    yield Text(
        f"loss {grouped(found.loss)} {unit}, uncovered {grouped(found.uncovered)} {unit}", style="bold"
    )
    yield _tiers(found.tiers, unit)
    yield from _draws(found.draws, unit)


def defaults(found: Iterable[default_pb.Default], unit: str) -> Iterator[RenderableType]:
    """One line a default."""
    table = _table(
        f"Defaults, in {unit}",
        left=("default", "stage", "declared"),
        right=("loss", "uncovered", "recovered"),
    )
    for row in found:
        table.add_row(
            own_name(row.name),
            word(default_pb.Stage.Name(row.stage)),
            _time(row.declare_time),
            grouped(row.loss),
            grouped(row.uncovered),
            grouped(row.recovered),
        )
    yield table if table.row_count else Text("No default was ever declared.")


def default(found: default_pb.Default, unit: str) -> Iterator[RenderableType]:
    """One default in full."""
    about = Table.grid(padding=(0, 2))
    about.add_row("Default", own_name(found.name))
    about.add_row("Stage", word(default_pb.Stage.Name(found.stage)))
    about.add_row("Declared", f"{_time(found.declare_time)}, in cycle {found.cycle}")
    about.add_row("Members at T0", ", ".join(own_name(member) for member in found.survivors))
    about.add_row("Loss", f"{grouped(found.loss)} {unit}")
    about.add_row("Uncovered", f"{grouped(found.uncovered)} {unit}")
    about.add_row("Recovered", f"{grouped(found.recovered)} {unit}")
    yield about
    sets = _table(
        f"Netting sets in default, in {unit}", left=("netting set",), right=("equity at declaration",)
    )
    for row in found.netting_sets:
        sets.add_row(own_name(row.netting_set), grouped(row.equity))
    if sets.row_count:
        yield sets
    yield from _parts("Losses", found.losses, unit)
    yield from _parts("Still to be answered", found.answers, unit)
    if found.tiers:
        yield _tiers(found.tiers, unit)
    yield from _draws(found.draws, unit)
    claims = _table(f"Still to be repaid, in {unit}", left=("tier", "to"), right=("amount",))
    for claim in found.claims:
        claims.add_row(str(claim.tier), account_name(claim.payer), grouped(claim.amount))
    if claims.row_count:
        yield claims


def _parts(title: str, parts: Iterable[common.MemberAmount], unit: str) -> Iterator[Table]:
    table = _table(f"{title}, in {unit}", left=("member",), right=("amount",))
    for part in parts:
        table.add_row(own_name(part.member), grouped(part.amount))
    if table.row_count:
        yield table


def _tiers(tiers: Iterable[common.Tier], unit: str) -> Table:
    table = _table(f"Tiers, in {unit}", left=("", "tier"), right=("could pay", "pays", "passes on"))
    for row in tiers:
        style = "dim" if is_zero(row.paid) else ""
        figures = map(grouped, (row.available, row.paid, row.passed_on))
        table.add_row(str(row.tier), row.title, *figures, style=style)
    return table


def _draws(draws: Iterable[common.Draw], unit: str) -> Iterator[Table]:
    table = _table(f"Payers, in {unit}", left=("tier", "payer"), right=("amount",))
    for draw in draws:
        table.add_row(str(draw.tier), account_name(draw.payer), grouped(draw.amount))
    if table.row_count:
        yield table


def _table(title: str, *, left: tuple[str, ...], right: tuple[str, ...] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in left:
        table.add_column(name, header_style="dim", overflow="fold")
    for name in right:
        table.add_column(name, header_style="dim", justify="right", no_wrap=True)
    return table


def _time(time: Timestamp) -> str:
    """UTC to the second."""
    return f"{time.ToDatetime():%Y-%m-%d %H:%M:%S}Z" if time.seconds else "the beginning"
