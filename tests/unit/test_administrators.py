"""Two administrators differ in their id and in the key of their certificate (rulebook §2)."""

from collections.abc import Callable

import pytest

from clearing.decide.administrators import actor_id, administrator_refusal, same_administrator_refusal
from clearing.decide.table import Request
from clearing.engine import body_hash
from clearing.model.commands import (
    AdmitMember,
    ApproveProposal,
    Command,
    ProposeParameters,
    RejectProposal,
    Tick,
)
from clearing.model.ids import MemberId
from clearing.model.outcomes import Reason
from clearing.model.values import BreakerState, ProposalState
from tests.builders import ANNA, BERT, World, empty_house, proposing_change, two_traders
from tests.unit.test_breakers import setting
from tests.unit.test_governance import LOOSER
from tests.unit.test_outage import closing, declared

ONE, OTHER = "0123456789abcdef", "fedcba9876543210"
ANNA_ONE, ANNA_OTHER = f"{ANNA}/{ONE}", f"{ANNA}/{OTHER}"
BERT_ONE, BERT_OTHER = f"{BERT}/{ONE}", f"{BERT}/{OTHER}"

SAME = [
    pytest.param(ANNA_ONE, ANNA_ONE, id="one certificate"),
    pytest.param(ANNA_ONE, ANNA_OTHER, id="two certificates of one name"),
    pytest.param(ANNA_ONE, BERT_ONE, id="one certificate under two names"),
    pytest.param(ANNA, ANNA, id="one name without a key"),
    pytest.param(ANNA_ONE, ANNA, id="one name, once without a key"),
    pytest.param(ANNA, ANNA_ONE, id="one name, first without a key"),
]
DIFFERENT = [
    pytest.param(ANNA_ONE, BERT_OTHER, id="two names with two certificates"),
    pytest.param(ANNA, BERT, id="two names without a key"),
    pytest.param(ANNA, BERT_OTHER, id="two names, one of them without a key"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_who_shares_the_name_or_the_key_is_the_same(first: str, second: str) -> None:
    refused = same_administrator_refusal(first, second)
    assert refused is not None
    assert refused.reason is Reason.SAME_ADMINISTRATOR


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_who_shares_neither_name_nor_key_is_another(first: str, second: str) -> None:
    assert same_administrator_refusal(first, second) is None
    assert same_administrator_refusal(second, first) is None


def parameters_proposed(world: World, actor: str) -> Command:
    world.ok(ProposeParameters(proposal="p", parameters=LOOSER, reason="a reason", immediate=False), actor)
    return ApproveProposal(proposal="p")


def change_proposed(world: World, actor: str) -> Command:
    world.ok(proposing_change(AdmitMember(member=MemberId("new"), name="New"), "p"), actor)
    return ApproveProposal(proposal="p")


def loosening_asked(world: World, actor: str) -> Command:
    world.ok(setting("*", BreakerState.REDUCE_ONLY), actor)
    world.ok(setting("*", BreakerState.OPEN), actor)
    return setting("*", BreakerState.OPEN)


def closing_asked(world: World, actor: str) -> Command:
    world.ok(closing(), actor)
    return closing()


Asking = Callable[[World, str], Command]
ASKED: list[tuple[Callable[[], World], Asking]] = [
    (empty_house, parameters_proposed),
    (two_traders, change_proposed),
    (two_traders, loosening_asked),
    (declared, closing_asked),
]


@pytest.mark.parametrize(("first", "second"), SAME)
@pytest.mark.parametrize(("house", "ask"), ASKED, ids=[ask.__name__ for _, ask in ASKED])
def test_nobody_confirms_what_it_asked_for_itself(
    house: Callable[[], World], ask: Asking, first: str, second: str
) -> None:
    world = house()
    assert world.reason(ask(world, first), second) == Reason.SAME_ADMINISTRATOR.name


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
@pytest.mark.parametrize(("house", "ask"), ASKED, ids=[ask.__name__ for _, ask in ASKED])
def test_another_confirms_it(house: Callable[[], World], ask: Asking, first: str, second: str) -> None:
    world = house()
    world.ok(ask(world, first), second)
    assert world.entries[-1].actor == second


@pytest.mark.parametrize(
    ("by", "state"), [(ANNA_OTHER, ProposalState.WITHDRAWN), (BERT_ONE, ProposalState.REJECTED)]
)
def test_who_withdraws_its_own_proposal_is_known_by_its_id(by: str, state: ProposalState) -> None:
    world = empty_house()
    parameters_proposed(world, ANNA_ONE)
    world.ok(RejectProposal(proposal="p", reason="not now"), by)
    assert world.state.parameter_proposals["p"].state is state


@pytest.mark.parametrize(
    "actor", ["administrator/", f"administrator//{ONE}", "administrators/anna", "member/a/b"]
)
def test_a_key_alone_is_no_administrator(actor: str) -> None:
    assert administrator_refusal(actor) is not None
    assert administrator_refusal(ANNA_ONE) is None


def test_a_request_is_the_same_by_a_renewed_key_and_another_by_another_name() -> None:
    hashes = {
        actor: body_hash(Request(request_id="r", actor=actor, command=Tick()))
        for actor in (ANNA, ANNA_ONE, ANNA_OTHER, BERT_ONE, "member/anna", "member/anna/x")
    }
    assert hashes[ANNA] == hashes[ANNA_ONE] == hashes[ANNA_OTHER]
    assert len(set(hashes.values())) == 4


def test_an_id_is_what_is_left_without_the_key() -> None:
    assert [actor_id(actor) for actor in (ANNA_ONE, ANNA, "member/a/b", "test")] == [
        *(ANNA, ANNA, "member/a/b", "test"),
    ]
