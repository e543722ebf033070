"""What a fold over time saves and what it costs, from the plans of both forms, layer by layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seiche.backends.compile import Traceable
from seiche.check.run import verify
from seiche.errors import NOWHERE, Loc, fail
from seiche.ir import tree
from seiche.ir.core import Apply, Scope, Var, copy, operands
from seiche.ir.graph import components
from seiche.schedule.lower import lower
from seiche.schedule.machine import schedule
from seiche.schedule.plan import Plan
from seiche.timespace.fold import Folded, Late, fold

Axes = int | Sequence[int | None]


@dataclass(frozen=True)
class Layer:
    """One window or sum over the rows, and what follows from it row by row.

    `whole` are its bytes layer by layer, `state` and `scratch` its bytes folded. Scratch memory is shared between layers.
    """

    name: str
    loc: Loc
    when: Late
    whole: int
    state: int
    scratch: int


@dataclass(frozen=True)
class FoldReport:
    """A function layer by layer and folded: the plans, the layers, and the latency in ticks after a frame's last row."""

    name: str
    whole: Plan
    folded: Plan
    layers: tuple[Layer, ...]
    latency: int

    @property
    def whole_bytes(self) -> int:
        """Activations layer by layer: the arena in which they share memory."""
        return self.whole.scratch_bytes + self.whole.state_bytes

    @property
    def folded_bytes(self) -> int:
        """Line buffers and sums, and the arena of what lives within a tick."""
        return self.folded.scratch_bytes + self.folded.state_bytes

    @property
    def saved(self) -> int:
        return self.whole_bytes - self.folded_bytes

    def as_dict(self) -> dict[str, Any]:
        """For tables and files."""
        layers = [
            {
                "layer": x.name, "line": str(x.loc), "rows": x.when.count, "every": x.when.every, "first": x.when.first,
                "whole_bytes": x.whole, "state_bytes": x.state, "scratch_bytes": x.scratch,
            }
            for x in self.layers
        ]  # fmt: skip
        return {
            "name": self.name, "whole_bytes": self.whole_bytes, "folded_bytes": self.folded_bytes,
            "saved_bytes": self.saved, "latency": self.latency, "layers": layers,
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [
            f"{self.name}, folded over time: {self.folded_bytes:,} B in place of {self.whole_bytes:,} B",
            "",
        ]
        lines.append(
            f"  {'layer':<44}{'rows':>6}{'every':>7}{'first':>7}{'whole B':>12}{'state B':>10}{'scratch B':>11}"
        )
        for x in self.layers:
            name = f"{x.name} {x.loc} {x.loc.source}"[:43]
            cells = f"{x.when.count:>6}{x.when.every:>7}{x.when.first:>7}{x.whole:>12,}{x.state:>10,}{x.scratch:>11,}"
            lines.append(f"  {name:<44}{cells}")
        sizes = (
            f"{self.whole_bytes:>12,}{self.folded.state_bytes:>10,}{self.folded.scratch_bytes:>11,}"
        )
        lines.append(f"  {'in all (scratch shares memory)':<64}{sizes}")
        ends = (
            "with the last row of a frame"
            if not self.latency
            else f"{self.latency} ticks after the last row of a frame"
        )
        return "\n".join([*lines, "", f"  saved {self.saved:,} B; the last result leaves {ends}"])


def fold_report(function: Traceable, *args: Any, axis: Axes = 0, **static: Any) -> FoldReport:
    """What `to_time` of a function saves: its plan layer by layer beside that of one row per tick.

    `function` is a tensor function made by `@sc.node`, its arguments given as to `compile`; `axis` is that of `to_time`.
    Raises what `to_time` raises.

    >>> import seiche as sc
    >>> @sc.node
    ... def totals(image: sc.f32[64, 32]) -> sc.f32[32]:
    ...     return sc.cumsum(sc.tanh(image), 0)[-1]
    >>> report = sc.fold_report(totals)
    >>> report.whole_bytes, report.folded_bytes < 1024, report.latency
    (16384, True, 0)
    """
    if not hasattr(function, "trace"):
        raise fail(
            "SE109",
            f"fold_report takes a node, not {function!r}",
            NOWHERE,
            hint="decorate it with @sc.node",
        )
    traced = function.trace(*args, **static)
    verify(traced.node)
    axes = _axes(traced.inputs, axis)
    rows = next(
        v.type.shape[a] for v, a in zip(traced.node.inputs, axes, strict=True) if a is not None
    )
    node, _ = copy(fold(traced.node, axes, rows).whole)
    folded = fold(node, axes, rows)
    tags = _tagged(folded)
    folded = fold(node, axes, rows)
    whole_plan, plan = (schedule(lower(n)).plan for n in (node, folded.node))
    return FoldReport(
        node.name, whole_plan, plan, _layers(folded, tags, whole_plan, plan), folded.latency
    )


def _axes(inputs: Mapping[str, Any], axis: Axes) -> list[int | None]:
    """The axis of rows of each leaf of the arguments."""
    given = [axis, *(None for _ in list(inputs)[1:])] if isinstance(axis, int) else list(axis)
    if len(given) != len(inputs) or all(a is None for a in given):
        raise fail(
            "SE109", f"fold_report has the axes {given} for {len(inputs)} arguments", NOWHERE
        )
    pairs = zip(inputs.values(), given, strict=True)
    return [
        None if a is None else a % len(t.shape)
        for types, a in pairs
        for t in tree.flatten(types)[0]
    ]


def _tagged(folded: Folded) -> dict[str, list[Var]]:
    """Gives every stream the number of its layer as the last part of its scope; the streams of each layer.

    A layer begins with a window over the rows, and with what is known once per frame.
    """
    number: dict[Var, int] = {}
    layers: dict[str, list[Var]] = {}
    for (eq,) in components(folded.whole):
        before = max([0, *(number.get(v, 0) for v in operands(eq.rhs))])
        window = isinstance(eq.rhs, Apply) and eq.rhs.op == "patches"
        for out in eq.outs:
            late = folded.streams.get(out)
            rows = any(v in folded.streams and not folded.streams[v].once for v in operands(eq.rhs))
            number[out] = before + (late is not None and (window or (late.once and rows)))
            out.scope = (*out.scope, f"layer {number[out]}")
            if late is not None:
                layers.setdefault(out.scope[-1], []).append(out)
    return layers


def _layers(
    folded: Folded, tags: dict[str, list[Var]], whole: Plan, plan: Plan
) -> tuple[Layer, ...]:
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for form, p in (("whole", whole), ("folded", plan)):
        for b in (*p.of("scratch"), *p.of("state")):
            sizes[_tag(b.scope), form if form == "whole" else b.place] += b.nbytes
    found: list[Layer] = []
    for tag, streams in tags.items():
        name = "/".join((*streams[0].scope[:-1], tag))
        parts = (sizes[tag, part] for part in ("whole", "state", "scratch"))
        found.append(Layer(name, streams[0].loc, folded.streams[streams[-1]], *parts))
    return tuple(found)


def _tag(scope: Scope) -> str:
    return scope[-1] if scope else ""
