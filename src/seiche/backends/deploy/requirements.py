"""Requirements that are named beside lines without equations: a `return` of what has been computed, a number, the rest of a long line.

Such a line is traced to lines with equations, by the names in it: one that returns to those that define what it returns, one that defines
to those that read it, any other line to its own statement, and a comment to the statement below it.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from seiche.errors import Loc

TAG = re.compile(r"\b[A-Z][A-Z0-9]*-\d+(?:\.\d+)*\b")

Scope = tuple[int, ...]
"""The lines of the functions that are open, outermost first."""
Name = tuple[Scope, str]


def tags(text: str) -> tuple[str, ...]:
    """Requirements in the comment of a line.

    >>> tags("return y  # REQ-4, SRS-2.1")
    ('REQ-4', 'SRS-2.1')
    """
    return tuple(TAG.findall(text.partition("#")[2]))


def beside(locs: Collection[Loc]) -> dict[Loc, tuple[Loc, ...]]:
    """The lines with requirements that are not among these lines with equations, each with those that it speaks of."""
    equations: dict[str, set[int]] = defaultdict(set)
    for at in locs:
        equations[at.file].add(at.line)
    found: dict[Loc, tuple[Loc, ...]] = {}
    for file, lines in equations.items():
        texts = linecache.getlines(file)
        tagged = [n for n, text in enumerate(texts, 1) if n not in lines and tags(text)]
        about = _about("".join(texts), lines) if tagged else None
        for n in tagged if about else ():
            spoken = about(n) if about else set[int]()
            if spoken:
                found[Loc(file, n)] = tuple(Loc(file, k) for k in sorted(spoken))
    return found


@dataclass(frozen=True)
class _Statement:
    """A statement, or the head of one that has a body: its lines, the names that it gives a meaning, those that it reads by line.

    `opens` is the scope within a function.
    """

    first: int
    last: int
    column: int
    returns: bool
    scope: Scope
    opens: Scope
    binds: frozenset[Name]
    reads: tuple[tuple[int, str], ...]


def _about(text: str, equations: set[int]) -> Callable[[int], set[int]] | None:
    """For a line, the lines of equations that it speaks of; None for text that is no Python."""
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    statements = sorted(_statements(module.body, ()), key=lambda s: s.first)
    rows = text.splitlines()

    def about(line: int) -> set[int]:
        statement = next((s for s in statements if s.last >= line), None)
        if statement is None:
            return set()
        comment = rows[line - 1]
        if statement.first > line and len(comment) - len(comment.lstrip()) != statement.column:
            return set()
        return _Names(statements, equations).of(statement, line)

    return about


class _Names:
    """Statements joined by the names that one gives a meaning and another reads."""

    def __init__(self, statements: list[_Statement], equations: set[int]) -> None:
        self.statements, self.equations = statements, equations
        self.bound = frozenset(name for s in statements for name in s.binds)

    def of(self, s: _Statement, line: int) -> set[int]:
        """The equations that a line of a statement speaks of."""
        own = self._own(s)
        if s.returns:
            here = [name for at, name in s.reads if at == line] or [name for _, name in s.reads]
            return self._search(self._meant(s, here), self._defining, self._read) or own
        return own or self._search(s.binds, self._reading, lambda other: other.binds)

    def _own(self, s: _Statement) -> set[int]:
        return {n for n in range(s.first, s.last + 1) if n in self.equations}

    def _search(
        self,
        names: Iterable[Name],
        step: Callable[[Name], Iterable[_Statement]],
        beyond: Callable[[_Statement], Iterable[Name]],
    ) -> set[int]:
        """From names over statements without equations to the nearest with some."""
        found, seen, todo = set[int](), set[Name](), [*names]
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            for s in step(name):
                own = self._own(s)
                found |= own
                todo += [] if own else beyond(s)
        return found

    def _defining(self, name: Name) -> list[_Statement]:
        """What gives a name its meaning; of a function, what it returns too."""
        made = [s for s in self.statements if name in s.binds]
        inside = {s.opens for s in made if name[0] == s.scope != s.opens}
        return made + [s for s in self.statements if s.returns and s.scope in inside]

    def _reading(self, name: Name) -> list[_Statement]:
        return [s for s in self.statements if name in self._read(s)]

    def _read(self, s: _Statement) -> list[Name]:
        return self._meant(s, [name for _, name in s.reads])

    def _meant(self, s: _Statement, names: Iterable[str]) -> list[Name]:
        """Names as a statement means them: of the innermost open function that gives them a meaning."""
        scopes = [s.scope[:k] for k in range(len(s.scope), -1, -1)]
        meant = (next(((o, n) for o in scopes if (o, n) in self.bound), None) for n in names)
        return [name for name in meant if name is not None]


def _statements(body: Iterable[ast.AST], scope: Scope) -> Iterator[_Statement]:
    """The statements of a body and of the bodies in it."""
    for s in body:
        inner = [node for node in _below(s) if isinstance(node, ast.stmt)]
        if not isinstance(s, ast.stmt):
            yield from _statements(inner, scope)
            continue
        last = min((_first(node) for node in inner), default=(s.end_lineno or s.lineno) + 1) - 1
        function = isinstance(s, ast.FunctionDef | ast.AsyncFunctionDef)
        within = (*scope, s.lineno) if function else scope
        names = [n for n in _below(s) if isinstance(n, ast.Name)]
        binds = {(scope, n) for n in _written(s, names)}
        if function:
            binds |= {(scope, s.name), *((within, a.arg) for a in _below(s) if isinstance(a, ast.arg))}  # fmt: skip
        reads = tuple((n.lineno, n.id) for n in names if isinstance(n.ctx, ast.Load))
        yield _Statement(_first(s), max(last, s.lineno), s.col_offset, isinstance(s, ast.Return),
                         scope, within, frozenset(binds), reads)  # fmt: skip
        yield from _statements(inner, within)


def _first(s: ast.stmt) -> int:
    """The first line, with what decorates it."""
    decorators: list[ast.expr] = getattr(s, "decorator_list", [])
    return min([s.lineno, *(d.lineno for d in decorators)])


def _below(node: ast.AST) -> Iterator[ast.AST]:
    """What belongs to a statement itself, and the statements of its bodies, but nothing of those."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.stmt):
            yield from _below(child)


def _written(s: ast.stmt, names: Iterable[ast.Name]) -> set[str]:
    """What a statement gives a value, `s` in `s.next = ...` too."""
    targets: list[ast.expr] = [*getattr(s, "targets", ())]
    targets += [s.target] if isinstance(s, ast.AugAssign | ast.AnnAssign | ast.For) else []
    inside = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return inside | {n.id for n in names if isinstance(n.ctx, ast.Store)}
