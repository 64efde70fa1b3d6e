"""A report read from a world of ``tests/builders.py``: what the house reads from its store, here from memory."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from clearing.model.house import House, fold
from clearing.model.ids import MemberId
from clearing.model.kinds import Kind
from clearing.reports.canonical import read, to_json
from clearing.reports.document import Head, Row, Table
from clearing.reports.reading import Moved, Recorded, RefusedCall
from clearing.reports.table import REPORTS
from ledger.account import Account
from tests.builders import World


@dataclass
class WorldReading:
    """The first ``as_of`` entries of a world."""

    world: World
    as_of: int
    members: frozenset[MemberId] | None = None
    given: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def house(self) -> House:
        house = House()
        for entry in self.world.entries[: self.as_of]:
            house = fold(house, entry)
        return house

    def entries(self, *kinds: Kind) -> Iterator[Recorded]:
        for sequence, entry in enumerate(self.world.entries[: self.as_of]):
            if not kinds or entry.kind in kinds:
                yield Recorded(sequence, entry)

    def states(self, *kinds: Kind) -> Iterator[tuple[Recorded, House]]:
        house = House()
        for recorded in self.entries():
            house = fold(house, recorded.entry)
            if recorded.entry.kind in kinds:
                yield recorded, house

    def moves(self, account: Account) -> Iterator[Moved]:
        balance = 0
        for recorded in self.entries():
            for number, leg in enumerate(recorded.entry.legs):
                if leg.account.id == account.id:
                    balance += leg.amount
                    yield Moved(
                        recorded.sequence,
                        recorded.entry.kind,
                        recorded.entry.effective_ms,
                        number,
                        leg.amount,
                        balance,
                    )

    def refused(self) -> Iterator[RefusedCall]:
        before = 0
        for asked in self.world.asked:
            reasons = [one.reason for one in asked.outcome.results if one.reason]
            if reasons and before < self.as_of:
                yield RefusedCall(
                    before, asked.request.actor, {name: reasons.count(name) for name in sorted(set(reasons))}
                )
            before = asked.state.size


def reading(
    world: World, as_of: int | None = None, *, members: frozenset[MemberId] | None = None, **given: str
) -> WorldReading:
    """The whole world, or its first ``as_of`` entries."""
    return WorldReading(world, len(world.entries) if as_of is None else as_of, members, given)


def rows(report: str, read_from: WorldReading, table: str) -> dict[str, dict[str, str]]:
    """The rows of a table of a report by their field, as cells by column, with their ``source``."""
    found = {one.id: one for one in built(report, read_from)}
    columns = [column.id for column in found[table].columns]
    return {
        row.field: dict(zip(columns, row.cells, strict=True)) | {"source": row.source}
        for row in found[table].rows
    }


def built(report: str, read_from: WorldReading) -> list[Table]:
    """The tables of a report, with their rows read, through the JSON that is given out."""
    build = REPORTS[report].build
    assert build is not None
    data = b"".join(to_json(HEAD, build(read_from)))
    json.loads(data)
    tables = []
    for table in read(data.splitlines(keepends=True)).tables:
        kept: list[Row] = list(table.rows)
        fields = [row.field for row in kept]
        assert len(set(fields)) == len(fields), f"{report} {table.id}: a field stands twice"
        tables.append(
            Table(
                id=table.id,
                title=table.title,
                columns=table.columns,
                rows=kept,
                note=table.note,
                charts=table.charts,
            )
        )
    return tables


HEAD = Head(
    report="test",
    title="A test",
    rule="none",
    house="test",
    as_of=1,
    as_of_ms=0,
    origin="test/log",
    root=bytes(32),
    parameters_version=1,
    parameters_digest=bytes(32),
    model="scan",
    model_version="3",
)
