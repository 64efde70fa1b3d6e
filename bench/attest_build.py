"""Making an attestation: its figures, its signatures, and the bundle from which the figures come out again.

An attestation is made after a cycle by the process that also decides commands, so how long it takes is how long these
may wait. The baseline is the cycle itself, of the same house; each part is held against the whole.
"""

from collections.abc import Callable, Iterator
from functools import partial

from bench.attest_house import KEYS, OFFICERS, attested_house, cycles
from bench.rows import Row, held_against, microseconds, row, seconds
from bench.run import Run, verdict
from clearing.attest.balances import liabilities_of, units_of
from clearing.attest.envelope import PAYLOAD_TYPE, VerifiedPayload, sign
from clearing.attest.figures import compute, statement_of
from clearing.attest.inputs import bundle_of, commit, lines_of
from clearing.attest.liabilities import Context
from clearing.attest.recompute import recompute
from clearing.attest.recompute_bundle import VerifiedBundle, format_bundle, open_bundle, parse_bundle
from clearing.attest.signer import sign_checkpoint
from clearing.attest.statement import (
    Journal,
    Statement,
    VerifiedStatement,
    attested_tree,
    build,
    parse,
)
from clearing.default.stress import stress_array, stressed
from clearing.margin.assess import measured_sets
from clearing.model.house import House
from ledger.merkle import EMPTY_ROOT

SIZES = {"1k": 1_000, "10k": 10_000}
PROFILED = "10k"
ROUNDS = 5
SIGNED = 200


def rows(run: Run) -> Iterator[Row]:
    """Two sizes, and how the cost of an account grows; of the larger one its parts, the signatures and the bundle."""
    per_account: dict[str, float] = {}
    for name, accounts in SIZES.items():
        run.tell(f"a house of {accounts:,} accounts")
        with run.stores.fresh("sqlite") as store:
            with attested_house(store, accounts) as house:
                taken = cycles(house)
                state, size = house.state, house.writer.view.size
            error = verdict(store, size)
        run.tell(f"attesting {accounts:,} accounts")
        cycle = row(f"attest.build_{name}.cycle", taken, unit="s", better="lower", error=error)
        yield cycle
        whole = _whole(f"attest.build_{name}", state, cycle)
        per_account[name] = whole.value / accounts
        yield whole
        if name == PROFILED:
            yield from _parts(whole, state)
            yield from _signing(state)
            yield from _bundle(f"attest.bundle_{name}", whole, state)
    growth = [per_account["10k"] / per_account["1k"]]
    yield row("attest.build_growth", growth, unit="cost per account, 10k / 1k", better="lower")


def journal_of(house: House) -> Journal:
    """The journal that led to ``house``; what its root is makes no difference to the work."""
    return Journal(
        origin=KEYS.origin,
        tree_size=house.size,
        root_hash=EMPTY_ROOT,
        previous_tree_size=0,
        consistency=(),
    )


def stated(house: House) -> Statement:
    """What the house states: all of the work but the bytes."""
    journal = journal_of(house)
    return statement_of(house, house.founded.house, journal, compute(house, journal, KEYS.blinding))


def _whole(name: str, state: House, cycle: Row) -> Row:
    payloads: set[bytes] = set()
    taken = [seconds(lambda: payloads.add(build(stated(state)))) for _ in range(ROUNDS)]
    error = None if len(payloads) == 1 else "the same state was stated in two ways"
    return row(name, taken, unit="s", better="lower", baseline=held_against(cycle), error=error)


def _parts(whole: Row, state: House) -> Iterator[Row]:
    """What the whole consists of, in its order."""
    journal, blinding = journal_of(state), KEYS.blinding
    context = Context(journal=attested_tree(journal), snapshot=1, units=units_of(state))
    array, measured = stress_array(state), measured_sets(state)
    lines = lines_of(state, array, measured)
    computed = compute(state, journal, blinding)
    parts: dict[str, Callable[[], object]] = {
        "measured": partial(measured_sets, state),
        "stress": lambda: stressed(state, stress_array(state)),
        "liabilities": partial(liabilities_of, state, context, blinding),
        "lines": partial(lines_of, state, array, measured),
        "hashes": partial(commit, lines, blinding, 1),
        "statement": lambda: build(statement_of(state, state.founded.house, journal, computed)),
    }
    peer = held_against(whole)
    for name, part in parts.items():
        taken = [seconds(part) for _ in range(ROUNDS)]
        yield row(f"{whole.name}.{name}", taken, unit="s", better="lower", baseline=peer)


def _signing(state: House) -> Iterator[Row]:
    payload = build(stated(state))
    taken = [microseconds(partial(sign, payload, PAYLOAD_TYPE, OFFICERS)) for _ in range(SIGNED)]
    yield row("attest.sign", taken, unit="µs", better="lower")
    taken = [microseconds(partial(sign_checkpoint, KEYS, state.size, EMPTY_ROOT)) for _ in range(SIGNED)]
    yield row("attest.sign_checkpoint", taken, unit="µs", better="lower")


def _bundle(name: str, whole: Row, state: House) -> Iterator[Row]:
    """The whole bundle: made, written, read and opened, and everything computed again from it."""
    statement = VerifiedStatement(parse(VerifiedPayload(build(stated(state)))))
    data: list[bytes] = []
    opened: list[VerifiedBundle] = []

    def make() -> None:
        data[:] = [b"".join(format_bundle(bundle_of(state, statement, KEYS.blinding, None)))]

    def open_() -> None:
        opened[:] = [open_bundle(parse_bundle(data[0]), statement.sequence, statement.inputs)]

    peer = held_against(whole)
    taken = [seconds(make) for _ in range(ROUNDS)]
    yield row(f"{name}.make", taken, unit="s", better="lower", baseline=peer)
    yield row(f"{name}.bytes", [float(len(data[0]))], unit="bytes", better="lower")
    taken = [seconds(open_) for _ in range(ROUNDS)]
    yield row(f"{name}.open", taken, unit="s", better="lower", baseline=peer)
    apart: set[str] = set()
    taken = [seconds(lambda: apart.update(differing(statement, opened[0]))) for _ in range(ROUNDS)]
    error = ", ".join(sorted(apart)) or None
    yield row(f"{name}.recompute", taken, unit="s", better="lower", baseline=peer, error=error)


def differing(statement: VerifiedStatement, bundle: VerifiedBundle) -> Iterator[str]:
    """What does not come out again, or could not be tried."""
    found = recompute(statement, bundle)
    yield from (f"{one.name} differs" for one in found.findings if not one.agrees)
    yield from found.not_recomputed
