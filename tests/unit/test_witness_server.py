"""The HTTP side of a witness: so many connections at once, and none for ever."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from clearctl import witnessing
from clearctl.witnessing import WitnessServer
from ledger.witness import PATH
from tests.unit.test_witness import opened, request


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WitnessServer]:
    monkeypatch.setattr(witnessing, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(witnessing, "CONNECTION_S", 1.0)
    _, witness = opened(tmp_path)
    said: list[str] = []
    found = WitnessServer(("127.0.0.1", 0), witness, said.append, prefix="/w")
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()
    witness.close()


def connected(server: WitnessServer) -> socket.socket:
    return socket.create_connection(server.server_address[:2], timeout=10)  # type: ignore[arg-type]


def asked(server: WitnessServer, path: str = f"/w/{PATH}", method: str = "POST") -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)) as connection:
        connection.request(method, path, request(0, 5))
        return connection.getresponse().status


def test_it_answers_one_method_on_one_path_under_its_prefix(server: WitnessServer) -> None:
    assert [asked(server), asked(server, f"/{PATH}"), asked(server, f"/w/{PATH}", "GET")] == [200, 404, 501]


def test_a_connection_beyond_the_limit_is_closed_and_room_comes_back(server: WitnessServer) -> None:
    with connected(server), connected(server):
        time.sleep(0.2)
        with connected(server) as third:
            assert third.recv(1) == b""
    time.sleep(0.2)
    assert asked(server) == 200


def test_a_connection_that_says_nothing_or_little_is_ended(server: WitnessServer) -> None:
    with connected(server) as silent, connected(server) as slow:
        slow.sendall(b"POST /w/add-checkpoint HTTP/1.1\r\nContent-Le")
        assert (silent.recv(1), slow.recv(1)) == (b"", b"")
    time.sleep(0.2)
    assert asked(server) == 200
