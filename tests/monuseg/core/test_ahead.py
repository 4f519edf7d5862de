"""Work in a second thread, one step ahead or behind."""

import threading
from collections.abc import Iterator

import pytest

from monuseg.core.ahead import overlapped

SOON = 30.0  # seconds; more would be for ever


def test_results_are_those_of_map_in_order() -> None:
    assert list(overlapped(lambda item: item**2, range(20))) == [item**2 for item in range(20)]
    assert list(overlapped(str, [])) == []
    assert list(overlapped(str, [1])) == ["1"]


def test_the_next_item_is_made_while_one_is_worked_on() -> None:
    second_is_made = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        second_is_made.set()
        yield 2

    def work(item: int) -> bool:
        return second_is_made.wait(SOON)

    assert list(overlapped(work, items())) == [True, True]


def test_the_next_item_is_worked_on_while_the_caller_has_a_result() -> None:
    begun = threading.Event()

    def work(item: int) -> int:
        if item == 2:
            begun.set()
        return item

    results = overlapped(work, [1, 2, 3])
    assert next(results) == 1
    assert begun.wait(SOON)
    assert list(results) == [2, 3]


def test_two_items_are_never_worked_on_at_once_and_no_more_than_two_are_held() -> None:
    made, done, busy = 0, 0, threading.Lock()
    held = []

    def items() -> Iterator[int]:
        nonlocal made
        for item in range(10):
            made += 1
            held.append(made - done)
            yield item

    def work(item: int) -> None:
        nonlocal done
        assert busy.acquire(blocking=False)
        done += 1
        busy.release()

    list(overlapped(work, items()))
    assert max(held) <= 3  # two, and the one that is being made


def test_an_error_of_the_work_comes_in_its_turn() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    results = overlapped(work, [1, 2, 3])
    assert next(results) == 1
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_nothing_is_worked_on_after_an_item_that_fails() -> None:
    worked = []

    def work(item: int) -> None:
        worked.append(item)
        if item == 2:
            raise ValueError("two")

    with pytest.raises(ValueError, match="two"):
        list(overlapped(work, range(1, 10)))
    assert worked == [1, 2]


def test_the_work_that_was_begun_is_finished_when_an_item_cannot_be_made() -> None:
    finished = []

    def items() -> Iterator[int]:
        yield 1
        raise OSError("no second item")

    with pytest.raises(OSError, match="no second item"):
        list(overlapped(finished.append, items()))
    assert finished == [1]


def test_the_error_of_an_earlier_item_is_not_hidden_by_a_later_one() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("no second item")

    def work(item: int) -> None:
        raise ValueError("one")

    with pytest.raises(ValueError, match="one"):
        list(overlapped(work, items()))


def test_a_caller_that_stops_leaves_no_thread() -> None:
    before = threading.active_count()
    results = overlapped(str, range(5))
    next(results)
    results.close()
    assert threading.active_count() == before
