"""Work in a thread beside the caller's own, one step ahead of it or behind."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def overlapped(function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
    """As `map`, in a thread, where the next item is worked on while the caller has a result.

    The items are taken in the caller's thread, so that making one overlaps with the work on the one
    before. Results come in order, and no more than two items are held.

    Args:
        function: is called for one item after the other, and for none after one that it fails with.
        items: may be made as they are taken.

    Raises:
        Exception: what `function` or `items` raises, that of the earlier item first. The work on an
            earlier one is finished before.
    """
    begun: list[Future[Result]] = []  # one at most
    with ThreadPoolExecutor(1) as pool:
        try:
            for item in items:
                results = [one.result() for one in begun]
                begun = [pool.submit(function, item)]
                del item  # not to be held while the next one is made
                yield from results
        except Exception:
            for one in begun:
                one.result()
            raise
        yield from [one.result() for one in begun]
