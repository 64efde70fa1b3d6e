"""The column that never changes: exact, and the old one stays as it was."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.vector import EMPTY, WIDTH, Vector

BORDERS = (0, 1, WIDTH - 1, WIDTH, WIDTH + 1, 2 * WIDTH, 2 * WIDTH + 1)
WIDE = (2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**127 - 1, -(2**127) + 1)


def counted(size: int) -> Vector:
    return EMPTY.append(list(range(size)))


@pytest.mark.parametrize("size", BORDERS)
def test_a_column_of_any_length_says_what_was_put_in(size: int) -> None:
    column = counted(size)
    assert len(column) == size
    assert list(column) == [column[number] for number in range(size)] == list(range(size))
    assert len(column.chunks) == -(-size // WIDTH)


@pytest.mark.parametrize("first", BORDERS)
@pytest.mark.parametrize("second", BORDERS)
def test_appending_in_two_parts_is_appending_at_once(first: int, second: int) -> None:
    whole = list(range(first + second))
    column = EMPTY.append(whole[:first]).append(whole[first:])
    assert list(column) == whole
    assert column == EMPTY.append(whole)


def test_values_are_plain_integers_and_keep_every_digit() -> None:
    column = counted(WIDTH).append(WIDE)
    assert list(column)[WIDTH:] == [column[WIDTH + place] for place in range(len(WIDE))] == list(WIDE)
    assert {type(value) for value in column} == {type(column[0])} == {int}
    assert [chunk.dtype for chunk in column.chunks] == [np.int64, object]


@pytest.mark.parametrize("value", WIDE)
def test_a_value_that_needs_more_than_64_bits_fits_a_column_of_smaller_ones(value: int) -> None:
    numbers = [0, WIDTH - 1, WIDTH, 2 * WIDTH]
    column = counted(2 * WIDTH + 1)
    one_by_one = column.set_items(dict.fromkeys(numbers, value))
    at_once = column.scatter(np.array(numbers), np.array([value] * len(numbers), object))
    assert one_by_one == at_once
    assert [number for number, at in enumerate(at_once) if at != number] == numbers
    assert at_once.gather(np.array(numbers)).tolist() == [value] * len(numbers)
    assert at_once.set_items({number: number for number in numbers}) == column


def test_only_the_chunks_that_change_are_copied() -> None:
    column = counted(3 * WIDTH)
    for changed in (column.set_items({WIDTH: 7}), column.scatter(np.array([WIDTH]), np.array([7]))):
        assert [new is old for new, old in zip(changed.chunks, column.chunks, strict=True)] == [
            True,
            False,
            True,
        ]
    longer = column.append([1])
    assert all(new is old for new, old in zip(longer.chunks, column.chunks, strict=False))


def test_no_chunk_can_be_written_to() -> None:
    column = counted(WIDTH + 1)
    made = [column, column.append([1]), column.set_items({0: 2**70}), column.set_items({0: 5})]
    made.append(column.scatter(np.array([0, WIDTH]), np.array([5, 6])))
    for one in made:
        for chunk in one.chunks:
            with pytest.raises(ValueError, match="read-only"):
                chunk[0] = 1


def test_what_was_gathered_can_be_written_to_and_changes_no_column() -> None:
    column = counted(WIDTH)
    gathered = column.gather(np.array([3]))
    gathered[0] = 9
    assert column[3] == 3


def test_values_that_were_given_can_be_changed_afterwards_and_change_no_column() -> None:
    values, numbers = np.array([7, 8]), np.array([0, 1])
    column = counted(2).scatter(numbers, values)
    values[0] = numbers[0] = 1
    assert list(column) == [7, 8]


def test_columns_are_equal_by_what_they_say_and_not_by_how_they_were_made() -> None:
    column = counted(5)
    assert column == column.set_items({0: 2**70}).set_items({0: 0})
    assert hash(column) == hash(column.set_items({0: 2**70}).set_items({0: 0}))
    assert column != column.set_items({4: 5})
    assert column != counted(4)
    assert column != counted(6)
    assert column != [0, 1, 2, 3, 4]
    assert counted(4).append([0]) != counted(4)  # a place behind the end is nothing


@pytest.mark.parametrize("values", [["a", "b"], [None, 1], [(1, 2), (3, 4)], [[1], [2]], [True, False]])
def test_a_column_holds_any_objects(values: list[Any]) -> None:
    column = EMPTY.append(values).append(values)
    assert list(column) == [*values, *values]
    assert type(column[0]) is type(values[0])


def test_gathering_nothing_and_scattering_nothing_is_nothing() -> None:
    nothing = np.empty(0, np.int64)
    assert EMPTY.gather(nothing).tolist() == counted(5).gather(nothing).tolist() == []
    assert (
        counted(5).scatter(nothing, nothing)
        == counted(5).set_items({})
        == counted(5).append([])
        == counted(5)
    )


integers = st.integers(-9, 9) | st.sampled_from(WIDE)
changes = st.dictionaries(st.integers(0, 2 * WIDTH - 1) | st.sampled_from([0, WIDTH - 1, WIDTH]), integers)
programs = st.lists(st.tuples(st.sampled_from(["append", "set", "scatter"]), changes), max_size=8)


@settings(max_examples=60, deadline=None)
@given(programs)
def test_a_column_is_a_list_after_any_program_and_all_earlier_ones_stay(
    program: list[tuple[str, dict[int, int]]],
) -> None:
    column, plain = counted(2 * WIDTH), list(range(2 * WIDTH))
    made = [(column, list(plain))]
    for verb, changed in program:
        numbers = np.array(sorted(changed), np.int64)
        if verb == "append":
            column, plain = column.append(list(changed.values())), [*plain, *changed.values()]
        else:
            values = np.array([changed[number] for number in sorted(changed)], object)
            column = column.set_items(changed) if verb == "set" else column.scatter(numbers, values)
            for number, value in changed.items():
                plain[number] = value
        assert column.gather(numbers).tolist() == [plain[number] for number in sorted(changed)]
        made.append((column, list(plain)))
    for one, said in made:
        assert list(one) == said
        assert one[len(said) - 1] == said[-1]
