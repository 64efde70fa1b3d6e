"""The risk array in pages: each fits into what gRPC accepts, and together they have every row once."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import grpc
import pytest

from clearing.engine import Engine
from clearing.margin.snapshot import array_of
from clearing.model.commands import ListInstrument
from clearing.model.house import House
from clearing.model.ids import InstrumentId
from clearing.server.margin import RISK_NUMBERS_MAX, Margins
from clearinghouse.v1.margin_service_pb2 import GetRiskArrayRequest, GetRiskArrayResponse
from tests.builders import BTC, PARAMETERS, World, empty_house, perpetual

ACCEPTED_BYTES = 4 * 2**20
"""What gRPC accepts of an answer unless told otherwise."""
SCENARIOS = 1_250
NOBODY = cast(grpc.ServicerContext, None)


@dataclass(frozen=True)
class Shown:
    """What an engine publishes of a house."""

    state: House
    size: int = 0

    @property
    def view(self) -> "Shown":
        return self


@lru_cache
def world_of(model: str, more: int) -> World:
    """Many perpetuals on bitcoin, of a large notional, beside those of every house; without a history."""
    world = empty_house(replace(PARAMETERS, margin_model=model))
    for n in range(more):
        one = perpetual(InstrumentId(f"BTC-{n:03}"), BTC, 10**12, 3)
        world.ok(ListInstrument(instrument=one))
    world.prices(BTC=80_001, ETH=2_001)
    return world


def pages(world: World, page_size: int) -> list[GetRiskArrayResponse]:
    service = Margins(cast(Engine, Shown(world.state)))
    found = [service.GetRiskArray(GetRiskArrayRequest(page_size=page_size), NOBODY)]
    while token := found[-1].next_page_token:
        request = GetRiskArrayRequest(page_size=page_size, page_token=token)
        found.append(service.GetRiskArray(request, NOBODY))
    return found


@pytest.mark.parametrize("page_size", [0, 47, 49])
def test_a_page_stays_below_what_grpc_accepts_and_all_pages_have_every_row_once(page_size: int) -> None:
    world = world_of("expected_shortfall", 100)
    found = pages(world, page_size)
    listed = [row.instrument for row in array_of(world.state).instruments]
    assert len(listed) > 100
    assert all(len(page.scenarios) == SCENARIOS for page in found)
    assert all(page.ByteSize() < ACCEPTED_BYTES for page in found)
    assert [row.instrument.removeprefix("instruments/") for page in found for row in page.rows] == sorted(
        listed
    )
    assert len(found[0].rows) == min(page_size or 100, RISK_NUMBERS_MAX // SCENARIOS)


def test_few_scenarios_leave_a_page_as_long_as_was_asked_for() -> None:
    world = world_of("scan", 110)
    assert len(pages(world, 0)[0].rows) == 100
    assert len(pages(world, 105)[0].rows) == 105


def test_a_row_of_more_numbers_than_a_page_may_have_is_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearing.server.margin.RISK_NUMBERS_MAX", SCENARIOS - 1)
    found = pages(world_of("expected_shortfall", 2), 0)
    assert {len(page.rows) for page in found} == {1}
    assert len(found) > 2


def test_an_array_without_rows_is_one_empty_page() -> None:
    (page,) = pages(empty_house(), 0)
    assert not page.rows
