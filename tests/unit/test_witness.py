"""A witness: what it answers, what it keeps, and what it never cosigns."""

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing_client.witness import Answer, StateRefused, Witness, WitnessState
from ledger.checkpoint import (
    Checkpoint,
    Note,
    checkpoint_body,
    cosign,
    cosigner_key,
    format_note,
    open_note,
    parse_note,
    sign_note,
    sign_text,
    verifier_key,
    verify_cosignatures,
)
from ledger.evidence import parse_evidence, verify_evidence
from ledger.merkle import EMPTY_ROOT, consistency_path, leaf_hash, tree_root
from ledger.witness import PROOF_MAX, REQUEST_BYTES_MAX, SIZE_TYPE, Request, format_request, parse_request

ORIGIN, NAME, TIME_S = "house.example/journal", "witness.example/w1", 1_700_000_000
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
LOG, COSIGNER = verifier_key(ORIGIN, LOG_KEY), cosigner_key(NAME, KEY)
HASHES = [leaf_hash(bytes([number])) for number in range(40)]
FORKED = [*HASHES[:3], leaf_hash(b"fork"), *HASHES[4:]]


def note_at(size: int, hashes: list[bytes] = HASHES, *, origin: str = ORIGIN) -> bytes:
    body = checkpoint_body(Checkpoint(origin=origin, size=size, root=tree_root(hashes[:size])))
    return sign_note(body, ORIGIN, LOG_KEY)


def request(old: int, size: int, hashes: list[bytes] = HASHES) -> bytes:
    proof = consistency_path(hashes[:size], old) if 0 < old < size else ()
    return format_request(Request(old_size=old, proof=tuple(proof), note=note_at(size, hashes)))


def opened(directory: Path, clock: Callable[[], int] = lambda: TIME_S) -> tuple[WitnessState, Witness]:
    state = WitnessState(directory)
    return state, Witness(NAME, KEY, {ORIGIN: [LOG]}, state, clock)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def witness(place: Path) -> Iterator[Witness]:
    state, found = opened(place)
    with closing(state):
        yield found


def cosigned_size(answer: Answer, note: bytes) -> int:
    """The size that the witness cosigned, which the answer joined to the note shows."""
    assert answer.status == 200, answer
    joined = note + answer.body
    (found,) = verify_cosignatures(parse_note(joined), [COSIGNER])
    assert found.time_s == TIME_S
    return open_note(joined, [LOG]).checkpoint.size


def conflict(answer: Answer) -> str:
    assert (answer.status, answer.kind) == (409, SIZE_TYPE)
    return answer.body.decode()


# --- what it cosigns ---------------------------------------------------------------------------------------


def test_the_first_checkpoint_and_what_extends_it_are_cosigned(witness: Witness) -> None:
    for old, size in ((0, 5), (5, 12), (12, 12), (12, 40)):
        assert cosigned_size(witness.add_checkpoint(request(old, size)), note_at(size)) == size


def test_an_empty_tree_is_cosigned_too(witness: Witness) -> None:
    body = checkpoint_body(Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT))
    asked = format_request(Request(old_size=0, proof=(), note=sign_note(body, ORIGIN, LOG_KEY)))
    assert witness.add_checkpoint(asked).status == 200
    assert witness.add_checkpoint(request(0, 5)).status == 200


def test_signatures_of_others_are_neither_needed_nor_kept(witness: Witness, place: Path) -> None:
    note = parse_note(note_at(5))
    stranger = sign_text(note.text, "stranger", KEY)
    asked = Request(
        old_size=0, proof=(), note=format_note(Note(text=note.text, signatures=(stranger, *note.signatures)))
    )
    assert witness.add_checkpoint(format_request(asked)).status == 200
    (kept,) = place.glob("*.checkpoint")
    assert kept.read_bytes() == note_at(5)


def test_it_goes_on_from_what_it_cosigned_after_a_start(place: Path) -> None:
    for old, size in ((0, 5), (5, 12)):
        state, witness = opened(place)
        with closing(state):
            assert witness.add_checkpoint(request(old, size)).status == 200
    state, witness = opened(place)
    with closing(state):
        assert conflict(witness.add_checkpoint(request(5, 40))) == "12\n"


# --- what it refuses ---------------------------------------------------------------------------------------


def test_another_old_size_than_its_own_is_a_conflict_that_tells_its_own(witness: Witness) -> None:
    assert conflict(witness.add_checkpoint(request(5, 12))) == "0\n"
    witness.add_checkpoint(request(0, 12))
    assert conflict(witness.add_checkpoint(request(0, 40))) == "12\n"
    assert conflict(witness.add_checkpoint(request(5, 12))) == "12\n"
    assert conflict(witness.add_checkpoint(request(0, 5))) == "12\n", "it never goes back"


def test_a_log_that_is_not_witnessed_is_not_found(witness: Witness) -> None:
    note = note_at(5, origin="other.example/journal")
    assert witness.add_checkpoint(format_request(Request(old_size=0, proof=(), note=note))).status == 404


def test_a_checkpoint_that_its_log_did_not_sign_is_forbidden(witness: Witness) -> None:
    text = parse_note(note_at(5)).text
    bad = sign_note(checkpoint_body(Checkpoint(origin=ORIGIN, size=6, root=HASHES[0])), ORIGIN, LOG_KEY)
    for note in (
        sign_note(text, ORIGIN, KEY),
        sign_note(text, "alias", LOG_KEY),
        text + b"\n" + bad.partition(b"\n\n")[2],
    ):
        assert witness.add_checkpoint(format_request(Request(old_size=0, proof=(), note=note))).status == 403


def test_an_old_size_above_the_checkpoint_is_malformed(witness: Witness) -> None:
    witness.add_checkpoint(request(0, 12))
    asked = Request(old_size=13, proof=(), note=note_at(12))
    assert witness.add_checkpoint(format_request(asked)).status == 400


@pytest.mark.parametrize(
    "proof",
    [
        (),
        consistency_path(HASHES[:12], 5)[:-1],
        (*consistency_path(HASHES[:12], 5), bytes(32)),
        consistency_path(FORKED[:12], 5),
        consistency_path(HASHES[:12], 6),
    ],
)
def test_a_proof_that_does_not_hold_is_unprocessable(witness: Witness, proof: tuple[bytes, ...]) -> None:
    witness.add_checkpoint(request(0, 5))
    asked = Request(old_size=5, proof=tuple(proof), note=note_at(12))
    assert witness.add_checkpoint(format_request(asked)).status == 422
    assert witness.add_checkpoint(request(5, 12)).status == 200


def test_a_proof_from_nothing_or_between_one_tree_is_unprocessable(witness: Witness) -> None:
    asked = Request(old_size=0, proof=(bytes(32),), note=note_at(5))
    assert witness.add_checkpoint(format_request(asked)).status == 422
    witness.add_checkpoint(request(0, 5))
    asked = Request(old_size=5, proof=(bytes(32),), note=note_at(5))
    assert witness.add_checkpoint(format_request(asked)).status == 422


def test_a_fork_of_a_larger_size_is_never_cosigned(witness: Witness) -> None:
    witness.add_checkpoint(request(0, 5))
    assert witness.add_checkpoint(request(5, 12, FORKED)).status == 422


def test_another_root_at_the_cosigned_size_is_a_conflict_and_kept_as_evidence(
    witness: Witness, place: Path
) -> None:
    witness.add_checkpoint(request(0, 12))
    answer = witness.add_checkpoint(request(12, 12, FORKED))
    assert conflict(answer) == "12\n"
    assert "two histories" in answer.said
    (kept,) = place.glob("*-12.evidence")
    found = verify_evidence(parse_evidence(kept.read_bytes()), [LOG])
    assert (found.smaller.root, found.larger.root) == (tree_root(HASHES[:12]), tree_root(FORKED[:12]))
    assert conflict(witness.add_checkpoint(request(12, 12, FORKED))) == "12\n"


GOOD = request(0, 5)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        GOOD[:-1],
        GOOD.replace(b"old 0", b"old 00"),
        GOOD.replace(b"old 0", b"Old 0"),
        GOOD.replace(b"old 0", b"old  0"),
        GOOD.replace(b"old 0", b"old -1"),
        GOOD.replace(b"old 0", "old \N{ARABIC-INDIC DIGIT FIVE}".encode()),
        GOOD.replace(b"old 0\n", b"old 0\r\n"),
        GOOD.replace(b"old 0\n", b"old 0\n" + base64.b64encode(bytes(31)) + b"\n"),
        GOOD.replace(b"old 0\n", b"old 0\n\xff\n"),
        GOOD.replace(b"old 0\n", b"old 0\n" + (base64.b64encode(bytes(32)) + b"\n") * (PROOF_MAX + 1)),
        GOOD.replace(b"old 0\n\n", b"old 0\n"),
        GOOD.replace(b"\n5\n", b"\n05\n"),
        GOOD.replace(b"\n5\n", b"\n5\nextension\n"),
        GOOD.ljust(REQUEST_BYTES_MAX + 1, b"\n"),
    ],
)
def test_what_is_no_request_is_malformed(witness: Witness, body: bytes) -> None:
    assert witness.add_checkpoint(body).status == 400


def test_a_proof_may_have_63_lines() -> None:
    proof = tuple(bytes([number]) * 32 for number in range(PROOF_MAX))
    asked = Request(old_size=5, proof=proof, note=note_at(12))
    assert parse_request(format_request(asked)) == asked


# --- what it keeps -----------------------------------------------------------------------------------------


def test_two_processes_do_not_have_one_state(place: Path) -> None:
    with closing(WitnessState(place)), pytest.raises(StateRefused, match="another process"):
        WitnessState(place)
    WitnessState(place).close()


def test_a_witness_that_has_stopped_cosigns_nothing_more(place: Path) -> None:
    _, witness = opened(place)
    witness.close()
    with closing(WitnessState(place)), pytest.raises(StateRefused, match="has stopped"):
        witness.add_checkpoint(request(0, 5))


def test_a_state_that_cannot_be_read_is_refused_at_the_start(place: Path) -> None:
    state, witness = opened(place)
    with closing(state):
        witness.add_checkpoint(request(0, 5))
    (kept,) = place.glob("*.checkpoint")
    for data, complaint in ((b"", "no checkpoint"), (note_at(5, origin="other"), "is of the log other")):
        kept.write_bytes(data)
        with closing(WitnessState(place)) as state, pytest.raises(StateRefused, match=complaint):
            Witness(NAME, KEY, {ORIGIN: [LOG]}, state, lambda: TIME_S)


def test_nothing_is_cosigned_that_is_not_on_disk(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, witness = opened(place)
    with closing(state):
        witness.add_checkpoint(request(0, 5))

        def full(_path: Path, _data: bytes) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("clearing_client.witness.put_file", full)
            with pytest.raises(OSError, match="No space"):
                witness.add_checkpoint(request(5, 12))
        assert conflict(witness.add_checkpoint(request(0, 12))) == "5\n"
        assert witness.add_checkpoint(request(5, 12)).status == 200


def test_of_many_that_ask_at_once_one_moves_the_size(place: Path) -> None:
    state, witness = opened(place)
    with closing(state):
        witness.add_checkpoint(request(0, 5))
        asked = [request(5, size) for size in range(6, 38)]
        answers: list[Answer] = []
        threads = [
            threading.Thread(target=lambda body=body: answers.append(witness.add_checkpoint(body)))
            for body in asked
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.status for answer in answers) == [200] + [409] * 31
        latest = state.latest(ORIGIN)
        assert latest is not None
        assert {conflict(answer) for answer in answers if answer.status == 409} == {f"{latest.size}\n"}


def test_a_cosignature_is_the_one_that_the_key_makes(witness: Witness) -> None:
    line = cosign(parse_note(note_at(5)).text, NAME, KEY, timestamp_s=TIME_S)
    answer = witness.add_checkpoint(request(0, 5))
    assert note_at(5) + answer.body == format_note(
        Note(text=parse_note(note_at(5)).text, signatures=(*parse_note(note_at(5)).signatures, line))
    )
