"""``clearctl change``: changes of the house, proposed by one administrator and approved by another.

Each is tried first. What cannot be undone is shown with its effect, and asked for. While the house is set up, before
its first prices, one administrator makes a change at once.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import ParseDict, ParseError

from clearctl import names
from clearctl.amounts import own_name
from clearctl.asked import WRONG_USE, Amount, Reason, Yes, noun, stop
from clearctl.confirming import confirm
from clearctl.connecting import connected, send, tried
from clearctl.effects import EFFECTS, effect, typed_for, what_it_is
from clearctl.past import PastRefused, returns_in
from clearctl.tables import listings
from clearctl.writing import write_done
from clearing_client.client import Client, new_id
from clearinghouse.v1 import admin_service_pb2 as pb

app = noun("Propose a change of the house; `clearctl proposal approve` by another administrator makes it.")

ProposalId = Annotated[
    str | None,
    typer.Option("--id", help="Your id of the proposal; one is made if you give none.", metavar="ID"),
]
AtOnce = Annotated[
    bool,
    typer.Option(
        "--at-once", help="During set-up only, before the first prices: one administrator is enough."
    ),
]
Terms = Annotated[Path, typer.Argument(help="The terms as JSON, as `--help` shows.", metavar="FILE")]
Source = Annotated[str, typer.Argument(help="The id of the price source.", metavar="SOURCE")]
NO_WAY_BACK = frozenset({"wind_down", "declare_default", "record_non_default_loss"})


@app.command("list-asset")
def list_asset(
    context: typer.Context,
    terms: Terms,
    reason: Reason,
    proposal_id: ProposalId = None,
    at_once: AtOnce = False,
) -> None:
    """Propose to accept an asset as collateral.

    The file has {"name": "assets/ETH", "decimals": 18, "feed": "feeds/ETH", "tickValue": "0.01", "haircutBp": 1000}.

    Example: clearctl change list-asset ether.json --reason "members hold it"
    """
    wanted = pb.Change(list_asset=pb.ListAssetChange(asset=_terms(terms, pb.AssetTerms())))
    propose(context, wanted, reason, proposal_id, at_once=at_once)


@app.command("list-instrument")
def list_instrument(
    context: typer.Context,
    terms: Terms,
    reason: Reason,
    proposal_id: ProposalId = None,
    at_once: AtOnce = False,
) -> None:
    """Propose to clear an instrument.

    The file has {"name": "instruments/ETH-PERP", "kind": "INSTRUMENT_KIND_PERPETUAL", "underlying": "feeds/ETH",
    "feed": "feeds/ETH", "tickValue": "0.01", "priceDecimals": 2, "lotDecimals": 3}.

    Example: clearctl change list-instrument eth-perp.json --reason "two members ask for it"
    """
    found = _terms(terms, pb.InstrumentTerms())
    wanted = pb.Change(list_instrument=pb.ListInstrumentChange(instrument=found))
    propose(context, wanted, reason, proposal_id, at_once=at_once)


@app.command("register-source")
def register_source(
    context: typer.Context,
    source: Source,
    public_key: Annotated[str, typer.Option(help="The 64 hex digits of its signing.pub.", metavar="HEX")],
    reason: Reason,
    proposal_id: ProposalId = None,
    at_once: AtOnce = False,
) -> None:
    """Propose to take prices of a source, signed with its key.

    Example: clearctl change register-source s4 --public-key "$(cat signing.pub)" --reason "a fourth source"
    """
    try:
        key = bytes.fromhex(public_key)
    except ValueError:
        raise typer.BadParameter("write 64 hex digits", param_hint="--public-key") from None
    change = pb.RegisterSourceChange(source=names.named("sources", source), public_key=key)
    propose(context, pb.Change(register_source=change), reason, proposal_id, at_once=at_once)


@app.command("retire-source")
def retire_source(
    context: typer.Context,
    source: Source,
    reason: Reason,
    proposal_id: ProposalId = None,
    at_once: AtOnce = False,
) -> None:
    """Propose to take no more prices of a source. Below the quorum an outage begins.

    Example: clearctl change retire-source s4 --reason "its key was lost"
    """
    change = pb.RetireSourceChange(source=names.named("sources", source))
    propose(context, pb.Change(retire_source=change), reason, proposal_id, at_once=at_once)


@app.command("non-default-loss")
def non_default_loss(
    context: typer.Context,
    amount: Amount,
    asset: Annotated[str, typer.Argument(help="What was lost.", metavar="ASSET")],
    reason: Reason,
    proposal_id: ProposalId = None,
    yes: Yes = False,
    at_once: AtOnce = False,
) -> None:
    """Propose to record that custody lost something and no member is to blame: the house's capital pays.

    Example: clearctl change non-default-loss 300 USDC --reason "a key was stolen"
    """
    loss = pb.RecordNonDefaultLossChange(asset=names.named("assets", asset), amount=amount)
    propose(context, pb.Change(record_non_default_loss=loss), reason, proposal_id, yes=yes, at_once=at_once)


@app.command("wind-down")
def wind_down(
    context: typer.Context,
    reason: Reason,
    proposal_id: ProposalId = None,
    yes: Yes = False,
    at_once: AtOnce = False,
) -> None:
    """Propose to end the house: all positions are torn up, the rest is paid back. Nothing undoes it.

    What ends is shown first, and the name of the house has to be typed.

    Example: clearctl change wind-down --reason "the members have decided it"
    """
    propose(context, pb.Change(wind_down=pb.WindDownChange()), reason, proposal_id, yes=yes, at_once=at_once)


@app.command("import-history")
def import_history(
    context: typer.Context,
    underlying: Annotated[str, typer.Argument(help="Such as BTC.", metavar="UNDERLYING")],
    closes: Annotated[Path, typer.Argument(help="CSV with the columns date and close.", metavar="FILE")],
    reason: Reason,
    asset: Annotated[
        str | None, typer.Option(help="Which rows, if there is a column asset.", metavar="ASSET")
    ] = None,
    proposal_id: ProposalId = None,
    yes: Yes = False,
    at_once: AtOnce = False,
) -> None:
    """Propose to bring in daily returns of days before the house knew an underlying: scenarios are made of them.

    The file has one line a day, with a header: date,close and 2026-01-31,64000.5. A proposal takes 1,000 days; for more
    there are several, ID-1, ID-2 and so on. A day whose return is known, imported or by the house's
    own marks, is refused: a wrong import cannot be corrected.

    Example: clearctl change import-history BTC btc.csv --reason "the past of a year"
    """
    try:
        parts = returns_in(closes, asset)
    except (OSError, PastRefused) as error:
        stop(f"{closes} cannot be used: {error}", WRONG_USE)
    feed = names.named("feeds", underlying)
    wanted = [
        pb.Change(
            import_history=pb.ImportHistoryChange(
                underlying=feed, first_day=part.first.isoformat(), moves_ppm=part.moves_ppm
            )
        )
        for part in parts
    ]
    several = proposal_id is not None and len(wanted) > 1
    ids = [f"{proposal_id}-{number}" if several else proposal_id for number in range(1, len(wanted) + 1)]
    propose_all(context, wanted, reason, ids, at_once=at_once, yes=yes)


@app.command("grant-regulator")
def grant_regulator(
    context: typer.Context,
    regulator: Annotated[str, typer.Argument(help="The id in its certificate.", metavar="REGULATOR")],
    reason: Reason,
    jurisdictions: Annotated[
        list[str] | None,
        typer.Option("--jurisdiction", help="A country such as CH; as often as wanted.", metavar="COUNTRY"),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="It sees all members again.")] = False,
    proposal_id: ProposalId = None,
    at_once: AtOnce = False,
) -> None:
    """Propose which members a regulator sees: those of some jurisdictions, or all. It replaces what was granted before.

    A regulator that was never granted anything sees all. `clearctl member grants` lists the others.

    Example: clearctl change grant-regulator finma --jurisdiction CH --reason "it supervises the Swiss members"
    """
    if everything is bool(jurisdictions):
        raise typer.BadParameter("give jurisdictions, or --all: one of the two", param_hint="--jurisdiction")
    change = pb.GrantRegulatorChange(
        regulator=names.named("regulators", regulator), jurisdictions=jurisdictions, all=everything
    )
    propose(context, pb.Change(grant_regulator=change), reason, proposal_id, at_once=at_once)


def propose_all(
    context: typer.Context,
    changes: list[pb.Change],
    reason: str,
    ids: list[str | None],
    *,
    at_once: bool,
    yes: bool,
) -> None:
    """Propose changes, or make them at once, after somebody saw all their effects and said yes."""
    if at_once and any(ids):
        raise typer.BadParameter("nothing is proposed with --at-once", param_hint="--id")
    with connected(context) as client:
        method = client.administration.MakeChange if at_once else client.administration.ProposeChange
        requests: list[Any] = [
            pb.MakeChangeRequest(house=client.house().house.house, change=change, reason=reason)
            if at_once
            else pb.ProposeChangeRequest(proposal_id=own_id or new_id(), change=change, reason=reason)
            for change, own_id in zip(changes, ids, strict=True)
        ]
        for request in requests:
            tried(method, request)
        shown = [table for change in changes for table in effect(client, change)]
        confirm(context, shown, "Do this?" if at_once else "Propose this?", yes=yes)
        done = [send(context, method, request) for request in requests]
        proposed = " and ".join(own_name(request.proposal_id) for request in requests if not at_once)
        told = f"Proposed as {proposed}: another administrator has to approve each." if proposed else "Done."
        write_done(context, done, told)


def propose(
    context: typer.Context,
    change: pb.Change,
    reason: str,
    proposal_id: str | None,
    *,
    at_once: bool,
    yes: bool = False,
) -> None:
    """Propose a change, or make it at once; if it cannot be undone, only after somebody saw its effect and said yes."""
    if at_once and proposal_id is not None:
        raise typer.BadParameter("nothing is proposed with --at-once", param_hint="--id")
    with connected(context) as client:
        if at_once:
            _make(context, client, change, reason, yes=yes)
            return
        request = pb.ProposeChangeRequest(proposal_id=proposal_id or new_id(), change=change, reason=reason)
        tried(client.administration.ProposeChange, request)
        _ask_before_the_worst(context, client, change, "Propose this?", yes=yes)
        done = send(context, client.administration.ProposeChange, request)
        told = f"Proposed as {own_name(done.proposal)}: another administrator has to approve it."
        write_done(context, done, told)


def _make(context: typer.Context, client: Client, change: pb.Change, reason: str, *, yes: bool) -> None:
    request = pb.MakeChangeRequest(house=client.house().house.house, change=change, reason=reason)
    tried(client.administration.MakeChange, request)
    _ask_before_the_worst(context, client, change, "Do this?", yes=yes)
    done = send(context, client.administration.MakeChange, request)
    happened = listings("What happened", done.effects, EFFECTS)
    write_done(context, done, f"Done: {what_it_is(change)}.", happened)


def _ask_before_the_worst(
    context: typer.Context, client: Client, change: pb.Change, question: str, *, yes: bool
) -> None:
    if change.WhichOneof("change") in NO_WAY_BACK:
        confirm(context, effect(client, change), question, yes=yes, typed=typed_for(client, change))


def _terms(path: Path, terms: Any) -> Any:
    try:
        return ParseDict(json.loads(path.read_text(encoding="utf-8")), terms)
    except (OSError, ValueError, ParseError) as error:
        stop(f"{path} cannot be read: {error}", WRONG_USE)
