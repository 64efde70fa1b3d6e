"""``clearctl witness``: a real process that is asked over HTTP, raced for, killed and started again."""

import http.client
import itertools
import random
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from ledger.checkpoint import format_vkey, parse_note, parse_vkey, verify_cosignatures
from ledger.witness import PATH, REQUEST_BYTES_MAX, SIZE_TYPE
from tests.unit.test_witness import COSIGNER, FORKED, HASHES, LOG, NAME, note_at, request
from tests.witnesses import Running, clearctl, made, witnessing

pytestmark = pytest.mark.slow

OF_THE_LOG = ("--log", format_vkey(LOG))
KILLS = 12


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made(tmp_path, NAME)
    return tmp_path


def asked(running: Running, body: bytes, path: str = f"/{PATH}") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    try:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


def _ask(running: Running, body: bytes, answers: list[tuple[int, str, bytes]]) -> None:
    answers.append(asked(running, body))


def test_a_witness_answers_over_http_as_the_specification_says(place: Path) -> None:
    with witnessing(place, *OF_THE_LOG) as running:
        status, _, line = asked(running, request(0, 5))
        (found,) = verify_cosignatures(parse_note(note_at(5) + line), [parse_vkey(running.vkey)])
        assert (status, abs(found.time_s - time.time()) < 60) == (200, True)
        assert asked(running, request(0, 12)) == (409, SIZE_TYPE, b"5\n")
        assert asked(running, request(5, 5, FORKED)) == (409, SIZE_TYPE, b"5\n")
        assert asked(running, request(5, 12, FORKED))[0] == 422
        assert asked(running, b"junk")[0] == 400
        assert asked(running, request(5, 12), "/else")[0] == 404
        assert list((place / "state").glob("*-5.evidence"))
    assert "two histories" in (place / "witness.log").read_text()


def test_one_connection_is_kept_for_many_requests(place: Path) -> None:
    with witnessing(place, *OF_THE_LOG) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
        for old, size in itertools.pairwise((0, 5, 12, 40)):
            connection.request("POST", f"/{PATH}", request(old, size))
            answer = connection.getresponse()
            assert (answer.status, answer.read()[:1] != b"") == (200, True)
        connection.close()


def test_requests_without_a_length_or_too_long_are_refused_before_they_are_read(place: Path) -> None:
    with witnessing(place, *OF_THE_LOG) as running:
        for header, status in (
            ("Content-Length: -1", b"411"),
            ("Transfer-Encoding: chunked", b"411"),
            (f"Content-Length: {REQUEST_BYTES_MAX + 1}", b"413"),
            (f"Content-Length: {'9' * 5_000}", b"413"),
        ):
            with socket.create_connection(("127.0.0.1", running.port), timeout=10) as plain:
                plain.sendall(f"POST /{PATH} HTTP/1.1\r\nHost: w\r\n{header}\r\n\r\n".encode())
                assert plain.recv(100).split()[1] == status
        assert asked(running, request(0, 5))[0] == 200


def test_of_two_clients_that_race_one_moves_the_size(place: Path) -> None:
    with witnessing(place, *OF_THE_LOG) as running:
        for old in (0, 10, 20):
            answers: list[tuple[int, str, bytes]] = []
            bodies = [request(old, size) for size in (old + 10, old + 10, old + 9)]
            threads = [threading.Thread(target=_ask, args=(running, body, answers)) for body in bodies]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(answer[0] for answer in answers) == [200, 409, 409]
            now = int(next(answer[2] for answer in answers if answer[0] == 409))
            assert asked(running, request(now, old + 10))[0] == 200


def test_a_second_process_on_the_same_state_is_refused(place: Path) -> None:
    with witnessing(place, *OF_THE_LOG):
        options = ["--key", str(place / "witness.key"), "--state", str(place / "state")]
        done = clearctl("witness", "run", *options, *OF_THE_LOG, "--listen", "127.0.0.1:0")
        assert (done.returncode, "another process" in done.stderr) == (1, True)


def test_a_kill_at_any_moment_loses_no_rise(place: Path) -> None:
    """Whatever was answered with a cosignature is what the next start has, or less than it."""
    rng, seen = random.Random(6), 0
    for _ in range(KILLS):
        with witnessing(place, *OF_THE_LOG) as running:
            status, _, told = asked(running, request(len(HASHES), len(HASHES)))
            known = int(told) if status == 409 else len(HASHES)
            assert known >= seen, "the size that was cosigned has fallen"
            killer = threading.Timer(rng.uniform(0.0, 0.03), running.process.kill)
            killer.start()
            try:
                for size in range(known + 1, len(HASHES) + 1):
                    if asked(running, request(known, size))[0] == 200:
                        seen = known = size
            except (OSError, http.client.HTTPException):
                pass
            killer.join()
            running.process.wait()
        if seen == len(HASHES):
            for kept in (place / "state").iterdir():
                kept.unlink()
            seen = 0


def test_a_key_is_private_is_not_overwritten_and_may_be_encrypted(tmp_path: Path) -> None:
    made(tmp_path, NAME, "--encrypt", CLEARCTL_WITNESS_PASSPHRASE="correct horse")
    key = tmp_path / "witness.key"
    assert (stat.S_IMODE(key.stat().st_mode), b"ENCRYPTED" in key.read_bytes()) == (0o600, True)
    again = clearctl("witness", "init", "--key", str(key), "--name", NAME)
    assert (again.returncode, "File exists" in again.stderr) == (2, True)
    with witnessing(tmp_path, *OF_THE_LOG, CLEARCTL_WITNESS_PASSPHRASE="correct horse") as running:
        assert asked(running, request(0, 5))[0] == 200
    options = ["--key", str(key), "--state", str(tmp_path / "state")]
    done = clearctl("witness", "run", *options, *OF_THE_LOG, CLEARCTL_WITNESS_PASSPHRASE="wrong")
    assert (done.returncode, "cannot be used" in done.stderr) == (2, True)


def test_an_ml_dsa_witness_cosigns_too(tmp_path: Path) -> None:
    made(tmp_path, NAME, "--ml-dsa")
    with witnessing(tmp_path, *OF_THE_LOG) as running:
        _, _, line = asked(running, request(0, 5))
        assert len(verify_cosignatures(parse_note(note_at(5) + line), [parse_vkey(running.vkey)])) == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ((), "say which log"),
        (("--log", "junk"), "name+hex+base64"),
        (("--log", format_vkey(COSIGNER)), "witness's, not a log's"),
        ((*OF_THE_LOG, "--listen", "7480"), "HOST:PORT"),
        ((*OF_THE_LOG, "--prefix", "w/"), "/PATH"),
    ],
)
def test_what_cannot_be_run_is_wrong_use(place: Path, change: tuple[str, ...], complaint: str) -> None:
    done = clearctl(
        "witness", "run", "--key", str(place / "witness.key"), "--state", str(place / "s"), *change
    )
    assert (done.returncode, complaint in done.stderr) == (2, True), done.stderr
