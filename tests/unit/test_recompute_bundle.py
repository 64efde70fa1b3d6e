"""The recompute bundle as a file: its one spelling, and that its lines are those that were attested."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.attest import recompute_bundle
from clearing.attest.recompute_bundle import (
    BundleLine,
    BundleReason,
    BundleRefused,
    RecomputeBundle,
    format_bundle,
    open_bundle,
    parse_bundle,
)
from clearing.attest.statement import Inputs
from ledger.merkle import inclusion_paths, leaf_hash, tree_root

TEXTS = ['["units","",["USDC"]]', '["members","x",{"name":"X"}]', '["members","y",{"name":"Y"}]']


def whole(texts: list[str] = TEXTS, number: int = 7) -> RecomputeBundle:
    lines = tuple(BundleLine(n, bytes([n]) * 16, text) for n, text in enumerate(texts))
    return RecomputeBundle(
        attestation=number, count=len(texts), lines=lines, blinded={"members/x/pool": bytes(32)}
    )


def inputs_of(bundle: RecomputeBundle) -> Inputs:
    return Inputs(root=tree_root([leaf_hash(line.leaf) for line in bundle.lines]), count=bundle.count)


def part(*shown: int) -> RecomputeBundle:
    bundle = whole()
    hashes = [leaf_hash(line.leaf) for line in bundle.lines]
    paths = inclusion_paths(hashes, shown)
    lines = tuple(replace(bundle.lines[n], path=path) for n, path in zip(shown, paths, strict=True))
    return replace(bundle, lines=lines, blinded={})


def written(bundle: RecomputeBundle) -> bytes:
    return b"".join(format_bundle(bundle))


def reason(data: bytes) -> BundleReason:
    with pytest.raises(BundleRefused) as refused:
        parse_bundle(data)
    return refused.value.reason


def test_a_whole_bundle_is_text_that_reads_back_and_opens() -> None:
    bundle = whole()
    assert written(bundle).decode().splitlines() == [
        "clearing-house/recompute-bundle@v1",
        "attestation 7",
        "lines 3",
        f"blinded members/x/pool {'00' * 32}",
        "",
        f'line 0 {"00" * 16} ["units","",["USDC"]]',
        f'line 1 {"01" * 16} ["members","x",{{"name":"X"}}]',
        f'line 2 {"02" * 16} ["members","y",{{"name":"Y"}}]',
    ]
    assert parse_bundle(written(bundle)) == bundle
    assert open_bundle(bundle, 7, inputs_of(bundle)) == bundle


@pytest.mark.parametrize("shown", [(0,), (2,), (0, 1), (1, 2)])
def test_a_part_of_it_reads_back_and_opens_with_its_paths(shown: tuple[int, ...]) -> None:
    bundle = part(*shown)
    assert not bundle.is_whole
    assert parse_bundle(written(bundle)) == bundle
    assert open_bundle(bundle, 7, inputs_of(whole())) == bundle


def test_a_bundle_of_another_attestation_or_of_other_inputs_is_refused() -> None:
    stated = inputs_of(whole())
    forged = replace(
        whole(), lines=(*whole().lines[:2], replace(whole().lines[2], text='["members","z",{}]'))
    )
    shown = part(1)
    for bundle, number, expected in (
        (whole(), 8, BundleReason.OTHER_ATTESTATION),
        (replace(part(1), count=4), 7, BundleReason.OTHER_INPUTS),
        (forged, 7, BundleReason.OTHER_INPUTS),
        (replace(whole(), lines=(replace(whole().lines[0], salt=b"s" * 16), *whole().lines[1:])), 7, None),
        (replace(shown, lines=(replace(shown.lines[0], text="[]"),)), 7, BundleReason.OTHER_INPUTS),
        (replace(shown, lines=(replace(shown.lines[0], index=2),)), 7, BundleReason.OTHER_INPUTS),
        (replace(shown, lines=(replace(shown.lines[0], path=()),)), 7, BundleReason.OTHER_INPUTS),
    ):
        with pytest.raises(BundleRefused) as refused:
            open_bundle(bundle, number, stated)
        assert refused.value.reason is (expected or BundleReason.OTHER_INPUTS)


OTHER_SPELLINGS: list[tuple[Callable[[bytes], bytes], BundleReason]] = [
    (lambda d: b"x" + d, BundleReason.KIND),
    (lambda d: d.replace(b"@v1", b"@v2"), BundleReason.KIND),
    (lambda d: d + b"\xff\n", BundleReason.NOT_TEXT),
    (lambda d: d[:-1], BundleReason.HEADER),
    (lambda d: d.replace(b"\n\n", b"\n"), BundleReason.HEADER),
    (lambda d: d.replace(b"attestation 7", b"attestation 07"), BundleReason.HEADER),
    (lambda d: d.replace(b"attestation 7", b"attestation -7"), BundleReason.HEADER),
    (lambda d: d.replace(b"lines 3\n", b""), BundleReason.HEADER),
    (lambda d: d.replace(b"attestation 7\nlines 3\nblinded", b"blinded"), BundleReason.HEADER),
    (lambda d: d.replace(b"lines 3", b"lines 2"), BundleReason.ORDER),
    (lambda d: d.replace(b"lines 3", b"lines 16777217"), BundleReason.ORDER),
    (
        lambda d: d.replace(b"blinded members/x/pool", b"blinded Members/x/pool"),
        BundleReason.BLINDED_LINE,
    ),
    (lambda d: d.replace(b"blinded ", b"blinded  "), BundleReason.BLINDED_LINE),
    (
        lambda d: d.replace(b"\n\n", b"\nblinded members/x/pool " + b"00" * 32 + b"\n\n"),
        BundleReason.BLINDED_LINE,
    ),
    (lambda d: d.replace(b"line 1", b"line 01"), BundleReason.LINE),
    (lambda d: d.replace(b"line 1 01", b"line 1 0X"), BundleReason.LINE),
    (lambda d: d.replace(b"line 1", b"line 0"), BundleReason.ORDER),
    (lambda d: d.replace(b"\n\nline", b"\n\nLine"), BundleReason.LINE),
    (lambda d: d + b"\n", BundleReason.PATH),
    (lambda d: d + b"AAAA\n", BundleReason.PATH),
    (lambda d: d.replace(b"lines 3", b"lines 4"), BundleReason.MIXED),
    (lambda d: d.partition(b"line 0")[0] + b"\n", BundleReason.LINE),
]


def test_each_other_spelling_is_refused() -> None:
    for number, (change, expected) in enumerate(OTHER_SPELLINGS):
        assert reason(change(written(whole()))) is expected, number


def test_a_whole_bundle_with_paths_and_an_empty_one_are_refused() -> None:
    hashes = b"A" * 43 + b"=\n"
    assert reason(written(whole()) + hashes) is BundleReason.MIXED
    with pytest.raises(BundleRefused) as refused:
        RecomputeBundle(attestation=1, count=1, lines=())
    assert refused.value.reason is BundleReason.EMPTY
    with pytest.raises(BundleRefused) as refused:
        replace(part(0), blinded={"members/x/pool": bytes(32)})
    assert refused.value.reason is BundleReason.MIXED


def test_a_path_has_at_most_32_hashes_and_a_file_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    line, hashed = written(part(0)), b"A" * 43 + b"=\n"
    longest = line + hashed * (32 - len(part(0).lines[0].path))
    assert len(parse_bundle(longest).lines[0].path) == 32
    assert reason(longest + hashed) is BundleReason.PATH
    monkeypatch.setattr(recompute_bundle, "MAX_BUNDLE_BYTES", len(line))
    assert parse_bundle(line) == part(0)
    assert reason(line + b"\n") is BundleReason.TOO_LONG


@given(
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1), min_size=1), st.data()
)
def test_whatever_is_shown_of_any_bundle_opens_and_nothing_else_does(
    texts: list[str], data: st.DataObject
) -> None:
    bundle = replace(whole(texts), blinded={})
    stated = inputs_of(bundle)
    shown = sorted(data.draw(st.sets(st.integers(0, len(texts) - 1), min_size=1)))
    hashes = [leaf_hash(line.leaf) for line in bundle.lines]
    paths = [()] * len(shown) if len(shown) == len(texts) else inclusion_paths(hashes, shown)
    lines = [replace(bundle.lines[n], path=path) for n, path in zip(shown, paths, strict=True)]
    some = replace(bundle, lines=tuple(lines))
    assert open_bundle(parse_bundle(written(some)), 7, stated) == some
    n = data.draw(st.integers(0, len(lines) - 1))
    lines[n] = replace(lines[n], text=lines[n].text + "!")
    with pytest.raises(BundleRefused):
        open_bundle(replace(some, lines=tuple(lines)), 7, stated)
