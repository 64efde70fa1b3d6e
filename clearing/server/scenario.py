"""ScenarioService: the house's clock in the hand of a scripted scenario.

Only a demonstration offers it, and only to this machine (``settings``). Its salts come from a seed, and so hide
nothing. A scenario that was cut off begins again at its first time, and is given the answers that were recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass

import grpc

from clearing.engine import Engine
from clearing.model.codec import to_text
from clearing.model.commands import Tick
from clearing.server.calls import founded
from clearing.server.wire import times
from clearing.server.wire.violations import Violations, require_valid
from clearinghouse.scenario.v1 import scenario_service_pb2 as pb
from clearinghouse.scenario.v1.scenario_service_pb2_grpc import ScenarioServiceServicer
from ledger.leaf import ByteSource
from ledger.require import InvariantViolated
from ledger.salt import seeded_salts

CLOCK_ACTOR = "clock"


@dataclass(slots=True)
class ScenarioClock:
    """House time in the hand of whoever steps it."""

    now_ms: int = 0

    def __call__(self) -> int:
        """UTC milliseconds."""
        return self.now_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What the service works on: ``publish`` attests and shows, ``recorded`` finds the answer to a request."""

    engine: Engine
    clock: ScenarioClock
    publish: Callable[[], object]
    recorded: Callable[[str], str]


def scenario_salts(seed: int) -> ByteSource:
    """The salts of a demonstration."""
    return seeded_salts(f"demo {seed}".encode())


class Scenario(ScenarioServiceServicer):
    """Steps the house through a scenario."""

    def __init__(self, steps: Steps | None) -> None:
        if steps is None:
            raise InvariantViolated("a scenario has its steps")
        self._steps = steps

    def SetClock(self, request: pb.SetClockRequest, context: grpc.ServicerContext) -> pb.SetClockResponse:
        """Show a time; while it is before what the journal has, nothing new is decided."""
        violations = Violations(request)
        now_ms = times.to_exact_ms(request.time, "time", violations)
        violations.require_none()
        self._steps.clock.now_ms = now_ms
        return pb.SetClockResponse()

    def RunDue(self, request: pb.RunDueRequest, context: grpc.ServicerContext) -> pb.RunDueResponse:
        """Run what has become due."""
        require_valid(request)
        outcome = self._steps.engine.execute(
            Tick(), request_id=f"{CLOCK_ACTOR}:{request.request_id}", actor=CLOCK_ACTOR
        )
        return pb.RunDueResponse(outcome=to_text(outcome))

    def Publish(self, request: pb.PublishRequest, context: grpc.ServicerContext) -> pb.PublishResponse:
        """Attest a cycle, and show what is committed."""
        require_valid(request)
        if request.cycle == founded(self._steps.engine.view).newest_cycle.number:
            self._steps.publish()
        return pb.PublishResponse()

    def GetOutcome(
        self, request: pb.GetOutcomeRequest, context: grpc.ServicerContext
    ) -> pb.GetOutcomeResponse:
        """What was recorded."""
        require_valid(request)
        return pb.GetOutcomeResponse(outcome=self._steps.recorded(request.recorded_id))
