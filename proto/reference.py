"""The reference of the interface, made of the protos: one page as HTML, the same as Markdown.

    python -m proto.reference

Rules kept here:

1. Everything is read from ``generated/image.binpb``, which carries the comments, and from ``docs/reasons.md``.
   Nothing is said about the interface here: what is wrong on the page is put right in the proto.
2. Every service, method, message, field and enum value is on the page, each under its own name as anchor.
3. The page needs nothing but itself: no script, no font, no picture is fetched.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
    ServiceDescriptorProto,
)
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from buf.validate import validate_pb2
from clearinghouse.v1 import options_pb2, rules_pb2
from proto.rules_in_words import in_words

ROOT = Path(__file__).parents[1]
OURS = "clearinghouse."
PACKAGE, MESSAGE, ENUM, SERVICE = 2, 4, 5, 6
"""Numbers of the fields of FileDescriptorProto: the paths of comments begin with them."""
EXTENSIONS = (options_pb2, rules_pb2)
"""Imported so that their options are read, not skipped as unknown."""

REACHES: "Mapping[options_pb2.Reach.ValueType, str]" = {
    options_pb2.REACH_UNSPECIFIED: "nobody",
    options_pb2.REACH_EVERYONE: "the same answer for all of them",
    options_pb2.REACH_OWN: "what `{own}` names: for members, liquidity providers and price sources their own only",
    options_pb2.REACH_FILTERED: "cut down to what the caller may see",
    options_pb2.REACH_HOUSE: "about all members together: not for a regulator that was granted some jurisdictions",
}
READS = "changes nothing"
CHANGES = "changes something"
REPEATABLE = "changes something, once for each `request_id`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """What a field or a method takes: its name, and where it is explained, if that is on the page."""

    name: str
    anchor: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a message."""

    name: str
    number: int
    type: Type
    rule: str
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message with its fields."""

    name: str
    anchor: str
    comment: str
    fields: Sequence[Field]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value of an enum."""

    name: str
    number: int
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An enum with its values."""

    name: str
    anchor: str
    comment: str
    values: Sequence[Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method: who may call it, and with what."""

    name: str
    anchor: str
    comment: str
    request: Type
    response: Type
    callers: Sequence[str]
    reach: str
    effect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service with its methods."""

    name: str
    anchor: str
    comment: str
    methods: Sequence[Method]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What one proto file has."""

    title: str
    file: str
    services: Sequence[Service]
    messages: Sequence[Message]
    choices: Sequence[Choice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A stable word for a refusal."""

    word: str
    meaning: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The whole page."""

    conventions: str
    sections: Sequence[Section]
    reasons: Sequence[tuple[str, Sequence[Reason]]]

    def anchors(self) -> frozenset[str]:
        """Every name that is explained."""
        named = [*(f"reason.{one.word}" for _, group in self.reasons for one in group)]
        for section in self.sections:
            named += [one.anchor for one in section.services]
            named += [one.anchor for one in section.messages]
            named += [one.anchor for one in section.choices]
            named += [method.anchor for service in section.services for method in service.methods]
        return frozenset(named)


# reading ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """A proto file with its comments by path."""

    file: FileDescriptorProto
    comments: Mapping[tuple[int, ...], str] = field(default_factory=dict)

    def said(self, *path: int) -> str:
        """The comment on what stands at ``path``."""
        return self.comments.get(path, "")


def read(image: bytes, reasons: str) -> Reference:
    """The reference of the interface that ``image`` describes."""
    files = FileDescriptorSet.FromString(image).file
    sources = {file.name: _source(file) for file in files if file.package.startswith(OURS)}
    sections = [_section(source) for source in sources.values() if "rules.proto" not in source.file.name]
    return Reference(
        conventions=sources["clearinghouse/v1/common.proto"].said(PACKAGE),
        sections=sorted(sections, key=lambda one: (not one.services, "scenario" in one.file, one.title)),
        reasons=list(_reasons(reasons)),
    )


def _source(file: FileDescriptorProto) -> Source:
    located = file.source_code_info.location
    return Source(file, {tuple(one.path): _text(one.leading_comments) for one in located})


def _text(comment: str) -> str:
    return "\n".join(line.removeprefix(" ") for line in comment.rstrip().split("\n"))


def _section(source: Source) -> Section:
    file = source.file
    stem = Path(file.name).stem.removesuffix("_service").replace("_", " ")
    messages = [
        found
        for number, message in enumerate(file.message_type)
        for found in _messages(source, message, anchor_of(file.package), (MESSAGE, number))
    ]
    return Section(
        title=file.service[0].name if file.service else f"Shared: {stem}",
        file=file.name,
        services=[_service(source, number) for number in range(len(file.service))],
        messages=messages,
        choices=[_choice(source, one, (ENUM, number)) for number, one in enumerate(file.enum_type)],
    )


def anchor_of(full_name: str) -> str:
    """The anchor of a name of ours: without the package of the public interface; empty for a foreign name."""
    name = full_name.removeprefix(".")
    if not name.startswith(OURS):
        return ""
    return name.removeprefix(OURS).removeprefix("v1").removeprefix(".")


def _join(parent: str, name: str) -> str:
    return f"{parent}.{name}" if parent else name


def _service(source: Source, number: int) -> Service:
    service: ServiceDescriptorProto = source.file.service[number]
    anchor = _join(anchor_of(source.file.package), service.name)
    path = (SERVICE, number)
    requests = {one.name: {part.name for part in one.field} for one in source.file.message_type}
    return Service(
        name=service.name,
        anchor=anchor,
        comment=source.said(*path),
        methods=[
            _method(
                method, anchor, source.said(*path, 2, index), requests[method.input_type.rpartition(".")[2]]
            )
            for index, method in enumerate(service.method)
        ],
    )


def _method(method: MethodDescriptorProto, service: str, comment: str, asked: Collection[str]) -> Method:
    """``asked`` are the fields of its request."""
    options = method.options
    reach = REACHES[options.Extensions[options_pb2.reach]].format(own=options.Extensions[options_pb2.own])
    changes = REPEATABLE if "request_id" in asked else CHANGES
    return Method(
        name=method.name,
        anchor=_join(service, method.name),
        comment=comment,
        request=_type(method.input_type, "stream " if method.client_streaming else ""),
        response=_type(method.output_type, "stream " if method.server_streaming else ""),
        callers=[
            options_pb2.Role.Name(role).removeprefix("ROLE_").lower().replace("_", " ")
            for role in options.Extensions[options_pb2.allowed]
        ],
        reach=reach,
        effect=READS if options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS else changes,
    )


def _type(full_name: str, prefix: str = "") -> Type:
    anchor = anchor_of(full_name)
    return Type(name=anchor or full_name.rpartition(".")[2], anchor=anchor, prefix=prefix)


def _messages(
    source: Source, message: DescriptorProto, parent: str, path: tuple[int, ...]
) -> Iterator[Message]:
    """The message and those within it, but for the pairs of maps."""
    anchor = _join(parent, message.name)
    pairs = {f"{anchor}.{one.name}": one for one in message.nested_type if one.options.map_entry}
    yield Message(
        name=anchor,
        anchor=anchor,
        comment=source.said(*path),
        fields=[
            _field(message, one, pairs, source.said(*path, 2, index))
            for index, one in enumerate(message.field)
        ],
    )
    for index, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from _messages(source, nested, anchor, (*path, 3, index))


def _field(
    message: DescriptorProto, one: FieldDescriptorProto, pairs: Mapping[str, DescriptorProto], comment: str
) -> Field:
    rules = [in_words(one.options.Extensions[validate_pb2.field])]
    if one.HasField("oneof_index") and not one.proto3_optional:
        rules.append(f"one of `{message.oneof_decl[one.oneof_index].name}`")
    return Field(
        name=one.name,
        number=one.number,
        type=_field_type(one, pairs),
        rule="; ".join(filter(None, rules)),
        comment=comment,
    )


def _field_type(one: FieldDescriptorProto, pairs: Mapping[str, DescriptorProto]) -> Type:
    pair = pairs.get(anchor_of(one.type_name)) if one.type_name else None
    if pair is not None:
        key, value = (_field_type(part, {}) for part in pair.field)
        return Type(name=f"map<{key.name}, {value.name}>")
    prefix = "repeated " if one.label == FieldDescriptorProto.LABEL_REPEATED else ""
    prefix = "optional " if one.proto3_optional else prefix
    if one.type_name:
        return _type(one.type_name, prefix)
    return Type(name=FieldDescriptorProto.Type.Name(one.type).removeprefix("TYPE_").lower(), prefix=prefix)


def _choice(source: Source, choice: EnumDescriptorProto, path: tuple[int, ...]) -> Choice:
    anchor = _join(anchor_of(source.file.package), choice.name)
    return Choice(
        name=anchor,
        anchor=anchor,
        comment=source.said(*path),
        values=[
            Value(name=value.name, number=value.number, comment=source.said(*path, 2, index))
            for index, value in enumerate(choice.value)
        ],
    )


def _reasons(page: str) -> Iterator[tuple[str, Sequence[Reason]]]:
    """The tables of docs/reasons.md under their headings."""
    for part in page.split("\n## ")[1:]:
        title = part.partition("\n")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (\w+) \|$", part, flags=re.MULTILINE)
        yield title, [Reason(word=word, meaning=meaning, status=status) for word, meaning, status in rows]


# writing ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prose:
    """Turns comments into HTML: paragraphs, lists, code, and links to whatever the page explains."""

    anchors: frozenset[str]

    def html(self, text: str) -> Markup:
        """A comment as HTML."""
        blocks = re.split(r"\n(?:\n|(?=- ))", text)
        return Markup("").join(map(self._block, filter(str.strip, blocks)))

    def line(self, text: str) -> Markup:
        """A text without blocks as HTML."""
        parts = re.split(r"(`[^`]+`|\b[A-Z]\w+(?:\.[A-Z]\w+)?)", text)
        return Markup("").join(map(self._word, parts))

    def _block(self, block: str) -> Markup:
        lines = block.split("\n")
        if all(line.startswith("    ") or not line for line in lines):
            return Markup("<pre>{}</pre>").format("\n".join(line.removeprefix("    ") for line in lines))
        if block.startswith("- "):
            return Markup("<p class=item>{}</p>").format(self.line(" ".join(map(str.strip, lines))[2:]))
        return Markup("<p>{}</p>").format(self.line(" ".join(map(str.strip, lines))))

    def _word(self, word: str) -> Markup:
        if word.startswith("`"):
            return Markup("<code>{}</code>").format(word.strip("`"))
        reason = f"reason.{word}"
        if "_" in word and reason in self.anchors:
            return Markup('<a href="#{}">{}</a>').format(reason, word)
        if "." in word and word in self.anchors:
            return Markup('<a href="#{}">{}</a>').format(word, word)
        return escape(word)


def cell(text: str) -> str:
    """A text as it may stand in a table of Markdown."""
    return " ".join(text.split()).replace("|", "\\|")


def render(reference: Reference, template: str) -> str:
    """The page that ``template`` makes."""
    prose = Prose(reference.anchors())
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=template.endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"prose": prose.html, "words": prose.line, "cell": cell}
    return environment.get_template(template).render(reference=reference)


def write(folder: Path) -> None:
    """Write ``reference.html`` and ``reference.md`` into ``folder``."""
    image = (ROOT / "generated" / "image.binpb").read_bytes()
    reference = read(image, (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("html", "md"):
        page = render(reference, f"reference.{kind}.jinja")
        (folder / f"reference.{kind}").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write(ROOT / "build" / "reference")
