"""Automata: modes, of which one is active at each tick, and transitions between them.

Translated to clocks and resets as in Colaco, Pagano & Pouzet 2005, "A conservative extension of synchronous data-flow with
state machines": at each tick at most one strong transition, then the body of the mode, then at most one weak one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from seiche.errors import Loc, fail
from seiche.ir import tree
from seiche.lang import trace
from seiche.lang.clocks import condition, merge, when
from seiche.lang.elementwise import same_form, where
from seiche.lang.memory import State, Variable, state, var
from seiche.lang.stream import Stream, Tensor, constant, together
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
    inside: trace.Context
    where: Loc
    emitted: dict[str, Any] = field(default_factory=dict[str, Any])
    weak: list[Transition] = field(default_factory=list[Transition])

    def emit(self, **values: Any) -> None:
        """Gives the automaton's shared variables their values in this mode; SE103 the second time."""
        for name, value in values.items():
            if name in self.emitted:
                raise fail(
                    "SE103",
                    f"mode {self.name!r} emits `{name}` twice",
                    trace.here(),
                    ("the mode", self.where),
                )
            self.emitted[name] = tree.map_tree(self.seen, value)

    def seen(self, x: Any) -> Any:
        """A stream of around, as this mode sees it; streams of the mode and constants as they are."""
        region = self.inside.region
        if not isinstance(x, Stream) or region in x.region.ancestors():
            return x
        with trace.within(self.inside):
            return Stream(trace.lift(x, region), region)

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
        for made, name in (
            (self._memory, "mode"), (self._fresh, "entered"), (self._selected, "active"), (self._reset, "entering")
        ):  # fmt: skip
            made.var.name = name
            made.region.graph.named.add(made.var)
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self._finish()

    @contextmanager
    def mode(self, name: str) -> Iterator[Mode]:
        """Writes a mode."""
        if name in self._modes:
            raise fail(
                "SE801",
                f"mode {name!r} is written twice",
                trace.here(),
                ("before", self._modes[name].where),
            )
        made = self._branch(name)
        self._modes[name] = made
        with trace.within(made.inside):
            yield made

    def _branch(self, name: str) -> Mode:
        """The clock of a new mode: where the earlier modes are not active, and its index is selected."""
        before = list(self._modes.values())
        selected: Stream = self._selected
        for mode in before:
            selected = when(selected, mode.active, False)
        with trace.within(self._context):
            active = selected == len(before)
            active.region.graph.rename(active.var, name)
        return Mode(name, len(before), active, self._inside(name, active), trace.here())

    def _inside(self, name: str, active: Stream) -> trace.Context:
        """Where a mode's body is traced: its memory opens when it is entered afresh, and with everything around."""
        region = active.region.clock(active.var)
        inner = replace(self._context, region=region, pace=None, path=(*self._context.path, name))
        return replace(inner, resets=(*inner.resets, trace.lift(self._reset, region)))

    def unless(self, mode: str, cond: Stream, then: str, *, history: bool = False) -> None:
        """A strong transition: where cond holds and `mode` was selected, this very tick is in mode `then`."""
        self._strong.append(
            (mode, Transition(condition(cond, "unless"), then, history, trace.here()))
        )

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
            raise AttributeError(
                f"the automaton emits no {name!r}; it emits {', '.join(self._shared) or 'nothing'}"
            )
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
        self._memory.next = self._joined("mode", list(following))
        self._fresh.next = self._joined("entered", list(fresh))
        for name in dict.fromkeys(n for m in self._modes.values() for n in m.emitted):
            values = [self._emission(mode, name) for mode in self._modes.values()]
            self._shared[name] = self._joined(name, values)

    def _after_strong(self) -> tuple[Stream, Stream]:
        """The mode of this tick, and whether its memory opens."""
        selected: Stream = self._memory
        entering: Stream = self._fresh
        for source, t in reversed(self._strong):
            fires = (self._memory == self._index(source, t.where)) & t.cond
            selected = where(fires, self._index(t.target, t.where), selected)
            entering = where(fires, not t.history, entering)
        return selected, entering

    def _after_weak(self, mode: Mode) -> tuple[Stream, Stream]:
        """The mode of the next tick and whether it is entered afresh, on the mode's clock."""
        with trace.within(mode.inside):
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
            return tree.map_tree(mode.seen, self._defaults[name])
        raise fail(
            "SE802", f"mode {mode.name!r} does not emit `{name}`", mode.where, ("the automaton", self._where),
            hint=f"emit it, or give auto.default({name}=...)",
        )  # fmt: skip

    def _joined(self, name: str, values: list[Any]) -> Any:
        """One value per mode, each on its clock, as one on the automaton's."""
        with trace.within(self._context):
            return same_form(f"the modes emit `{name}`", self._merged, *values)

    def _merged(self, *values: Tensor) -> Stream:
        streams = together(*values)
        last = streams[-1]
        # The branch that no tick takes.
        joined = constant(np.zeros(last.shape, last.format.dtype), last.format)
        for mode, stream in zip(reversed(self._modes.values()), reversed(streams), strict=True):
            joined = merge(mode.active, stream, joined)
        return joined
