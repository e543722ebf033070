"""Automata: modes, of which one is active at each tick, and transitions between them.

Translated to clocks and resets as in Colaco, Pagano & Pouzet 2005, "A conservative extension of synchronous data-flow with
state machines": at each tick at most one strong transition, then the body of the mode, then at most one weak one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from seiche.errors import Loc, fail
from seiche.ir import tree
from seiche.lang import trace
from seiche.lang.clocks import condition, merge, when
from seiche.lang.functions import where
from seiche.lang.memory import State, Variable, state, var
from seiche.lang.stream import Stream, as_stream, constant
from seiche.numbers.formats import bool_, i32


@dataclass(eq=False)
class Transition:
    """When `cond` holds: to `target`, whose memory is reset unless it is entered by history."""

    cond: Stream
    target: str
    history: bool
    where: Loc


@dataclass(eq=False)
class Mode:
    """One mode of an automaton, while it is written."""

    name: str
    index: int
    active: Stream
    rest: Stream | None
    where: Loc
    emitted: dict[str, Any] = field(default_factory=dict[str, Any])
    weak: list[Transition] = field(default_factory=list[Transition])

    def emit(self, **values: Any) -> None:
        """Gives the automaton's shared variables their values in this mode; SE103 the second time."""
        for name, value in values.items():
            if name in self.emitted:
                raise fail("SE103", f"mode {self.name!r} emits `{name}` twice", trace.here(), ("the mode", self.where))
            self.emitted[name] = tree.map_tree(as_stream, value)

    def until(self, cond: Stream, then: str, *, history: bool = False) -> None:
        """A weak transition: where cond holds, the next tick is in mode `then`. The first that holds wins."""
        self.weak.append(Transition(condition(cond, "until"), then, history, trace.here()))


class automaton:
    """`with sc.automaton() as auto:` — control as modes; the first mode written is the initial one.

    In `with auto.mode(name) as m:` the body runs only at the ticks of that mode: `m.emit(x=...)` defines shared variables,
    `m.until(cond, then)` is a weak transition. `auto.unless(mode, cond, then)` is a strong one, taken before the body.
    A mode's memory is reset when it is entered, unless `history=True`. Afterwards `auto.x` is the shared variable `x`,
    `auto.current` the index of the mode, `auto.on(name)` whether it is active.

    Raises SE801 for unknown or repeated modes, SE802 for a mode that leaves a variable undefined.

    >>> import seiche as sc
    >>> @sc.node
    ... def blink(x: sc.f32) -> sc.i32:
    ...     with sc.automaton() as auto:
    ...         with auto.mode("up") as m:
    ...             n = sc.state(0)
    ...             n.next = n + 1
    ...             m.emit(level=n)
    ...             m.until(n == 1, "down")
    ...         with auto.mode("down") as m:
    ...             m.emit(level=-1)
    ...             m.until(x > 0, "up")
    ...     return auto.level
    >>> sc.compile(blink).run([0.0, 0.0, 0.0, 1.0, 0.0]).tolist()
    [0, 1, -1, -1, 0]
    """

    def __init__(self) -> None:
        self._modes: dict[str, Mode] = {}
        self._strong: list[tuple[str, Transition]] = []
        self._defaults: dict[str, Any] = {}
        self._shared: dict[str, Any] = {}
        self._where = trace.here()
        self._context = trace.current()

    def __enter__(self) -> automaton:
        self._memory: State = state(0)
        self._fresh: State = state(False)
        self._selected: Variable = var(i32)
        self._reset: Variable = var(bool_)
        for memory, name in ((self._memory, "mode"), (self._fresh, "entered"), (self._selected, "active")):
            memory.var.name = name
        self._reset.var.name = "entering"
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self._finish()

    @contextmanager
    def mode(self, name: str) -> Iterator[Mode]:
        """Writes a mode."""
        if name in self._modes:
            raise fail("SE801", f"mode {name!r} is written twice", trace.here(), ("before", self._modes[name].where))
        made = self._branch(name)
        self._modes[name] = made
        with trace.within(self._inside(made)):
            yield made

    def _branch(self, name: str) -> Mode:
        """The clock of a new mode: where the earlier modes are not active, and its index is selected."""
        before = list(self._modes.values())
        selected: Stream = self._selected
        for mode in before:
            selected = when(selected, mode.active, False)
        with trace.within(self._context):
            active = selected == len(before)
            active.var.name = name
        return Mode(name, len(before), active, selected, trace.here())

    def _inside(self, mode: Mode) -> trace.Context:
        """Where the mode's body is traced: its memory opens when it is entered afresh, and with everything around."""
        region = mode.active.region.clock(mode.active.var)
        inner = replace(self._context, region=region, path=(*self._context.path, mode.name))
        with trace.within(inner):
            around = trace.ambient()
            entering = Stream(trace.lift(self._reset, region), region)
            return replace(inner, reset=entering if around is None else entering | around)

    def unless(self, mode: str, cond: Stream, then: str, *, history: bool = False) -> None:
        """A strong transition: where cond holds and `mode` was selected, this very tick is in mode `then`."""
        self._strong.append((mode, Transition(condition(cond, "unless"), then, history, trace.here())))

    def default(self, **values: Any) -> None:
        """Values of shared variables for the modes that do not emit them."""
        self._defaults |= values

    def on(self, name: str) -> Stream:
        """Whether that mode is active."""
        return self.current == self._index(name, trace.here())

    @property
    def current(self) -> Stream:
        """The index of the active mode, in the order they were written."""
        return Stream(self._selected.var, self._selected.region)

    @property
    def modes(self) -> tuple[str, ...]:
        """The names of the modes by index."""
        return tuple(self._modes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._shared:
            raise AttributeError(f"the automaton emits no {name!r}; it emits {', '.join(self._shared) or 'nothing'}")
        return self._shared[name]

    def _index(self, name: str, place: Loc) -> int:
        if name not in self._modes:
            raise fail(
                "SE801", f"there is no mode {name!r}", place, ("the automaton", self._where),
                hint=f"its modes are {', '.join(self._modes) or 'none'}",
            )  # fmt: skip
        return self._modes[name].index

    def _finish(self) -> None:
        if not self._modes:
            raise fail("SE801", "an automaton without modes", self._where)
        selected, entering = self._after_strong()
        self._selected.define(selected)
        self._reset.define(entering)
        following, fresh = zip(*(self._after_weak(m) for m in self._modes.values()), strict=True)
        self._memory.next = self._joined(list(following))
        self._fresh.next = self._joined(list(fresh))
        for name in dict.fromkeys(n for m in self._modes.values() for n in m.emitted):
            values = [self._emission(mode, name) for mode in self._modes.values()]
            self._shared[name] = self._joined(values)

    def _after_strong(self) -> tuple[Stream, Stream]:
        """The mode of this tick, and whether its memory opens."""
        selected, entering = Stream(self._memory.var, self._memory.region), self._fresh | False
        for source, t in reversed(self._strong):
            fires = (self._memory == self._index(source, t.where)) & t.cond
            selected = where(fires, self._index(t.target, t.where), selected)
            entering = where(fires, not t.history, entering)
        return selected | 0, entering

    def _after_weak(self, mode: Mode) -> tuple[Stream, Stream]:
        """The mode of the next tick and whether it is entered afresh, on the mode's clock."""
        with trace.within(self._inside(mode)):
            following: Stream = constant(mode.index)
            fresh: Stream = constant(False)
            for t in reversed(mode.weak):
                following = where(t.cond, self._index(t.target, t.where), following)
                fresh = where(t.cond, not t.history, fresh)
            return following, fresh

    def _emission(self, mode: Mode, name: str) -> Any:
        if name in mode.emitted:
            return mode.emitted[name]
        if name in self._defaults:
            with trace.within(self._inside(mode)):
                return tree.map_tree(lambda x: as_stream(x) + 0, self._defaults[name])
        raise fail(
            "SE802", f"mode {mode.name!r} does not emit `{name}`", mode.where, ("the automaton", self._where),
            hint=f"emit it, or give auto.default({name}=...)",
        )  # fmt: skip

    def _joined(self, values: list[Any]) -> Any:
        """One value per mode, each on its clock, as one on the automaton's."""
        modes = list(self._modes.values())
        with trace.within(self._context):
            joined = tree.map_tree(lambda x: _nothing(x), values[-1])
            for mode, value in zip(reversed(modes), reversed(values), strict=True):
                joined = merge(mode.active, value, joined)
        return joined


def _nothing(like: Stream) -> Stream:
    """A constant for the branch that no tick takes."""
    import numpy as np

    return constant(np.zeros(like.shape, like.format.dtype), like.format)
