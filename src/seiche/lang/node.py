"""Nodes: functions on streams with memory. Each use is an instance with memory of its own."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ForwardRef, get_args, get_origin

import numpy as np

from seiche.errors import Loc, SeicheError, fail
from seiche.ir import tree
from seiche.ir.core import Fby, Frame, Node, Post, Var
from seiche.lang import holders, trace
from seiche.lang.clocks import condition
from seiche.lang.stream import Stream, as_stream, recover
from seiche.lang.trace import Context, Graph
from seiche.numbers.formats import Format, Type


@dataclass(frozen=True)
class Traced:
    """A node with the trees of its arguments and results; `inputs` maps each argument's name to its tree of types."""

    node: Node
    inputs: dict[str, Any]
    outputs: Any


class NodeFunction:
    """What `@node` makes. Called while tracing, it is an instance; `sc.compile` makes it run."""

    def __init__(
        self, function: Callable[..., Any], scope: Mapping[str, Any] | None = None
    ) -> None:
        """`scope` holds names that annotations may use beside the function's globals."""
        self.function = function
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self.signature = inspect.signature(function)
        self.where = _defined(function)
        self._hints = _hints(function, scope or {})
        functools.update_wrapper(self, function, updated=())

    def __get__(self, owner: Any, kind: type | None = None) -> NodeFunction:
        """As a method, a node of its object."""
        return (
            self if owner is None else NodeFunction(self.function.__get__(owner, kind), self._hints)
        )

    @functools.cached_property
    def annotations(self) -> dict[str, Any]:
        """The arguments that are streams, by name: a Type, or a tree of them."""
        found = {n: as_types(self._hints.get(n)) for n in self.signature.parameters}
        return {name: types for name, types in found.items() if types is not None}

    @functools.cached_property
    def results(self) -> Any:
        """The types that the node says it returns, or None."""
        return as_types(self._hints.get("return"))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """An instance. `reset=r` opens a new segment for all its memory (unless the node has an argument of that name)."""
        trace.current()
        reset = None if "reset" in self.signature.parameters else kwargs.pop("reset", None)
        bound = self._bind(args, kwargs)
        given = tuple(
            x for x in tree.flatten(list(bound.arguments.values()))[0] if isinstance(x, Stream)
        )
        with trace.instance(self.name, None if reset is None else condition(reset, "reset"), given):
            return self._run(bound)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        try:
            return self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise fail(
                "SE109",
                f"{self.name}: {error}",
                trace.here(),
                (f"{self.name}{self.signature}", self.where),
            ) from None

    def _run(self, bound: inspect.BoundArguments) -> Any:
        """The function's result; its arguments and its result are of the types that it says."""
        bound.apply_defaults()
        for name, types in self.annotations.items():
            value, kind = bound.arguments[name], self.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                bound.arguments[name] = tuple(self._argument(name, types, each) for each in value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                bound.arguments[name] = {
                    n: self._argument(n, types, each) for n, each in value.items()
                }
            elif value is not None:
                bound.arguments[name] = self._argument(name, types, value)
        result = self.function(*bound.args, **bound.kwargs)
        return result if self.results is None else self._result(result)

    def _argument(self, name: str, types: Any, value: Any) -> Any:
        """The argument as a tree of streams of the annotated types."""
        return self._typed("SE109", f"argument `{name}`", types, value, trace.here())

    def _result(self, value: Any) -> Any:
        _results(self.name, value, self.where)
        return self._typed("SE111", "the result", self.results, value, self.where)

    def _typed(self, code: str, what: str, types: Any, value: Any, place: Loc) -> Any:
        wanted, form = tree.flatten(types)
        try:
            given = form.leaves_of(value)
        except tree.TreeMismatch as error:
            raise fail(
                code, f"{self.name}: {what} is a tree of another form", place,
                str(error), (f"{self.name}{self.signature}", self.where),
            ) from None  # fmt: skip
        return form.unflatten(
            [self._leaf(code, what, t, v, place) for t, v in zip(wanted, given, strict=True)]
        )

    def _leaf(self, code: str, what: str, type: Type, value: Any, place: Loc) -> Stream:
        if not isinstance(value, Stream) and not _number(value):
            kind = value.__class__.__name__
            raise fail(
                code, f"{self.name}: {what} is the {kind} {value!r}, not {type}", place,
                (f"{self.name}{self.signature}", self.where),
            )  # fmt: skip
        stream = as_stream(value, type.format)
        if stream.type == type:
            return stream
        error = fail(
            code, f"{self.name}: {what} is {stream.type}, not {type}", place,
            (f"`{stream.var.name}` was made here", stream.var.loc), (f"{self.name}{self.signature}", self.where),
            hint="convert with .to(format), or change the annotation",
        )  # fmt: skip
        return recover(error, type, stream)

    def trace(self, *args: Any, **static: Any) -> Traced:
        """The node; streams are what the annotations say, every other argument is given here or has a default.

        Raises SE105 when two traces differ (the function reads or writes something outside of it that changes).
        """
        once = self._trace(args, static)
        again = self._trace(args, static)
        _same(self, once.node, again.node)
        return once

    def _trace(self, args: tuple[Any, ...], static: dict[str, Any]) -> Traced:
        graph = Graph(self.name, "node", None, self.where)
        bound, inputs = self._inputs(graph, args, static)
        try:
            with trace.within(Context(graph.root)):
                result = holders.outermost(lambda: self._run(bound))
                leaves, form = _results(self.name, result, self.where)
                outputs = tuple(trace.lift(s, graph.root) for s in leaves)
                _name_results(outputs, form, graph)
                node = graph.finish(outputs)
        except SeicheError as error:
            later = [d for d in error.diagnostics if d not in graph.diagnostics]
            raise SeicheError([*graph.diagnostics, *later]) from None
        except Exception as error:
            if graph.diagnostics:
                raise SeicheError(graph.diagnostics) from error
            raise
        return Traced(node, inputs, form.unflatten([v.type for v in node.outputs]))

    def _inputs(
        self, graph: Graph, args: tuple[Any, ...], static: dict[str, Any]
    ) -> tuple[inspect.BoundArguments, dict[str, Any]]:
        """The arguments of a trace: streams of the graph, and the trees of their types; the others as given."""
        try:
            bound = self.signature.bind_partial(*args, **static)
        except TypeError as error:
            raise fail(
                "SE109", f"{self.name}: {error}", self.where, f"{self.name}{self.signature}"
            ) from None
        inputs: dict[str, Any] = {}
        for name, parameter in self.signature.parameters.items():
            given = name in bound.arguments
            if parameter.kind in _VARIADIC:
                continue
            types = as_types(bound.arguments[name]) if given else self.annotations.get(name)
            if types is not None and (given or parameter.default is parameter.empty):
                inputs[name] = types
                bound.arguments[name] = self._streams(graph, name, types)
            elif not given and parameter.default is parameter.empty:
                raise fail(
                    "SE109", f"{self.name}: argument `{name}` has neither a stream type nor a value", self.where,
                    hint=f"annotate it ({name}: sc.f32[3]), give it a default, or pass {name}=... to compile",
                )  # fmt: skip
        return inspect.BoundArguments(self.signature, _ordered(bound)), inputs

    def _streams(self, graph: Graph, name: str, types: Any) -> Any:
        leaves, form = tree.flatten(types)
        vars_ = []
        for leaf, path in zip(leaves, form.names(name), strict=True):
            var = Var(path, leaf, self.where)
            graph.inputs.append(var)
            vars_.append(Stream(var, graph.root))
        return form.unflatten(vars_)

    def __repr__(self) -> str:
        return f"<node {self.name}{self.signature}>"


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _ordered(bound: inspect.BoundArguments) -> OrderedDict[str, Any]:
    """The arguments in the order of the signature, as `BoundArguments` wants them."""
    return OrderedDict(
        (n, bound.arguments[n]) for n in bound.signature.parameters if n in bound.arguments
    )


DECORATED = 50
"""Lines among which the `def` of a function is looked for."""


def _written(function: Any) -> Any:
    """The Python function behind a method, a partial or an object that is called."""
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inspect.unwrap(inner.func)
    return inner if isinstance(inner, type) or hasattr(inner, "__code__") else type(inner).__call__


def _defined(function: Callable[..., Any]) -> Loc:
    """Where a function's `def` is: Python counts its decorators in."""
    code = getattr(_written(function), "__code__", None)
    if code is None:
        return trace.here()
    first = Loc(code.co_filename, code.co_firstlineno)
    if not first.source.startswith("@"):
        return first
    below = (Loc(first.file, line) for line in range(first.line, first.line + DECORATED))
    return next((place for place in below if place.source.startswith("def ")), first)


def node(function: Callable[..., Any]) -> NodeFunction:
    """Makes a function on streams a node.

    Arguments annotated with a type (`f32`, `f32[3]`, a dict, tuple or dataclass of them) are streams; the others are
    Python values, fixed when it is traced.

    >>> import seiche as sc
    >>> @sc.node
    ... def ema(x: sc.f32, rate: float = 0.5) -> sc.f32:
    ...     mean = sc.state(0.0)
    ...     mean.next = mean + rate * (x - mean)
    ...     return mean.next
    >>> sc.compile(ema).run([1.0, 1.0, 1.0]).tolist()
    [0.5, 0.75, 0.875]
    """
    frame = inspect.currentframe()
    return NodeFunction(function, frame.f_back.f_locals if frame and frame.f_back else None)


def as_types(annotation: Any) -> Any:
    """An annotation as a Type or a tree of Types; None when it is not about streams.

    >>> from seiche.numbers.formats import f32
    >>> as_types({"a": f32, "b": f32[2]})
    {'a': f32, 'b': f32[2]}
    """
    if isinstance(annotation, Type):
        return annotation
    if isinstance(annotation, Format):
        return Type(annotation)
    if isinstance(annotation, type) and (
        is_dataclass(annotation) or hasattr(annotation, "_fields")
    ):
        hints = _hints(annotation, {})
        names = (
            [f.name for f in fields(annotation) if f.init]
            if is_dataclass(annotation)
            else annotation._fields
        )  # type: ignore[attr-defined]
        parts = {name: as_types(hints.get(name)) for name in names}
        return annotation(**parts) if parts and None not in parts.values() else None
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)
    leaves, form = tree.flatten(annotation)
    if form == tree.LEAF or not leaves:
        return None
    types = [as_types(leaf) for leaf in leaves]
    return None if any(t is None for t in types) else form.unflatten(types)


def _hints(function: Any, scope: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations of a function or class, evaluated where they are strings."""
    written = _written(function)
    module = sys.modules.get(getattr(written, "__module__", ""))
    names = (vars(module) if module else {}) | getattr(written, "__globals__", {}) | dict(scope)
    return {
        name: _evaluated(hint, names)
        for name, hint in getattr(written, "__annotations__", {}).items()
    }


def _evaluated(hint: Any, names: dict[str, Any]) -> Any:
    try:
        while isinstance(
            hint, str | ForwardRef
        ):  # quoted, perhaps under `from __future__ import annotations`
            hint = eval(hint if isinstance(hint, str) else hint.__forward_arg__, names)
    except Exception:
        return None
    return hint


def _results(name: str, result: Any, where: Loc) -> tuple[list[Stream], Any]:
    leaves, form = tree.flatten(result)
    if not leaves:
        raise fail(
            "SE111", f"{name} returns nothing", where, hint="return a stream or a tree of streams"
        )
    for leaf in leaves:
        if not isinstance(leaf, Stream) and not _number(leaf):
            raise fail(
                "SE111", f"{name} returns {type(leaf).__name__} {leaf!r}", where,
                hint="return streams, numbers, or dicts, tuples and dataclasses of them",
            )  # fmt: skip
    return [as_stream(leaf) for leaf in leaves], form


def _number(x: Any) -> bool:
    return isinstance(x, bool | int | float | np.ndarray | np.generic)


def _name_results(outputs: tuple[Var, ...], form: tree.Tree, graph: Graph) -> None:
    """Results that the user did not name take the name of their place in the result, or `out`."""
    for var, name in zip(outputs, form.names(""), strict=True):
        graph.rename(var, f"out_{name}" if name[:1].isdigit() else name or "out")


def _same(function: NodeFunction, first: Node, second: Node) -> None:
    from seiche.ir.fingerprint import difference

    found = difference(first, second)
    if found is not None:
        raise fail(
            "SE105", f"tracing {function.name} twice gives two programs", found[1], found[0],
            (f"{function.name} is defined here", function.where),
            hint="read nothing that changes (counters, global lists, random numbers): keep memory in sc.state, draw with sc.random",
        )  # fmt: skip


def subgraph(
    name: str,
    kind: trace.GraphKind,
    function: Callable[..., Any],
    types: tuple[Any, ...],
    names: Sequence[str] = (),
) -> tuple[Graph, list[Var], Any]:
    """Traces `function` over fresh inputs of these types, in a graph inside the current one; its results, unfinished.

    The inputs bear `names`, or those of the function's own arguments. SE109 where it takes another number of them.
    Its memory knows no reset of around: what runs it (a scan, a frame, a derivative) sees to that.
    """
    _check_takes(function, types)
    context = trace.current()
    graph = Graph(name, kind, context.region, trace.here())
    leaves, form = tree.flatten(types)
    streams: list[Stream] = []
    for leaf, path in zip(leaves, names or _argument_names(function, types), strict=True):
        graph.inputs.append(Var(path, leaf, trace.here(), context.path))
        streams.append(Stream(graph.inputs[-1], graph.root))
    with trace.within(Context(graph.root, context.path if kind == "scan" else ())):
        result = function(*form.unflatten(streams))
        results, shape = _results(name, result, trace.here())
        outputs = [trace.lift(s, graph.root) for s in results]
    return graph, outputs, shape


def _check_takes(function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Raises SE109 where a function that an iterator or a derivative was given cannot be called with so many arguments."""
    if not callable(function):
        raise fail("SE109", f"a function is needed here, not {function!r}", trace.here())
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # one of Python's own, which does not say
    try:
        signature.bind(*arguments)
    except TypeError as error:
        name, count = name_of(function), len(arguments)
        what = f"{name}, called with {count} argument{'s' * (count != 1)}: {error}"
        why = (f"{name}{signature}", _defined(function))
        raise fail("SE109", what, trace.here(), why) from None


def embed(
    node: Node, arguments: Sequence[Stream], captured: Sequence[Var], more: Sequence[Stream] = ()
) -> tuple[Stream, ...]:
    """The equations of a node that `subgraph` traced, or of what became of it, over its arguments, here.

    A reset of around opens a segment for what the node holds, and closes one for what its adjoint carries back.
    """
    context = trace.current()
    graph, region = context.region.graph, context.region
    given = [trace.lift(s, region) for s in arguments]
    extra = [trace.lift(s, region) for s in more]
    graph.stand()
    before = len(graph.eqs)
    outs = graph.inline(node, (*given, *captured, *extra))
    for eq in graph.eqs[before:]:
        if isinstance(eq.rhs, Fby | Post | Frame):
            graph.memories += [(out, context.clock) for out in eq.outs]
            if context.resets and eq.outs:
                graph.resets[eq.outs[0]] = context.resets
    home = trace.home_of((*arguments, *more), region)
    return tuple(Stream(v, home) for v in outs)


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called: an identifier."""
    name = getattr(function, "name", None) or getattr(function, "__name__", "")
    return re.sub(r"\W", "", str(name)) or "function"


def _argument_names(function: Callable[..., Any], types: tuple[Any, ...]) -> list[str]:
    """A name for each leaf of the arguments, after the function's own."""
    try:
        signature = (
            function.signature
            if isinstance(function, NodeFunction)
            else inspect.signature(function)
        )
        positional = [n for n, p in signature.parameters.items() if p.kind not in _VARIADIC]
    except (TypeError, ValueError):
        positional = []
    spare = [f"{name_of(function)}_{i}" for i in range(len(types))]
    names = [*positional[: len(types)], *spare[len(positional) :]]
    return [
        path
        for name, t in zip(names, types, strict=True)
        for path in tree.flatten(t)[1].names(name)
    ]
