"""Contracts: what an instance assumes of whoever uses it, and what it guarantees in return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seiche.errors import fail
from seiche.ir.core import Role
from seiche.lang import trace
from seiche.lang.clocks import condition
from seiche.lang.duties import Claim, Ledger

if TYPE_CHECKING:
    from seiche.lang.stream import Stream


def assume(cond: Stream, text: str = "") -> None:
    """What this node takes for granted: the duty of whoever uses it.

    Where `cond`, a scalar boolean stream on any clock, does not hold, running stops with SE803, which names the instance, the
    line that uses it and the values that the condition was made of. From then on the node owes no guarantee.

    >>> import seiche as sc
    >>> @sc.node
    ... def root(x: sc.f32) -> sc.f32:
    ...     sc.assume(x >= 0, "x is not negative")
    ...     y = sc.sqrt(x)
    ...     sc.guarantee(y * y <= 1.001 * x, "the square of the root is x")
    ...     return y
    >>> sc.compile(root).run([4.0, 9.0]).tolist()
    [2.0, 3.0]
    >>> sc.compile(root).run([4.0, -1.0])
    Traceback (most recent call last):
        ...
    seiche.errors.SeicheError: ...: error[SE803]: `root` assumes that x is not negative, which does not hold at tick 1
    ...
    """
    _claim("assume", "assumption", cond, text)


def guarantee(cond: Stream, text: str = "") -> None:
    """What this node owes as long as all that it assumes has held so far: SE804 where `cond` does not hold then.

    >>> import seiche as sc
    >>> @sc.node
    ... def limited(x: sc.f32, most: float = 1.0) -> sc.f32:
    ...     y = sc.minimum(x, most)
    ...     sc.guarantee(y < most, "y stays below the limit")
    ...     return y
    >>> sc.compile(limited).run([0.5, 2.0])
    Traceback (most recent call last):
        ...
    seiche.errors.SeicheError: ...: error[SE804]: `limited` guarantees that y stays below the limit, which does not hold at tick 1
    ...
    """
    _claim("guarantee", "guarantee", cond, text)


def _claim(word: str, role: Role, cond: Stream, text: str) -> None:
    context, place = trace.current(), trace.here()
    holds = condition(cond, f"sc.{word}")
    if not isinstance(text, str):
        raise fail("SE110", f"sc.{word} says in words what holds, not {text!r}", place)
    claim = Claim(trace.lift(holds, context.region), text, place, context.path)
    graph, use = context.region.graph, context.use
    if use not in graph.ledgers:
        graph.ledgers[use] = Ledger(use)
    getattr(graph.ledgers[use], role).append(claim)
