"""Flow facts: how often each loop of the generated C runs at most, for tools that bound its worst time of execution.

Every bound is a number that is known before the program is compiled: trip counts are constants, or lie below what a frame or a length
may be at most, which the printer notes at the head of the loop.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass

from seiche.backends.c.printer import Sources
from seiche.backends.deploy.trace import Trace

HEAD = re.compile(
    r"^ *for \(int32_t (\w+) = (.+); \1 (<|>=) (.+); (?:\+\+|--)\1\) \{(?:  /\* at most (\d+) times \*/)?$"
)
OTHER = re.compile(r"^ *(?:for|while) \(.*\{(?:  /\* at most (\d+) times \*/)?$")
FUNCTION = re.compile(r"^\w[\w ]*?[ *](\w+)\(")


@dataclass(frozen=True)
class Loop:
    """A loop of a C file: its line (counted from 1), its function, the most iterations per entry (None: not known), whether it always
    makes so many, how many loops are around it, the most iterations per call of the function, and the user's lines.
    """

    line: int
    function: str
    most: int | None
    exact: bool
    depth: int
    most_per_call: int | None
    source: str


def loops(sources: Sources, traced: Trace) -> list[Loop]:
    """The loops of a program's C in their order.

    >>> import seiche as sc
    >>> from seiche.backends.deploy.trace import trace
    >>> @sc.node
    ... def sums(x: sc.f32[20, 30]) -> sc.f32[20]:
    ...     return sc.sum(x * x, 1)
    >>> program = sc.compile(sums, target="c")
    >>> sources = program.executor.sources
    >>> [(f.most, f.depth) for f in loops(sources, trace(program.lowered, sources))]
    [(20, 0)]
    """
    owners: dict[int, list[str]] = defaultdict(list)
    for span, loc in traced.back:
        if span.file == f"{sources.name}.c":
            for n in range(span.first, span.last + 1):
                owners[n].append(str(loc))
    found: list[Loop] = []
    around: list[tuple[int, Loop]] = []
    function = ""
    for number, text in enumerate(sources.source.splitlines(), 1):
        indent = len(text) - len(text.lstrip())
        while around and text.strip() and indent <= around[-1][0]:
            around.pop()
        if head := FUNCTION.match(text):
            function = head[1]
        bound = _bound(text)
        if bound is not None:
            outer = around[-1][1].most_per_call if around else 1
            most, exact = bound
            whole = None if outer is None or most is None else outer * most
            owner = ", ".join(owners.get(number, ()))
            found.append(Loop(number, function, most, exact, len(around), whole, owner))
            around.append((indent, found[-1]))
    return found


def _bound(text: str) -> tuple[int | None, bool] | None:
    """Of a loop's head: the most iterations, and whether they are always made; None where it is none."""
    if head := HEAD.match(text):
        _, start, way, stop, most = head.groups()
        if start.isdigit() and stop.isdigit():
            trips = int(stop) - int(start) if way == "<" else int(start) - int(stop) + 1
            return max(0, trips), True
        return (None if most is None else int(most)), False
    if head := OTHER.match(text):
        return (None if head[1] is None else int(head[1])), False
    return None


def markdown(name: str, facts: list[Loop]) -> str:
    """For people: a table."""
    head = (
        f"# {name}: flow facts\n\nWritten by Seiche. The loops of `{name}.c`, for tools that bound the worst time of execution; "
        f"`{name}_flow.json` holds the same for them. There is no recursion and no jump back but these.\n"
    )
    rows = [
        "| C | function | iterations per entry | per call at most | line |",
        "|---|---|---|---|---|",
    ]
    for f in facts:
        times = "not known" if f.most is None else f"{f.most}" if f.exact else f"at most {f.most}"
        whole = "not known" if f.most_per_call is None else f"{f.most_per_call}"
        rows.append(f"| {name}.c:{f.line} | {f.function} | {times} | {whole} | {f.source} |")
    return "\n".join([head, *rows]) + "\n"


def as_json(name: str, facts: list[Loop]) -> str:
    """For tools."""
    rows = [
        {
            "file": f"{name}.c", "line": f.line, "function": f.function, "max": f.most, "exact": f.exact,
            "depth": f.depth, "max_per_call": f.most_per_call, "source": f.source,
        }
        for f in facts
    ]  # fmt: skip
    return json.dumps({"loops": rows}, indent=1) + "\n"
