"""The rules of a field in words: what protovalidate checks, as a person reads it.

A rule that has no words here raises, so that no rule is left off the reference unnoticed.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from buf.validate import validate_pb2

WORDS: Mapping[str, Callable[[Any], str]] = {
    "in": lambda values: "one of " + ", ".join(f"`{value}`" for value in values),
    "pattern": lambda value: f"matches `{value}`",
    "min_len": lambda value: f"at least {value} character{'s' * (value != 1)}",
    "max_len": lambda value: f"at most {value} characters",
    "len": lambda value: f"{value} bytes",
    "gt": lambda value: f"above {_number(value)}",
    "const": lambda value: f"nothing but {value}",
    "gte": lambda value: f"{_number(value)} or more",
    "lt": lambda value: f"below {_number(value)}",
    "lte": lambda value: f"at most {_number(value)}",
    "min_items": lambda value: f"at least {value}",
    "max_items": lambda value: f"at most {value}",
    "max_pairs": lambda value: f"at most {value} pairs",
    "unique": lambda _: "each once",
    "defined_only": lambda _: "one of the values of the enum",
    "items": lambda rules: f"each {in_words(rules)}",
    "keys": lambda rules: f"keys: {in_words(rules)}",
    "values": lambda rules: f"values: {in_words(rules)}",
}


def in_words(rules: validate_pb2.FieldRules) -> str:
    """What must hold of a field; empty if anything may stand there."""
    return "; ".join(_said(rules))


def _said(rules: validate_pb2.FieldRules) -> Iterator[str]:
    if rules.required:
        yield "required"
    if rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
        yield "may be left out"
    kind = rules.WhichOneof("type")
    if kind is not None:
        for rule, value in getattr(rules, kind).ListFields():
            yield _predefined(rule) if rule.is_extension else WORDS[rule.name](value)


def _predefined(rule: FieldDescriptor) -> str:
    """The sentence that a caller gets who breaks one of our own rules."""
    options: Any = rule.GetOptions()
    (cel,) = options.Extensions[validate_pb2.predefined].cel
    return str(cel.message)


def _number(value: int | Message) -> str:
    return f"{value.seconds} s" if isinstance(value, Duration) else str(value)
