"""A house in which much has begun: what is open there lets drawn requests get deep, and members have secrets.

Alpha and beta are those of ``serving``; gamma is a third member. Gamma's ``thin`` account is short and too poor, so
that a slice of it is on offer; of each member a withdrawal is held and a half waits; links and changes are proposed.
In default, gamma has failed besides: its clients may be ported, and a loss of ether is open.
"""

from dataclasses import replace
from pathlib import Path

from clearing.engine import Engine
from clearing.model.codec import to_text
from clearing.model.commands import (
    AdmitMember,
    ApproveProposal,
    Command,
    DeclareDefault,
    Deposit,
    LinkAccounts,
    NewTrade,
    OpenAccount,
    PlaceBid,
    ProposeChange,
    RecordNonDefaultLoss,
    RegisterProvider,
    RequestWithdrawal,
    SetBreaker,
    SubmitTrades,
)
from clearing.model.house import House
from clearing.model.ids import AccountKey, MemberId, ParticipantId
from clearing.model.outcomes import Outcome, Status
from clearing.model.values import BreakerState
from clearing.server.wire import names
from clearing.server.wire.portings import porting_name
from tests.builders import BTC_PERP, ETH, PARAMETERS, USD, USDC
from tests.serving import BTC_TICKS, SOURCES, publication

ANNA, BERT = "administrator/anna/0123456789abcdef", "administrator/bert/fedcba9876543210"
ONE, TWO, BETA_ONE = AccountKey("alpha/one"), AccountKey("alpha/two"), AccountKey("beta/one")
THIN, RICH, OPEN = AccountKey("gamma/thin"), AccountKey("gamma/rich"), AccountKey("gamma/open")
AUCTIONED = replace(PARAMETERS, auction_ms=60_000, close_out_auction_ms=600_000)
"""Parameters with auctions of liquidation steps."""
LOTS = 1_003
"""A bitcoin and a bit, so that its figures are nobody else's."""


class Scene:
    """Sends commands to an engine, each under a request id of its own."""

    def __init__(self, engine: Engine, keys: Path) -> None:
        self.engine, self.keys = engine, keys
        self._number = 0

    def send(self, command: Command, actor: str = "test") -> Outcome:
        self._number += 1
        return self.engine.execute(command, request_id=f"scene/{self._number}", actor=actor)

    def ok(self, command: Command, actor: str = "test") -> Outcome:
        outcome = self.send(command, actor)
        assert all(result.status is not Status.REFUSED for result in outcome.results), outcome
        return outcome

    def change(self, proposal: str, command: Command) -> None:
        """Two administrators make a change."""
        self.ok(proposing(proposal, command), ANNA)
        self.ok(ApproveProposal(proposal=proposal), BERT)

    def publish(self, sequence: int, ticks: int) -> None:
        for source in SOURCES:
            self.ok(publication(self.keys, source, sequence, ticks))

    def open(self, member: str, name: str, participant: str, amount_minor: int) -> AccountKey:
        key = AccountKey(f"{member}/{name}")
        self.ok(OpenAccount(member=MemberId(member), account=name, participant=ParticipantId(participant)))
        self.ok(Deposit(account=key, asset=USDC, amount_minor=amount_minor))
        return key

    def trade(
        self, trade_id: str, buyer: AccountKey, seller: AccountKey, lots: int, ticks: int, **more: str
    ) -> None:
        member = more.pop("member", buyer.split("/")[0])
        new = NewTrade(
            trade_id=trade_id,
            instrument=BTC_PERP,
            buyer=buyer,
            seller=seller,
            lots=lots,
            price_ticks=ticks,
            executed_ms=self.engine.now_ms(),
            **more,
        )
        self.ok(SubmitTrades(member=MemberId(member), trades=(new,)))


def begin(engine: Engine, keys: Path, *, in_default: bool = False) -> Scene:
    """Bring a house that ``seed`` made, with the parameters ``AUCTIONED``, to where much is open."""
    scene = Scene(engine, keys)
    low = BTC_TICKS * 97 // 100
    scene.publish(2, low)
    scene.change("gamma", AdmitMember(member=MemberId("gamma"), name="Gamma"))
    scene.open("gamma", "thin", "thea", 10_150 * USD)
    scene.open("gamma", "rich", "rose", 7_777_777_777_777)
    scene.open("gamma", "open", "olga", 100 * USD)
    scene.ok(RegisterProvider(account=BETA_ONE, capacity_minor=5_555_555_555_555))
    scene.trade("t1", RICH, THIN, LOTS, low)
    scene.publish(3, BTC_TICKS)
    scene.trade("t1", ONE, TWO, LOTS // 2, BTC_TICKS)
    scene.trade("half-1", ONE, BETA_ONE, 10, BTC_TICKS, trade_ref="deal-1")
    scene.trade("half-2", OPEN, BETA_ONE, 11, BTC_TICKS, trade_ref="deal-2")
    scene.ok(
        LinkAccounts(member=MemberId("alpha"), participant=ParticipantId("pat"), accounts=(ONE, BETA_ONE))
    )
    for key, amount in ((ONE, 1_111_111_111), (BETA_ONE, 2_222_222_222), (RICH, 3_333_333_333)):
        withdrawal = RequestWithdrawal(withdrawal=f"{key}/w1", account=key, asset=USDC, amount_minor=amount)
        scene.ok(withdrawal)
    scene.ok(SetBreaker(scope="ETH-PERP", state=BreakerState.REDUCE_ONLY, reason="a drill"), ANNA)
    for proposal in ("one", "two", "three", "four", "five"):
        admitting = AdmitMember(member=MemberId(f"new-{proposal}"), name=proposal)
        scene.ok(proposing(proposal, admitting), ANNA)
    for auction in list(engine.view.state.auctions):
        scene.ok(PlaceBid(auction=auction, account=BETA_ONE, discount_bp=77, share_bp=7_777))
    if in_default:
        scene.change("fail", DeclareDefault(member=MemberId("gamma"), reason="it said so"))
        loss = RecordNonDefaultLoss(asset=ETH, amount_minor=10**18, reason="a key was lost")
        scene.change("loss", loss)
    return scene


def proposing(proposal: str, command: Command) -> ProposeChange:
    return ProposeChange(
        proposal=proposal, command=type(command).__name__, body=to_text(command), reason="a reason"
    )


def names_of(house: House) -> dict[str, tuple[str, ...]]:
    """What there is in the house under names that nobody can guess beforehand, by the rule of the field."""
    return {
        "auction": tuple(names.auction(one) for one in house.auctions),
        "porting": tuple(porting_name(one) for one in house.portings.values()),
        "default_name": tuple(names.default(one) for one in house.defaults),
    }
