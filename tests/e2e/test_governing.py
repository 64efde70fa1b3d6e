"""Administrators, members and bidders over real mTLS: who may do what, what is refused, what an answer says again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from clearing import keys as house_keys
from clearing.model.units import of_settlement
from clearing.server.identity import parse_spiffe
from clearing.server.wire import parameters as parameters_wire
from clearing_client.client import new_id
from clearing_client.connect import channel
from clearing_client.errors import ClearingError, of_call
from clearinghouse.v1 import (
    admin_service_pb2 as admin_pb,
)
from clearinghouse.v1 import (
    auction_service_pb2 as auction_pb,
)
from clearinghouse.v1 import (
    default_service_pb2 as default_pb,
)
from clearinghouse.v1 import (
    house_service_pb2 as house_pb,
)
from clearinghouse.v1 import (
    membership_service_pb2 as member_pb,
)
from clearinghouse.v1.admin_service_pb2_grpc import AdminServiceStub
from clearinghouse.v1.auction_service_pb2_grpc import AuctionServiceStub
from clearinghouse.v1.default_service_pb2_grpc import DefaultServiceStub
from clearinghouse.v1.house_service_pb2_grpc import HouseServiceStub
from clearinghouse.v1.membership_service_pb2_grpc import MembershipServiceStub
from clearinghouse.v1.parameters_pb2 import Parameters
from tests.builders import empty_house
from tests.serving import CLIENTS, HOUSE, Served, served_house, serving

pytestmark = pytest.mark.slow

ANNA, BERT, RITA = "administrator/anna", "administrator/bert", "regulator/rita"
ALPHA, BETA, DESK = "member/alpha", "member/beta", "liquidity-provider/beta"
STUBS: dict[str, Any] = {
    "admin": AdminServiceStub,
    "auction": AuctionServiceStub,
    "default": DefaultServiceStub,
    "house": HouseServiceStub,
    "member": MembershipServiceStub,
}


@contextmanager
def calling(served: Served, who: str, service: str) -> Iterator[Any]:
    """The stub of a service with the certificate of ``who``."""
    with channel(served.address, served.keys / "clients" / who) as connected:
        yield STUBS[service](connected)


def answer(served: Served, who: str, service: str, method: str, request: object) -> Any:
    """What ``who`` is answered."""
    with calling(served, who, service) as stub:
        return getattr(stub, method)(request)


def refusal(served: Served, who: str, service: str, method: str, request: object) -> ClearingError:
    """Why ``who`` is refused; the journal does not grow."""
    before = served.journal_size()
    with calling(served, who, service) as stub, pytest.raises(grpc.RpcError) as error:
        getattr(stub, method)(request)
    assert served.journal_size() == before
    return of_call(error.value)


def fields_of(error: ClearingError) -> set[str]:
    assert error.reason == "REQUEST_INVALID", error
    return {violation.field for violation in error.violations}


def admitting(member: str, **more: Any) -> admin_pb.ProposeChangeRequest:
    change = admin_pb.Change(
        admit_member=admin_pb.AdmitMemberChange(member=f"members/{member}", display_name=member.title())
    )
    good = {"proposal_id": f"admit-{member}", "request_id": new_id(), "reason": "it applied"}
    return admin_pb.ProposeChangeRequest(change=change, **(good | more))


def approving(name: str, **more: Any) -> admin_pb.ApproveProposalRequest:
    return admin_pb.ApproveProposalRequest(**({"name": f"proposals/{name}", "request_id": new_id()} | more))


def in_force(served: Served) -> admin_pb.GetParametersResponse:
    found: admin_pb.GetParametersResponse = answer(
        served, ALPHA, "admin", "GetParameters", admin_pb.GetParametersRequest()
    )
    return found


def proposing(served: Served, name: str, **changes: Any) -> admin_pb.ProposeParametersRequest:
    known = in_force(served)
    wanted = Parameters()
    wanted.CopyFrom(known.parameters)
    for field, value in changes.items():
        setattr(wanted, field, value)
    return admin_pb.ProposeParametersRequest(
        proposal_id=name,
        request_id=new_id(),
        parameters=wanted,
        base_version=known.version,
        reason="a reason",
    )


# ---------------------------------------------------------------------------------------------- two administrators


def test_a_change_is_proposed_by_one_and_made_by_another_and_each_answer_is_given_again(
    served: Served,
) -> None:
    proposed, approval = admitting("gamma"), approving("admit-gamma")
    first = answer(served, ANNA, "admin", "ProposeChange", proposed)
    assert first.proposal == "proposals/admit-gamma"
    again = approving("admit-gamma")
    assert refusal(served, ANNA, "admin", "ApproveProposal", again).reason == "SAME_ADMINISTRATOR"
    preview = approving("admit-gamma", validate_only=True)
    before = served.journal_size()
    would = answer(served, BERT, "admin", "ApproveProposal", preview)
    assert served.journal_size() == before
    done = answer(served, BERT, "admin", "ApproveProposal", approval)
    assert (would.state, would.effects) == (done.state, done.effects)
    assert done.state == admin_pb.PROPOSAL_STATE_IN_FORCE
    assert [one.kind for one in done.effects] == ["CHANGE_APPROVED"]
    assert answer(served, BERT, "admin", "ApproveProposal", approval) == done
    assert answer(served, ANNA, "admin", "ProposeChange", proposed) == first
    row = answer(
        served, RITA, "admin", "GetProposal", admin_pb.GetProposalRequest(name="proposals/admit-gamma")
    ).proposal
    assert (row.proposer, row.approver) == ("administrators/anna", "administrators/bert")
    assert row.change == proposed.change
    assert row.reason == "it applied"


def test_a_change_by_one_alone_is_for_the_set_up(served: Served) -> None:
    change = admitting("delta").change
    request = admin_pb.MakeChangeRequest(house=HOUSE, request_id=new_id(), change=change)
    assert refusal(served, ANNA, "admin", "MakeChange", request).reason == "TWO_ADMINISTRATORS_NEEDED"
    request = admin_pb.MakeChangeRequest(house="other", request_id=new_id(), change=change)
    assert fields_of(refusal(served, ANNA, "admin", "MakeChange", request)) == {"house"}


def test_all_that_is_wrong_with_a_change_is_said_at_once(served: Served) -> None:
    wrong = admin_pb.AssetTerms(
        name="gold", decimals=40, feed="XAU", tick_value="-1", haircut_bp=10_001, concentration_limit="1.5"
    )
    change = admin_pb.Change(list_asset=admin_pb.ListAssetChange(asset=wrong))
    request = admin_pb.ProposeChangeRequest(proposal_id="P", change=change, reason=" ")
    assert fields_of(refusal(served, ANNA, "admin", "ProposeChange", request)) == {
        *("proposal_id", "request_id", "reason"),
        *(
            f"change.list_asset.asset.{field}"
            for field in ("name", "decimals", "feed", "tick_value", "haircut_bp")
        ),
    }
    nothing = admin_pb.ProposeChangeRequest(
        proposal_id="p", request_id=new_id(), reason="why", change=admin_pb.Change()
    )
    assert fields_of(refusal(served, ANNA, "admin", "ProposeChange", nothing)) == {"change.change"}


KINDS: dict[str, tuple[admin_pb.Change, str]] = {
    "asset": (
        admin_pb.Change(
            list_asset=admin_pb.ListAssetChange(
                asset=admin_pb.AssetTerms(
                    name="assets/WBTC",
                    decimals=8,
                    feed="feeds/BTC",
                    tick_value="0.100000",
                    haircut_bp=1_000,
                    concentration_limit="1.50000000",
                    concentration_haircut_bp=2_000,
                )
            )
        ),
        "",
    ),
    "instrument": (
        admin_pb.Change(
            list_instrument=admin_pb.ListInstrumentChange(
                instrument=admin_pb.InstrumentTerms(
                    name="instruments/BTC-MINI",
                    kind=house_pb.INSTRUMENT_KIND_PERPETUAL,
                    underlying="feeds/BTC",
                    feed="feeds/BTC",
                    tick_value="0.000010",
                    price_decimals=1,
                    lot_decimals=4,
                )
            )
        ),
        "",
    ),
    "reinstate": (
        admin_pb.Change(reinstate_member=admin_pb.ReinstateMemberChange(member="members/beta")),
        "MEMBER_NOT_SUSPENDED",
    ),
    "source": (
        admin_pb.Change(
            register_source=admin_pb.RegisterSourceChange(source="sources/s9", public_key=bytes(32))
        ),
        "PUBLIC_KEY_UNSOUND",
    ),
    "retire": (admin_pb.Change(retire_source=admin_pb.RetireSourceChange(source="sources/s1")), ""),
    "loss": (
        admin_pb.Change(
            record_non_default_loss=admin_pb.RecordNonDefaultLossChange(
                asset="assets/ETH", amount="0.500000000000000000"
            )
        ),
        "",
    ),
    "nothing-lost": (
        admin_pb.Change(
            record_non_default_loss=admin_pb.RecordNonDefaultLossChange(asset="assets/DOGE", amount="1")
        ),
        "ASSET_UNKNOWN",
    ),
    "end": (admin_pb.Change(wind_down=admin_pb.WindDownChange()), "NOTHING_UNCOVERED"),
    "group": (
        admin_pb.Change(group_member=admin_pb.GroupMemberChange(member="members/beta", group="north")),
        "",
    ),
    "stranger": (
        admin_pb.Change(group_member=admin_pb.GroupMemberChange(member="members/nobody", group="north")),
        "MEMBER_UNKNOWN",
    ),
    "law": (
        admin_pb.Change(
            set_jurisdiction=admin_pb.SetJurisdictionChange(member="members/beta", jurisdiction="CH")
        ),
        "",
    ),
    "grant": (
        admin_pb.Change(
            grant_regulator=admin_pb.GrantRegulatorChange(
                regulator="regulators/zoe", jurisdictions=["CH", "LI"]
            )
        ),
        "",
    ),
    "no-grant": (
        admin_pb.Change(grant_regulator=admin_pb.GrantRegulatorChange(regulator="regulators/zoe", all=True)),
        "GRANT_UNKNOWN",
    ),
    "default": (
        admin_pb.Change(declare_default=admin_pb.DeclareDefaultChange(member="members/nobody")),
        "MEMBER_UNKNOWN",
    ),
}


def test_every_kind_of_change_can_be_tried_and_read_back(served: Served) -> None:
    for name, (change, reason) in KINDS.items():
        request = admitting("x", proposal_id=f"try-{name}")
        request.change.CopyFrom(change)
        if reason:
            assert refusal(served, ANNA, "admin", "ProposeChange", request).reason == reason
            continue
        answer(served, ANNA, "admin", "ProposeChange", request)
        row = answer(
            served, RITA, "admin", "GetProposal", admin_pb.GetProposalRequest(name=f"proposals/try-{name}")
        ).proposal
        assert row.change == change
        ending = admin_pb.RejectProposalRequest(name=row.name, request_id=new_id(), reason="only a test")
        ended = answer(served, BERT, "admin", "RejectProposal", ending)
        assert ended.state == admin_pb.PROPOSAL_STATE_REJECTED
        assert answer(served, BERT, "admin", "RejectProposal", ending) == ended


def test_proposals_come_in_pages(served: Served) -> None:
    for name in ("page-a", "page-b"):
        answer(served, ANNA, "admin", "ProposeChange", admitting(name, proposal_id=name))
    seen, token = [], ""
    while True:
        page = answer(
            served,
            RITA,
            "admin",
            "ListProposals",
            admin_pb.ListProposalsRequest(page_size=1, page_token=token),
        )
        seen += [row.name for row in page.proposals]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(seen)
    assert {"proposals/page-a", "proposals/page-b"} <= set(seen)
    unknown = admin_pb.GetProposalRequest(name="proposals/none")
    assert refusal(served, RITA, "admin", "GetProposal", unknown).reason == "PROPOSAL_UNKNOWN"


# ---------------------------------------------------------------------------------------------------- parameters


def test_parameters_are_proposed_with_their_impact_and_wait_after_the_approval(served: Served) -> None:
    dry = proposing(served, "dearer", requirement_bp=20_000)
    dry.validate_only = True
    before = served.journal_size()
    preview = answer(served, ANNA, "admin", "ProposeParameters", dry)
    assert served.journal_size() == before
    request = proposing(served, "dearer", requirement_bp=20_000)
    proposed = answer(served, ANNA, "admin", "ProposeParameters", request)
    assert proposed == preview
    assert proposed.impact.requirement_change == "0.000000", "nobody has a position"
    approval = approving("dearer")
    approved = answer(served, BERT, "admin", "ApproveProposal", approval)
    assert approved.state == admin_pb.PROPOSAL_STATE_APPROVED
    assert answer(served, ANNA, "admin", "ProposeParameters", request) == proposed
    row = answer(
        served, RITA, "admin", "GetProposal", admin_pb.GetProposalRequest(name="proposals/dearer")
    ).proposal.parameters
    assert row.parameters == request.parameters
    assert row.HasField("effective_time")
    assert in_force(served).version == row.base_version


def test_every_number_beyond_its_range_and_every_missing_one_is_named(served: Served) -> None:
    request = proposing(served, "wrong", requirement_bp=9_999, call_ms=-1, pool_floor="-1")
    request.parameters.ClearField("trade_fee_bp")
    request.base_version = 0
    assert fields_of(refusal(served, ANNA, "admin", "ProposeParameters", request)) == {
        "base_version",
        *(f"parameters.{field}" for field in ("requirement_bp", "call_ms", "pool_floor", "trade_fee_bp")),
    }


def test_parameters_for_another_version_are_refused(served: Served) -> None:
    request = proposing(served, "stale", requirement_bp=30_000)
    request.base_version += 1
    assert refusal(served, ANNA, "admin", "ProposeParameters", request).reason == "PROPOSAL_OUTDATED"


# -------------------------------------------------------------------------- breakers, and the standing of members


def test_one_administrator_shuts_and_two_open_and_members_see_why(served: Served) -> None:
    def setting(state: "house_pb.BreakerState.ValueType") -> admin_pb.SetBreakerRequest:
        return admin_pb.SetBreakerRequest(
            instrument="instruments/ETH-PERP", request_id=new_id(), state=state, reason="strange prices"
        )

    opening = setting(house_pb.BREAKER_STATE_OPEN)
    assert answer(served, ANNA, "admin", "SetBreaker", setting(house_pb.BREAKER_STATE_REDUCE_ONLY)).set
    (shown,) = answer(served, ALPHA, "house", "GetHouse", house_pb.GetHouseRequest()).house.breakers
    assert (shown.instrument, shown.state, shown.reason) == (
        "instruments/ETH-PERP",
        house_pb.BREAKER_STATE_REDUCE_ONLY,
        "strange prices",
    )
    asked = answer(served, ANNA, "admin", "SetBreaker", opening)
    assert not asked.set
    (row,) = answer(served, RITA, "admin", "ListBreakers", admin_pb.ListBreakersRequest()).breakers
    assert (row.setter, row.asker) == ("administrators/anna", "administrators/anna")
    assert answer(served, BERT, "admin", "SetBreaker", setting(house_pb.BREAKER_STATE_OPEN)).set
    assert answer(served, ANNA, "admin", "SetBreaker", opening) == asked, (
        "the first answer, whatever happened"
    )
    assert not answer(served, ALPHA, "house", "GetHouse", house_pb.GetHouseRequest()).house.breakers


def test_a_halt_of_everything_is_an_outage_that_everyone_sees(served: Served) -> None:
    def setting(state: "house_pb.BreakerState.ValueType") -> admin_pb.SetBreakerRequest:
        return admin_pb.SetBreakerRequest(
            instrument="instruments/-", request_id=new_id(), state=state, reason="an exploit"
        )

    closing = admin_pb.CloseInOutageRequest(
        default="defaults/d1", request_id=new_id(), reason="nothing else is left"
    )
    assert refusal(served, ANNA, "admin", "CloseInOutage", closing).reason == "NO_OUTAGE"
    assert not answer(served, RITA, "admin", "GetOutage", admin_pb.GetOutageRequest()).HasField("outage")
    answer(served, ANNA, "admin", "SetBreaker", setting(house_pb.BREAKER_STATE_HALTED))
    house = answer(served, ALPHA, "house", "GetHouse", house_pb.GetHouseRequest()).house
    assert (house.breakers[0].instrument, house.breakers[0].state) == (
        "instruments/-",
        house_pb.BREAKER_STATE_HALTED,
    )
    assert house.HasField("outage")
    assert answer(served, RITA, "admin", "GetOutage", admin_pb.GetOutageRequest()).outage.HasField(
        "begin_time"
    )
    shut = answer(served, RITA, "admin", "ListGates", admin_pb.ListGatesRequest()).gates
    assert "HALTED" in {gate.reason for gate in shut}
    closing.request_id = new_id()
    assert refusal(served, ANNA, "admin", "CloseInOutage", closing).reason == "OUTAGE_TOO_SHORT"
    for who in (ANNA, BERT):
        answer(served, who, "admin", "SetBreaker", setting(house_pb.BREAKER_STATE_OPEN))


def test_one_administrator_revokes_a_certificate(served: Served) -> None:
    request = admin_pb.RevokeCertificateRequest(serial="1f", request_id=new_id(), reason="its key was stolen")
    done = answer(served, ANNA, "admin", "RevokeCertificate", request)
    assert answer(served, ANNA, "admin", "RevokeCertificate", request) == done
    (row,) = answer(served, RITA, "admin", "ListRevocations", admin_pb.ListRevocationsRequest()).revocations
    assert (row.serial, row.reason, row.revoker) == ("1f", "its key was stolen", "administrators/anna")
    request.request_id = new_id()
    assert refusal(served, BERT, "admin", "RevokeCertificate", request).reason == "ALREADY_EXISTS"
    wrong = admin_pb.RevokeCertificateRequest(serial="0F")
    wanted = {"serial", "request_id", "reason"}
    assert fields_of(refusal(served, ANNA, "admin", "RevokeCertificate", wrong)) == wanted


def test_sources_are_listed_with_their_keys(served: Served) -> None:
    listed = answer(served, RITA, "admin", "ListSources", admin_pb.ListSourcesRequest()).sources
    assert [row.name for row in listed] == ["sources/s1", "sources/s2", "sources/s3"]
    assert {len(row.public_key) for row in listed} == {32}
    assert not any(row.retired for row in listed)


def test_the_pool_is_sized_and_each_member_sees_its_own(served: Served) -> None:
    request = admin_pb.SizePoolRequest(house=HOUSE, request_id=new_id())
    sized = answer(served, ANNA, "admin", "SizePool", request)
    assert {"members/alpha", "members/beta"} <= {part.member for part in sized.contributions}
    assert answer(served, ANNA, "admin", "SizePool", request) == sized
    wrong = admin_pb.SizePoolRequest(house="else", request_id=new_id())
    assert fields_of(refusal(served, ANNA, "admin", "SizePool", wrong)) == {"house"}


# ---------------------------------------------------------------------------------------------------- membership


def test_a_member_sees_itself_in_full_and_of_others_name_and_standing(served: Served) -> None:
    mine = answer(
        served, ALPHA, "member", "GetMember", member_pb.GetMemberRequest(name="members/alpha")
    ).member
    other = answer(
        served, ALPHA, "member", "GetMember", member_pb.GetMemberRequest(name="members/beta")
    ).member
    assert mine.HasField("stake")
    assert (other.display_name, other.HasField("stake")) == ("Beta", False)
    listed = answer(served, RITA, "member", "ListMembers", member_pb.ListMembersRequest()).members
    assert all(row.HasField("stake") for row in listed)
    nobody = member_pb.GetMemberRequest(name="members/nobody")
    assert refusal(served, ALPHA, "member", "GetMember", nobody).reason == "MEMBER_UNKNOWN"


def test_membership_is_asked_for_and_left_under_the_callers_own_name(served: Served) -> None:
    request = member_pb.ApplyForMembershipRequest(
        member="members/beta", request_id=new_id(), display_name="Beta"
    )
    assert refusal(served, ALPHA, "member", "ApplyForMembership", request).reason == "NOT_YOURS"
    assert refusal(served, BETA, "member", "ApplyForMembership", request).reason == "ALREADY_EXISTS"
    leaving = member_pb.LeaveHouseRequest(member="members/alpha", request_id=new_id())
    assert refusal(served, BETA, "member", "LeaveHouse", leaving).reason == "NOT_YOURS"
    assert refusal(served, ALPHA, "member", "LeaveHouse", leaving).reason == "MEMBER_BOUND"
    wrong = member_pb.ApplyForMembershipRequest(member="members/alpha")
    assert fields_of(refusal(served, ALPHA, "member", "ApplyForMembership", wrong)) == {
        "request_id",
        "display_name",
    }


def test_a_suspended_member_knows_why_and_nobody_else_does(served: Served) -> None:
    request = admin_pb.SuspendMemberRequest(
        member="members/beta", request_id=new_id(), reason="its books do not agree"
    )
    answer(served, ANNA, "admin", "SuspendMember", request)
    asked = member_pb.GetMemberRequest(name="members/beta")
    mine = answer(served, BETA, "member", "GetMember", asked).member
    assert mine.stake.suspend_reason == "its books do not agree"
    assert not answer(served, ALPHA, "member", "GetMember", asked).member.HasField("stake")
    change = admin_pb.Change(reinstate_member=admin_pb.ReinstateMemberChange(member="members/beta"))
    proposed = admitting("x", proposal_id="back")
    proposed.change.CopyFrom(change)
    answer(served, ANNA, "admin", "ProposeChange", proposed)
    answer(served, BERT, "admin", "ApproveProposal", approving("back"))
    assert answer(served, BETA, "member", "GetMember", asked).member.status == member_pb.MEMBER_STATUS_ACTIVE


# ------------------------------------------------------------------------------------------------------ auctions


def test_a_provider_is_registered_for_an_account_of_its_own(served: Served) -> None:
    request = auction_pb.RegisterProviderRequest(
        account="members/beta/accounts/one", request_id=new_id(), capacity="1000.5"
    )
    assert refusal(served, ALPHA, "auction", "RegisterProvider", request).reason == "NOT_YOURS"
    done = answer(served, DESK, "auction", "RegisterProvider", request)
    assert (done.provider.capacity, done.provider.taken) == ("1000.500000", "0.000000")
    assert answer(served, DESK, "auction", "RegisterProvider", request) == done
    every = auction_pb.ListProvidersRequest(parent="members/-")
    assert not answer(served, ALPHA, "auction", "ListProviders", every).providers
    assert answer(served, RITA, "auction", "ListProviders", every).providers[0] == done.provider
    fine = auction_pb.RegisterProviderRequest(
        account="members/beta/accounts/one", request_id=new_id(), capacity="0.0000001"
    )
    assert fields_of(refusal(served, DESK, "auction", "RegisterProvider", fine)) == {"capacity"}


def test_bids_are_for_open_auctions_and_for_accounts_of_ones_own(served: Served) -> None:
    assert not answer(served, DESK, "auction", "ListAuctions", auction_pb.ListAuctionsRequest()).auctions
    bid = auction_pb.PlaceBidRequest(
        account="members/beta/accounts/one",
        request_id=new_id(),
        auction="auctions/a1",
        discount_bp=50,
        share_bp=5_000,
    )
    assert refusal(served, ALPHA, "auction", "PlaceBid", bid).reason == "NOT_YOURS"
    assert refusal(served, DESK, "auction", "PlaceBid", bid).reason == "AUCTION_UNKNOWN"
    withdrawal = auction_pb.WithdrawBidRequest(
        account=bid.account, request_id=new_id(), auction="auctions/a1"
    )
    assert refusal(served, ALPHA, "auction", "WithdrawBid", withdrawal).reason == "NOT_YOURS"
    assert refusal(served, DESK, "auction", "WithdrawBid", withdrawal).reason == "AUCTION_UNKNOWN"
    wrong = auction_pb.PlaceBidRequest(account=bid.account, discount_bp=10_000, share_bp=0)
    assert fields_of(refusal(served, DESK, "auction", "PlaceBid", wrong)) == {
        *("request_id", "auction", "discount_bp", "share_bp")
    }
    asked = auction_pb.GetAuctionRequest(name="auctions/a1")
    assert refusal(served, DESK, "auction", "GetAuction", asked).reason == "AUCTION_UNKNOWN"


# ----------------------------------------------------------------------- a default by two administrators, a porting


def test_a_member_is_declared_and_its_clients_are_taken_over_by_another(tmp_path: Path) -> None:
    with served_house(tmp_path) as served:
        declared = admitting("x", proposal_id="fail")
        declared.change.CopyFrom(
            admin_pb.Change(declare_default=admin_pb.DeclareDefaultChange(member="members/alpha"))
        )
        answer(served, ANNA, "admin", "ProposeChange", declared)
        effects = answer(served, BERT, "admin", "ApproveProposal", approving("fail")).effects
        assert {"DEFAULT_DECLARED", "MEMBER_DEFAULTED", "PORTING_OPENED"} <= {one.kind for one in effects}
        listed = answer(served, BETA, "default", "ListPortings", default_pb.ListPortingsRequest()).portings
        assert sorted(one.cash for one in listed) == ["1000000.000000", "1000000.000000"]
        assert not any(one.netting_set for one in listed), "whose it is, is not said"
        assert [one.collateral[0].amount for one in listed if one.collateral] == ["10.000000000000000000"]
        full = answer(served, RITA, "default", "ListPortings", default_pb.ListPortingsRequest()).portings
        assert {one.netting_set for one in full} == {"nettingSets/alpha~one", "nettingSets/alpha~two"}
        accept = default_pb.AcceptPortingRequest(
            account="members/beta/accounts/from-alpha", request_id=new_id(), porting=listed[0].name
        )
        assert refusal(served, ALPHA, "default", "AcceptPorting", accept).reason == "NOT_YOURS"
        taken = answer(served, BETA, "default", "AcceptPorting", accept)
        assert answer(served, BETA, "default", "AcceptPorting", accept) == taken, "also when it is gone"
        gone = default_pb.GetPortingRequest(name=listed[0].name)
        assert refusal(served, BETA, "default", "GetPorting", gone).reason == "PORTING_UNKNOWN"
        accept.request_id = new_id()
        assert refusal(served, BETA, "default", "AcceptPorting", accept).reason == "PORTING_UNKNOWN"
        left = default_pb.GetPortingRequest(name=listed[1].name)
        assert answer(served, BETA, "default", "GetPorting", left).porting == listed[1]


# ------------------------------------------------------------------------------------------------- from nothing on


def test_a_house_is_founded_and_set_up_over_the_interface(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    state = empty_house().state
    with serving(tmp_path) as served, calling(served, ANNA, "admin") as anna:
        with pytest.raises(grpc.RpcError) as error:
            anna.GetParameters(admin_pb.GetParametersRequest())
        assert of_call(error.value).reason == "HOUSE_NOT_FOUNDED"
        founding = admin_pb.FoundHouseRequest(
            house=HOUSE,
            request_id=new_id(),
            settlement_asset=admin_pb.AssetTerms(name="assets/USDC", decimals=6),
            parameters=parameters_wire.message(state.parameters, of_settlement(state)),
        )
        founding.house = "other"
        with pytest.raises(grpc.RpcError) as error:
            anna.FoundHouse(founding)
        assert fields_of(of_call(error.value)) == {"house"}
        founding.house = HOUSE
        founded = anna.FoundHouse(founding)
        assert anna.FoundHouse(founding) == founded
        again = admin_pb.FoundHouseRequest()
        again.CopyFrom(founding)
        again.request_id = new_id()
        with pytest.raises(grpc.RpcError) as error:
            anna.FoundHouse(again)
        assert of_call(error.value).reason == "HOUSE_ALREADY_FOUNDED"
        assert anna.GetParameters(admin_pb.GetParametersRequest()).parameters == founding.parameters
        come_and_go(served, anna)


def come_and_go(served: Served, anna: Any) -> None:
    """Alpha applies, is admitted by one administrator, and leaves."""
    apply = member_pb.ApplyForMembershipRequest(
        member="members/alpha", request_id=new_id(), display_name="Alpha"
    )
    applied = answer(served, ALPHA, "member", "ApplyForMembership", apply)
    assert applied.status == member_pb.MEMBER_STATUS_APPLIED
    admitted = anna.MakeChange(
        admin_pb.MakeChangeRequest(house=HOUSE, request_id=new_id(), change=admitting("alpha").change)
    )
    assert isinstance(admitted, admin_pb.MakeChangeResponse)
    leaving = member_pb.LeaveHouseRequest(member="members/alpha", request_id=new_id())
    left = answer(served, ALPHA, "member", "LeaveHouse", leaving)
    assert answer(served, ALPHA, "member", "LeaveHouse", leaving) == left
    assert left.status == member_pb.MEMBER_STATUS_LEFT
