"""Removes statements whose results nobody reads: names, local and scratch memory, empty loops and branches."""

from __future__ import annotations

from seiche.ir.loops import (
    Assign,
    Binary,
    Buffer,
    Choose,
    Const,
    Convert,
    Declare,
    Expr,
    For,
    If,
    Intrinsic,
    Invoke,
    Let,
    Load,
    Local,
    Name,
    Note,
    Stmt,
    Store,
    Unary,
)


def tidy(block: list[Stmt]) -> None:
    """Removes dead statements in place, until none is left."""
    while True:
        uses = Uses()
        uses.block(block)
        if not _sweep(block, uses):
            return


def read(*blocks: list[Stmt]) -> set[Buffer]:
    """The buffers that blocks read."""
    uses = Uses()
    for block in blocks:
        uses.block(block)
    return uses.buffers


class Uses:
    """The names and buffers that a block reads."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.buffers: set[Buffer] = set()
        self._seen: set[int] = set()
        self._alive: list[Expr] = []

    def block(self, block: list[Stmt]) -> None:
        for stmt in block:
            match stmt:
                case Let(_, value) | Local(_, value) | Assign(_, value):
                    self.expr(value)
                case Store(_, index, value):
                    for e in (value, *index):
                        self.expr(e)
                case For(start=start, stop=stop, body=body):
                    self.expr(start)
                    self.expr(stop)
                    self.block(body)
                case If(cond, yes, no):
                    self.expr(cond)
                    self.block(yes)
                    self.block(no)
                case Declare() | Note():
                    pass

    def expr(self, expr: Expr) -> None:
        todo = [expr]
        while todo:
            e = todo.pop()
            if id(e) in self._seen:
                continue
            self._seen.add(id(e))
            self._alive.append(e)
            match e:
                case Name(name):
                    self.names.add(name)
                case Load(buffer, index):
                    self.buffers.add(buffer)
                    todo += index
                case Unary(_, arg) | Convert(arg) | Intrinsic(_, arg):
                    todo.append(arg)
                case Binary(_, left, right):
                    todo += (left, right)
                case Choose(cond, yes, no):
                    todo += (cond, yes, no)
                case Invoke(_, _, args):
                    todo += args
                case Const():
                    pass
                case _:
                    raise AssertionError(e)


def _sweep(block: list[Stmt], uses: Uses) -> bool:
    """One pass; whether anything went."""
    changed = False
    kept: list[Stmt] = []
    for stmt in block:
        match stmt:
            case Let(name) | Local(name) | Assign(name):
                dead = name.name not in uses.names
            case Declare(buffer):
                dead = buffer not in uses.buffers
            case Store(buffer):
                dead = buffer.storage in ("local", "scratch") and buffer not in uses.buffers
            case For(body=body):
                changed |= _sweep(body, uses)
                dead = _empty(body)
            case If(_, yes, no):
                changed |= _sweep(yes, uses)
                changed |= _sweep(no, uses)
                dead = _empty(yes) and _empty(no)
            case Note():
                dead = False
        if not dead:
            kept.append(stmt)
    changed |= len(kept) != len(block)
    block[:] = kept
    return changed


def _empty(block: list[Stmt]) -> bool:
    return all(isinstance(s, Note) for s in block)
