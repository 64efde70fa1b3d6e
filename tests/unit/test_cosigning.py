"""What the house makes of its witnesses: a quorum for one tree is shown, and nobody is waited for."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from clearing import cosigning as cosigning_module
from clearing.attest.policy import Group, Policy, Witness, open_checkpoint
from clearing.cosigning import ANSWER_BYTES_MAX, Ask, Cosigning, ask_over_http
from clearing.settings import SettingsRefused
from clearing_client.witness import Witness as Cosigner
from clearing_client.witness import WitnessState
from ledger.checkpoint import (
    NoteRefused,
    cosign,
    cosigner_key,
    format_signature,
    parse_checkpoint_body,
    parse_note,
)
from ledger.store.public_log import PublicLog
from ledger.tiles import TiledTree
from ledger.witness import PATH, SIZE_TYPE
from tests.unit.test_log_compare import FORKED, LEAVES, note_of, reader, tiles
from tests.unit.test_offline_verifier import POLICY as PLAIN
from tests.unit.test_policy_witnesses import key_of

NAMES = ("w1", "w2", "w3")
SOON_S = 10.0
WITNESSES = tuple(
    Witness(name=name, key=cosigner_key(f"{name}.example", key_of(name)), url=f"http://{name}")
    for name in NAMES
)


def asking_for(needed: int) -> Policy:
    group = Group(name="enough", needed=needed, members=NAMES)
    return replace(PLAIN, witnesses=WITNESSES, groups=(group,), quorum="enough")


@dataclass
class Shown:
    """A public log in memory, and all that it ever showed as cosigned."""

    leaves: list[bytes] = field(default_factory=lambda: LEAVES)
    now: bytes | None = None
    ever: list[bytes | None] = field(default_factory=list)

    def tree_of(self, note: bytes) -> TiledTree:
        at = parse_checkpoint_body(parse_note(note).text)
        return TiledTree(at.size, at.root, reader(self.leaves[: at.size]))

    def cosigned(self) -> bytes | None:
        return self.now

    def show_cosigned(self, note: bytes | None) -> None:
        self.now = note
        self.ever.append(note)

    def sizes(self, policy: Policy) -> list[int]:
        """What was shown; each satisfied ``policy``."""
        return [open_checkpoint(policy, note).checkpoint.size for note in self.ever if note is not None]


@dataclass
class Outside:
    """Three witnesses in this process; ``instead`` answers for some of them."""

    folder: Path
    instead: dict[str, Ask] = field(default_factory=dict)
    states: list[WitnessState] = field(default_factory=list)
    known: dict[str, Cosigner] = field(default_factory=dict)

    def ask(self, url: str, body: bytes) -> tuple[int, str, bytes]:
        name = url.removeprefix("http://").removesuffix(f"/{PATH}")
        if name in self.instead:
            return self.instead[name](url, body)
        answer = self.known[name].add_checkpoint(body)
        return answer.status, answer.kind, answer.body


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    found = Outside(tmp_path)
    logs = {PLAIN.origin: PLAIN.log_keys}
    for name, one in zip(NAMES, WITNESSES, strict=True):
        state = WitnessState(tmp_path / name)
        found.states.append(state)
        found.known[name] = Cosigner(one.key.name, key_of(name), logs, state, lambda: int(time.time()))
    yield found
    for state in found.states:
        state.close()


@contextmanager
def collecting(outside: Outside, shown: Shown, needed: int = 2) -> Iterator[Cosigning]:
    log = cast(PublicLog, cast(Any, shown))
    with closing(Cosigning(asking_for(needed), log, ask=outside.ask)) as found:
        found.start()
        yield found


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON_S
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def until_shown(shown: Shown, size: int) -> None:
    until(lambda: shown.sizes(asking_for(2))[-1:] == [size])


def away(_url: str, _body: bytes) -> tuple[int, str, bytes]:
    raise ConnectionRefusedError("nobody is there")


def test_a_quorum_is_shown_with_the_lines_of_all_who_answered_in_the_order_of_the_policy(
    outside: Outside,
) -> None:
    shown = Shown()
    with collecting(outside, shown) as found:
        found.offer(note_of(LEAVES[:10]), attested=False)
        until(lambda: bool(shown.ever))
        assert shown.now is not None
        opened = open_checkpoint(asking_for(2), shown.now)
        assert [one.key for one in opened.cosignatures] == [one.key for one in WITNESSES]
        assert (found.lag_entries, found.attested) == (0, None)


def test_trees_are_shown_in_order_and_one_after_the_other(outside: Outside) -> None:
    shown = Shown()
    with collecting(outside, shown) as found:
        for size in (1, 2, 100, 256, 257, 300):
            found.offer(note_of(LEAVES[:size]), attested=False)
            time.sleep(0.02)
        until(lambda: shown.sizes(asking_for(2))[-1:] == [300])
    sizes = shown.sizes(asking_for(2))
    assert sizes == sorted(set(sizes))


def test_one_that_is_away_is_named_once_and_two_are_enough(outside: Outside) -> None:
    shown, outside.instead["w2"] = Shown(), away
    with capture_logs() as told, collecting(outside, shown) as found:
        for size in (10, 20):
            found.offer(note_of(LEAVES[:size]), attested=False)
            until_shown(shown, size)
        assert {name: read() for name, read in found.answering().items()} == {"w1": 1.0, "w2": 0.0, "w3": 1.0}
    named = [(one["witness"], one["why"]) for one in told if one["event"] == "a witness does not cosign"]
    assert named == [("w2", "nobody is there")]


def test_without_the_quorum_nothing_is_shown_and_the_lag_is_told(outside: Outside) -> None:
    shown = Shown()
    outside.instead |= {"w2": away, "w3": away}
    with collecting(outside, shown) as found:
        found.offer(note_of(LEAVES[:10]), attested=True)
        until(lambda: found.answering()["w1"]() == 1.0)
        time.sleep(0.4)
        assert (shown.ever, found.lag_entries, found.attested) == ([], 10, None)


def test_to_wait_for_witnesses_that_are_away_takes_no_time_of_the_processor(outside: Outside) -> None:
    shown = Shown()
    outside.instead |= dict.fromkeys(NAMES, away)
    with collecting(outside, shown) as found:
        found.offer(note_of(LEAVES[:10]), attested=True)
        found.offer(note_of(LEAVES[:20]), attested=False)
        time.sleep(0.4)
        began = time.process_time()
        time.sleep(1.0)
        assert time.process_time() - began < 0.05
    assert shown.ever == []


def test_a_witness_that_hangs_holds_up_neither_the_offer_nor_the_others(outside: Outside) -> None:
    shown, wakes = Shown(), threading.Event()

    def hang(_url: str, _body: bytes) -> tuple[int, str, bytes]:
        wakes.wait(SOON_S)
        raise TimeoutError("timed out")

    outside.instead["w1"] = hang
    with collecting(outside, shown) as found:
        for size in (10, 20, 30):
            began = time.monotonic()
            found.offer(note_of(LEAVES[:size]), attested=False)
            assert time.monotonic() - began < 0.5
            until_shown(shown, size)
        wakes.set()


def test_the_tree_of_an_attestation_is_cosigned_although_a_newer_one_follows_at_once(
    outside: Outside,
) -> None:
    shown = Shown()
    with collecting(outside, shown) as found:
        for size in (10, 20, 30):
            found.offer(note_of(LEAVES[:size]), attested=True)
            found.offer(note_of(LEAVES[: size + 1]), attested=False)
            until_shown(shown, size + 1)
            assert found.attested is not None
            assert open_checkpoint(asking_for(2), found.attested).checkpoint.size == size
    assert shown.sizes(asking_for(2)) == [10, 11, 20, 21, 30, 31]


def test_a_tree_that_was_cosigned_before_it_was_attested_is_not_asked_for_again(outside: Outside) -> None:
    shown = Shown()
    with collecting(outside, shown) as found:
        found.offer(note_of(LEAVES[:10]), attested=False)
        until(lambda: bool(shown.ever))
        until(lambda: found.lag_entries == 0)
        found.offer(note_of(LEAVES[:10]), attested=True)
        assert found.attested == shown.now


def test_it_goes_on_from_what_the_witnesses_know(outside: Outside) -> None:
    shown = Shown()
    for size in (10, 300):
        with collecting(outside, shown) as found:
            found.offer(note_of(LEAVES[:size]), attested=False)
            until_shown(shown, size)


def lines(name: str, leaves: list[bytes], *, signer: str = "") -> bytes:
    text = parse_note(note_of(leaves)).text
    return format_signature(cosign(text, f"{name}.example", key_of(signer or name), timestamp_s=1))


LIES: dict[str, tuple[int, str, bytes]] = {
    "another tree": (200, "text/plain", lines("w1", FORKED[:150])),
    "another key": (200, "text/plain", lines("w1", LEAVES[:150], signer="w2")),
    "another witness": (200, "text/plain", lines("w2", LEAVES[:150])),
    "nothing": (200, "text/plain", b""),
    "no lines": (200, "text/plain", b"\xff\x00 junk"),
    "a note of its own": (200, "text/plain", b"\n" + lines("w1", LEAVES[:150])),
    "a size that is none": (409, SIZE_TYPE, b"01\n"),
    "a size of another type": (409, "text/plain", b"5\n"),
    "the size that was asked from": (409, SIZE_TYPE, b"0\n"),
    "more than there is": (409, SIZE_TYPE, b"9223372036854775807\n"),
    "first one size, then another": (409, SIZE_TYPE, b"7\n"),
    "no status": (999, "", b"\xff" * 500),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_witness_that_lies_is_not_counted(outside: Outside, lie: str) -> None:
    shown = Shown()
    outside.instead |= {"w1": lambda _url, _body: LIES[lie], "w2": away}
    with capture_logs() as told, collecting(outside, shown) as found:
        found.offer(note_of(LEAVES[:150]), attested=False)
        until(lambda: any(one.get("witness") == "w1" for one in told))
        until(lambda: found.answering()["w3"]() == 1.0)
        assert (shown.ever, found.answering()["w1"]()) == ([], 0.0)


@pytest.mark.slow
def test_a_fork_is_told_in_words_that_nobody_overlooks(outside: Outside, tmp_path: Path) -> None:
    first, second = Shown(), Shown(leaves=FORKED)
    with collecting(outside, first) as found:
        found.offer(note_of(LEAVES[:150]), attested=False)
        until(lambda: bool(first.ever))
    with capture_logs() as told, collecting(outside, second) as found:
        found.offer(note_of(FORKED[:150]), attested=False)
        until(lambda: sum("two histories" in one.get("why", "") for one in told) == 3)
    assert second.ever == []
    assert len(list(tmp_path.glob("*/*-150.evidence"))) == 3


def test_what_does_not_satisfy_the_policy_at_the_start_is_shown_no_longer(outside: Outside) -> None:
    shown = Shown(now=note_of(LEAVES[:10]))
    with capture_logs() as told, collecting(outside, shown):
        assert (shown.now, shown.ever) == (None, [None])
    assert any(one["event"] == "what was cosigned is not shown any more" for one in told)


def test_a_policy_that_asks_for_nobody_asks_nobody(outside: Outside) -> None:
    shown = Shown(now=note_of(LEAVES[:10]))
    log = cast(PublicLog, cast(Any, shown))
    with closing(Cosigning(PLAIN, log, ask=away)) as found:
        found.start()
        found.offer(note_of(LEAVES[:10]), attested=True)
        assert (shown.now, found.lag_entries, found.answering()) == (None, 0, {})


def test_a_quorum_that_nobody_can_be_asked_for_is_told_at_the_start() -> None:
    policy = replace(asking_for(2), witnesses=tuple(replace(one, url="") for one in WITNESSES))
    with capture_logs() as told, closing(Cosigning(policy, cast(PublicLog, cast(Any, Shown())))) as found:
        found.start()
    assert [one["event"] for one in told] == [
        "the quorum cannot be met: too few witnesses have a url in the policy"
    ]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://w",
        "http://",
        "w",
        "http://w/",
        "http://w:0",
        "http://w:x",
        "http://w?q",
        "http://u@w",
        "file:///etc",
        "http://w/#a",
    ],
)
def test_a_place_where_nobody_can_be_asked_is_refused(url: str) -> None:
    policy = replace(asking_for(2), witnesses=(replace(WITNESSES[0], url=url), *WITNESSES[1:]))
    with pytest.raises(SettingsRefused, match="asked at"):
        Cosigning(policy, cast(PublicLog, cast(Any, Shown())))


# --- over HTTP -----------------------------------------------------------------------------------------------


@contextmanager
def answering(act: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            act(self)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # their signature
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/add-checkpoint"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_answer_of_the_limit_is_read_and_one_byte_more_is_refused() -> None:
    for length, is_read in ((ANSWER_BYTES_MAX, True), (ANSWER_BYTES_MAX + 1, False)):

        def act(handler: BaseHTTPRequestHandler, length: int = length) -> None:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(b"x" * length)

        with answering(act) as url:
            if is_read:
                assert ask_over_http(url, b"body") == (200, "", b"x" * length)
            else:
                with pytest.raises(ValueError, match="too long or too slow"):
                    ask_over_http(url, b"body")


def test_an_answer_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosigning_module, "ASK_S", 0.3)

    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(50):
                handler.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            return

    with answering(act) as url, pytest.raises(ValueError, match="too long or too slow"):
        ask_over_http(url, b"body")


def test_nobody_is_followed_elsewhere() -> None:
    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("Location", "http://127.0.0.1:1/")
        handler.end_headers()

    with answering(act) as url:
        assert ask_over_http(url, b"body")[0] == 307


def test_tiles_of_the_helper_are_a_log() -> None:
    assert open_checkpoint(PLAIN, note_of(LEAVES)).checkpoint.size == len(LEAVES)
    assert "tile/entries/000" in tiles(LEAVES)
    with pytest.raises(NoteRefused):
        open_checkpoint(asking_for(1), note_of(LEAVES))
