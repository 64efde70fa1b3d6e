"""How the demonstration reaches its house: one door, in this process or over the interface.

Each command has the one sender that may send it: members for themselves, the custodian for what arrived and was
paid, price sources for their prices, an administrator for the rest. Either way the house gets the same commands
from the same callers under the same request ids at the same times, so the journal ends with the same root.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from clearing.engine import Engine
from clearing.model.commands import (
    AcceptPorting,
    ApplyPrices,
    Command,
    ContributeToPool,
    Deposit,
    FundHouse,
    LinkAccounts,
    OpenAccount,
    PayDue,
    PlaceBid,
    RecordRecovery,
    RegisterProvider,
    RequestWithdrawal,
    SendWithdrawal,
    SettleWithdrawal,
    SubmitTrades,
    Tick,
)
from clearing.model.ids import member_of
from clearing.model.outcomes import Outcome
from clearing.publish import Publisher
from clearing.server.scenario import CLOCK_ACTOR, ScenarioClock

ADMINISTRATOR, CUSTODIAN = "administrator/demo", "custodian/vault"

_Sender = Callable[[Any], str]


def _member(command: Any) -> str:
    return f"member/{command.member}"


def _owner(command: Any) -> str:
    return f"member/{member_of(command.account)}"


SENDERS: Final[dict[type, _Sender]] = {
    **dict.fromkeys(
        (OpenAccount, LinkAccounts, SubmitTrades, ContributeToPool, PayDue, AcceptPorting), _member
    ),
    **dict.fromkeys((RegisterProvider, PlaceBid, RequestWithdrawal), _owner),
    **dict.fromkeys(
        (FundHouse, Deposit, SendWithdrawal, SettleWithdrawal, RecordRecovery), lambda _: CUSTODIAN
    ),
    ApplyPrices: lambda command: f"price-source/{command.source}",
    Tick: lambda _: CLOCK_ACTOR,
}


def sender(command: Command) -> str:
    """Who sends a command, as ``role/id``."""
    return SENDERS.get(type(command), lambda _: ADMINISTRATOR)(command)


class Door(Protocol):
    """What the desk needs of a house."""

    def execute(self, name: str, command: Command) -> Outcome:
        """Send a command under a name that is its own in this run, and wait for the answer."""

    def step(self, now_ms: int) -> None:
        """Let the house's clock show a later time."""

    def publish(self, cycle: int) -> None:
        """Have a cycle that has closed attested, if it is the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The house in this process."""

    engine: Engine
    publisher: Publisher
    clock: ScenarioClock
    administrator: str
    """The actor by which the journal names it."""

    def execute(self, name: str, command: Command) -> Outcome:
        """Decided and committed here."""
        who = sender(command)
        actor = self.administrator if who == ADMINISTRATOR else who
        return self.engine.execute(command, request_id=f"{who}:{name}", actor=actor)

    def step(self, now_ms: int) -> None:
        """Set the clock."""
        self.clock.now_ms = now_ms

    def publish(self, cycle: int) -> None:
        """Attest here."""
        if cycle == self.engine.view.state.newest_cycle.number:
            self.publisher.publish_if_due()
