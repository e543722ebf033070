"""State and costate: what is carried from the previous tick and back from the next, and their plain forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from seiche.errors import fail
from seiche.ir import tree
from seiche.ir.core import Equation, Fby, Post, Var
from seiche.lang import trace
from seiche.lang.clocks import above, condition, merge, when
from seiche.lang.stream import Stream, Tensor, as_stream, broadcast_to, conform, constant
from seiche.lang.trace import Pending
from seiche.numbers.formats import Format, Type, bool_


class Memory(Stream):
    """A stream whose equation comes later, by `.next` (a state) or `.prev` (a costate)."""

    __slots__ = ("_complete", "_value")

    def __init__(self, stream: Stream, complete: Callable[[Stream], None]) -> None:
        super().__init__(stream.var, stream.region)
        self._complete = complete
        self._value: Stream | None = None

    def _get(self) -> Stream:
        if self._value is None:
            raise fail(
                "SE102", f"`{self.var.name}` is read before its equation is written", trace.here(),
                ("it was made here", self.var.loc),
                hint="assign `.next` (or `.prev`) first; to use it earlier, declare it with sc.var",
            )  # fmt: skip
        return self._value

    def _set(self, value: Tensor) -> None:
        self._value = conform(as_stream(value, self.format), self.type, self.var)
        self._complete(self._value)


class State(Memory):
    """Made by `state`; `s.next = e` is its equation."""

    __slots__ = ()

    @property
    def next(self) -> Stream:
        """The value for the coming tick, once it is defined."""
        return self._get()

    @next.setter
    def next(self, value: Tensor) -> None:
        self._set(value)


class Costate(Memory):
    """Made by `costate`; `c.prev = e` is its equation."""

    __slots__ = ()

    @property
    def prev(self) -> Stream:
        """The value for the tick before, once it is defined."""
        return self._get()

    @prev.setter
    def prev(self, value: Tensor) -> None:
        self._set(value)


class Tree:
    """A state or costate that is a tree: used as that tree, completed by `.next` or `.prev` with one of its shape."""

    def __init__(self, value: Any, attribute: str) -> None:
        object.__setattr__(self, "_tree", value)
        object.__setattr__(self, "_attribute", attribute)

    def __seiche_tree__(self) -> Any:
        return self._tree

    def __getitem__(self, key: Any) -> Any:
        return self._tree[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._tree)

    def __len__(self) -> int:
        return len(self._tree)

    def keys(self) -> Any:
        """The keys, where the tree is a dict (so that `**w` works)."""
        return self._tree.keys()

    def items(self) -> Any:
        return self._tree.items()

    def values(self) -> Any:
        return self._tree.values()

    def __getattr__(self, name: str) -> Any:
        if name == self._attribute:
            return tree.map_tree(lambda leaf: getattr(leaf, name), self._tree)
        return getattr(self._tree, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != self._attribute:
            raise AttributeError(f"set .{self._attribute}, not .{name}")
        mine, form = tree.flatten(self._tree)
        try:
            theirs = form.leaves_of(value)
        except tree.TreeMismatch as error:
            raise fail(
                "SE201", f".{name} is a tree of another form", trace.here(), str(error),
                ("the memory was made here", mine[0].var.loc if mine else None),
            ) from None  # fmt: skip
        for leaf, item in zip(mine, theirs, strict=True):
            setattr(leaf, name, item)


def state(
    init: Any,
    *,
    reset: Stream | None = None,
    until: Stream | None = None,
    format: Format | None = None,
) -> Any:
    """A value carried from the previous tick: `init` where the segment opens, else what `.next` was a tick ago.

    `init` is a number, an array, a stream or a tree of them; reals are f32 unless `format` says else. The segment opens at
    tick 0, where `reset` holds, and a tick after `until` held. Returns a stream (or the tree) with the attribute `next`.

    >>> import seiche as sc
    >>> @sc.node
    ... def count(go: sc.bool_) -> sc.i32:
    ...     n = sc.state(0)
    ...     n.next = sc.where(go, n + 1, n)
    ...     return n
    >>> sc.compile(count).run([True, False, True]).tolist()
    [0, 1, 1]
    """
    opening = _opening(reset, until)
    return _memories(
        init, trace.assigned("state"), format, "next", lambda i, n: _state(i, n, opening)
    )


def costate(
    final: Any,
    *,
    reset: Stream | None = None,
    until: Stream | None = None,
    format: Format | None = None,
) -> Any:
    """A value carried back from the next tick: `final` where the segment closes, else what `.prev` is a tick later.

    It may form a recurrence only inside a frame or a scanned node, which bound it. The adjoint of a state
    (Pontryagin et al. 1962).
    """
    opening = _opening(reset, until)
    return _memories(
        final, trace.assigned("costate"), format, "prev", lambda f, n: _costate(f, n, opening)
    )


def _memories(
    init: Any,
    name: str,
    format: Format | None,
    attribute: str,
    make: Callable[[Stream, str], Memory],
) -> Any:
    leaves, form = tree.flatten(init)
    own = attribute == "next"
    paths = form.names(name)
    made = [make(_initial(i, format, n, own), n) for i, n in zip(leaves, paths, strict=True)]
    return made[0] if form == tree.LEAF else Tree(form.unflatten(made), attribute)


def _initial(value: Any, format: Format | None, name: str, own: bool) -> Stream:
    """Of a tree, the numbers that are none of that format keep their own. What a state starts from is called as the state is."""
    stream = as_stream(value, format, named=not own)
    if own and stream is not value:
        stream.var.name = name
    if (
        format is None
        or isinstance(value, Stream)
        or stream.format == format
        or stream.format is bool_
    ):
        return stream
    raise fail("SE203", f"a first value of {stream.format} in a memory of {format}", trace.here())


def _state(init: Stream, name: str, resets: tuple[Var, ...]) -> State:
    stream, complete = _memory(init, name, resets, "the state", "write `.next = ...`", Fby)
    return State(stream, complete)


def _costate(final: Stream, name: str, resets: tuple[Var, ...]) -> Costate:
    stream, complete = _memory(final, name, resets, "the costate", "write `.prev = ...`", _post)
    return Costate(stream, complete)


def _post(final: Var, arg: Var) -> Post:
    return Post(arg, final)


def _memory(
    init: Stream,
    name: str,
    resets: tuple[Var, ...],
    what: str,
    hint: str,
    form: Callable[[Var, Var], Fby | Post],
) -> tuple[Stream, Callable[[Stream], None]]:
    stream, pending = _declare(init.type, name, "SE102", what, hint)
    region = stream.region
    region.graph.memories.append((stream.var, trace.current().clock))
    first_ = trace.lift(init, region)
    if resets:
        region.graph.resets[stream.var] = resets

    def complete(value: Stream) -> None:
        pending.define(trace.here())
        region.graph.eqs.append(Equation((stream.var,), form(first_, trace.lift(value, region))))

    return stream, complete


def _declare(type: Type, name: str, code: str, what: str, hint: str) -> tuple[Stream, Pending]:
    context = trace.current()
    var = Var(name, type, trace.here(), context.path)
    pending = Pending(var, code, what, hint)
    graph = context.region.graph
    graph.pending.append(pending)
    if (given := trace.assigned("")) and name.startswith(given):
        graph.named.add(var)
    return Stream(var, context.region), pending


def _opening(reset: Stream | None, until: Stream | None) -> tuple[Var, ...]:
    """Where segments open: the reset around, `reset`, and the tick after `until`."""
    causes = [] if reset is None else [condition(reset, "reset")]
    causes += [] if until is None else [_after(condition(until, "until"))]
    return (*trace.current().resets, *map(trace.as_reset, causes))


def _after(until: Stream) -> Stream:
    """True the tick after, on its own clock; at tick 0 every segment opens anyway."""
    here = trace.current().region
    outer = until.region.graph is here.graph and until.region in here.ancestors()
    region = until.region if outer else here
    var, never = trace.lift(until, region), constant(False).var
    return Stream(region.graph.new(Fby(never, var), var.type, "opens"), region)


def fby(
    init: Tensor, x: Stream, *, reset: Stream | None = None, until: Stream | None = None
) -> Stream:
    """`init` where the segment opens, else x at the previous tick (Lustre's `init -> pre x`).

    >>> import seiche as sc
    >>> @sc.node
    ... def late(x: sc.f32) -> sc.f32:
    ...     return sc.fby(0.0, x)
    >>> sc.compile(late).run([1.0, 2.0, 3.0]).tolist()
    [0.0, 1.0, 2.0]
    """
    memory = _state(_shaped(init, x), trace.assigned("fby"), _opening(reset, until))
    memory.next = x
    return Stream(memory.var, trace.home_of((x,), memory.region))


def post(
    x: Stream, final: Tensor, *, reset: Stream | None = None, until: Stream | None = None
) -> Stream:
    """x at the next tick; `final` where the segment closes. Outside of a recurrence it costs a tick of latency."""
    memory = _costate(_shaped(final, x), trace.assigned("post"), _opening(reset, until))
    memory.prev = x
    return Stream(memory.var, trace.home_of((x,), memory.region))


def _shaped(value: Tensor, like: Stream) -> Stream:
    return broadcast_to(as_stream(value, like.format), like.shape)


def pre(x: Stream) -> Stream:
    """x at the previous tick; undefined where the segment opens, which must not be visible (see `arrow`)."""
    region, resets = trace.current().region, trace.current().resets
    var = trace.lift(x, region)
    before = region.graph.new(Fby(None, var), var.type, "pre")
    if resets:
        region.graph.resets[before] = resets
    return Stream(before, trace.home_of((x,), region))


def arrow(init: Tensor, x: Tensor) -> Stream:
    """`init` where the segment opens, else x (Lustre's `->`); guards `pre`."""
    from seiche.lang.functions import where

    return where(first(), init, x)


def first() -> Stream:
    """True where the segment opens."""
    memory = _state(constant(True), "first", _opening(None, None))
    memory.next = constant(False)
    return Stream(memory.var, memory.region)


def last(x: Stream, *, reset: Stream | None = None, until: Stream | None = None) -> Stream:
    """The segment's last value at each of its ticks. It looks ahead to the close: inside frames and scans only."""
    memory = _costate(x, trace.assigned("last"), _opening(reset, until))
    memory.prev = memory
    return Stream(memory.var, memory.region)


class Variable(Stream):
    """Made by `var`: used before it is defined."""

    __slots__ = ("_pending",)

    def __init__(self, stream: Stream, pending: Pending) -> None:
        super().__init__(stream.var, stream.region)
        self._pending = pending

    def define(self, value: Tensor) -> None:
        """Its equation."""
        stream = conform(as_stream(value, self.format), self.type, self.var)
        self._pending.define(trace.here())
        inner = trace.lift(stream, self.region)
        self.region.graph.rename(inner, self.var.name)
        self.region.graph.aliases[self.var] = inner


def var(type: Format | Type) -> Variable:
    """A variable that is used before it is defined: recursion in time without an order of equations.

    >>> import seiche as sc
    >>> @sc.node
    ... def total(x: sc.f32) -> sc.f32:
    ...     y = sc.var(sc.f32)
    ...     y.define(sc.fby(0.0, y) + x)
    ...     return y
    >>> sc.compile(total).run([1.0, 2.0, 3.0]).tolist()
    [1.0, 3.0, 6.0]
    """
    full = type if isinstance(type, Type) else Type(type)
    stream, pending = _declare(
        full, trace.assigned("var"), "SE106", "the variable", "write `.define(...)`"
    )
    return Variable(stream, pending)


def hold(x: Any, init: Any = 0) -> Any:
    """The latest value of a slower stream (or tree) at every tick of the clock here; `init` before the first.

    >>> import seiche as sc
    >>> @sc.node
    ... def latch(x: sc.f32, seen: sc.bool_) -> sc.f32:
    ...     return sc.hold(sc.when(x, seen), 0.0)
    >>> sc.compile(latch).run([1.0, 2.0, 3.0], [False, True, False]).tolist()
    [0.0, 2.0, 2.0]
    """

    def leaf(x: Tensor, first: Tensor) -> Stream:
        stream = as_stream(x)
        # A frame's slow result may be held while its body is still written: that is around the frame.
        with trace.within(trace.current().of(stream.region.graph)) as context:
            for cond, on, region in above(stream):
                # Whatever region it was made in, this is the clock that it is on.
                slow = Stream(stream.var, region.clock(cond.var, on))
                with trace.within(replace(context, region=region, pace=None)):
                    stream = _kept(slow, first, cond, on)
        return stream

    if tree.flatten(init)[1] == tree.LEAF:
        return tree.map_tree(lambda stream: leaf(stream, init), x)
    return tree.map_tree(leaf, x, init)


def _kept(x: Stream, init: Tensor, cond: Stream, on: bool) -> Stream:
    """x, which is on the clock `cond`, at every tick of the clock here."""
    kept = var(x.type)
    memory = fby(init, kept)
    before = when(memory, cond, not on)
    kept.define(merge(cond, x, before) if on else merge(cond, before, x))
    return Stream(kept.var, kept.region)
