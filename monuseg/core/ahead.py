"""Work in a thread beside the caller's own, one step ahead of it or behind."""

from collections import deque
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
        function: is called for one item after the other, never for two at once.
        items: may be made as they are taken.

    Raises:
        Exception: what `function` or `items` raises, that of the earlier item first. Where an item
            cannot be made, the work on those before is finished.
    """
    pool = ThreadPoolExecutor(1)
    begun: deque[Future[Result]] = deque()
    making = iter(items)
    try:
        while True:
            try:
                begun.append(pool.submit(function, next(making)))
            except StopIteration:
                break
            except Exception:
                for one in begun:
                    one.result()
                raise
            if len(begun) > 1:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
