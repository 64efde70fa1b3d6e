"""``clearing``: the command line of those who run a house."""

# ruff: noqa: PLC0415  # each command imports what it needs, so that --help and completion are fast

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from clearing import ledger_cli

if TYPE_CHECKING:
    from clearing.backtest import Asked
    from clearing.signing import Passphrase

REFUSED = 1

app = typer.Typer(
    name="clearing",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Run a clearing house.

    From nothing to a served house:

    [bold]clearing keys init my-house --client member/alpha --client administrator/anna[/bold]

    [bold]clearing serve --database sqlite:///my-house.db --keys keys --listen 127.0.0.1:7443[/bold]

    What no option says is read from CLEARING_DATABASE, CLEARING_LISTEN, CLEARING_ADMIN_LISTEN,
    CLEARING_METRICS_LISTEN, CLEARING_KEYS, CLEARING_STATE, CLEARING_ANCHOR and CLEARING_TILES_DIR.
    CLEARING_RATE_SCALE multiplies what callers may take, CLEARING_LOG_LEVEL is debug, info or warning.
    """,
)
keys_app = typer.Typer(
    no_args_is_help=True,
    help="""Make, list and renew the keys of a house and of those who call it.

    Who calls the house shows a certificate that the house issued: it says in which ROLE and as whom (ID), and is good
    for 397 days. A client is written ROLE/ID, with an id of 1 to 32 of a-z 0-9 -:

    [bold]member/alpha[/bold]              a connected protocol, for its own accounts

    [bold]liquidity-provider/beta[/bold]   a member's certificate for bidding

    [bold]price-source/s1[/bold]           publishes prices, and gets a key to sign them with

    [bold]custodian/vault[/bold]           reports what custody received and paid

    [bold]administrator/anna[/bold]        runs the house; a change takes two, of different ids and different keys

    [bold]regulator/rita[/bold]            reads everything, writes nothing

    Hand each client its own folder, DIR/clients/ROLE/ID, over a channel that you trust. ca.key makes certificates for
    anybody: keep it off the machine that serves, if you can.
    """,
)
app.add_typer(keys_app, name="keys")
app.add_typer(ledger_cli.app, name="ledger")

Database = Annotated[
    str | None,
    typer.Option(
        help="Where the journal is: sqlite:///FILE or postgresql://USER@HOST/DATABASE.",
        metavar="URL",
        show_default="sqlite:///clearing.db",
    ),
]
Listen = Annotated[
    str | None,
    typer.Option(
        help="Address to serve on; port 0 takes a free one.",
        metavar="HOST:PORT",
        show_default="127.0.0.1:7443",
    ),
]
AdminListen = Annotated[
    str | None,
    typer.Option(
        help="Address for administrators and regulators: health, reflection, channelz.",
        metavar="HOST:PORT",
        show_default="none",
    ),
]
MetricsListen = Annotated[
    str | None,
    typer.Option(
        help="Address for Prometheus, without TLS: one that only it can reach.",
        metavar="HOST:PORT",
        show_default="none",
    ),
]
Keys = Annotated[
    Path | None,
    typer.Option(help="What `clearing keys init` made.", metavar="DIR", show_default="keys"),
]
State = Annotated[
    Path | None,
    typer.Option(
        help="Write policy, checkpoint and attestations here, for `clearctl verify`.", metavar="DIR"
    ),
]
Anchor = Annotated[
    Path | None,
    typer.Option(
        help="Remembers what was signed, so that no old backup is served; keep it away from the database.",
        metavar="FILE",
        show_default="beside a SQLite file; with PostgreSQL it must be given",
    ),
]
TilesDir = Annotated[
    Path | None,
    typer.Option(
        help="Write the public log here, as C2SP tiles that anyone may copy.",
        metavar="DIR",
        show_default="beside a SQLite file; with PostgreSQL it must be given",
    ),
]
ReportsDir = Annotated[
    Path | None,
    typer.Option(
        help="Where reports are kept once they were pulled: private.",
        metavar="DIR",
        show_default="beside the database, or beside the tiles",
    ),
]
Scenario = Annotated[
    str,
    typer.Option(
        help="march-2020, may-2021, luna-2022, june-2022, ftx-2022; list tells of each. All but the first read "
        "market data from the folder in CLEARING_MARKET_DATA.",
        metavar="NAME|list",
    ),
]
InsecureLoopback = Annotated[
    bool,
    typer.Option(
        "--insecure-loopback",
        help="For development: no TLS, and callers are believed; only on 127.0.0.1 or [::1].",
    ),
]
ScenarioClock = Annotated[
    int | None,
    typer.Option(
        help="For `clearing demo`: the clock stands until it is stepped over the interface, and salts come from the "
        "seed. Refused for any house but a demonstration.",
        metavar="SEED",
    ),
]
Seed = Annotated[int, typer.Option(help="Draws the books; the same seed gives the same journal root.")]
Output = Annotated[str, typer.Option(help="text, or json: one object.", metavar="text|json")]
Out = Annotated[
    Path | None,
    typer.Option(help="Keep what the run publishes here; an interrupted run goes on.", metavar="DIR"),
]
InProcess = Annotated[
    bool,
    typer.Option("--in-process", help="Without server and gRPC: the same house, the same root, and faster."),
]
MarketFolder = Annotated[
    Path | None,
    typer.Option(
        help="The folder of market data; docs/backtest.md says what is in it.",
        envvar="CLEARING_MARKET_DATA",
        metavar="DIR",
    ),
]
Assets = Annotated[
    str | None, typer.Option(help="Only books of these.", metavar="BTC,ETH", show_default="all")
]
FirstDay = Annotated[
    str | None, typer.Option("--from", help="The first day on which a window begins.", metavar="2020-01-01")
]
LastDay = Annotated[
    str | None, typer.Option("--to", help="The last day on which a window begins.", metavar="2022-12-31")
]
ModelNames = Annotated[
    str | None, typer.Option(help="Which margin models.", metavar="NAME,NAME", show_default="all")
]
Horizons = Annotated[
    str | None, typer.Option(help="Days of a window: 1, 2 or both.", metavar="1,2", show_default="1,2")
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="Its first line is the passphrase of the signing keys, if they have one.",
        envvar="CLEARING_PASSPHRASE_FILE",
        metavar="FILE",
        show_default="CLEARING_PASSPHRASE, or you are asked",
    ),
]
Role = Annotated[str, typer.Argument(help="Who signs.", metavar="risk|operations|compliance")]
KeyDirectory = Annotated[Path, typer.Option("--dir", help="The key directory.", metavar="DIR")]


def main() -> None:
    """Run the command line."""
    app()


@app.command()
def serve(
    database: Database = None,
    listen: Listen = None,
    admin_listen: AdminListen = None,
    metrics_listen: MetricsListen = None,
    keys: Keys = None,
    state: State = None,
    anchor: Anchor = None,
    tiles_dir: TilesDir = None,
    reports_dir: ReportsDir = None,
    insecure_loopback: InsecureLoopback = False,
    scenario_clock: ScenarioClock = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Serve the house over gRPC with mutual TLS, until SIGTERM or Ctrl-C.

    Runs migrations first, and prints one line when it serves. Logs are JSON on stderr. A journal that is
    older than what was signed is refused. Renewed keys are presented to new connections without a restart, and
    officers' keys that change sign the next attestation.

    Example: clearing serve --database sqlite:///house.db --keys keys --listen 127.0.0.1:7443
    """
    from clearing import main as root
    from clearing.engine import HouseStopped
    from clearing.publish import ForeignLog
    from clearing.server.app import CannotListen
    from clearing.settings import SettingsRefused, read_settings
    from clearing.signing import KeysRefused
    from clearing.store.migrate import SchemaTooNew
    from ledger.store.anchor import AnchorRefused
    from ledger.store.connect import LeaseHeld, StoreUnreachable
    from ledger.store.differs import JournalDiffers
    from ledger.store.tile_files import PublishRefused
    from ledger.tiles import TileRefused

    asked = {"listen": listen, "admin_listen": admin_listen, "metrics_listen": metrics_listen, "state": state}
    kept = {"anchor": anchor, "tiles_dir": tiles_dir, "reports_dir": reports_dir}
    ask = _passphrase(passphrase_file)
    try:
        settings = read_settings(database=database, keys=keys, **asked, **kept)
        root.serve(
            settings, typer.echo, insecure_loopback=insecure_loopback, scenario=scenario_clock, passphrase=ask
        )
    except (
        *(SettingsRefused, KeysRefused, CannotListen, StoreUnreachable, LeaseHeld, SchemaTooNew, TileRefused),
        *(root.WrongHouse, AnchorRefused, ForeignLog, PublishRefused, JournalDiffers, HouseStopped),
    ) as error:
        _refuse(error)


@app.command()
def migrate(database: Database = None) -> None:
    """Bring the database to the newest schema. `clearing serve` does this by itself.

    Example: clearing migrate --database sqlite:///house.db
    """
    from clearing.main import run_migrations
    from clearing.settings import SettingsRefused, read_settings
    from clearing.store.migrate import SchemaTooNew
    from ledger.store.connect import StoreUnreachable, without_password

    try:
        settings = read_settings(database=database)
        run_migrations(settings.database)
    except (SettingsRefused, StoreUnreachable, SchemaTooNew) as error:
        _refuse(error)
    typer.echo(f"{without_password(settings.database)} has the newest schema")


@app.command()
def demo(
    seed: Seed = 7,
    scenario: Scenario = "march-2020",
    output: Output = "text",
    out: Out = None,
    in_process: InProcess = False,
) -> None:
    """Found a house with made-up members and replay a crash: 12 and 13 March 2020, or another scenario.

    Real hourly prices, modelled volatilities; options margined with perpetuals, trades between members, calls,
    liquidation by auction, a member in default and the waterfall to its last tier, a withdrawal that is refused,
    an assessment that is not paid, porting, recoveries. The house is a process of its own, and whoever asks it for
    anything does so over gRPC with a certificate of its own. Then the journal and the attestations are verified. Exit
    code 1 if anything does not verify.

    Example: clearing demo --seed 7 --out demo
    """
    from rich.console import Console

    from clearing.demo import show
    from clearing.demo.library import SCENARIOS, DataMissing
    from clearing.demo.outside import NotServing
    from clearing.demo.run import AnotherRun, Asked, run_demo
    from clearing.publish import ForeignLog
    from ledger.store.anchor import AnchorRefused
    from ledger.store.connect import LeaseHeld, StoreUnreachable
    from ledger.store.tile_files import PublishRefused
    from ledger.tiles import TileRefused

    if output not in ("text", "json"):
        raise typer.BadParameter("text or json", param_hint="--output")
    if scenario not in ("list", *(one.key for one in SCENARIOS)):
        raise typer.BadParameter("--scenario list names them", param_hint="--scenario")
    console = Console() if Console().is_terminal else Console(width=140)
    if scenario == "list":
        show.scenarios(console)
        return
    try:
        asked = Asked(seed=seed, scenario=scenario, out=out, inside=in_process)
        verified = run_demo(asked, console, as_json=output == "json")
    except (
        *(AnotherRun, NotServing, DataMissing, LeaseHeld, StoreUnreachable, OSError),
        *(AnchorRefused, ForeignLog, PublishRefused, TileRefused),
    ) as error:
        _refuse(error)
    if not verified:
        raise typer.Exit(REFUSED)


@app.command()
def backtest(
    data: MarketFolder = None,
    assets: Assets = None,
    first: FirstDay = None,
    last: LastDay = None,
    models: ModelNames = None,
    horizon: Horizons = None,
    seed: Annotated[int, typer.Option(help="Draws the random books and the bootstrap.")] = 7,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write a page with charts here too; adds options, basis, accounts and ruin.", metavar="FILE"
        ),
    ] = None,
    output: Output = "text",
) -> None:
    """Validate the margin models on real prices: walk forward, out of sample, and count what margin did not cover.

    Each day at 00:00 UTC every book is margined by the very functions that margin the house, with what was known then,
    and held against what it gained or lost in the next day, and in the next two. Books are outright (each asset long
    and short), hedged (each asset against the two most traded, for the same money and by beta) and random. For each
    book: coverage with an interval, Kupiec, Christoffersen, Basel zone and the power of the test, the mean
    requirement, how it swings, and the worst loss in requirements, at the end and at the worst traded price. Models
    with a fixed rate get the rate that would have covered as much. The verdicts stand last.

    With `--html` it also looks at what else the folder has: books of options and of the basis on quoted surfaces, real
    accounts rebuilt from their trades, and whether the probability of ruin is what it says. That takes some minutes.

    Exit code 0 if the validation ran, whatever it found: a missed promise is a result, and stands in `verdicts` of
    the JSON. 1 if the data or the question were refused. 2 if an option is wrong.

    Example: clearing backtest --data market --assets BTC,ETH --from 2020-01-01 --to 2022-12-31

    Example: clearing backtest --data market --output json > validation.json

    Example: clearing backtest --data market --html validation.html
    """
    if output not in ("text", "json"):
        raise typer.BadParameter("text or json", param_hint="--output")
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        why = "is a folder" if html.is_dir() else f"cannot be written: there is no folder {html.parent}"
        raise typer.BadParameter(f"{html} {why}", param_hint="--html")
    _validate(_asked(data, assets, (first, last), models, horizon, seed), html, output)


def _validate(asked: "Asked", html: Path | None, output: str) -> None:
    """Walk, write the page if it is wanted, and say what was found."""
    import json
    from dataclasses import replace

    from rich.console import Console

    from clearing import backtest_show as shown
    from clearing.backtest import NothingToTest, validate
    from clearing.margin.backtest.report import as_json
    from clearing.market_data import DataRefused

    try:
        with shown.progress() as stepped:
            found = validate(replace(asked, more=html is not None), stepped)
    except (DataRefused, NothingToTest) as error:
        _refuse(error)
    if html is not None:
        from clearing.backtest_page import page

        html.write_text(page(found.report, found.walked, found.markets), encoding="utf-8")
    if output == "json":
        typer.echo(json.dumps(as_json(found.report, found.markets), allow_nan=False, indent=1))
    else:
        console = Console() if Console().is_terminal else Console(width=shown.WIDTH)
        shown.show(found.report, console, more=html is not None)


def _asked(
    data: Path | None,
    assets: str | None,
    days: tuple[str | None, str | None],
    models: str | None,
    horizon: str | None,
    seed: int,
) -> "Asked":
    """What the options ask for, or what is wrong with one."""
    from clearing.backtest import Asked
    from clearing.margin.backtest.books import HORIZONS
    from clearing.margin.table import MODELS

    if data is None:
        raise typer.BadParameter("name the folder of market data", param_hint="--data")
    names = _listed(models) or tuple(sorted(MODELS))
    for name in names:
        if name not in MODELS:
            raise typer.BadParameter(f"{name} is none of {', '.join(sorted(MODELS))}", param_hint="--models")
    wanted = _listed(horizon) or tuple(map(str, HORIZONS))
    if not set(wanted) <= set(map(str, HORIZONS)):
        raise typer.BadParameter("1, 2 or both", param_hint="--horizon")
    first, last = _day(days[0], "--from") or date.min, _day(days[1], "--to") or date.max
    if first > last:
        raise typer.BadParameter(f"{first} is after --to {last}", param_hint="--from")
    return Asked(
        folder=data,
        assets=_listed(assets),
        first=first,
        last=last,
        models=names,
        horizons=tuple(sorted({int(days) for days in wanted})),
        seed=seed,
    )


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))


def _day(text: str | None, option: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise typer.BadParameter("a day such as 2020-03-12", param_hint=option) from None


@keys_app.command("init")
def keys_init(
    house: Annotated[str, typer.Argument(help="The house's name: 1 to 32 of a-z 0-9 -.")],
    client: Annotated[
        list[str] | None, typer.Option(help="Who may call; give it once for each.", metavar="ROLE/ID")
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(help="A name or address of the server besides localhost.", metavar="HOST"),
    ] = None,
    directory: KeyDirectory = Path("keys"),
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Give the log's and the officers' keys a passphrase.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a house's certificate authority, the certificates of its server and clients, and its signing keys.

    The directory must not exist: nothing is ever overwritten. Hand clients/ROLE/ID to whom it belongs and
    keep the rest. A price source gets a key to sign prices with. With --encrypt `serve` needs the passphrase too.

    Example: clearing keys init my-house --client member/alpha --client regulator/r1 --client price-source/s1
    """
    from clearing import keys
    from clearing.server.identity import IdentityRefused, parse_spiffe
    from clearing.signing import KeysRefused

    try:
        clients = [parse_spiffe(f"spiffe://{house}/{name}") for name in client or ()]
        secret = _new_passphrase(passphrase_file) if encrypt else None
        keys.init(directory, house, clients, host or (), passphrase=secret)
    except (KeysRefused, IdentityRefused) as error:
        _refuse(error)
    typer.echo(f"keys of {house} and of {len(clients)} clients are in {directory}")


@keys_app.command("issue")
def keys_issue(
    client: Annotated[str, typer.Argument(help="Who may call.", metavar="ROLE/ID")],
    directory: KeyDirectory = Path("keys"),
) -> None:
    """Add a client to a key directory. A running house knows it at once.

    Hand DIR/clients/ROLE/ID to whom it belongs. If that folder is gone, this makes a new certificate and key for the
    same client; the one that was issued before works until it expires or is revoked.

    Example: clearing keys issue member/gamma --dir keys
    """
    from clearing import keys
    from clearing.server.identity import IdentityRefused, parse_spiffe
    from clearing.signing import KeysRefused

    try:
        target = keys.issue(directory, parse_spiffe(f"spiffe://{keys.house_of(directory)}/{client}"))
    except (KeysRefused, IdentityRefused) as error:
        _refuse(error)
    typer.echo(f"keys of {client} are in {target}")


@keys_app.command("renew")
def keys_renew(
    who: Annotated[
        str, typer.Argument(help="Whose certificate and key to replace.", metavar="server|ROLE/ID")
    ],
    directory: KeyDirectory = Path("keys"),
) -> None:
    """Replace a certificate and its key by new ones, good for another 397 days.

    A running house presents a new server certificate to the next connection; those that are open go on. What a client
    had before works until it expires or is revoked (`clearing keys list` shows its serial number).

    Example: clearing keys renew server; clearing keys renew administrator/anna
    """
    from clearing import keys
    from clearing.server.identity import IdentityRefused, parse_spiffe
    from clearing.signing import KeysRefused

    try:
        if who == "server":
            keys.renew_server(directory)
        else:
            keys.renew_client(directory, parse_spiffe(f"spiffe://{keys.house_of(directory)}/{who}"))
    except (KeysRefused, IdentityRefused) as error:
        _refuse(error)
    typer.echo(f"the certificate and the key of {who} are new")


@keys_app.command("list")
def keys_list(directory: KeyDirectory = Path("keys")) -> None:
    """List every certificate that the house issued: whose, its serial number, until when, and what to do about it.

    Whether one was revoked stands in the journal, not here.

    Example: clearing keys list --dir keys
    """
    from datetime import UTC, datetime

    from clearing import keys
    from clearing.signing import KeysRefused

    try:
        found = keys.issued(directory, datetime.now(UTC))
    except KeysRefused as error:
        _refuse(error)
    width = max(len(one.name) for one in found)
    typer.echo(f"{'ROLE/ID':{width}}  {'SERIAL':40}  {'EXPIRES':10}  STATE")
    for one in found:
        typer.echo(f"{one.name:{width}}  {one.serial:40}  {one.expires:%Y-%m-%d}  {one.state.value}")


@keys_app.command("rotate")
def keys_rotate(
    role: Annotated[str, typer.Argument(help="Whose signing key.", metavar="risk|operations|compliance|log")],
    directory: KeyDirectory = Path("keys"),
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a new signing key for an officer or the log. It is encrypted if the others are.

    Without a trust root (DIR/trust) the policy names it at once: a running house signs the next attestation with an
    officer's new key, and publishes the policy; the log's new key is used from the next start on. With a trust root
    the key waits until a version names it: give the line that is printed to those who hold it, for
    `clearctl trust rotate`, and put the version that they sign into DIR/trust.

    Example: clearing keys rotate risk --dir keys
    """
    from clearing import keys
    from clearing.signing import KeysRefused

    try:
        ask = _passphrase(passphrase_file)
        secret = ask(str(directory / "signing")) if keys.encrypts(directory) else None
        line = keys.rotate(directory, role, secret)
    except KeysRefused as error:
        _refuse(error)
    _say_believe(directory, line)


@keys_app.command("import-token")
def keys_import_token(
    role: Role,
    uri: Annotated[
        str,
        typer.Option(
            help="Where the key is: hsm:ID?label=TOKEN in PKCS#11, or awskms:…, gcpkms:…, azurekms:….",
            metavar="URI",
        ),
    ],
    module: Annotated[str, typer.Option(help="For hsm: the library of the token.", metavar="FILE")] = "",
    pin_file: Annotated[
        str, typer.Option(help="Its first line is the PIN; read each time.", metavar="FILE")
    ] = "",
    pin_env: Annotated[
        str, typer.Option(help="A variable of the environment that has the PIN.", metavar="NAME")
    ] = "",
    public_key: Annotated[
        Path | None,
        typer.Option(
            help="The key's public half, PEM.", metavar="FILE", show_default="hsm: read from the token"
        ),
    ] = None,
    directory: KeyDirectory = Path("keys"),
) -> None:
    """Let a key in a token or a cloud's key service sign for an officer. It stays there.

    The key is ECDSA P-256, and is asked to sign once. It takes the place of the officer's key as
    `clearing keys rotate` says.

    Example: clearing keys import-token risk --uri hsm:2?label=house --module /usr/lib/softhsm/libsofthsm2.so
    --pin-file risk.pin
    """
    from clearing import keys
    from clearing.signing import KeysRefused, token_of

    pin = f"file {Path(pin_file).absolute()}" if pin_file else f"env {pin_env}" if pin_env else ""
    try:
        line = keys.import_token(directory, role, token_of(uri, module, pin, public_key))
    except KeysRefused as error:
        _refuse(error)
    _say_believe(directory, line)


def _say_believe(directory: Path, line: str) -> None:
    is_root = (directory / "trust").is_dir()
    what = "for the next version of the trust root" if is_root else f"{directory / 'policy.txt'} says now"
    typer.echo(f"{what}:\n{line}")


def _passphrase(file: Path | None) -> "Passphrase":
    """Gives the passphrase of signing keys: of the file, of the environment, or of whoever sits at the terminal."""
    import os
    import sys

    from clearing.signing import PASSPHRASE, given_passphrase, read_secret

    known: list[bytes] = []

    def ask(what: str) -> bytes:
        if file is not None:
            return read_secret(file)
        if PASSPHRASE in os.environ or not sys.stdin.isatty():
            return given_passphrase(what)
        if not known:
            known.append(typer.prompt(f"Passphrase of {what}", hide_input=True, err=True).encode())
        return known[0]

    return ask


def _new_passphrase(file: Path | None) -> bytes:
    """A passphrase for new keys; asked for twice if somebody sits there."""
    import os
    import sys

    from clearing.signing import PASSPHRASE

    if file is None and PASSPHRASE not in os.environ and sys.stdin.isatty():
        asked: str = typer.prompt(
            "A passphrase for the signing keys", hide_input=True, confirmation_prompt=True, err=True
        )
        return asked.encode()
    return _passphrase(file)("keys init --encrypt")


def _refuse(error: Exception) -> NoReturn:
    typer.echo(f"clearing: {error}", err=True)
    raise typer.Exit(REFUSED)
