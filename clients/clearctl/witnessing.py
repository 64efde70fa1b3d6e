"""The HTTP side of a witness: C2SP tlog-witness, by the standard library, for a few logs that ask each second.

Rules kept here: one method on one path; a request says its length, which is bounded, and comes within a time; so many
connections are served at once, and none for ever. There is no TLS: a checkpoint is public and signed, and who wants
it puts a proxy in front.
"""

import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, cast

from clearing_client.witness import TEXT, Answer, StateRefused, Witness
from ledger.witness import PATH, REQUEST_BYTES_MAX

REQUEST_S = 10.0
"""How long anything of a request is waited for."""
CONNECTION_S = 120.0
"""How long a connection is kept, whatever it does."""
CONNECTIONS_MAX = 64


class WitnessServer(ThreadingHTTPServer):
    """Serves ``witness`` under ``prefix`` on host and port of ``listen``; ``say`` gets a line for each answer.

    Raises ``OSError`` on construction if it cannot listen there.
    """

    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX

    def __init__(
        self, listen: tuple[str, int], witness: Witness, say: Callable[[str], None], *, prefix: str = ""
    ) -> None:
        self.witness, self.say, self.path = witness, say, f"{prefix}/{PATH}"
        self.address_family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        self._began: dict[Any, float] = {}
        self._lock = threading.Lock()
        super().__init__(listen, _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002  # their signature
        """Whether there is room for one connection more."""
        with self._lock:
            if len(self._began) >= CONNECTIONS_MAX:
                return False
            self._began[request] = time.monotonic()
            return True

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that has ended."""
        with self._lock:
            self._began.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End connections that are too old; asked every half second."""
        limit = time.monotonic() - CONNECTION_S
        with self._lock:
            old = [request for request, began in self._began.items() if began < limit]
            for request in old:
                self._began[request] = time.monotonic()
                _end(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nothing to tell of."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "witness", ""
    timeout: ClassVar[float | None] = REQUEST_S

    @property
    def _served(self) -> WitnessServer:
        return cast(WitnessServer, self.server)

    def do_POST(self) -> None:
        """Answer ``add-checkpoint``."""
        if self.path != self._served.path:
            self._refuse(HTTPStatus.NOT_FOUND, f"POST {self._served.path} is all there is")
            return
        body = self._body()
        if body is None:
            return
        try:
            self._answer(self._served.witness.add_checkpoint(body))
        except (OSError, StateRefused) as error:
            self.close_connection = True
            self._answer(_text(HTTPStatus.INTERNAL_SERVER_ERROR, "the state cannot be kept", str(error)))

    def _body(self) -> bytes | None:
        """The body of the request; None if it was refused or did not come."""
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "say Content-Length")
            return None
        if len(length) > len(str(REQUEST_BYTES_MAX)) or int(length) > REQUEST_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {REQUEST_BYTES_MAX} bytes")
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        return body

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # what else comes was not read
        self._answer(_text(status, why, f"refused: {why}"))

    def _answer(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)
        self._served.say(f"{answer.status} {answer.said}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # their signature
        """Nothing: each answer is told of once, by ``say``."""


def _text(status: HTTPStatus, body: str, said: str) -> Answer:
    return Answer(status=status.value, kind=TEXT, body=f"{body}\n".encode(), said=said)


def _end(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself
