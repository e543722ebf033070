"""Matrix products, Einstein sums and convolutions, brought to the table's `matmul` and `patches`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from seiche.errors import SeicheError, fail
from seiche.ir import tiling
from seiche.ir.builder import broadcast_shapes
from seiche.ir.tiling import Loops
from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.stream import Stream, apply, broadcast_to, recover
from seiche.numbers.formats import Format


def _misfit(a: Stream, b: Stream, why: str) -> SeicheError:
    return fail(
        "SE201", f"no product of {list(a.shape)} and {list(b.shape)}: {why}", trace.here(),
        (f"`{a.var.name}` is {a.type}", a.var.loc), (f"`{b.var.name}` is {b.type}", b.var.loc),
    )  # fmt: skip


PRODUCT = {x: x for x in (*tiling.LOOPS, *tiling.OPERANDS)}
CONVOLUTION = {"i": "place", "j": "out", "k": "tap", "a": "x", "b": "w"}
"""The user's words for the loops and operands of the products underneath."""


def _cut(loops: Loops | None, i: int, j: int, k: int, names: dict[str, str]) -> dict[str, str]:
    """The static parameter of a product that is cut up like that; raises SE607."""
    if loops is None:
        return {}
    if not isinstance(loops, Loops):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise fail(
            "SE607", f"the loops of a product are a sc.tile(...), not {loops!r}", trace.here()
        )
    inner = loops.renamed({said: x for x, said in names.items()})
    strange = [x for x in loops.words if x not in names.values()]
    why = (
        f"`{strange[0]}` is no loop and no operand of it"
        if strange
        else tiling.fault(inner, tiling.Extents(i, j, k), names)
    )
    if why is not None:
        sizes = zip(tiling.LOOPS, (i, j, k), strict=True)
        raise fail(
            "SE607", f"a product cannot be cut up as {loops}", trace.here(), why,
            hint=f"its loops are {', '.join(f'{names[x]} (of {n})' for x, n in sizes)}, "
            f"its operands {names['a']} and {names['b']}",
        )  # fmt: skip
    return {"loops": str(inner)}


def _multiply(a: Stream, b: Stream, accumulate: Format | None, **params: Any) -> Stream:
    """A product of the table."""
    if accumulate is None:
        return apply("matmul", a, b, **params)
    return apply("matmul", a, b, accumulate=accumulate, **params)


def matmul(
    a: Stream, b: Stream, accumulate: Format | None = None, loops: Loops | None = None
) -> Stream:
    """numpy's `a @ b`: vectors stand for a row or a column, leading axes are batches that broadcast."""
    if not a.ndim or not b.ndim:
        return recover(_misfit(a, b, "a scalar has no product; use *"), a.type, a, b)
    left = f.expand_dims(a, 0) if a.ndim == 1 else a
    right = f.expand_dims(b, -1) if b.ndim == 1 else b
    if left.shape[-1] != right.shape[-2]:
        return recover(_misfit(a, b, f"{left.shape[-1]} is not {right.shape[-2]}"), a.type, a, b)
    out = _batched(left, right, a, b, accumulate, loops)
    if a.ndim == 1:
        out = f.squeeze(out, -2)
    return f.squeeze(out, -1) if b.ndim == 1 else out


def _batched(
    left: Stream,
    right: Stream,
    a: Stream,
    b: Stream,
    accumulate: Format | None,
    loops: Loops | None,
) -> Stream:
    k, n = right.shape[-2:]
    if right.ndim == 2 and left.ndim > 2:
        flat = f.reshape(left, (-1, k))
        rows = _multiply(flat, right, accumulate, **_cut(loops, flat.shape[0], n, k, PRODUCT))
        return f.reshape(rows, (*left.shape[:-1], right.shape[-1]))
    try:
        batch = broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        return recover(_misfit(a, b, "their batches do not broadcast"), a.type, a, b)
    return _multiply(
        broadcast_to(left, (*batch, *left.shape[-2:])),
        broadcast_to(right, (*batch, *right.shape[-2:])),
        accumulate,
        **_cut(loops, left.shape[-2], n, k, PRODUCT),
    )


def einsum(spec: str, xs: list[Stream], accumulate: Format | None = None) -> Stream:
    """Pairs from left to right; each pair is one batched matrix product."""
    terms, out = _parse(spec, xs)
    streams = list(xs)
    while len(streams) > 1:
        later = set("".join(terms[2:]) + out)
        term, stream = _pair(terms[0], terms[1], streams[0], streams[1], later, accumulate)
        terms, streams = [term, *terms[2:]], [stream, *streams[2:]]
    found = _arrange(terms[0], streams[0], out, accumulate)
    return found if accumulate is None else found.to(accumulate)


def _parse(spec: str, xs: list[Stream]) -> tuple[list[str], str]:
    left, arrow, out = spec.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        out = "".join(sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1))
    letters = "".join(terms) + out
    fits = len(terms) == len(xs) and all(len(t) == x.ndim for t, x in zip(terms, xs, strict=False))
    if not fits or (not letters.isalpha() and letters) or not set(out) <= set("".join(terms)):
        raise fail(
            "SE201", f"einsum {spec!r} does not fit {', '.join(str(list(x.shape)) for x in xs)}", trace.here(),
            hint="one letter per axis, one term per argument, an output made of letters that occur",
        )  # fmt: skip
    for term, x in zip(terms, xs, strict=True):
        if len(set(term)) != len(term):
            raise fail("SE201", f"einsum {spec!r}: `{term}` repeats a letter", trace.here(),
                       (f"`{x.var.name}`", x.var.loc), hint="take the diagonal first")  # fmt: skip
    return terms, out


def _arrange(term: str, x: Stream, out: str, accumulate: Format | None) -> Stream:
    """Sums the letters that do not leave, and orders the others."""
    gone = tuple(i for i, c in enumerate(term) if c not in out)
    x = x.to(accumulate) if gone and accumulate is not None else x
    kept = "".join(c for c in term if c in out)
    return f.transpose(f.sum(x, gone) if gone else x, [kept.index(c) for c in out])


def _pair(
    ta: str, tb: str, a: Stream, b: Stream, later: set[str], accumulate: Format | None
) -> tuple[str, Stream]:
    """One product: letters of both that stay are batches, letters of both that end are summed."""
    a = _arrange(ta, a, ta := "".join(c for c in ta if c in later or c in tb), accumulate)
    b = _arrange(tb, b, tb := "".join(c for c in tb if c in later or c in ta), accumulate)
    if a.format != b.format and accumulate is not None:
        a, b = a.to(accumulate), b.to(accumulate)
    batch = [c for c in ta if c in tb and c in later]
    inner = [c for c in ta if c in tb and c not in later]
    rows = [c for c in ta if c not in tb]
    columns = [c for c in tb if c not in ta]
    sizes = dict(zip(ta, a.shape, strict=True))
    for c, n in zip(tb, b.shape, strict=True):
        if sizes.setdefault(c, n) != n:
            raise _misfit(a, b, f"`{c}` is both {sizes[c]} and {n}")

    def arranged(x: Stream, term: str, *groups: list[str]) -> Stream:
        ordered = f.transpose(x, [term.index(c) for group in groups for c in group])
        lead = [sizes[c] for c in groups[0]]
        return f.reshape(ordered, [*lead, *(prod(sizes[c] for c in g) for g in groups[1:])])

    left, right = arranged(a, ta, batch, rows, inner), arranged(b, tb, batch, inner, columns)
    product = _multiply(left, right, accumulate)
    term = "".join([*batch, *rows, *columns])
    return term, f.reshape(product, [sizes[c] for c in term])


def convolution(
    x: Stream,
    w: Stream,
    strides: int | Sequence[int],
    dilation: int | Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    groups: int,
    accumulate: Format | None = None,
    loops: Loops | None = None,
) -> Stream:
    """Patches times weights: `[*batch, *spatial, in]` and `[*window, in / groups, out]`."""
    rank = w.ndim - 2
    steps, spread = _each(strides, rank), _each(dilation, rank)
    window = w.shape[:rank]
    if rank < 1 or x.ndim < rank + 1 or x.shape[-1] != w.shape[-2] * groups or w.shape[-1] % groups:
        return recover(
            _misfit(x, w, f"conv wants [*batch, *spatial, in] and [*window, in / {groups}, out]"),
            x.type,
            x,
            w,
        )
    low, high = _padding(padding, x.shape[-rank - 1 : -1], window, steps, spread)
    taps = apply("patches", x, window=window, strides=steps, dilation=spread, low=low, high=high)
    places = taps.shape[: x.ndim - 1]
    count = prod(window)
    per, out = w.shape[-2], w.shape[-1] // groups
    cut = _cut(loops, prod(places), out, count * per, CONVOLUTION)
    if groups == 1:
        rows, weights = f.reshape(taps, (-1, count * per)), f.reshape(w, (-1, out))
        return f.reshape(_multiply(rows, weights, accumulate, **cut), (*places, out))
    return _grouped(taps, w, places, count, groups, accumulate, cut)


def _grouped(
    taps: Stream,
    w: Stream,
    places: tuple[int, ...],
    count: int,
    groups: int,
    accumulate: Format | None,
    cut: dict[str, str],
) -> Stream:
    per, out = w.shape[-2], w.shape[-1] // groups
    if per == 1 and out == 1:
        if cut:
            why = "each channel is a sum of its own: there is no product"
            raise fail("SE607", "a depthwise convolution cannot be cut up", trace.here(), why)
        if accumulate is not None:
            taps, w = taps.to(accumulate), w.to(accumulate)
        return f.sum(f.reshape(taps, (*places, count, groups)) * f.reshape(w, (count, groups)), -2)
    by_group = f.transpose(f.reshape(taps, (-1, count, groups, per)), (2, 0, 1, 3))
    weights = f.transpose(f.reshape(w, (count, per, groups, out)), (2, 0, 1, 3))
    flat = _multiply(
        f.reshape(by_group, (groups, -1, count * per)),
        f.reshape(weights, (groups, count * per, out)),
        accumulate,
        **cut,
    )
    return f.reshape(f.transpose(flat, (1, 0, 2)), (*places, groups * out))


def _each(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _padding(
    padding: str | Sequence[tuple[int, int]],
    spatial: tuple[int, ...],
    window: tuple[int, ...],
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    reach = [(k - 1) * d for k, d in zip(window, dilation, strict=True)]
    match padding:
        case "valid":
            return (0,) * len(window), (0,) * len(window)
        case "causal":
            return tuple(reach), (0,) * len(window)
        case "same":
            ends = [
                -(-n // s) * s - s + r + 1 - n
                for n, s, r in zip(spatial, strides, reach, strict=True)
            ]
            total = [max(e, 0) for e in ends]
            return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        case str():
            raise fail(
                "SE201",
                f"padding {padding!r}",
                trace.here(),
                hint='"valid", "same", "causal" or pairs',
            )
        case _:
            return tuple(p[0] for p in padding), tuple(p[1] for p in padding)
