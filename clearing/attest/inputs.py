"""What the figures of an attestation are computed from, as lines that can be shown one by one (attestation.md §9).

Rules kept here:

1. A line is one row of the state, ``[table,key,row]`` as canonical JSON text: all rows that a figure depends on, and
   no others. Three tables are made for it: ``stress_array``, ``balances`` (all balances of an owner that are
   not zero, debit positive) and ``measured`` (what the house found of a netting set). Lines stand in the order of
   tables and keys.
2. Each line has an owner: everybody, one member, or the house alone. A member is shown what is everybody's and its
   own; a row about accounts of several members is the house's.
3. Leaf = salt (16 bytes) ‖ text; the root of the RFC 6962 tree over the leaves is what is attested. A salt comes from
   the house's blinding secret, the number of the attestation and the text, so that nobody can find a line that it was
   not shown by guessing, nor tell whether a line changed since the last attestation.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from clearing import chart
from clearing.attest.balances import liabilities_of
from clearing.attest.liabilities import blinded_id, context_of
from clearing.attest.recompute_bundle import SALT_BYTES, BundleLine, RecomputeBundle
from clearing.attest.statement import Inputs, Statement
from clearing.default.stress import StressArray, stress_array
from clearing.margin.assess import Measured, measured_sets
from clearing.model.codec import encode
from clearing.model.house import SINGLE_ROWS, House
from clearing.model.ids import MemberId, SetId, member_of
from clearing.model.values import (
    Call,
    ClearingAccount,
    Due,
    Instrument,
    Member,
    NettingSet,
    Withdrawal,
    WithdrawalState,
)
from ledger.entry import Json
from ledger.merkle import inclusion_paths, leaf_hash, tree_root

BALANCES, MEASURED, STRESS_ARRAY = "balances", "measured", "stress_array"


class OtherInputs(ValueError):
    """What was attested was computed from other lines, or they were hidden with another secret."""


class Shown(Enum):
    """To whom the rows of a table are shown, but for those who see everything."""

    EVERYBODY = "everybody"
    OWNER = "owner"
    NOBODY = "nobody"


TABLES_USED: Mapping[str, Shown] = {
    "charter": Shown.EVERYBODY,
    "cycle": Shown.EVERYBODY,
    "outage": Shown.EVERYBODY,
    "wound_down": Shown.EVERYBODY,
    "assets": Shown.EVERYBODY,
    "instruments": Shown.EVERYBODY,
    "breakers": Shown.EVERYBODY,
    "daily_moves": Shown.EVERYBODY,
    "capped_period": Shown.NOBODY,
    "attestation": Shown.NOBODY,
    "members": Shown.OWNER,
    "accounts": Shown.OWNER,
    "netting_sets": Shown.OWNER,
    "withdrawals": Shown.OWNER,
    "calls": Shown.OWNER,
    "defaults": Shown.NOBODY,
    "assessments": Shown.OWNER,
    "non_default_losses": Shown.NOBODY,
}
"""The tables that figures are computed from. A test computes them from a house that has no others."""
TABLES_IN_ORDER = (*TABLES_USED, STRESS_ARRAY, BALANCES, MEASURED)
"""In this order, and in that of their keys, lines stand, each once."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its text, and to whom it may be shown; ``member`` is its owner if ``shown`` says so."""

    text: str
    shown: Shown
    member: MemberId | None = None

    def visible_to(self, member: MemberId) -> bool:
        """Whether a member is shown it."""
        return self.shown is Shown.EVERYBODY or (self.shown is Shown.OWNER and self.member == member)


def lines_of(house: House, array: StressArray, measured: Iterable[Measured]) -> list[Line]:
    """All lines, in order. ``array`` and ``measured``, every living netting set, are as the figures have them."""
    return [
        *_rows(house),
        _line(STRESS_ARRAY, "", encode(array), Shown.EVERYBODY),
        *_balances(house),
        *(_of_set(house, MEASURED, one.netting_set, encode(one)) for one in measured),
    ]


def commit(lines: Iterable[Line], blinding: bytes, sequence: int) -> Inputs:
    """What attestation number ``sequence`` says about ``lines``."""
    hashes = [leaf_hash(leaf_of(line.text, blinding, sequence)) for line in lines]
    return Inputs(root=tree_root(hashes), count=len(hashes))


def bundle_of(
    house: House, statement: Statement, blinding: bytes, member: MemberId | None
) -> RecomputeBundle:
    """The bundle of ``statement``, which was made of ``house``; or of it what ``member`` may see.

    Raises :class:`OtherInputs` if other lines or another secret were attested.
    """
    lines = lines_of(house, stress_array(house), measured_sets(house))
    leaves = [leaf_of(line.text, blinding, statement.sequence) for line in lines]
    shown = [n for n, line in enumerate(lines) if member is None or line.visible_to(member)]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    if tree_root(hashes) != statement.inputs.root:
        raise OtherInputs(f"the lines are not those of attestation {statement.sequence}")
    paths = [()] * len(shown) if len(shown) == len(lines) else inclusion_paths(hashes, shown)
    return RecomputeBundle(
        attestation=statement.sequence,
        count=len(lines),
        lines=tuple(
            BundleLine(number, leaves[number][:SALT_BYTES], lines[number].text, path)
            for number, path in zip(shown, paths, strict=True)
        ),
        blinded=_blinded(house, statement, blinding) if member is None else {},
    )


def _blinded(house: House, statement: Statement, blinding: bytes) -> Mapping[str, bytes]:
    context = context_of(statement)
    _, tree = liabilities_of(house, context, blinding)
    return {one.account: blinded_id(one.secret, context.snapshot, one.account) for one in tree.leaves}


def leaf_of(text: str, blinding: bytes, sequence: int) -> bytes:
    """Salt and text of a line."""
    data = text.encode("ascii")
    named = b"recompute-bundle\n%d\n" % sequence + data
    return hmac.digest(blinding, named, hashlib.sha256)[:SALT_BYTES] + data


def _rows(house: House) -> Iterator[Line]:
    for table, shown in TABLES_USED.items():
        rows = getattr(house, table)
        if table in SINGLE_ROWS:
            if rows is not None:
                yield _line(table, "", encode(rows), shown)
            continue
        for key in sorted(rows):
            row = rows[key]
            if _has_ended(row):
                continue
            if shown is Shown.OWNER:
                yield _owned(table, key, encode(row), _owners(house, row))
            else:
                yield _line(table, key, encode(row), shown)


def _has_ended(row: Any) -> bool:
    """Whether no figure depends on a row any more: there are ever more of these."""
    if isinstance(row, Withdrawal):
        return row.state in (WithdrawalState.PAID, WithdrawalState.RELEASED)
    return isinstance(row, Instrument) and row.final_ticks is not None


def _owners(house: House, row: Any) -> frozenset[MemberId]:
    """The members that a row is about."""
    match row:
        case Member():
            return frozenset((row.id,))
        case ClearingAccount():
            return frozenset((member_of(row.key),))
        case Withdrawal():
            return frozenset((member_of(row.account),))
        case Due():
            return frozenset((row.member,))
        case NettingSet():
            return frozenset(map(member_of, row.accounts))
        case Call():
            return frozenset(map(member_of, house.netting_sets[row.netting_set].accounts))
        case _:
            raise TypeError(f"{type(row).__name__} has no owner")


def _of_set(house: House, table: str, set_id: SetId, row: Json) -> Line:
    accounts = house.netting_sets[set_id].accounts
    return _owned(table, set_id, row, frozenset(map(member_of, accounts)))


def _owned(table: str, key: str, row: Json, owners: frozenset[MemberId]) -> Line:
    if len(owners) != 1:
        return _line(table, key, row, Shown.NOBODY)
    (owner,) = owners
    return _line(table, key, row, Shown.OWNER, owner)


def _balances(house: House) -> Iterator[Line]:
    """One line an owner: its accounts of the ledger, with unit, normal side and debits − credits.

    Their JSON is written here and not by an encoder, since most of what is attested are balances: no path or unit has
    a character that JSON would escape (ledger/account.py), or one that sorts before the quotation mark.
    """
    found: dict[str, list[str]] = {}
    for account, balance in house.book.debit_balances():
        if balance:
            row = f'["{account.path}","{account.unit}","{account.side.value}","{balance}"]'
            found.setdefault(owner_path(account.path), []).append(row)
    for path in sorted(found):
        parts = path.split("/")
        owned = parts[0] == "members"
        shown, member = (Shown.OWNER, MemberId(parts[1])) if owned else (Shown.NOBODY, None)
        yield Line(f'["{BALANCES}","{path}",[{",".join(sorted(found[path]))}]]', shown, member)


@cache
def owner_path(path: str) -> str:
    """Where an account of the ledger belongs: to a clearing account, to a member, or to itself."""
    parts = path.split("/")
    if parts[0] != "members":
        return path
    return "/".join(parts[:4] if chart.holder(path) else parts[:2])


_as_text = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def _line(table: str, key: str, row: Json, shown: Shown, member: MemberId | None = None) -> Line:
    return Line(_as_text([table, key, row]), shown, member)
