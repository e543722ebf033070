"""Windows of the past: a state whose next value is itself, moved on by some rows, with new rows at its end.

    rows = concat(past, new)    next = rows[k:]   |-   next = concat(past[k:], new)      past = fby(_, next)

Both sides are the same elements. The right one is written in the memory of `past`, ascending, without a copy of the window; and
where all else that reads `rows` asks for rows that are known at compile time, `rows` needs no memory either (`tasks.Inlining`).
"""

from __future__ import annotations

from seiche.ir.core import Apply, Equation, Var
from seiche.ir.loops import Access, For, Let, Stmt, Store, Writer
from seiche.numbers.formats import Type
from seiche.schedule.pull import Index
from seiche.schedule.tasks import Place, Work
from seiche.schedule.tidy import read


def move_on(work: Work) -> None:
    """Rewrites the next values of such states."""
    made = [eq for s in work.states for eq in _moved(work, s.old, s.next)]
    if made:
        outs = {eq.out for eq in made}
        work.eqs[:] = [*(eq for eq in work.eqs if eq.outs[0] not in outs), *made]
        work.refresh()


def _moved(work: Work, old: Var, next: Var) -> list[Equation]:
    """The equations of such a next value; none where it is something else."""
    cut = _applied(work, next, "slice")
    rows = None if cut is None else _applied(work, cut.args[0], "concat")
    if cut is None or rows is None or rows.args[0] is not old or next.type != old.type:
        return []
    axis = rows.params["axis"]
    start = _start(cut, axis)
    if start is None or not 0 < start <= old.type.shape[axis]:
        return []
    if start == old.type.shape[axis]:
        return [Equation((next,), Apply("concat", rows.args[1:], {"axis": axis}))]
    rest = Var(old.name, Type(old.type.format, _shorter(old, axis, start)), next.loc, next.scope)
    shape = old.type.shape
    first = tuple(start if k == axis else 0 for k in range(len(shape)))
    tail = Apply("slice", (old,), {"start": first, "stop": shape, "step": (1,) * len(shape)})
    work.clocks[rest] = work.clocks[next]
    joined = Apply("concat", (rest, *rows.args[1:]), {"axis": axis})
    return [Equation((rest,), tail), Equation((next,), joined)]


def _applied(work: Work, var: Var, op: str) -> Apply | None:
    """What computes var, if it is that op."""
    rhs = work.defs[var].rhs if var in work.defs else None
    return rhs if isinstance(rhs, Apply) and rhs.op == op else None


def _shorter(x: Var, axis: int, by: int) -> tuple[int, ...]:
    return tuple(n - by if k == axis else n for k, n in enumerate(x.type.shape))


def _start(cut: Apply, axis: int) -> int | None:
    """Where a slice starts along an axis that it takes to the end, all others being whole."""
    shape = cut.args[0].type.shape
    parts = zip(cut.params["start"], cut.params["stop"], cut.params["step"], shape, strict=True)
    found = [range(*slice(a, b, s).indices(n)) for a, b, s, n in parts]
    whole = all(r == range(n) for k, (r, n) in enumerate(zip(found, shape)) if k != axis)
    along = found[axis]
    fits = whole and along.step == 1 and along.stop == shape[axis]
    return along.start if fits else None


def stays(work: Work, apply: Apply, old: Var) -> bool:
    """Whether an op joins the later rows of `old` and what does not read it: ascending, it may be written over `old`."""
    if apply.op != "concat" or any(n > 1 for n in apply.args[0].type.shape[: apply.params["axis"]]):
        return False
    axis = apply.params["axis"]
    tail = _applied(work, apply.args[0], "slice")
    if tail is None or tail.args[0] is not old or apply.args[0].type.shape == old.type.shape:
        return False
    return bool(_start(tail, axis))


def advance(w: Writer, place: Place, args: tuple[Access, ...], axis: int) -> None:
    """Joins the parts row by row, none of which may run beside the one before it."""
    at = 0
    for arg in args:
        shape = arg.type.shape
        with (
            w.loops(shape[: axis + 1], parallel=False) as outer,
            w.loops(shape[axis + 1 :]) as inner,
        ):
            there: Index = (*outer[:-1], outer[-1] + at if at else outer[-1], *inner)
            place.put(w, there, arg(*outer, *inner))
        _apart(w.block[-1], place)
        at += shape[axis]


def _apart(copy: Stmt, place: Place) -> None:
    """Says of a loop that stores what it reads elsewhere that its rows are independent."""
    if isinstance(copy, For) and all(isinstance(s, Let | Store) for s in copy.body):
        copy.parallel = place.buffer not in read(copy.body)
