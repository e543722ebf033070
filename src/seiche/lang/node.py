"""Nodes: functions on streams with memory. Each use is an instance with memory of its own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, get_type_hints

from seiche.errors import Loc, SeicheError, fail
from seiche.ir import tree
from seiche.ir.core import Node, Var
from seiche.lang import trace
from seiche.lang.stream import Stream, as_stream
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

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = function.__name__
        self.signature = inspect.signature(function)
        code = inspect.unwrap(function).__code__
        self.where = Loc(code.co_filename, code.co_firstlineno)
        functools.update_wrapper(self, function)

    @functools.cached_property
    def annotations(self) -> dict[str, Any]:
        """The arguments that are streams, by name: a Type, or a tree of them."""
        hints = _hints(self.function)
        found = {n: as_types(hints.get(n)) for n in self.signature.parameters}
        return {name: types for name, types in found.items() if types is not None}

    def __call__(self, *args: Any, reset: Stream | None = None, **kwargs: Any) -> Any:
        """An instance; `reset` opens a new segment for all its memory."""
        bound = self._bind(args, kwargs)
        trace.current()
        with trace.instance(self.name, reset):
            for name, types in self.annotations.items():
                if name in bound.arguments:
                    bound.arguments[name] = self._argument(name, types, bound.arguments[name])
            return self.function(*bound.args, **bound.kwargs)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        try:
            return self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise fail(
                "SE109", f"{self.name}: {error}", trace.here(), (f"{self.name}{self.signature}", self.where)
            ) from None

    def _argument(self, name: str, types: Any, value: Any) -> Any:
        """The argument as a tree of streams of the annotated types."""
        wanted, form = tree.flatten(types)
        try:
            given = form.leaves_of(value)
        except tree.TreeMismatch as error:
            raise fail(
                "SE109", f"{self.name}: argument `{name}` is a tree of another form", trace.here(),
                str(error), (f"{self.name}{self.signature}", self.where),
            ) from None  # fmt: skip
        return form.unflatten([self._leaf(name, t, v) for t, v in zip(wanted, given, strict=True)])

    def _leaf(self, name: str, type: Type, value: Any) -> Stream:
        stream = as_stream(value, type.format)
        if stream.type == type:
            return stream
        raise fail(
            "SE109", f"{self.name}: argument `{name}` is {stream.type}, not {type}", trace.here(),
            (f"`{stream.var.name}` was made here", stream.var.loc), (f"{self.name}{self.signature}", self.where),
            hint="convert with .to(format), or change the annotation",
        )  # fmt: skip

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
        arguments, inputs = self._inputs(graph, args, static)
        try:
            with trace.within(Context(graph.root)):
                result = self.function(**arguments)
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
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        given = dict(zip(self.signature.parameters, args, strict=False)) | static
        arguments: dict[str, Any] = {}
        inputs: dict[str, Any] = {}
        for name, parameter in self.signature.parameters.items():
            types = as_types(given[name]) if name in given else self.annotations.get(name)
            if types is not None and not (name not in given and parameter.default is not parameter.empty):
                inputs[name] = types
                arguments[name] = self._streams(graph, name, types)
            elif name in given:
                arguments[name] = given[name]
            elif parameter.default is parameter.empty and parameter.kind not in _VARIADIC:
                raise fail(
                    "SE109", f"{self.name}: argument `{name}` has neither a stream type nor a value", self.where,
                    hint=f"annotate it ({name}: sc.f32[3]), give it a default, or pass {name}=... to compile",
                )  # fmt: skip
        return arguments, inputs

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
    return NodeFunction(function)


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
    if isinstance(annotation, type) and is_dataclass(annotation):
        hints = get_type_hints(annotation)
        parts = {f.name: as_types(hints[f.name]) for f in fields(annotation)}
        return annotation(**parts) if parts and None not in parts.values() else None
    if isinstance(annotation, dict | list | tuple) and annotation:
        items = annotation.values() if isinstance(annotation, dict) else annotation
        if all(as_types(item) is not None for item in items):
            return tree.map_tree(as_types, annotation)
    return None


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations, evaluated where they are strings, with the function's closure in sight."""
    raw = dict(getattr(function, "__annotations__", {}))
    closure = inspect.getclosurevars(function) if any(isinstance(a, str) for a in raw.values()) else None
    names: dict[str, Any] = dict(getattr(function, "__globals__", {}))
    if closure is not None:
        names |= closure.nonlocals
    return {k: _evaluated(v, names) if isinstance(v, str) else v for k, v in raw.items()}


def _evaluated(text: str, names: dict[str, Any]) -> Any:
    try:
        return eval(text, names)
    except Exception:
        return None


def _results(name: str, result: Any, where: Loc) -> tuple[list[Stream], Any]:
    leaves, form = tree.flatten(result)
    if not leaves:
        raise fail("SE111", f"{name} returns nothing", where, hint="return a stream or a tree of streams")
    for leaf in leaves:
        if not isinstance(leaf, Stream) and not _number(leaf):
            raise fail(
                "SE111", f"{name} returns {type(leaf).__name__} {leaf!r}", where,
                hint="return streams, numbers, or dicts, tuples and dataclasses of them",
            )  # fmt: skip
    return [as_stream(leaf) for leaf in leaves], form


def _number(x: Any) -> bool:
    import numpy as np

    return isinstance(x, bool | int | float | np.ndarray | np.generic)


def _name_results(outputs: tuple[Var, ...], form: tree.Tree, graph: Graph) -> None:
    """Results that the user did not name take the name of their place in the result, or `out`."""
    for var, name in zip(outputs, form.names(""), strict=True):
        if var not in graph.inputs and trace.assigned(var.loc, "") != var.name:
            var.name = f"out_{name}" if name.isdigit() else name or "out"


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
    name: str, kind: trace.GraphKind, function: Callable[..., Any], types: Any, names: list[str] | None = None
) -> tuple[Graph, list[Var], Any]:
    """Traces `function` over fresh inputs of these types, in a graph inside the current one; its results, unfinished."""
    context = trace.current()
    graph = Graph(name, kind, context.region, trace.here())
    leaves, form = tree.flatten(types)
    streams: list[Stream] = []
    for leaf, called in zip(leaves, names or form.names(name), strict=True):
        graph.inputs.append(Var(called, leaf, trace.here(), context.path))
        streams.append(Stream(graph.inputs[-1], graph.root))
    cut = kind in ("scan", "frame")
    inner = replace(context, region=graph.root, reset=None if cut else context.reset)
    with trace.within(inner):
        result = function(*form.unflatten(streams))
        results, shape = _results(name, result, trace.here())
        outputs = [trace.lift(s, graph.root) for s in results]
    return graph, outputs, shape
