"""States by names of their own, so that a saved learner can be read."""

from __future__ import annotations

from typing import Any

from seiche.lang import trace
from seiche.lang.memory import state
from seiche.numbers.formats import Format


def kept(name: str, init: Any, format: Format | None = None) -> Any:
    """A state (or a tree of them) below `name` in the paths of `program.state`.

    >>> import seiche as sc
    >>> @sc.node
    ... def count() -> sc.i32:
    ...     n = kept("counter", 0)
    ...     n.next = n + 1
    ...     return n
    >>> list(sc.compile(count).state)
    ['counter/n']
    """
    with trace.instance(name):
        return state(init, format=format)
