"""``clearctl price``: marks, published prices, funding."""

import time as clock
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from clearctl import names
from clearctl.amounts import own_name
from clearctl.asked import WRONG_USE, noun, stop
from clearctl.connecting import connected, keys_in, send
from clearctl.tables import Column, amount, name, number, text
from clearctl.writing import write_done, write_rows
from clearing_client.client import pages
from clearing_client.requests import signed_prices
from clearinghouse.v1 import admin_service_pb2 as admin_pb
from clearinghouse.v1 import price_service_pb2 as pb

app = noun("Prices: the marks of the house, what sources publish, funding.")

MARKS = (
    name("feed"),
    amount("price"),
    Column("sources", lambda row: ", ".join(map(own_name, row.sources))),
    Column("dropped", lambda row: ", ".join(map(own_name, row.dropped_sources))),
)


def made_of(row: pb.Underlying) -> str:
    """What the scenarios of an underlying are made of."""
    said = {
        pb.MOVES_BY_HISTORY: "its own returns",
        pb.MOVES_BY_PROXY: f"its own returns and those of {own_name(row.proxy)}",
        pb.MOVES_BY_SCAN_RANGE: "its scan range",
    }.get(row.moves_by, "what this program does not know")
    return f"{said}; short history" if row.short_history else said


UNDERLYINGS = (
    name("underlying"),
    number("days", "day_count"),
    text("first", "first_day"),
    text("last", "last_day"),
    amount("close", "close_price"),
    amount("volatility"),
    Column("scenarios from", made_of),
)
SOURCES = (
    name("source", "name"),
    Column("public key", lambda row: row.public_key.hex()),
    number("sequence"),
    Column("", lambda row: "retired" if row.retired else ""),
)


@app.command()
def marks(context: typer.Context) -> None:
    """List the marks in force: the median of the sources, and which were dropped.

    Example: clearctl price marks
    """
    with connected(context) as client:
        request = pb.ListMarksRequest()
        found = [one for page in pages(client.prices.ListMarks, request) for one in page.marks]
        write_rows(context, found, "Marks", MARKS, "No price was accepted yet.")


@app.command()
def publish(
    context: typer.Context,
    prices: Annotated[list[str], typer.Argument(help="Such as BTC=64000.", metavar="FEED=PRICE...")],
    source: Annotated[str, typer.Option(help="Your id as a price source.", metavar="ID")],
    key: Annotated[
        Path | None,
        typer.Option(help="What you sign with; signing.key beside your certificate.", metavar="FILE"),
    ] = None,
    sequence: Annotated[
        int | None,
        typer.Option(help="Higher than the one before; the time in milliseconds if left out.", metavar="N"),
    ] = None,
) -> None:
    """Sign and publish prices, observed now. A cycle of the house runs when enough sources agree.

    Example: clearctl price publish BTC=64000.0 ETH=2000.00 --source s1
    """
    signing = _signing_key(key or keys_in(context) / "signing.key")
    wanted = dict(_price(text) for text in prices)
    with connected(context) as client:
        house, number = client.house().house, sequence or clock.time_ns() // 1_000_000
        try:
            own = names.named("sources", source)
            request = signed_prices(house, own, wanted, key=signing, sequence=number)
        except ValueError as error:
            stop(str(error), WRONG_USE)
        done = send(context, client.prices.PublishPrices, request)
        write_done(context, done, "Published; a cycle ran." if done.cycle_ran else "Published.")


@app.command()
def fund(
    context: typer.Context,
    instrument: Annotated[str, typer.Argument(help="A perpetual.", metavar="INSTRUMENT")],
    rate_ppm: Annotated[
        int,
        typer.Option(help="Millionths of the notional that longs pay; negative, they receive.", metavar="N"),
    ],
) -> None:
    """Publish, as administrator, the funding of a perpetual: longs pay shorts at once.

    Example: clearctl price fund BTC-PERP --rate-ppm 100
    """
    request = pb.PublishFundingRequest(instrument=names.instrument(instrument), rate_ppm=rate_ppm)
    with connected(context) as client:
        done = send(context, client.prices.PublishFunding, request)
        write_done(context, done, f"Funding of {own_name(request.instrument)} at {rate_ppm} ppm.")


@app.command()
def history(
    context: typer.Context,
    underlying: Annotated[
        str | None, typer.Argument(help="Such as BTC; all if left out.", metavar="UNDERLYING")
    ] = None,
) -> None:
    """Show what the house knows of the past of underlyings, of which margin scenarios are made.

    Example: clearctl price history BTC
    """
    with connected(context) as client:
        request = pb.ListUnderlyingsRequest()
        found = [one for page in pages(client.prices.ListUnderlyings, request) for one in page.underlyings]
        if underlying is not None:
            wanted = names.named("feeds", underlying)
            found = [one for one in found if one.underlying == wanted]
        write_rows(context, found, "Market history", UNDERLYINGS, "The house knows of no such underlying.")


@app.command()
def sources(context: typer.Context) -> None:
    """List price sources, retired ones too. For administrators and regulators.

    Example: clearctl price sources
    """
    with connected(context) as client:
        request = admin_pb.ListSourcesRequest()
        found = [one for page in pages(client.administration.ListSources, request) for one in page.sources]
        write_rows(context, found, "Price sources", SOURCES, "There is no price source.")


def _price(text: str) -> tuple[str, str]:
    feed, equals, price = text.partition("=")
    if not equals or not price:
        raise typer.BadParameter(f"{text}: write FEED=PRICE, such as BTC=64000", param_hint="PRICES")
    return names.named("feeds", feed), price


def _signing_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        stop(f"{path} cannot be read: {error}", WRONG_USE)
    if not isinstance(key, Ed25519PrivateKey):
        stop(f"{path} holds no Ed25519 key", WRONG_USE)
    return key
