"""Derivatives of functions on streams: each traces its function as a node, transforms it, and uses the result here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from seiche.diff import api as diff
from seiche.diff.online import forward_grad
from seiche.errors import fail
from seiche.ir import tree
from seiche.ir.core import Call, Node, Var
from seiche.lang import trace
from seiche.lang.node import embed, name_of, subgraph
from seiche.lang.stream import Stream, as_stream, conform

Method = Literal["reverse", "forward"]


@dataclass(frozen=True)
class Part:
    """A function traced over fresh inputs: its node, what it read from around, and the forms of its trees."""

    node: Node
    arguments: tuple[Stream, ...]
    captured: tuple[Var, ...]
    result: tree.Tree
    chosen: tuple[int, ...]
    gradient: Any

    def use(self, node: Node, *more: Stream) -> tuple[Stream, ...]:
        """The equations of a node over the same arguments, here."""
        return embed(node, self.arguments, self.captured, more)


def _part(
    function: Callable[..., Any], args: tuple[Any, ...], argnums: int | Sequence[int]
) -> Part:
    streams = tree.map_tree(as_stream, args)
    leaves, form = tree.flatten(streams)
    types = form.unflatten([s.type for s in leaves])
    name = name_of(function)
    graph, outputs, result = subgraph(
        name, "function", function, types, [s.var.name for s in leaves]
    )
    node = graph.finish(tuple(outputs))
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    wrong = [n for n in numbers if not -len(args) <= n < len(args)]
    if wrong:
        raise fail(
            "SE109",
            f"argnums {wrong[0]} of {name}, which was given {len(args)} arguments",
            trace.here(),
        )
    starts = _starts(streams)
    spans = [range(starts[n % len(args)], starts[n % len(args) + 1]) for n in numbers]
    chosen = tuple(i for span in spans for i in span)
    picked = [streams[n] for n in numbers]
    gradient = picked[0] if isinstance(argnums, int) else tuple(picked)
    return Part(node, tuple(leaves), tuple(graph.captured), result, chosen, gradient)


def _starts(args: tuple[Any, ...]) -> list[int]:
    starts = [0]
    for arg in args:
        starts.append(starts[-1] + len(tree.flatten(arg)[0]))
    return starts


def value_and_grad(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    method: Method = "reverse",
) -> Callable[..., Any]:
    """`(value, gradient)` of a function with a real scalar result: the gradient has the form of the argument.

    With `has_aux` the function returns `(value, anything)`. A function with memory is differentiated through time: the
    gradient at a tick is that of the sum of the values over the segment, which is a costate and so needs a frame.
    Raises SE701 and SE702. Reverse mode (Speelpenning 1980) as a transposition of the equations.

    `method="forward"` needs no frame: the gradient at a tick is that of this tick's value alone, through all ticks since its
    segment opened, by an argument that stays constant (real-time recurrent learning, Williams & Zipser 1989). Their sum over
    the ticks is the gradient of the sum. It holds n numbers per number of the argument, and does n backward passes of one tick
    and n * n products per number of the argument, for n numbers that the function remembers.

    >>> import seiche as sc
    >>> @sc.node
    ... def slope(x: sc.f32) -> sc.f32:
    ...     return sc.value_and_grad(lambda z: z * z * z)(x)[1]
    >>> float(sc.compile(slope).step(2.0))
    12.0
    """

    def run(*args: Any) -> Any:
        part = _part(function, args, argnums)
        form = part.result
        fits = (
            form.kind in (tuple, list)
            and form.size
            and form.children[0] == tree.LEAF
            and len(form.keys) == 2
        )
        if not (fits if has_aux else form == tree.LEAF):
            wanted = "(value, aux)" if has_aux else "one scalar"
            raise fail(
                "SE702",
                f"{part.node.name} must return {wanted}",
                trace.here(),
                ("it is here", part.node.loc),
            )
        outs = part.use(_methods(method)(part.node, part.chosen))
        values, cts = outs[: form.size], outs[form.size :]
        _, shape = tree.flatten(part.gradient)
        return form.unflatten(values), shape.unflatten(cts)

    return run


def _methods(method: str) -> Callable[[Node, Sequence[int]], Node]:
    """The transformation of that name."""
    known = {"reverse": diff.value_and_grad, "forward": forward_grad}
    if method not in known:
        raise fail(
            "SE109",
            f"there is no method {method!r} of differentiation",
            trace.here(),
            hint='"reverse" or "forward"',
        )
    return known[method]


def grad(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    method: Method = "reverse",
) -> Callable[..., Any]:
    """The gradient alone (with `has_aux`: `(gradient, aux)`); see `value_and_grad`.

    >>> import seiche as sc
    >>> def error(w, x):
    ...     s = sc.state(0.0)
    ...     s.next = w * s + x
    ...     return s.next
    >>> @sc.node
    ... def slope(x: sc.f32) -> sc.f32:
    ...     return sc.grad(error, method="forward")(0.5, x)
    >>> sc.compile(slope).run([1.0, 1.0, 1.0]).tolist()  # of 1, 1 + w, 1 + w + w * w
    [0.0, 1.0, 2.0]
    """

    def run(*args: Any) -> Any:
        value, gradient = value_and_grad(function, argnums, has_aux, method)(*args)
        return (gradient, value[1]) if has_aux else gradient

    return run


def vjp(function: Callable[..., Any], *args: Any) -> tuple[Any, Callable[..., Any]]:
    """`(result, pull)`: `pull(cotangent of the result)` is a tuple of cotangents, one per argument."""
    part = _part(function, args, tuple(range(len(args))))
    real = tuple(k for k, v in enumerate(part.node.outputs) if v.type.format.is_float)
    chosen = tuple(i for i in part.chosen if part.node.inputs[i].type.format.is_float)
    pulled = diff.value_and_vjp(part.node, chosen, real)
    value = part.result.unflatten(part.use(part.node))

    def pull(cotangent: Any) -> Any:
        seeds = _leaves(part.result, cotangent, "cotangent")
        cts = [_like(seeds[k], part.node.outputs[k]) for k in real]
        found = dict(zip(chosen, part.use(pulled, *cts)[len(part.node.outputs) :], strict=True))
        _, shape = tree.flatten(part.gradient)
        return shape.unflatten([found.get(i) for i in part.chosen])

    return value, pull


def jvp(
    function: Callable[..., Any], args: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Any, Any]:
    """`(result, its derivative along the tangents)`; forward mode, without a tape."""
    part = _part(function, args, tuple(range(len(args))))
    chosen = tuple(i for i in part.chosen if part.node.inputs[i].type.format.is_float)
    along = _leaves(tree.flatten(args)[1], tangents, "tangent")
    seeds = [_like(along[i], part.node.inputs[i]) for i in chosen]
    outs = part.use(diff.jvp(part.node, chosen), *seeds)
    count = part.result.size
    pushed = iter(outs[count:])
    derivative = [next(pushed) if v.type.format.is_float else None for v in part.node.outputs]
    return part.result.unflatten(outs[:count]), part.result.unflatten(derivative)


def _leaves(form: tree.Tree, value: Any, what: str) -> list[Any]:
    """The leaves of a tree of cotangents or tangents; SE201 when it has another form."""
    try:
        return form.leaves_of(value)
    except tree.TreeMismatch as error:
        raise fail(
            "SE201", f"the {what} is a tree of another form", trace.here(), str(error)
        ) from None


def _like(value: Any, var: Var) -> Stream:
    return conform(as_stream(value, var.type.format), var.type, var, broadcast=True)


def custom_vjp(function: Callable[..., Any], pull: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with a derivative of its own: `pull(*args, cotangent) -> (a cotangent per argument)`.

    Both are functions without memory. Raises SE703 when `pull` returns other types than the arguments'.

    >>> import seiche as sc
    >>> clipped = sc.custom_vjp(lambda x: x * x, lambda x, ct: (sc.clip(2 * x * ct, -1.0, 1.0),))
    >>> @sc.node
    ... def slope(x: sc.f32) -> sc.f32:
    ...     return sc.grad(clipped)(x)
    >>> float(sc.compile(slope).step(3.0))
    1.0
    """

    def run(*args: Any) -> Any:
        part = _part(function, args, tuple(range(len(args))))
        if part.captured:
            raise fail(
                "SE703", f"{part.node.name} reads `{part.captured[0].name}` from around", trace.here(),
                hint="pass everything that a function with a derivative of its own depends on as an argument",
            )  # fmt: skip
        cotangent = part.result.unflatten([v.type for v in part.node.outputs])
        _, form = tree.flatten(args)
        types = (*form.unflatten([s.type for s in part.arguments]), cotangent)
        graph, outputs, _ = subgraph(f"{part.node.name}_pull", "function", pull, types)
        backward = graph.finish(tuple(outputs))
        given = [v.type for v in backward.outputs]
        wanted = [s.type for s in part.arguments if s.format.is_float]
        if given != wanted or graph.captured:
            raise fail(
                "SE703", f"the derivative of {part.node.name} gives {given}, the arguments are {wanted}", trace.here(),
                hint="return a tuple with one cotangent per real argument, of its type; read nothing from around",
            )  # fmt: skip
        context = trace.current()
        call = Call(
            part.node, tuple(trace.lift(s, context.region) for s in part.arguments), backward
        )
        names = tuple(v.name for v in part.node.outputs)
        outs = context.region.graph.new_many(call, tuple(v.type for v in part.node.outputs), names)
        home = trace.home_of(part.arguments, context.region)
        return part.result.unflatten([Stream(v, home) for v in outs])

    return run
