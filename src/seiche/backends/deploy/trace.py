"""Which C comes from which line of the user's, both ways; from the notes that the printer leaves in the C.

A line of C belongs to the note above it, up to the next one or to the end of the block; a note names several lines of the user's
where they are computed in one loop. What is computed within its readers has no lines of its own: it is traced to those that read it. So are lines without equations that name
requirements, to the lines that they speak of.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from seiche.backends.c.printer import Sources
from seiche.backends.deploy.requirements import beside, tags
from seiche.errors import Loc
from seiche.ir.core import Node, operands, walk
from seiche.schedule.lower import Lowered

NOTE = re.compile(r"^( *)/\* (.*) \*/$")
PLACE = re.compile(r"(?:^|; )([^:;]+:\d+): ")
MEMBER = re.compile(r"/\* .*, ([^:,]+:\d+) \*/$")


@dataclass(frozen=True)
class Span:
    """Consecutive lines of a C file, counted from 1."""

    file: str
    first: int
    last: int

    def __str__(self) -> str:
        lines = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.file}:{lines}"


@dataclass(frozen=True)
class Line:
    """A line of the user's: its C, the lines of the user's that it is computed within, requirements named in its comment."""

    loc: Loc
    spans: tuple[Span, ...]
    within: tuple[Loc, ...]

    @property
    def requirements(self) -> tuple[str, ...]:
        """Tags such as REQ-7 in the comment of the line."""
        return tags(self.loc.source)


@dataclass(frozen=True, repr=False)
class Trace:
    """The lines of the user's in order, each with its C."""

    lines: tuple[Line, ...]

    def __repr__(self) -> str:
        return f"<trace of {len(self.lines)} lines>"

    @property
    def back(self) -> list[tuple[Span, Loc]]:
        """Every span of C with the line that it comes from, in the order of the C."""
        pairs = [(span, line.loc) for line in self.lines for span in line.spans]
        return sorted(pairs, key=lambda pair: (pair[0].file, pair[0].first))

    def json(self) -> str:
        """For tools."""
        lines = [
            {
                "file": os.path.basename(x.loc.file), "line": x.loc.line, "text": x.loc.source,
                "requirements": list(x.requirements), "c": [[s.file, s.first, s.last] for s in x.spans],
                "within": [str(at) for at in x.within],
            }
            for x in self.lines
        ]  # fmt: skip
        back = [[s.file, s.first, s.last, str(at)] for s, at in self.back]
        return json.dumps({"lines": lines, "c": back}, indent=1) + "\n"

    def markdown(self, name: str) -> str:
        """For people: two tables."""
        head = (
            f"# {name}: trace\n\nWritten by Seiche. `{name}_trace.json` holds the same for tools.\n"
        )
        forth = ["| line | source | requirements | C | computed within |", "|---|---|---|---|---|"]
        for x in self.lines:
            cells = (str(x.loc), f"`{_cell(x.loc.source)}`", ", ".join(x.requirements),
                     _joined(x.spans), _joined(x.within))  # fmt: skip
            forth.append(f"| {' | '.join(cells)} |")
        back = ["| C | line | source |", "|---|---|---|"]
        back += [f"| {s} | {at} | `{_cell(at.source)}` |" for s, at in self.back]
        parts = [head, "## From the program to C\n", *forth, "\n## From C to the program\n", *back]
        return "\n".join(parts) + "\n"


def _joined(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")


def trace(lowered: Lowered, sources: Sources) -> Trace:
    """The trace of a program and the C that was printed for it."""
    locs = {str(at): at for at in _locs(lowered.node)}
    files = {f"{sources.name}.h": _members(sources.header), f"{sources.name}.c": _notes(sources.source)}  # fmt: skip
    spans: dict[Loc, list[Span]] = defaultdict(list)
    for file, owners in files.items():
        for places, first, last in _runs(owners):
            for at in (locs[where] for where in places if where in locs):
                spans[at].append(Span(file, first, last))
    computed = {at for at, some in spans.items() if any(s.file.endswith(".c") for s in some)}
    readers = _readers(lowered.node)
    lines = [
        Line(at, tuple(spans.get(at, ())), () if at in computed else _within(at, readers, computed))
        for at in locs.values()
    ]
    for at, spoken in beside(locs.values()).items():
        near = {
            c for x in spoken for c in ((x,) if x in computed else _within(x, readers, computed))
        }
        lines.append(Line(at, (), _ordered(near)))
    return Trace(tuple(sorted(lines, key=lambda x: (x.loc.file, x.loc.line))))


def _locs(node: Node) -> set[Loc]:
    """The lines that any equation comes from."""
    found = {v.loc for one in walk(node) for eq in one.eqs for v in eq.outs}
    return {at for at in found | {v.loc for v in node.inputs} if at.line > 0}


def _notes(text: str) -> dict[int, tuple[str, ...]]:
    """The lines of the user's that each line of C belongs to."""
    owners: dict[int, tuple[str, ...]] = {}
    active: list[tuple[int, tuple[str, ...]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        indent = len(line) - len(line.lstrip(" "))
        note = NOTE.match(line)
        places = tuple(PLACE.findall(note[2])) if note else ()
        if not line.strip() or line.startswith("#"):
            continue
        active = [a for a in active if a[0] <= indent and not (places and a[0] == indent)]
        if places:
            active.append((indent, places))
        elif active and indent > 0:
            owners[number] = active[-1][1]
    return owners


def _members(text: str) -> dict[int, tuple[str, ...]]:
    """The same for the members of structs."""
    found = ((n, MEMBER.search(line)) for n, line in enumerate(text.splitlines(), 1))
    return {n: (m[1].strip(),) for n, m in found if m}


def _runs(owners: Mapping[int, tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Consecutive lines of the same owners."""
    start = last = 0
    who: tuple[str, ...] = ()
    for number, owner in owners.items():
        if owner == who and number <= last + 1:
            last = number
            continue
        if who:
            yield who, start, last
        who, start, last = owner, number, number
    if who:
        yield who, start, last


def _readers(node: Node) -> dict[Loc, set[Loc]]:
    """For each line, the lines whose equations read what it defines."""
    found: dict[Loc, set[Loc]] = defaultdict(set)
    for one in walk(node):
        for eq in one.eqs:
            for v in operands(eq.rhs):
                found[v.loc].add(eq.outs[0].loc)
    return found


def _within(at: Loc, readers: Mapping[Loc, set[Loc]], computed: set[Loc]) -> tuple[Loc, ...]:
    """The nearest lines with C of their own that read a line without."""
    seen, todo, found = {at}, [at], set[Loc]()
    while todo:
        for reader in readers.get(todo.pop(), ()):
            if reader in seen:
                continue
            seen.add(reader)
            if reader in computed:
                found.add(reader)
            else:
                todo.append(reader)
    return _ordered(found)


def _ordered(locs: Iterable[Loc]) -> tuple[Loc, ...]:
    return tuple(sorted(locs, key=lambda x: (x.file, x.line)))
