"""The reference of the interface has everything that the interface has, and leads nowhere that is not."""

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

from buf.validate import validate_pb2
from clearing.server.errors import REASON_CODES, Fault
from proto.reference import ROOT, anchor_of, read, render, write
from proto.rules_in_words import in_words

EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@cache
def image() -> FileDescriptorSet:
    return FileDescriptorSet.FromString((ROOT / "generated" / "image.binpb").read_bytes())


def ours() -> Iterator[FileDescriptorProto]:
    return (
        file
        for file in image().file
        if file.package.startswith("clearinghouse.") and "rules.proto" not in file.name
    )


@cache
def page(kind: str) -> str:
    reasons = (ROOT / "docs" / "reasons.md").read_text()
    return render(read(image().SerializeToString(), reasons), f"reference.{kind}.jinja")


class Reader(HTMLParser):
    """Collects anchors and links, and refuses what is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.anchors: list[str] = []
        self.links: set[str] = set()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in EMPTY:
            self.open.append(tag)
        if given.get("id"):
            self.anchors.append(given["id"] or "")
        if tag == "a":
            self.links.add(given["href"] or "")
        self.fetched += [name for name in ("src", "srcset") if name in given]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()


@cache
def html() -> Reader:
    reader = Reader()
    reader.feed(page("html"))
    reader.close()
    return reader


def names() -> Iterator[str]:
    """The anchor of every service, method, message, field, enum and value."""
    for file in ours():
        package = f".{file.package}"
        for service in file.service:
            yield from (f"{package}.{service.name}.{method.name}" for method in service.method)
        for choice in file.enum_type:
            yield from (f"{package}.{choice.name}.{value.name}" for value in choice.value)
        for message in file.message_type:
            yield from fields(message, f"{package}.{message.name}")


def fields(message: DescriptorProto, full_name: str) -> Iterator[str]:
    yield full_name
    yield from (f"{full_name}.{field.name}" for field in message.field)
    for nested in message.nested_type:
        if not nested.options.map_entry:
            yield from fields(nested, f"{full_name}.{nested.name}")


def test_every_method_field_and_value_is_on_the_page_once() -> None:
    anchors = html().anchors
    assert len(anchors) == len(set(anchors))
    wanted = {anchor_of(name) for name in names()}
    assert len(wanted) > 1000
    assert wanted <= set(anchors)


def test_every_method_field_and_value_is_in_the_markdown() -> None:
    text = page("md")
    for name in names():
        assert f"`{name.rpartition('.')[2]}`" in text or f'id="{anchor_of(name)}"' in text, name


def test_every_reason_is_on_the_page() -> None:
    wanted = {f"reason.{one.name}" for one in (*Fault, *REASON_CODES)}
    assert wanted <= set(html().anchors)


def test_every_link_leads_to_an_anchor_of_the_page_and_nothing_is_fetched() -> None:
    assert {link.removeprefix("#") for link in html().links} <= set(html().anchors)
    assert not html().fetched
    assert not html().open, "every element is closed"
    assert "<script" not in page("html")


def test_every_link_of_the_markdown_leads_to_an_anchor_of_it() -> None:
    text = page("md")
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(re.findall(r'<a id="([^"]+)">', text))


def test_comments_callers_and_rules_are_told() -> None:
    (method,) = re.findall(
        r'<div class="method" id="CollateralService.SendWithdrawal">(.*?)</div>', page("html"), re.DOTALL
    )
    assert "Instructs custody to pay a withdrawal that is held" in method
    assert "<dd>custodian</dd>" in method
    assert "what <code>name</code> names" in method
    assert "once for each <code>request_id</code>" in method
    (field,) = re.findall(r'<tr id="SubmitTradesRequest.trades">(.*?)</tr>', page("html"), re.DOTALL)
    assert "Rule: at least 1; at most 1000" in field
    assert 'repeated <a href="#NewTrade">NewTrade</a>' in field


def test_what_a_comment_says_in_angle_brackets_is_text() -> None:
    assert "&lt;observe_time, milliseconds since 1970, UTC&gt;" in page("html")


def test_every_rule_has_words() -> None:
    rules = [
        field.options.Extensions[validate_pb2.field]
        for file in ours()
        for message in file.message_type
        for field in message.field
    ]
    assert sum(bool(in_words(rule)) for rule in rules) > 200
    unknown = validate_pb2.FieldRules(string=validate_pb2.StringRules(email=True))
    with pytest.raises(KeyError, match="email"):
        in_words(unknown)


def test_both_pages_are_written(tmp_path: Path) -> None:
    write(tmp_path / "reference")
    assert {path.name for path in (tmp_path / "reference").iterdir()} == {"reference.html", "reference.md"}
