"""Recomputing what a house attested, from a bundle of what it was computed from (attestation.md §9).

What is checked, in this order, each with what was found:

1. the requirements: equity, maintenance, requirement and standalone of every netting set that is shown, from the risk
   array that instruments, marks, parameters and daily moves give; exactly
2. of a whole bundle, the figures: every member of the statement but those that only say where it stands (its number,
   what came before it, the journal's tree); exactly, stress losses from the stress array as it was published

A house writes the lines that it commits to, so what they say is held against what they must be: they stand in order and
each once, a row is under its own key and a balance with its owner, and every account is in the one netting set that it
names. Otherwise somebody could be shown a line, and somebody else compute with another one of the same thing.

Nothing here takes part in making an attestation, but the figures are computed by the same functions. Needs the extra
``recompute``.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, TypeVar

from clearing.attest.balances import counted, stated
from clearing.attest.figures import Computed, model_of, statement_of
from clearing.attest.inputs import (
    BALANCES,
    MEASURED,
    STRESS_ARRAY,
    TABLES_IN_ORDER,
    TABLES_USED,
    owner_path,
)
from clearing.attest.liabilities import LiabilityRefused, context_of, sums_over
from clearing.attest.recompute_bundle import BundleReason, BundleRefused, VerifiedBundle
from clearing.attest.statement import Liabilities, Statement, VerifiedStatement
from clearing.default.stress import StressArray, stress_array, stressed
from clearing.margin.assess import Measured, measured_sets, posted
from clearing.margin.snapshot import array_of
from clearing.model.codec import CodecError, decode
from clearing.model.house import Change, House, Put, decode_changes, house_of, ordered
from clearing.model.ids import SetId
from clearing.model.values import AccountKind
from ledger.account import Account, Side
from ledger.book import book_of
from ledger.entry import Json
from ledger.require import InvariantViolated

T = TypeVar("T", str, tuple[str, str])

TOLERANCE_PPB = 1
"""Parts of 10^9 of its notional by which a number of the stress array may differ, besides one smallest unit. The risk
array is made again exactly, with no tolerance.
"""
NOT_COMPARED = frozenset({"issuer", "sequence", "previous", "journal", "inputs"})
"""What a statement says of itself and of the journal; other checks are for that."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was recomputed, whether it came out the same, and what was found."""

    name: str
    agrees: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """All findings, and in sentences what could not be recomputed from this bundle."""

    findings: tuple[Finding, ...]
    not_recomputed: tuple[str, ...]


def recompute(statement: VerifiedStatement, bundle: VerifiedBundle) -> Recomputed:
    """Compute again what ``bundle`` allows, and compare it with ``statement``.

    Raises :class:`BundleRefused` (``CONTENT``) for a bundle that shows too little to compute anything, rows that are
    none, or rows of which no house could have come.
    """
    try:
        return _recomputed(statement, bundle)
    except BundleRefused:
        raise
    except _NO_HOUSE as error:
        said = str(error) or type(error).__name__
        raise BundleRefused(BundleReason.CONTENT, f"no house has such rows: {said}") from None


_NO_HOUSE = (ArithmeticError, AttributeError, InvariantViolated, LookupError, TypeError, ValueError)
"""What functions that trust a house's state raise for rows that contradict each other."""


def _recomputed(statement: VerifiedStatement, bundle: VerifiedBundle) -> Recomputed:
    shown = _read(bundle)
    house, stated = replace(shown.house, size=statement.journal.tree_size), shown.measured
    findings = [_digests(statement, house)]
    if bundle.is_whole:
        _require_in_their_sets(house)
    measured = measured_sets(house)
    if not bundle.is_whole:
        findings.append(
            _requirements(measured, stated, unknown_equity=_concentrated(house), unknown_size=_sized(house))
        )
        return Recomputed(findings=tuple(findings), not_recomputed=tuple(_left_out(bundle, house)))
    findings.append(_requirements(measured, stated))
    findings.append(_stress_array(shown))
    computed = Computed(
        measured=measured,
        stress=stressed(house, shown.stress_array),
        inputs=statement.inputs,
        liabilities=_owed(house, statement, bundle),
    )
    again = statement_of(house, statement.issuer, statement.journal, computed)
    findings += _figures(statement, again)
    return Recomputed(findings=tuple(findings), not_recomputed=())


# --- reading -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What the lines of a bundle say: the house as far as it is shown, and what the house found of its sets."""

    house: House
    measured: tuple[Measured, ...]
    stress_array: StressArray


def _read(bundle: VerifiedBundle) -> _Shown:
    read = _Read()
    for line in bundle.lines:
        try:
            read.take(json.loads(line.text))
        except (ValueError, TypeError, RecursionError, InvariantViolated) as error:
            raise BundleRefused(BundleReason.CONTENT, f"line {line.index}: {error}") from None
    house = house_of(read.changes, book_of(read.balances))
    if house.charter is None or house.cycle is None:
        raise BundleRefused(
            BundleReason.CONTENT, "it shows no parameters or no prices: nothing can be computed"
        )
    if len(read.stress_arrays) != 1:
        raise BundleRefused(
            BundleReason.CONTENT, f"it shows {len(read.stress_arrays)} stress arrays, not one"
        )
    return _Shown(house=house, measured=tuple(read.measured), stress_array=read.stress_arrays[0])


class _Read:
    """What the lines read so far have said."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.balances: list[tuple[Account, int]] = []
        self.measured: list[Measured] = []
        self.stress_arrays: list[StressArray] = []
        self._last = (-1, "")

    def take(self, line: Json) -> None:
        """Read one line. Raises ``ValueError``, ``TypeError`` or ``InvariantViolated`` for what is no row."""
        match line:
            case [str(table), str(key), _] if table in TABLES_IN_ORDER:
                self._go_on((TABLES_IN_ORDER.index(table), key))
        match line:
            case [str(table), str(), _] if table in TABLES_USED:
                self.changes += map(_own, decode_changes([line]))
            case [str(table), str(owner), list(rows)] if table == BALANCES:
                self.balances += _balances_of(owner, rows)
            case [str(table), str(set_id), row] if table == MEASURED:
                self.measured.append(_of(set_id, decode(Measured, row)))
            case [str(table), "", row] if table == STRESS_ARRAY:
                self.stress_arrays.append(decode(StressArray, row))
            case _:
                raise CodecError("is no row that figures are computed from")

    def _go_on(self, place: tuple[int, str]) -> None:
        if place <= self._last:
            raise CodecError("a line stands in the order of tables and keys, and once")
        self._last = place


_KEYS: Mapping[str, Callable[[Any], str]] = {
    "assets": lambda row: row.id,
    "instruments": lambda row: row.id,
    "breakers": lambda row: row.scope,
    "daily_moves": lambda row: row.day,
    "members": lambda row: row.id,
    "accounts": lambda row: row.key,
    "netting_sets": lambda row: row.id,
    "withdrawals": lambda row: row.id,
    "calls": lambda row: f"{row.kind.value}/{row.netting_set}",
    "defaults": lambda row: row.id,
    "assessments": lambda row: f"{row.default}/{row.member}",
    "non_default_losses": lambda row: row.asset,
}
"""Under which key the row of a table stands; one that is not here has one row, and no key."""


def _own(change: Change) -> Change:
    """``change``, whose row stands under its own key."""
    key_of = _KEYS.get(change.table, lambda _: "")
    if not isinstance(change, Put) or change.key != key_of(change.row):
        raise CodecError("is no row, or one under a key that is not its own")
    return change


def _of(set_id: str, measured: Measured) -> Measured:
    if measured.netting_set != set_id:
        raise CodecError("was found of another netting set")
    return measured


def _balances_of(owner: str, rows: Sequence[Json]) -> list[tuple[Account, int]]:
    found = [_balance(row) for row in rows]
    _rising([(account.path, account.unit) for account, _ in found])
    if any(owner_path(account.path) != owner for account, _ in found):
        raise CodecError("has a balance of another owner")
    return found


def _rising(names: list[T]) -> list[T]:
    if not all(one < other for one, other in pairwise(names)):
        raise CodecError("does not name each once, in order")
    return names


def _require_in_their_sets(house: House) -> None:
    """Each account stands in the netting set that it names, and in no other."""
    named = {key: row.netting_set for key, row in house.accounts.items()}
    stands = [(key, one.id) for one in ordered(house.netting_sets) for key in one.accounts]
    if len(stands) != len(named) or dict(stands) != named:
        raise BundleRefused(
            BundleReason.CONTENT, "an account stands in another netting set than it names, or in none"
        )


def _balance(row: Json) -> tuple[Account, int]:
    match row:
        case [str(path), str(unit), str(side), str(amount)]:
            return Account(path, unit, Side(side)), decode(int, amount)
        case _:
            raise CodecError("a balance is path, unit, side and amount")


def _digests(statement: Statement, house: House) -> Finding:
    """Parameters and prices stand in the lines that were attested; the statement names them by themselves too."""
    said, found = statement.model, model_of(house)
    if replace(found, code_digest=said.code_digest) != said:
        return Finding("model", agrees=False, detail=_difference(said, found))
    code = (
        "the same program text" if found.code_digest == said.code_digest else "another program text than here"
    )
    detail = f"{said.name} {said.version}, parameters and prices as attested; the house computed with {code}"
    return Finding("model", agrees=True, detail=detail)


def _left_out(bundle: VerifiedBundle, house: House) -> Iterator[str]:
    """What a part of a bundle cannot tell."""
    yield (
        f"the sums over all members, stress, pool and liabilities: the bundle shows {len(bundle.lines)} "
        f"of {bundle.count} lines"
    )
    in_sets = {key for one in house.netting_sets.values() for key in one.accounts}
    others = sorted(key for key in house.accounts if key not in in_sets)
    if others:
        yield f"accounts linked with accounts of other members, whose rows are not shown: {', '.join(others)}"
    concentrated = _concentrated(house)
    if concentrated:
        yield (
            "equity where a concentration limit counts what the participant posted elsewhere: "
            f"{', '.join(sorted(concentrated))}"
        )

    sized = _sized(house)
    if sized:
        yield (
            "requirements, but for the least that they can be, where size counts what the participant holds elsewhere: "
            f"{', '.join(sorted(sized))}"
        )


def _sized(house: House) -> frozenset[SetId]:
    """Netting sets of clients that hold an underlying whose charge depends on other members (rulebook §9)."""
    thin = {one.underlying for one in house.parameters.liquidity}
    return frozenset(
        one.id
        for one in ordered(house.netting_sets)
        if any(
            house.accounts[key].kind is AccountKind.CLIENT
            and any(house.instruments[instrument].underlying in thin for instrument in house.positions(key))
            for key in one.accounts
        )
    )


def _concentrated(house: House) -> frozenset[SetId]:
    """Netting sets of clients with collateral whose haircut depends on accounts at other members (rulebook §8)."""
    limited = [asset.id for asset in ordered(house.assets) if asset.concentration_minor]
    return frozenset(
        one.id
        for one in ordered(house.netting_sets)
        if any(
            house.accounts[key].kind is AccountKind.CLIENT and any(posted(house, key, a) for a in limited)
            for key in one.accounts
        )
    )


# --- the stress array ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """The numbers of an instrument as published and as made again, and its notional, all in smallest units."""

    instrument: str
    notional_minor: int
    published: Sequence[int]
    made: Sequence[int]


def _stress_array(shown: _Shown) -> Finding:
    published, made = shown.stress_array, stress_array(shown.house)
    notionals = {row.instrument: row.notional_minor for row in array_of(shown.house).instruments}
    rows = {row.instrument: row for row in made.instruments}
    exact = (published.scenarios, published.assets) == (made.scenarios, made.assets)
    return _compared(
        "stress array",
        [
            _Row(
                one.instrument,
                notionals[one.instrument],
                (*one.long_minor, *one.short_minor),
                (*rows[one.instrument].long_minor, *rows[one.instrument].short_minor),
            )
            for one in published.instruments
            if one.instrument in rows
        ],
        is_complete=exact and len(rows) == len(published.instruments),
    )


def _compared(name: str, rows: Sequence[_Row], *, is_complete: bool) -> Finding:
    """Whether an array comes out the same but for the tolerance; ``is_complete``: what must be exact is."""
    if not is_complete:
        return Finding(name, agrees=False, detail="it is of other instruments, scenarios or prices")
    apart = 0
    for row in rows:
        if len(row.published) != len(row.made):
            return Finding(name, agrees=False, detail=f"{row.instrument} has {len(row.published)} numbers")
        allowed = 1 + abs(row.notional_minor) * TOLERANCE_PPB // 10**9
        worst = max(abs(a - b) for a, b in zip(row.published, row.made, strict=True))
        if worst > allowed:
            detail = f"{row.instrument} differs by {worst} smallest units, {allowed} are tolerated"
            return Finding(name, agrees=False, detail=detail)
        apart = max(apart, worst)
    detail = f"{len(rows)} instruments, nowhere further apart than {apart} smallest units"
    return Finding(name, agrees=True, detail=detail)


# --- 1. the requirements -------------------------------------------------------------------------------


def _requirements(
    measured: Sequence[Measured],
    stated: Sequence[Measured],
    unknown_equity: frozenset[SetId] = frozenset(),
    unknown_size: frozenset[SetId] = frozenset(),
) -> Finding:
    """``unknown_size``: sets of which only the least requirement is known, for what others hold adds to it."""
    found = {one.netting_set: one for one in measured}
    said = {one.netting_set: one for one in stated}
    if found.keys() != said.keys():
        (other, *_) = sorted(found.keys() ^ said.keys())
        return Finding("requirements", agrees=False, detail=f"{other} is measured only once")
    for set_id, one in said.items():
        if set_id in unknown_equity:
            found[set_id] = replace(found[set_id], equity_minor=one.equity_minor)
        if set_id in unknown_size and one.maintenance_minor >= found[set_id].maintenance_minor:
            found[set_id] = replace(one, equity_minor=found[set_id].equity_minor)
        if one != found[set_id]:
            return Finding(
                "requirements", agrees=False, detail=f"{set_id}: {_difference(one, found[set_id])}"
            )
    if not said:
        return Finding("requirements", agrees=True, detail="no netting set to compute")
    total = sum(one.requirement_minor for one in stated)
    return Finding("requirements", agrees=True, detail=f"{len(said)} netting sets, {total} in all, exactly")


def _owed(house: House, statement: Statement, bundle: VerifiedBundle) -> Liabilities:
    """The liabilities, with the names that their leaves had."""
    found = counted(house)
    if found.owed.keys() != bundle.blinded.keys():
        (other, *_) = sorted(found.owed.keys() ^ bundle.blinded.keys())
        raise BundleRefused(BundleReason.CONTENT, f"{other} is owed something or has a blinded id, not both")
    try:
        tree = sums_over(
            context_of(statement), {bundle.blinded[path]: amounts for path, amounts in found.owed.items()}
        )
    except LiabilityRefused as refused:
        raise BundleRefused(BundleReason.CONTENT, str(refused)) from None
    return stated(tree, found.receivables)


# --- 2. the figures ------------------------------------------------------------------------------------


def _figures(statement: Statement, again: Statement) -> Iterator[Finding]:
    for one in fields(Statement):
        if one.name in NOT_COMPARED:
            continue
        said, found = getattr(statement, one.name), getattr(again, one.name)
        name = f"figures {one.name.removesuffix('_ms').replace('_', ' ')}"
        if said == found:
            yield Finding(name, agrees=True, detail="exactly as attested")
        else:
            yield Finding(name, agrees=False, detail=_difference(said, found))


def _difference(said: Any, found: Any) -> str:
    """The first thing in which what was attested is not what was found."""
    if type(said) is type(found) and hasattr(said, "__dataclass_fields__"):
        for one in fields(said):
            if getattr(said, one.name) != getattr(found, one.name):
                within = _difference(getattr(said, one.name), getattr(found, one.name))
                return f"{one.name.removesuffix('_minor')}: {within}"
    if isinstance(said, Mapping) and isinstance(found, Mapping):
        for key in sorted({*said, *found}):
            if said.get(key) != found.get(key):
                return f"{key}: {_difference(said.get(key), found.get(key))}"
    return f"attested {_shown(said)}, found {_shown(found)}"


def _shown(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
