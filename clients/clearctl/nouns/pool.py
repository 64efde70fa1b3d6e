"""``clearctl pool``: contributions to the default pool."""

from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import typer
from rich.console import RenderableType

from clearctl.amounts import grouped, is_zero, own_name, percent
from clearctl.asked import Amount, Mine, noun
from clearctl.connecting import connected, own_member, send
from clearctl.nouns.status import unit_of
from clearctl.tables import Column, account, amount, facts, listing, listings, name, number, text
from clearctl.writing import write, write_done
from clearinghouse.v1 import admin_service_pb2 as admin_pb
from clearinghouse.v1 import collateral_service_pb2 as pb
from clearinghouse.v1 import margin_service_pb2 as margin_pb

app = noun("The default pool: what members put in, how much they must, and how far it goes under stress.")

CONTRIBUTIONS = (
    name("member"),
    text("group"),
    amount("required", "required_contribution"),
    amount("held", "held_contribution"),
    amount("for cover-2", "needed_contribution"),
)
LOSSES = (text("scenario"), name("member"), amount("loss", "amount"))


class _Loss(NamedTuple):
    scenario: str
    member: str
    amount: str


@app.command()
def contribute(context: typer.Context, amount: Amount, member: Mine = None) -> None:
    """Pay into the pool from your house account. It is drawn when a loss reaches the survivors' tier.

    Example: clearctl pool contribute 50000
    """
    request = pb.ContributeToPoolRequest(parent=own_member(context, member), amount=amount)
    with connected(context) as client:
        done = send(context, client.collateral.ContributeToPool, request)
        write_done(context, done, f"Contributed {grouped(amount)}.")


@app.command()
def size(context: typer.Context) -> None:
    """Set, as administrator, what every member must contribute, from the requirements of now.

    Example: clearctl --dry-run pool size
    """
    with connected(context) as client:
        request = admin_pb.SizePoolRequest(house=client.house().house.house)
        done = send(context, client.administration.SizePool, request)
        parts = listings("Required contributions", done.contributions, (account("member"), amount("amount")))
        write_done(context, done, "The pool is sized.", parts)


@app.command()
def coverage(context: typer.Context) -> None:
    """Show what is prefunded against the losses of the stress scenarios, and what members would have to contribute.

    Example: clearctl pool coverage
    """
    with connected(context) as client:
        found = client.margins.GetPoolCoverage(margin_pb.GetPoolCoverageRequest())
        unit = unit_of(client)
        write(context, found, lambda: _covered(found, unit))


@app.command()
def reverse(context: typer.Context) -> None:
    """Show the smallest move of the market that exhausts the margin, and each tier of the waterfall.

    Example: clearctl pool reverse
    """
    with connected(context) as client:
        found = client.margins.GetReverseStress(margin_pb.GetReverseStressRequest())
        rows = listing("Exhausted by", found.exhaustions, EXHAUSTIONS)
        told = "The size is the move of BTC, or of thin tokens where BTC stays; tried from −90% to +300%."
        write(context, found, lambda: [rows, told])


@app.command()
def contagion(
    context: typer.Context,
    scenario: Annotated[
        str, typer.Argument(help="As pool coverage calls it; left out, that of cover-2.", metavar="SCENARIO")
    ] = "",
) -> None:
    """Show what a stress scenario leads to when liquidations move the prices that made them necessary.

    Example: clearctl pool contagion "largest fall"
    """
    with connected(context) as client:
        found = client.margins.GetContagion(margin_pb.GetContagionRequest(scenario=scenario))
        unit = unit_of(client)
        write(context, found, lambda: _spread(found, unit))


def _spread(found: margin_pb.GetContagionResponse, unit: str) -> Iterator[RenderableType]:
    unmoved = ", ".join(own_name(feed) for feed in found.unmoved_feeds)
    yield facts(
        [
            ("Scenario", found.scenario),
            ("Prices", _moves(found.moves)),
            ("Cover-2", f"{grouped(found.cover2)} {unit} of the shock alone"),
            *([("Not moved", f"{unmoved}: nobody stated what is traded in a day")] if unmoved else []),
        ]
    )
    runs = [_Run("without pauses", found.running), _Run("with pauses", found.paused)]
    yield listing(f"With what it leads to, in {unit}", runs, RUNS)
    for run in runs:
        yield from listings(f"Rounds {run.pauses}", run.found.rounds, ROUNDS)


class _Run(NamedTuple):
    pauses: str
    found: margin_pb.Contagion


def _moves(moves: Iterable[margin_pb.FeedMove]) -> str:
    return ", ".join(f"{own_name(one.feed)} {percent(one.move_bp)}" for one in moves)


RUNS = (
    text("liquidations", "pauses"),
    *(
        column.of(lambda run: run.found)
        for column in (
            number("sets", "set_count"),
            amount("volume", "liquidated_volume"),
            amount("cover-2", "cover2"),
        )
    ),
)
ROUNDS = (
    number("window"),
    number("sets", "set_count"),
    Column("prices then", lambda row: _moves(row.moves) or "as shocked"),
)


def _smallest(row: margin_pb.Exhaustion) -> margin_pb.ExhaustingMove | None:
    return min(row.moves, key=lambda move: move.size_bp, default=None)


def _size(row: margin_pb.Exhaustion) -> str:
    found = _smallest(row)
    return "not within" if found is None else percent(found.size_bp).lstrip("+")


def _direction(row: margin_pb.Exhaustion) -> str:
    found = _smallest(row)
    return "" if found is None else found.direction


EXHAUSTIONS = (
    text("what"),
    Column("smallest size", _size, is_number=True),
    Column("direction", _direction),
)


def _covered(found: margin_pb.GetPoolCoverageResponse, unit: str) -> Iterator[RenderableType]:
    share = (
        percent(found.coverage_bp).lstrip("+") if found.HasField("coverage_bp") else "nothing would be lost"
    )
    worst = "" if is_zero(found.cover2) else f", {found.worst_scenario}"
    yield facts(
        [
            ("Cover-1", f"{grouped(found.cover1)} {unit}"),
            ("Cover-2", f"{grouped(found.cover2)} {unit}{worst}"),
            ("Prefunded", f"{grouped(found.prefunded)} {unit}"),
            ("Shortfall", f"{grouped(found.shortfall)} {unit}"),
            ("Coverage", share),
        ]
    )
    yield from listings(f"Contributions, in {unit}", found.members, CONTRIBUTIONS)
    rows = [_Loss(one.scenario, part.member, part.amount) for one in found.scenarios for part in one.losses]
    yield from listings(f"Losses over margin, in {unit}", rows, LOSSES)
