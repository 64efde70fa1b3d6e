"""What administrators, bidders and takers send and see, on the wire."""

from dataclasses import replace
from unittest.mock import Mock

import pytest

from clearing.decide.changes import GOVERNED
from clearing.model import units
from clearing.model.commands import GrantRegulator, PlaceBid, SetJurisdiction
from clearing.model.ids import MemberId, RegulatorId
from clearing.model.values import Parameters
from clearing.server.auctions import Auctions
from clearing.server.calls import admit, scoped
from clearing.server.identity import Identity, parse_spiffe
from clearing.server.wire import auctions, changes, parameters, portings
from clearing.server.wire.violations import Violations
from clearinghouse.v1 import auction_service_pb2, parameters_pb2
from tests.builders import empty_house, link
from tests.unit.test_authority import call_with
from tests.unit.test_defaults import OIL, key
from tests.unit.test_governance import GOVERNED_COMMANDS
from tests.unit.test_insolvency import EXPLOITED, exploited


def caller(name: str) -> Identity:
    return parse_spiffe(f"spiffe://h/{name}")


def test_all_parameters_come_back_as_they_went() -> None:
    unit = units.of_settlement(empty_house().state)
    base = empty_house().state.parameters
    first, *others = base.scan_ranges
    capped = replace(
        first, volatility_bp=77, open_notional_lower_minor=1_500_000, open_notional_upper_minor=10**13
    )
    odd = replace(
        base,
        scan_ranges=(capped, *others),
        pool_floor_minor=7,
        liquidity_line_minor=12_345_678,
        call_ms=0,
    )
    sent = parameters.message(odd, unit)
    assert sent.scan_ranges[0].open_notional_lower == "1.500000"
    violations = Violations(sent)
    assert parameters.parse(sent, unit, "parameters", violations) == odd
    assert violations.fields == {}
    on_wire = {field.name for field in parameters_pb2.Parameters.DESCRIPTOR.fields}
    assert on_wire == {name.removesuffix("_minor") for name in Parameters.__dataclass_fields__}


def test_a_cap_finer_than_the_settlement_asset_is_named() -> None:
    unit = units.of_settlement(empty_house().state)
    sent = parameters.message(empty_house().state.parameters, unit)
    sent.scan_ranges[1].open_notional_upper = "0.0000001"
    violations = Violations(sent)
    parameters.parse(sent, unit, "parameters", violations)
    assert list(violations.fields) == ["parameters.scan_ranges[1].open_notional_upper"]


@pytest.mark.parametrize("command", GOVERNED_COMMANDS, ids=lambda command: type(command).__name__)
def test_every_change_comes_back_as_it_went(command: object) -> None:
    house = empty_house().state
    sent = changes.message(command, house)
    reason = getattr(command, "reason", "")
    assert changes.parse(sent, reason, house, Violations(sent)) == command
    assert set(GOVERNED) == {type(one) for one in GOVERNED_COMMANDS}


def test_a_bidder_learns_what_is_on_offer_and_not_whose_it_is() -> None:
    world = exploited()
    world.ok(EXPLOITED)
    (auction,) = world.state.auctions.values()
    stranger = auctions.message(auction, world.state, caller("liquidity-provider/z"))
    assert [(lot.unit, lot.size) for lot in stranger.lots] == [(f"instruments/{OIL}", "16")]
    assert list(stranger.netting_sets) == []
    assert stranger.default == "defaults/d1"
    for who in ("member/x", "regulator/rita"):
        assert list(auctions.message(auction, world.state, caller(who)).netting_sets) == [
            "nettingSets/x~house"
        ]


def test_a_porting_of_a_link_is_for_those_that_are_left_in_it() -> None:
    world = exploited(lots=0)
    for member in ("x", "y"):
        world.account(member, "pat", "pat")
    link(world, "pat", key("x/pat"), key("y/pat"))
    world.ok(EXPLOITED)
    seen = {who: portings.visible(world.state, caller(who)) for who in ("member/y", "member/z")}
    named = {who: {row.netting_set for row in rows.values()} for who, rows in seen.items()}
    assert named == {"member/y": {"link/pat", "x/long", "x/short"}, "member/z": {"x/long", "x/short"}}
    for name, row in seen["member/z"].items():
        shown = portings.message(row, world.state, caller("member/z"))
        assert (shown.name, shown.netting_set, list(shown.members)) == (name, "", ["members/x"])


def test_nobody_but_the_bidder_sees_a_bid_in_whatever_role() -> None:
    world = exploited()
    world.ok(EXPLOITED)
    (auction,) = world.state.auctions
    world.ok(PlaceBid(auction=auction, account=key("z/house"), discount_bp=50, share_bp=5_000))
    engine = Mock(view=Mock(state=world.state, size=world.state.size))
    wanted = auction_service_pb2.ListBidsRequest(parent="members/-")

    def seen_by(who: str) -> list[str]:
        call = call_with()
        admit(call, scoped(caller(who), world.state))
        return [bid.account for bid in Auctions(engine).ListBids(wanted, call).bids]

    for who in ("liquidity-provider/z", "member/z"):
        assert seen_by(who) == ["members/z/accounts/house"]
    for who in ("member/x", "liquidity-provider/y", "regulator/rita", "administrator/anna"):
        assert seen_by(who) == []
    world.ok(SetJurisdiction(member=MemberId("z"), jurisdiction="CH"))
    world.ok(GrantRegulator(regulator=RegulatorId("rita"), jurisdictions=("CH",)))
    assert scoped(caller("regulator/rita"), world.state).members == frozenset({MemberId("z")})
    assert seen_by("regulator/rita") == [], (
        "what is sealed before who sees all is sealed before who sees some"
    )
