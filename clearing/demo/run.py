"""``clearing demo``: found the house, replay a crash, verify what it published, and tell.

The house is the real one on SQLite; only the clock, the keys and the salts come from the seed, so a
second run with the same seed ends with the same journal root. Interrupted, it can be started again
on the same ``--out`` folder and goes on.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from clearing import keys
from clearing.attest.statement import Statement
from clearing.default.sizing import coverage
from clearing.demo import aftermath, driver, published, pulled, show, words
from clearing.demo.books import MEMBERS, draw_books
from clearing.demo.desk import AuctionStory, Desk, Tally
from clearing.demo.door import Door, Inside
from clearing.demo.driver import SETTLEMENT, SOURCES, parameters_for
from clearing.demo.keys import administrator_actor, client_folder, make
from clearing.demo.library import MARCH_2020, load
from clearing.demo.listing import Listing
from clearing.demo.market import Market
from clearing.demo.outside import Outside, served
from clearing.engine import Engine
from clearing.model.house import House, ordered
from clearing.model.values import Default
from clearing.publish import Publisher
from clearing.server.scenario import ScenarioClock, scenario_salts
from clearing.settings import ANCHOR_SUFFIX
from clearing.store.migrate import upgrade
from ledger.store.connect import Database, LeaseHeld, open_store
from ledger.store.differs import Differs
from ledger.store.public_log import PublicLog, require_goes_on
from ledger.store.verify import Verified, verify
from ledger.store.writer import Published

PATIENCE_S = 5.0


class AnotherRun(Exception):
    """The folder holds a run of another seed or scenario."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run that came to its end."""

    house: House
    size: int
    root: bytes
    desk: Desk
    journal: Verified | Differs
    published: published.Verdict
    pulled: pulled.Pulled
    attested: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to run: with ``inside`` the house is in this process, without it behind its interface. Both end alike."""

    seed: int
    scenario: str
    out: Path | None
    inside: bool


def run_demo(asked: Asked, console: Console, *, as_json: bool) -> bool:
    """Run, print, and say whether everything verified.

    Raises :class:`AnotherRun`, ``NotServing``, ``DataMissing``, ``LeaseHeld``, and what ``Publisher`` raises if ``out``
    holds something else than such a run left.
    """
    market = load(asked.scenario)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clearing-demo-")))
        folder = asked.out or scratch / "out"
        folder.mkdir(parents=True, exist_ok=True)
        run = _Run(seed=asked.seed, market=market, folder=folder, keys=scratch / "keys", inside=asked.inside)
        make(run.keys, run.seed, run.house, _callers())
        finished = _run(run, console, quiet=as_json)
        if as_json:
            console.out(json.dumps(_summary(finished), indent=2), highlight=False)
        else:
            _tell(console, finished, folder, kept=asked.out is not None)
        return _verified(finished)


def _run(run: "_Run", console: Console, *, quiet: bool) -> Finished:
    database = open_store(f"sqlite:///{run.file}")
    require_goes_on(database, run.anchor)
    upgrade(database)
    with closing(_patiently(database, run)) as engine:
        charter = engine.view.state.charter
        if charter is not None and charter.house != run.house:
            raise AnotherRun(f"{run.folder} holds the run of {charter.house}: choose another folder")
    with _inside(database, run) if run.inside else served(run.seed, run.folder, run.file, run.keys) as door:
        desk = _desk(run, door)
        if isinstance(door, Outside) and not quiet:
            show.served(console, door.address, len(door.clients))
        _replay(desk, console, quiet=quiet)
    view = _pull(database, run, console, quiet=quiet)
    published.publish(database, run.folder, run.keys)
    with database.connect() as connection:
        journal = verify(connection)
    return Finished(
        house=view.state,
        size=view.size,
        root=view.frontier.root(),
        desk=desk,
        journal=journal,
        published=published.check(run.folder),
        pulled=pulled.check(run.folder),
        attested=published.attested(run.folder),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What is run, where its files are, and whether the house is in this process."""

    seed: int
    market: Market
    folder: Path
    keys: Path
    inside: bool

    @property
    def house(self) -> str:
        """What the house is called."""
        return house_name(self.seed, self.market)

    @property
    def file(self) -> Path:
        """The journal."""
        return self.folder / "house.sqlite"

    @property
    def anchor(self) -> Path:
        """Where ``clearing serve`` has it for this journal."""
        return Path(f"{self.file}{ANCHOR_SUFFIX}")


def _desk(run: _Run, door: Door) -> Desk:
    listing, parameters = Listing.of(run.market), parameters_for(run.market)
    return Desk(
        door=door,
        price_keys={
            source: keys.read_signing_key(client_folder(run.keys, f"price-source/{source}") / "signing.key")
            for source in SOURCES
        },
        house=run.house,
        seed=run.seed,
        market=run.market,
        listing=listing,
        books=draw_books(run.seed, run.market, listing, parameters),
        settlement=SETTLEMENT,
        parameters=parameters,
    )


def _engine(database: Database, run: _Run, clock: ScenarioClock | None = None) -> Engine:
    return Engine(database, clock=clock or ScenarioClock(), salts=scenario_salts(run.seed))


def _patiently(database: Database, run: _Run) -> Engine:
    """The engine once the house of a run that was cut off has stopped. Raises ``LeaseHeld`` if it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return _engine(database, run)
        except LeaseHeld:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextmanager
def _inside(database: Database, run: _Run) -> Iterator[Inside]:
    """The house in this process, with what it has signed shown in the end."""
    clock = ScenarioClock()
    with (
        closing(_engine(database, run, clock)) as engine,
        closing(PublicLog(database, run.folder, run.anchor)) as log,
    ):
        publisher = Publisher(engine, keys.read_signing_keys(run.keys), log)
        actor = administrator_actor(run.keys)
        yield Inside(engine=engine, publisher=publisher, clock=clock, administrator=actor)
        publisher.show()


def house_name(seed: int, market: Market) -> str:
    """What the house is called: by its seed, and by its scenario if it is not the usual one."""
    return f"demo-{seed}" if market.key == MARCH_2020.key else f"demo-{seed}-{market.key}"


def _replay(desk: Desk, console: Console, *, quiet: bool) -> None:
    if not quiet:
        show.opening(console, desk)
    with _progress(console, quiet=quiet) as progress:
        task = progress.add_task("replaying", total=len(desk.market.bars) + 1)
        driver.run(desk, lambda label: progress.update(task, advance=1, description=f"replaying {label}"))


def _progress(console: Console, *, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=quiet, transient=True)


def _pull(database: Database, run: _Run, console: Console, *, quiet: bool) -> Published[House]:
    """The house started once more, for what regulators and members pull in the end; what it is afterwards."""
    clock = ScenarioClock()
    with (
        closing(_engine(database, run, clock)) as engine,
        closing(PublicLog(database, run.folder, run.anchor)) as log,
        _progress(console, quiet=quiet) as progress,
    ):
        clock.now_ms = engine.view.time_ms
        task = progress.add_task("pulling reports", total=None)
        for told, total in pulled.pull(database, engine, log, run.folder / pulled.FOLDER, run.keys):
            progress.update(task, completed=told, total=total)
        return engine.view


# what is published --------------------------------------------------------------------------------


def _callers() -> Iterator[str]:
    yield from (f"member/{member}" for member in MEMBERS)
    yield from (f"price-source/{source}" for source in SOURCES)


# what is told -------------------------------------------------------------------------------------


def _verified(finished: Finished) -> bool:
    journal = finished.journal
    checked = finished.published.ok and finished.pulled.ok
    return isinstance(journal, Verified) and journal.root == finished.root and checked


def _tell(console: Console, finished: Finished, folder: Path, *, kept: bool) -> None:
    desk = finished.desk
    for section in (show.books, show.options, show.pool):
        section(console, desk)
    show.netting(console, [one.netting for one in finished.attested])
    for section in (show.halves, show.timeline, show.funds_story):
        section(console, desk)
    show.auctions(console, desk.tally)
    show.withdrawals(console, desk.tally)
    aftermath.tell(console, finished.house, desk.tally)
    aftermath.portings(console, finished.house, desk.tally)
    show.coverage(console, finished.attested, coverage(finished.house))
    console.rule("[bold]The books, checked[/bold]", align="left")
    balanced = show.trial_balance(console, finished.house)
    console.print(f"\n[bold]Journal[/bold]: {finished.size:,} entries, root {finished.root.hex()}")
    console.print(f"  re-derived from the stored bytes: {_journal_verdict(finished)}")
    console.print("  with the offline verifier, a process of its own that has the published files alone:")
    show.verification(console, finished.published.checks)
    console.print(
        f"\n[bold]Reports[/bold]: {len(finished.pulled.files)} files that a regulator and members pulled"
    )
    show.verification(console, finished.pulled.checks)
    good = _verified(finished) and balanced
    verdict = "[bold green]verified[/bold green]" if good else "[bold red]NOT verified[/bold red]"
    console.print(f"\nEvery unit balances, and the journal and attestations are {verdict}.")
    if kept:
        console.print(f"Kept in {folder}. Check it yourself:")
        console.print(f"  cd {folder}", soft_wrap=True)
        console.print(f"  {' '.join(finished.published.command)}", soft_wrap=True)
        console.print(f"  {' '.join(finished.pulled.command)}", soft_wrap=True)
        console.print(f"  xdg-open {pulled.FOLDER}/disclosure-*.html", soft_wrap=True)


def _journal_verdict(finished: Finished) -> str:
    if isinstance(finished.journal, Differs):
        return f"DIFFERS at entry {finished.journal.sequence}: {finished.journal.reason}"
    return (
        "every leg, body, leaf and root agrees" if finished.journal.root == finished.root else "ROOT DIFFERS"
    )


def _summary(finished: Finished) -> dict[str, object]:
    desk, tally = finished.desk, finished.desk.tally
    totals = finished.house.book.trial_balance().values()
    alone, together = show.totals([one.netting for one in finished.attested])
    return {
        "seed": desk.seed,
        "scenario": desk.market.key,
        "root": finished.root.hex(),
        "entries": finished.size,
        "volatility": "modelled",
        "calls": tally.calls,
        "liquidations": tally.liquidations,
        "netting_benefit": words.ratio(alone - together, alone),
        "pool_coverage": [
            words.ratio(one.stress.prefunded_minor, one.stress.cover2_minor)
            if one.stress.cover2_minor
            else None
            for one in finished.attested
        ],
        "halves": {
            ref: "expired" if tally.half_expired(ref) else states[-1] for ref, states in tally.halves.items()
        },
        "auctions": {
            "held": len(tally.auctions) - len(tally.void()),
            "void": len(tally.void()),
            "awarded": words.whole(show.awarded(tally.auctions.values())),
        },
        "portings": [
            {"netting_set": one.netting_set, "offered": one.offered, "ended": one.ended, "taker": one.taker}
            for one in tally.portings()
        ],
        "withdrawals": [
            {"first_hour": first, "last_hour": last, "refused": refusal}
            for first, last, refusal in tally.told()
        ],
        "trial_balance_zero": all(debits == credits for debits, credits in totals),
        "verified": _verified(finished),
        "reports": len(finished.pulled.files),
        "defaults": [_default_summary(default, tally) for default in ordered(finished.house.defaults)],
    }


def _auction_summary(name: str, story: AuctionStory) -> dict[str, object]:
    return {
        "id": name,
        "kind": story.kind,
        "bids": [
            {"account": account, "discount_bp": discount, "share_bp": share}
            for account, (discount, share) in story.bids.items()
        ],
        "awards": [{"account": account, "amount": words.whole(amount)} for account, amount in story.awards],
    }


def _default_summary(default: Default, tally: Tally) -> dict[str, object]:
    return {
        "id": default.id,
        "stage": default.stage.value,
        "netting_sets": [one.netting_set for one in default.sets],
        "auctions": [_auction_summary(n, story) for n, story in tally.auctions_of(default.id).items()],
        "bidders": list(default.bidders),
        "answered": [
            {"payer": member, "amount": words.whole(paid)}
            for member, _, paid in aftermath.answers(tally, default)
            if paid
        ],
        "loss": words.whole(sum(part.amount_minor for part in default.losses)),
        "draws": [
            {"tier": draw.tier, "payer": draw.payer, "amount": words.whole(draw.amount_minor)}
            for draw in default.draws
        ],
        "uncovered": words.whole(default.uncovered_minor),
        "assessments_unpaid": [
            {"member": member, "amount": words.whole(amount), "next": event_id}
            for member, amount, event_id in aftermath.unpaid(tally, default)
        ],
        "recovered": words.whole(default.recovered_minor),
        "claims_left": words.whole(sum(claim.amount_minor for claim in default.claims)),
    }
