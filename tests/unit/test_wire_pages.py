"""Pages keep their order, lose nothing, and refuse tokens of other lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.server.pages import PAGE_DEFAULT, PAGE_MAX, page_of
from clearing.server.wire.violations import RequestInvalid
from clearinghouse.v1.margin_service_pb2 import ListMarginsRequest


@given(st.sets(st.text(min_size=1, max_size=6)), st.integers(1, 5))
def test_all_pages_together_are_the_list_in_order(keys: set[str], size: int) -> None:
    found: list[str] = []
    request = ListMarginsRequest(page_size=size)
    while True:
        page = page_of(keys, request, "list")
        found += page.keys
        if not page.next_token:
            break
        request = ListMarginsRequest(page_size=size, page_token=page.next_token)
    assert found == sorted(keys)


def test_what_is_added_before_a_page_does_not_shift_it() -> None:
    first = page_of(["b", "d", "f"], ListMarginsRequest(page_size=2), "list")
    second = page_of(["a", "b", "c", "d", "f"], ListMarginsRequest(page_token=first.next_token), "list")
    assert (first.keys, second.keys) == (("b", "d"), ("f",))


def test_a_page_has_a_default_size_and_a_largest_one() -> None:
    keys = [f"{n:05}" for n in range(PAGE_MAX + 1)]
    assert len(page_of(keys, ListMarginsRequest(), "list").keys) == PAGE_DEFAULT
    assert len(page_of(keys, ListMarginsRequest(page_size=PAGE_MAX), "list").keys) == PAGE_MAX
    assert len(page_of(keys, ListMarginsRequest(page_size=PAGE_MAX + 1), "list").keys) == PAGE_MAX


@pytest.mark.parametrize("forged", ["x", "====", "AAAAAAAAAAA=", "\u00e4", "a b", "_-" * 100])
def test_a_made_up_token_is_refused(forged: str) -> None:
    with pytest.raises(RequestInvalid) as error:
        page_of(["a"], ListMarginsRequest(page_token=forged), "list")
    assert set(error.value.fields) == {"page_token"}


def test_a_token_of_another_list_is_refused() -> None:
    token = page_of(["a", "b"], ListMarginsRequest(page_size=1), "list", "members/alpha").next_token
    with pytest.raises(RequestInvalid):
        page_of(["a", "b"], ListMarginsRequest(page_token=token), "list", "members/beta")
