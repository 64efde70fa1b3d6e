"""The house in a process of its own, reached over gRPC with mutual TLS, as its members reach it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearing.demo.door import ADMINISTRATOR, sender
from clearing.demo.keys import client_folder
from clearing.demo.wire import Terms, request_of
from clearing.model.codec import from_text
from clearing.model.commands import Command, Tick
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome
from clearing.server.wire import times
from clearing_client.client import Client
from clearing_client.connect import channel
from clearing_client.errors import ClearingError
from clearinghouse.scenario.v1 import scenario_service_pb2 as scenario
from clearinghouse.scenario.v1.scenario_service_pb2_grpc import ScenarioServiceStub
from ledger.require import require

RATE_SCALE = "1000"
"""One driver asks for all: it is let ask as often as it likes."""
STOP_S = 20.0
PROGRAM = "from clearing.cli import main; main()"


class NotServing(Exception):
    """The house did not start; the message is what it said."""


@dataclass(slots=True, kw_only=True)
class Outside:
    """The house behind its interface: each command is sent with the certificate of the one who may send it."""

    address: str
    steps: ScenarioServiceStub
    clients: dict[str, Client]
    terms: Terms = field(default_factory=Terms)
    now_ms: int = 0

    def execute(self, name: str, command: Command) -> Outcome:
        """Ask as the sender does; what came of it, for everybody, the house tells the scenario."""
        if isinstance(command, Tick):
            answered = self.steps.RunDue(scenario.RunDueRequest(request_id=name))
            return self._heard(answered.outcome)
        who = sender(command)
        service, method, request = request_of(self.terms, command, name)
        call: Any = getattr(getattr(self.clients[who], service), method)
        refused: ClearingError | None = None
        try:
            call(request)
        except ClearingError as error:
            refused = error
        found = self.steps.GetOutcome(scenario.GetOutcomeRequest(recorded_id=f"{who}:{name}"))
        if refused is not None and not found.outcome:
            raise refused
        return self._heard(found.outcome)

    def step(self, now_ms: int) -> None:
        """Set the clock."""
        self.now_ms = now_ms
        self.steps.SetClock(scenario.SetClockRequest(time=times.from_ms(now_ms)))

    def publish(self, cycle: int) -> None:
        """Have it attested."""
        self.steps.Publish(scenario.PublishRequest(cycle=cycle))

    def _heard(self, text: str) -> Outcome:
        outcome = from_text(Outcome, text)
        for event in outcome.events:
            if event.kind == Kind.PORTING_OPENED.name:
                self.terms.offered_ms[event.subject] = self.now_ms
        return outcome


@contextmanager
def served(seed: int, folder: Path, file: Path, keys: Path) -> Iterator[Outside]:
    """``clearing serve`` over the journal in ``file``, and a connection for each caller that has keys."""
    with (keys / "serve.log").open("w", encoding="utf-8") as log, ExitStack() as stack:
        process = subprocess.Popen(  # noqa: S603  # this very program
            [
                *(sys.executable, "-c", PROGRAM, "serve", "--scenario-clock", str(seed)),
                *("--database", f"sqlite:///{file}", "--keys", str(keys)),
                *("--tiles-dir", str(folder), "--listen", "127.0.0.1:0"),
            ],
            stdin=subprocess.PIPE,  # it stops when this ends, however the driver ends
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"CLEARING_RATE_SCALE": RATE_SCALE, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        stack.callback(_stop, process)
        require(process.stdout is not None, "the house says where it serves")
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise NotServing((keys / "serve.log").read_text(encoding="utf-8").strip())
        address = line.split()[3].rstrip(",")
        clients = {
            f"{place.parent.name}/{place.name}": stack.enter_context(Client.connect(address, place))
            for place in sorted((keys / "clients").glob("*/*"))
        }
        connected = stack.enter_context(channel(address, client_folder(keys, ADMINISTRATOR)))
        yield Outside(address=address, steps=ScenarioServiceStub(connected), clients=clients)


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    process.wait(timeout=STOP_S)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
