"""The file that ``clearctl house template`` prints says what the rulebook says."""

from google.protobuf.json_format import Parse

from clearctl.nouns.house import FUNDS, template_text
from clearing.model.commands import HouseMoney
from clearing.model.values import Parameters
from clearing.server.identity import Identity, Role
from clearing.server.wire import admin, parameters, terms
from clearinghouse.v1 import admin_service_pb2 as pb


def founding() -> pb.FoundHouseRequest:
    """The template as a request."""
    return Parse(template_text(), pb.FoundHouseRequest())


def test_every_parameter_is_the_rulebooks_and_scan_ranges_are_an_example() -> None:
    found = founding()
    assert found.parameters.scan_ranges
    found.parameters.ClearField("scan_ranges")
    unit = terms.unit_of(found.settlement_asset.decimals)
    assert found.parameters == parameters.message(Parameters(), unit)


def test_it_names_every_parameter_so_that_a_reader_sees_them_all() -> None:
    for field in pb.FoundHouseRequest().parameters.DESCRIPTOR.fields:
        assert f'"{field.json_name}":' in template_text()


def test_the_house_takes_it_as_it_is() -> None:
    found = founding()
    found.request_id = "00000000-0000-4000-8000-000000000000"
    command = admin.found(found, Identity(house=found.house, role=Role.ADMINISTRATOR, id="anna"))
    assert command.settlement.id == "USDC"


def test_the_funds_are_those_of_the_house() -> None:
    assert set(FUNDS) == {money.value for money in HouseMoney}
