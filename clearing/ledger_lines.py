"""Items of a ledger's batch as lines of JSON, one object a line: what ``clearing ledger post`` reads.

Amounts and times are decimal strings, ids 32 hex digits. Every line has ``id`` and ``kind`` (a decimal string,
default "1"), may have ``references`` (texts) and ``linked`` (true: it stands or falls with the next line), and
one of these::

    {"debit": PATH, "credit": PATH, "unit": UNIT, "amount": "100"}
    {"legs": [[PATH, UNIT, "100"], [PATH, UNIT, "-100"]], "opens": [[PATH, UNIT, SIDE, LIMIT]], "fact": ...}
    {"hold": {"source": PATH, "target": PATH, "unit": UNIT, "amount": "100", "expires_ms": "0"}}
    {"post_hold": ID, "amount": "60"}         without an amount: all of it
    {"release_hold": ID}
    {"reverse": ID}

A leg's amount is debit positive. Numbers are refused, so that no reader of JSON can lose a digit.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from ledger.account import Account, Limit, Side, account_id
from ledger.batch import Batch, Item, PlaceHold, PostHold, ReleaseHold, Reverse, Transfer
from ledger.book import Book
from ledger.entry import Entry, Leg

DEFAULT_KIND = "1"
INTEGER_PATTERN = re.compile(r"-?(0|[1-9][0-9]{0,38})", re.ASCII)


class LineRefused(ValueError):
    """A line that is no item; the message names the line."""


def read_batch(lines: Iterable[str], book: Book, *, request_id: str, actor: str) -> Batch:
    """The batch that ``lines`` spell. ``book`` knows sides and limits of accounts. Raises :class:`LineRefused`."""
    items: list[Item] = []
    linked: set[int] = set()
    for number, line in enumerate((line for line in lines if line.strip()), 1):
        try:
            said = json.loads(line, parse_int=_no_number, parse_float=_no_number, parse_constant=_no_number)
            if _linked(said.pop("linked", False)):
                linked.add(len(items))
            items.append(_item(said, book))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise LineRefused(f"line {number}: {_sentence(error)}") from None
    return Batch(items=tuple(items), linked=frozenset(linked), request_id=request_id, actor=actor)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"write numbers as strings: {text}")


def _linked(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("linked is true or false")
    return value


def _integer(text: object) -> int:
    """A decimal string as JSON would write the number: no sign but minus, no spaces, no other digits."""
    if not isinstance(text, str) or not INTEGER_PATTERN.fullmatch(text):
        raise ValueError(f"not a whole number in a string: {text!r}")
    return int(text)


def _references(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("references is a list of texts")
    return tuple(value)


def _sentence(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def _item(said: dict[str, Any], book: Book) -> Item:
    common: dict[str, Any] = {
        "entry_id": bytes.fromhex(said.pop("id")),
        "kind": _integer(said.pop("kind", DEFAULT_KIND)),
        "references": _references(said.pop("references", [])),
    }
    for name, read in READERS.items():
        if name in said:
            item = read(said, common, book)
            if said:
                raise ValueError(f"unknown: {', '.join(said)}")
            return item
    raise ValueError(f"one of {', '.join(READERS)} must say what is to be done")


def _transfer(said: dict[str, Any], common: dict[str, Any], _book: Book) -> Transfer:
    unit = said.pop("unit")
    return Transfer(
        debited=account_id(said.pop("debit"), unit),
        credited=account_id(said.pop("credit"), unit),
        amount=_integer(said.pop("amount")),
        **common,
    )


def _entry(said: dict[str, Any], common: dict[str, Any], book: Book) -> Entry:
    opens = tuple(Account(p, u, Side(s), Limit(m)) for p, u, s, m in said.pop("opens", ()))
    legs = tuple(
        Leg(_account(path, unit, book, opens), _integer(amount))
        for path, unit, amount in said.pop("legs", ())
    )
    return Entry(effective_ms=0, legs=legs, opens=opens, fact=said.pop("fact", None), **common)


def _account(path: str, unit: str, book: Book, opened: tuple[Account, ...] = ()) -> Account:
    """The account as it was opened, or is by this line; one that nobody opened is refused by the book."""
    wanted = account_id(path, unit)
    fresh = next((account for account in opened if account.id == wanted), None)
    return fresh or book.find(wanted) or Account(path, unit)


def _hold(said: dict[str, Any], common: dict[str, Any], book: Book) -> PlaceHold:
    hold = said.pop("hold")
    unit = hold["unit"]
    return PlaceHold(
        source=_account(hold["source"], unit, book),
        target=_account(hold["target"], unit, book),
        amount=int(hold["amount"]),
        expires_ms=_integer(hold.get("expires_ms", "0")),
        **common,
    )


def _post_hold(said: dict[str, Any], common: dict[str, Any], _book: Book) -> PostHold:
    amount = said.pop("amount", None)
    hold_id = bytes.fromhex(said.pop("post_hold"))
    return PostHold(hold_id=hold_id, amount=None if amount is None else _integer(amount), **common)


def _release_hold(said: dict[str, Any], common: dict[str, Any], _book: Book) -> ReleaseHold:
    return ReleaseHold(hold_id=bytes.fromhex(said.pop("release_hold")), **common)


def _reverse(said: dict[str, Any], common: dict[str, Any], _book: Book) -> Reverse:
    return Reverse(reversed_id=bytes.fromhex(said.pop("reverse")), **common)


READERS: dict[str, Callable[[dict[str, Any], dict[str, Any], Book], Item]] = {
    "debit": _transfer,
    "legs": _entry,
    "opens": _entry,
    "fact": _entry,
    "hold": _hold,
    "post_hold": _post_hold,
    "release_hold": _release_hold,
    "reverse": _reverse,
}
