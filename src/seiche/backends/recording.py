"""Recordings: the named streams of a node over a run, as a table, as numpy files, and in the formats of viewers.

A recorded stream is one more output of the node, so that clocks, latencies and resets are those of any program; contracts do not
stop a recording but are streams of it: what breaks at a tick is seen with what follows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np

from seiche.backends.compile import Target, Traceable, compile, executor_of
from seiche.backends.contracts import shown, unmonitored
from seiche.backends.files import whole
from seiche.backends.inputs import Signature
from seiche.backends.program import Program, Sparse
from seiche.errors import NOWHERE, fail
from seiche.ir import tree
from seiche.ir.core import Apply, Lit, Node, Scope, Var, When
from seiche.ir.op import AnyArray
from seiche.numbers.formats import Type
from seiche.schedule.lower import lower

Kind = Literal["input", "output", "internal", "assumption", "guarantee"]


@dataclass(frozen=True)
class Track:
    """A recorded stream: `values[i]` is what it was at tick `ticks[i]`; `scope` is the path of its instance.

    For a condition of a contract, `said` is what it says.
    """

    name: str
    scope: Scope
    kind: Kind
    type: Type
    ticks: AnyArray
    values: AnyArray
    said: str = ""

    @property
    def path(self) -> str:
        """The instance and the name: `limiter/y`."""
        return "/".join((*self.scope, self.name))

    def dense(self, length: int) -> AnyArray:
        """At each of `length` ticks, whether it is there."""
        there = np.zeros(length, bool)
        there[self.ticks] = True
        return there


@dataclass(frozen=True)
class Recording:
    """What the streams of a node were at `length` ticks. `recording["limiter/y"]` is one of them."""

    name: str
    length: int
    tracks: tuple[Track, ...]

    def __getitem__(self, path: str) -> Track:
        for track in self.tracks:
            if track.path == path:
                return track
        raise KeyError(path)

    def __str__(self) -> str:
        return self.table()

    def table(self, most: int = 20) -> str:
        """The streams tick by tick, a column each; of long recordings the first and last ticks.

        Nothing stands where a stream is absent. Of contracts only those are shown that are broken.
        """
        half = most // 2
        long = self.length > most
        ticks = (
            [*range(half), *range(self.length - half, self.length)]
            if long
            else [*range(self.length)]
        )
        columns = [["tick", *map(str, ticks)]]
        for track in self.tracks:
            if track.kind in ("assumption", "guarantee") and bool(track.values.all()):
                continue
            at = dict(zip(track.ticks.tolist(), track.values, strict=True))
            columns.append([track.path, *(shown(at[t]) if t in at else "" for t in ticks)])
        widths = [max(map(len, column)) for column in columns]
        rows = zip(*columns, strict=True)
        return "\n".join(
            "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the inputs by name to a .npz, which `seiche run --data` replays."""
        given = {s.name: s.values for s in self.tracks if s.kind == "input"}
        with whole(path) as place, place.open("wb") as file:
            np.savez(file, **given)  # pyright: ignore[reportArgumentType]

    def vcd(
        self, path: str | os.PathLike[str], tick_s: float = 1e-3, elements_max: int = 64
    ) -> None:
        """Writes a Value Change Dump (IEEE 1364) for waveform viewers such as GTKWave or Surfer; a tick takes `tick_s` seconds.

        Each element of a tensor is a variable; tensors of more than `elements_max` elements are left out. Bits and integers are
        x where they are absent; reals, which have no such value, have a bit `NAME_present` beside them. Needs the extra `traces`.
        """
        from seiche.backends.vcd import write

        with whole(path) as place:
            write(self, place, tick_s, elements_max)

    def mcap(self, path: str | os.PathLike[str], tick_s: float = 1e-3) -> None:
        """Writes an MCAP file for Foxglove and others: a topic per stream, a JSON message per tick at which it is there.

        Numbers that JSON lacks are "NaN", "Infinity" and "-Infinity". A tick takes `tick_s` seconds. Needs the extra `traces`.
        """
        from seiche.backends.mcap import write

        with whole(path) as place:
            write(self, place, tick_s)


def record(
    node: Traceable | Program,
    *args: Any,
    watch: str | Sequence[str] = (),
    target: Target = "interp",
    static: dict[str, Any] | None = None,
    **named: Any,
) -> Recording:
    """Runs a node, from its first tick, over whole streams and keeps its inputs, its outputs, the conditions of its contracts,
    and the streams inside that `watch` names: `"limiter/y"`, or a pattern such as `"limiter/*"`.

    Arguments are those of `Program.run`; `static` are those of the node that are no streams. Streams within frames and scans
    are not at ticks of the node and cannot be watched. Raises SE906 for a name that is none, what `run` raises otherwise.

    >>> import seiche as sc
    >>> @sc.node
    ... def smooth(x: sc.f32) -> sc.f32:
    ...     mean = sc.state(0.0)
    ...     mean.next = (mean + x) / 2
    ...     return mean.next
    >>> print(sc.record(smooth, [4.0, 0.0, 2.0], watch="mean"))
    tick   x  mean_next  mean
       0  4.        2.    0.
       1  0.        1.    2.
       2  2.       1.5    1.
    """
    logical, signature = _traced(node, static or {})
    sources = [
        *_sources(logical),
        *_watched(logical, (watch,) if isinstance(watch, str) else watch),
    ]
    outputs = tuple(dict.fromkeys(source.var for source in sources))
    wide = unmonitored(replace(logical, outputs=outputs))
    _, form = tree.flatten(tuple(v.type for v in outputs))
    lowered = lower(wide)
    program = Program(
        wide,
        lowered,
        Signature(signature.inputs, form, wide.inputs, outputs),
        executor_of(lowered, target),
    )
    results = dict(zip(outputs, program.run(*args, **named), strict=True))
    return Recording(logical.name, program.ticks, tuple(s.track(results[s.var]) for s in sources))


@dataclass(frozen=True)
class _Source:
    """A stream to be recorded."""

    var: Var
    name: str
    scope: Scope
    kind: Kind
    said: str = ""

    def track(self, result: AnyArray | Sparse) -> Track:
        ticks = result.ticks if isinstance(result, Sparse) else np.arange(len(result))
        values = result.values if isinstance(result, Sparse) else result
        return Track(self.name, self.scope, self.kind, self.var.type, ticks, values, self.said)


def _traced(node: Traceable | Program, static: dict[str, Any]) -> tuple[Node, Signature]:
    if isinstance(node, Program):
        return node.node, node.signature
    program = compile(node, **static)
    return program.node, program.signature


def _sources(node: Node) -> list[_Source]:
    """Inputs, outputs, contracts; names that occur twice are numbered."""
    found = [_Source(v, v.name, (), "input") for v in node.inputs]
    found += [_Source(v, v.name, (), "output") for v in node.outputs if v not in node.inputs]
    for check in node.checks:
        if check.contract is not None:
            name = f"{check.contract.role}_{check.loc.line}"
            said = check.said(node.name)
            found.append(
                _Source(check.cond, name, check.contract.instance, check.contract.role, said)
            )
    return list(_numbered(found))


def _numbered(sources: list[_Source]) -> Iterator[_Source]:
    seen: dict[tuple[Scope, str], int] = {}
    for source in sources:
        key = (source.scope, source.name)
        seen[key] = seen.get(key, 0) + 1
        yield source if seen[key] == 1 else replace(source, name=f"{source.name}#{seen[key]}")


def _watched(node: Node, patterns: Sequence[str]) -> list[_Source]:
    """The streams inside that patterns name."""
    inside = {"/".join((*s.scope, s.name)): s for s in _inside(node)}
    chosen: dict[str, _Source] = {}
    for pattern in patterns:
        fits = [path for path in inside if fnmatchcase(path, pattern)]
        if not fits:
            raise fail(
                "SE906", f"`{node.name}` has no stream `{pattern}` to watch", node.loc,
                f"there are {', '.join(inside) or 'none'}",
                hint="give it a name by assigning it; streams inside of frames and scans are not at ticks of the node",
            )  # fmt: skip
        chosen |= {path: inside[path] for path in fits}
    return list(chosen.values())


def _inside(node: Node) -> Iterator[_Source]:
    """The streams that bear a name of their own, but for inputs and outputs."""
    defs = node.definitions()
    shown_already = {*node.inputs, *node.outputs}

    def own(var: Var) -> bool:
        match defs[var].rhs:
            case Lit():
                return False
            case Apply(op=op):
                return var.name != op
            case When(arg=arg):
                return arg.name != var.name
            case _:
                return True

    found = [
        _Source(v, v.name, v.scope, "internal") for v in defs if v not in shown_already and own(v)
    ]
    yield from _numbered(found)


def seconds_per_tick(tick_s: float) -> float:
    """A tick's length, which must be positive; SE903 otherwise."""
    if not tick_s > 0 or not np.isfinite(tick_s):
        raise fail("SE903", f"a tick takes a positive number of seconds, not {tick_s!r}", NOWHERE)
    return tick_s
