"""Values to JSON and back, by their type hints.

The one encoding of facts, commands and answers. Integers are decimal strings, so no reader can
lose a digit; enums are their values. A value has one encoding: all its fields are written, also those
that equal their default, and an integer has no sign, zero or space that it does not need.

Reading is as strict, with one door for old journals: a field that a row has gained since, with a
default, may be missing. So a default says what was true before the field existed, and stays.
"""

import json
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ledger.entry import Json

T = TypeVar("T")


class CodecError(ValueError):
    """JSON that is no value of the wanted type. The message names the place."""


def encode(value: object) -> Json:
    """``value`` as JSON without numbers."""
    kind: Any = type(value)
    return _encoder(kind)(value)


def decode(kind: type[T], data: Json) -> T:
    """The value of type ``kind`` that ``data`` encodes. Raises :class:`CodecError`."""
    target: Any = kind
    try:
        result: T = _decoder(target)(data)
    except (TypeError, ValueError) as error:
        raise CodecError(f"not a {kind.__name__}: {error}") from error
    return result


def to_text(value: object) -> str:
    """Canonical text: sorted keys, no spaces, ASCII."""
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":"))


def from_text(kind: type[T], text: str) -> T:
    """Inverse of :func:`to_text`. Raises :class:`CodecError`."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"not the text of a {kind.__name__}: {error}") from error
    return decode(kind, data)


@cache
def _encoder(kind: Any) -> Callable[[Any], Json]:
    if kind in _PLAIN:
        return lambda value: value
    if kind is int:
        return str
    if kind is tuple:
        return lambda value: [encode(item) for item in value]
    if issubclass(kind, Enum):
        return lambda value: str(value.value)
    if is_dataclass(kind):
        return _record_encoder(kind)
    raise CodecError(f"{kind.__name__} has no encoding")


_PLAIN = (type(None), bool, str)


def _record_encoder(kind: Any) -> Callable[[Any], Json]:
    """The encoder of a record, which looks at the values of those fields only that its types leave open."""
    hints = get_type_hints(kind)
    types_of = {name: getattr(hints[name], "__supertype__", hints[name]) for name in _field_names(kind)}
    texts = [name for name, type_ in types_of.items() if type_ in (bool, str)]
    integers = [name for name, type_ in types_of.items() if type_ is int]
    others = [name for name in types_of if name not in texts and name not in integers]

    def write(value: Any) -> Json:
        record: dict[str, Json] = {name: getattr(value, name) for name in texts}
        for name in integers:
            record[name] = str(getattr(value, name))
        for name in others:
            record[name] = encode(getattr(value, name))
        return record

    return write


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


@cache
def _decoder(kind: Any) -> Callable[[Any], Any]:
    kind = getattr(kind, "__supertype__", kind)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _optional(kind)
    if origin is tuple:
        item = _decoder(get_args(kind)[0])
        return lambda data: tuple(item(part) for part in _of(list, data))
    if kind is bool:
        return lambda data: _of(bool, data)
    if kind is str:
        return lambda data: _of(str, data)
    if kind is int:
        return _integer
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _record(kind)


def _optional(kind: Any) -> Callable[[Any], Any]:
    (inner,) = [_decoder(part) for part in get_args(kind) if part is not type(None)]
    return lambda data: None if data is None else inner(data)


def _record(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    decoders = {name: _decoder(hints[name]) for name in _field_names(kind)}
    wanted = {field.name for field in fields(kind) if field.default is MISSING}

    def read(data: Any) -> Any:
        if not wanted <= _of(dict, data).keys() <= decoders.keys():
            raise CodecError(f"the fields are {' '.join(decoders)}")
        return kind(**{name: decoders[name](value) for name, value in data.items()})

    return read


def _integer(data: Any) -> int:
    number = int(_of(str, data))
    if str(number) != data:
        raise CodecError(f"{data!r} is no plain decimal integer")
    return number


def _of(kind: type[T], data: Any) -> T:
    if not isinstance(data, kind):
        raise CodecError(f"{type(data).__name__} where {kind.__name__} belongs")
    return data
