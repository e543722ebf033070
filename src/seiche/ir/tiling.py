"""How a product is cut up for the hardware: the words for it, what is wrong with some, and the choice where there are none.

A product has the loops i (rows), j (columns) and k (the sum). `tile` cuts them: each call is a level of loops over tiles, each tile is
run through before the next; `reorder` orders the loops of the level before it. Of the innermost tile, `unroll` and `vectorise`
keep a rectangle of the result in registers while k runs; `pack` copies the part of an operand that a tile reads side by side;
`fuse` computes what reads the product where a tile is stored. None of it changes a bit: the declared order of each sum holds, whatever the tiles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from seiche.ir.loops import Hardware
from seiche.numbers.formats import Format

LOOPS = ("i", "j", "k")
OPERANDS = ("a", "b")
LANE_SUMS = 16
"""Accumulators of one sum in lane order."""
UNROLL_MAX = 64
"""Iterations that `unroll` writes out at most; and vectors of a register tile."""


@dataclass(frozen=True)
class Level:
    """Loops over tiles: the sizes of those that are cut here, and the order (empty: as they are named)."""

    sizes: tuple[tuple[str, int], ...]
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loops:
    """How a product is cut up; made by `tile`, refined by its methods, each of which gives a new value.

    >>> tile(i=6, j=64, k=256).reorder("j", "k", "i").unroll("i").vectorise("j").pack("b")
    tile(i=6, j=64, k=256).reorder(j, k, i).unroll(i).vectorise(j).pack(b)
    """

    levels: tuple[Level, ...] = ()
    unrolled: tuple[str, ...] = ()
    times: tuple[tuple[str, int], ...] = ()
    vectorised: tuple[str, ...] = ()
    packed: tuple[str, ...] = ()
    fused: bool | None = None

    def tile(self, **sizes: int) -> Loops:
        """Cuts the tiles of the level before into smaller ones."""
        return replace(self, levels=(*self.levels, Level(tuple(sizes.items()))))

    def reorder(self, *loops: str) -> Loops:
        """The loops over the tiles of the last level, the outermost first."""
        *before, last = self.levels or (Level(()),)
        return replace(self, levels=(*before, replace(last, order=loops)))

    def unroll(self, *loops: str, **times: int) -> Loops:
        """Writes the loops inside the innermost tile out: i and j whole, k so many times (`unroll(k=4)`)."""
        return replace(self, unrolled=(*self.unrolled, *loops), times=(*self.times, *times.items()))

    def vectorise(self, *loops: str) -> Loops:
        """Runs a loop inside the innermost tile in vector registers: j; or k, where the sum is in lane order."""
        return replace(self, vectorised=(*self.vectorised, *loops))

    def pack(self, *operands: str) -> Loops:
        """Copies the part of an operand that an innermost tile reads into scratch memory, side by side."""
        return replace(self, packed=(*self.packed, *operands))

    def fuse(self, on: bool = True) -> Loops:
        """Computes the reader of the product (a bias, an activation, a residual, rounding) where a tile is stored, so that the product
        has no memory of its own; `fuse(False)`: never. By default this is done where it is possible and pays.
        """
        return replace(self, fused=on)

    @property
    def only_fuses(self) -> bool:
        """Whether nothing is said of how the product is cut: the default then holds."""
        return self.fused is not None and replace(self, fused=None) in (Loops(), tile())

    def renamed(self, names: Mapping[str, str]) -> Loops:
        """The same with other names of loops and operands; unknown ones stay.

        >>> tile(place=8, out=64).unroll("place").renamed({"place": "i", "out": "j"})
        tile(i=8, j=64).unroll(i)
        """

        def to(words: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(names.get(x, x) for x in words)

        def sized(pairs: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
            return tuple((names.get(x, x), n) for x, n in pairs)

        levels = tuple(Level(sized(level.sizes), to(level.order)) for level in self.levels)
        return Loops(
            levels,
            to(self.unrolled),
            sized(self.times),
            to(self.vectorised),
            to(self.packed),
            self.fused,
        )

    @property
    def words(self) -> tuple[str, ...]:
        """All names of loops and operands that occur."""
        pairs = [*self.times, *(pair for level in self.levels for pair in level.sizes)]
        ordered = [x for level in self.levels for x in level.order]
        return (*(x for x, _ in pairs), *ordered, *self.unrolled, *self.vectorised, *self.packed)

    def __str__(self) -> str:
        """The form that stands in the text of a program; `parse` reads it."""
        parts: list[str] = []
        for level in self.levels:
            parts.append(_call("tile", (), level.sizes))
            parts += [_call("reorder", level.order, ())] if level.order else []
        if self.unrolled or self.times:
            parts.append(_call("unroll", self.unrolled, self.times))
        parts += [_call("vectorise", self.vectorised, ())] if self.vectorised else []
        parts += [_call("pack", self.packed, ())] if self.packed else []
        parts += [] if self.fused is None else ["fuse()" if self.fused else "fuse(False)"]
        return ".".join(parts)

    __repr__ = __str__


def tile(**sizes: int) -> Loops:
    """A product cut into tiles: `matmul(a, b, loops=tile(i=6, j=64).unroll("i").vectorise("j"))`.

    The loops of a product are i (rows), j (columns) and k (the sum); those of a convolution `place` (batch, row and column of
    the result), `out` (its channel) and `tap` (tap and channel of the sum). A loop without a size is not cut. The result has the same bits
    whatever the tiles. `fuse` has the bias, the activation or the residual that reads the product computed where its tiles are stored.
    The words are those of Halide (Ragan-Kelley et al. 2013) and Exo.

    >>> import numpy as np, seiche as sc
    >>> @sc.node
    ... def product(a: sc.f32[12, 40], b: sc.f32[40, 32]) -> sc.f32[12, 32]:
    ...     return sc.matmul(a, b, loops=sc.tile(i=4, j=16).unroll("i").vectorise("j"))
    >>> a, b = np.ones((12, 40), np.float32), np.full((40, 32), 0.5, np.float32)
    >>> sc.compile(product, target="c").step(a, b)[0, 0]
    np.float32(20.0)
    """
    return Loops().tile(**sizes)


def _call(name: str, words: tuple[str, ...], pairs: tuple[tuple[str, int], ...]) -> str:
    return f"{name}({', '.join([*words, *(f'{x}={n}' for x, n in pairs)])})"


_CALL = re.compile(r"(tile|reorder|unroll|vectorise|pack|fuse)\(([^()]*)\)\.?")


@lru_cache(maxsize=1024)
def parse(text: str) -> Loops:
    """What `str` wrote; raises ValueError.

    >>> parse("tile(i=4).unroll(i)") == tile(i=4).unroll("i")
    True
    """
    found, at = Loops(), 0
    while at < len(text):
        match = _CALL.match(text, at)
        if match is None:
            raise ValueError(f"{text!r} is no text of loops")
        if match[1] == "fuse":
            found, at = found.fuse(_said(match[2])), match.end()
            continue
        words = [x.strip() for x in match[2].split(",") if x.strip()]
        pairs = {x: int(n) for x, _, n in (w.partition("=") for w in words if "=" in w)}
        found = getattr(found, match[1])(*(w for w in words if "=" not in w), **pairs)
        at = match.end()
    return found


def _said(word: str) -> bool:
    if word not in ("", "False"):
        raise ValueError(f"fuse({word}) is neither fuse() nor fuse(False)")
    return not word


# ------------------------------------------------------------------------------------------ faults


@dataclass(frozen=True)
class Extents:
    """Of a product: the sizes of its loops, and whether its sums are in lane order."""

    i: int
    j: int
    k: int
    lane_order: bool = False

    def of(self, loop: str) -> int:
        return {"i": self.i, "j": self.j, "k": self.k}[loop]


def fault(
    loops: Loops, extents: Extents, names: Mapping[str, str], clipped: bool = False
) -> str | None:
    """Why a product of these extents cannot be cut so; None where it can. `names`: how the user calls loops and operands.

    `clipped`: what is larger than a loop is cut down to it, for a transformation may have changed the loop.
    """
    return (
        _unknown(loops, names)
        or _sizes(loops, extents, names, clipped)
        or _orders(loops, names)
        or _sides(loops, extents, names)
        or (None if clipped else _unrolled(loops, extents, names))
    )


def _unknown(loops: Loops, names: Mapping[str, str]) -> str | None:
    sized = [x for level in loops.levels for x, _ in level.sizes] + [x for x, _ in loops.times]
    ordered = [x for level in loops.levels for x in level.order]
    for kind, used, known in (
        ("loop", [*sized, *ordered, *loops.unrolled, *loops.vectorised], LOOPS),
        ("operand", loops.packed, OPERANDS),
    ):
        called = ", ".join(names[x] for x in known)
        for x in used:
            if x not in known:
                return f"`{names.get(x, x)}` is no {kind} of it: these are {called}"
    return None


def _sizes(loops: Loops, extents: Extents, names: Mapping[str, str], clipped: bool) -> str | None:
    limits = {x: (extents.of(x), "the loop has") for x in LOOPS}
    for level in loops.levels:
        for x, n in level.sizes:
            most, who = limits[x]
            if not isinstance(n, int) or n < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
                return f"a tile of {names[x]} has at least one iteration, not {n!r}"
            if n > most and not clipped:
                return f"a tile of {n} along {names[x]}, where {who} {most}"
            if x == "k" and extents.lane_order:
                return f"{names[x]} cannot be cut: its sum is kept in 16 lanes from the first term to the last"
            limits[x] = n, "the tile around it has"
    return None


def _orders(loops: Loops, names: Mapping[str, str]) -> str | None:
    for level in loops.levels:
        if level.order and sorted(level.order) != sorted(LOOPS):
            said, all_ = (", ".join(names[x] for x in some) for some in (level.order, LOOPS))
            return f"reorder({said}) is no order of {all_}"
    return None


def _sides(loops: Loops, extents: Extents, names: Mapping[str, str]) -> str | None:
    side = "k" if extents.lane_order else "j"
    for x in loops.vectorised:
        if x != side:
            why = "sums are in lane order" if extents.lane_order else "results lie side by side"
            return f"{names[x]} cannot be vectorised: {why} along {names[side]}"
    for x, n in loops.times:
        if x != "k" or not isinstance(n, int) or not 1 <= n <= UNROLL_MAX:  # pyright: ignore[reportUnnecessaryIsInstance]
            return f"unroll({names[x]}={n!r}): {names['k']} is unrolled 1 to {UNROLL_MAX} times, the others whole"
    if extents.lane_order and (loops.packed or loops.times):
        return f"its sums are in lane order: nothing is packed, and {names['k']} is not unrolled"
    return None


def _unrolled(loops: Loops, extents: Extents, names: Mapping[str, str]) -> str | None:
    for x in loops.unrolled:
        n = innermost(loops, extents)[x]
        if x == "k":
            return f"unroll({names[x]}) needs a number: unroll({names[x]}=4)"
        if n > UNROLL_MAX:
            return f"unroll({names[x]}) would write {n} iterations out: tile {names[x]} first"
    return None


def innermost(loops: Loops, extents: Extents) -> dict[str, int]:
    """The sizes of the innermost tile."""
    sizes = {x: extents.of(x) for x in LOOPS}
    for level in loops.levels:
        sizes |= {x: min(n, sizes[x]) for x, n in level.sizes}
    return sizes


# ---------------------------------------------------------------------------------------- the cut


@dataclass(frozen=True)
class Cut:
    """Loops as a kernel writes them: `outer` levels over whole tiles, the innermost `tile` with its order, the rectangle
    `rows` x `columns` of the result that stays in registers, in vectors of `lanes` (1: in scalars), and k unrolled `times`.
    """

    outer: tuple[tuple[dict[str, int], tuple[str, ...]], ...]
    tile: dict[str, int]
    order: tuple[str, ...]
    rows: int
    columns: int
    lanes: int
    times: int
    packed: tuple[str, ...]
    lane_order: bool

    @property
    def accumulators(self) -> int:
        """In vectors, or in scalars where there are none."""
        if self.lane_order:
            return self.rows * self.columns * -(-LANE_SUMS // self.lanes)
        return self.rows * -(-self.columns // self.lanes)


def cut(loops: Loops, extents: Extents, lanes: int) -> Cut:
    """The loops of a product with these extents; sizes beyond them are cut down to them."""
    sizes, levels = (
        {x: extents.of(x) for x in LOOPS},
        list[tuple[dict[str, int], tuple[str, ...]]](),
    )
    for level in loops.levels or (Level(()),):
        sizes = sizes | {x: min(n, sizes[x]) for x, n in level.sizes}
        levels.append((sizes, level.order or LOOPS))
    wide = ("k" if extents.lane_order else "j") in loops.vectorised
    rows = min(sizes["i"], UNROLL_MAX) if "i" in loops.unrolled else 1
    columns = min(sizes["j"], _columns_max(loops, lanes))
    registers = {**sizes, "i": rows, "j": columns}
    if registers != sizes:
        # Inside the tile the rectangles go row by row, along the columns of a row first.
        levels.append((registers, LOOPS))
    *outer, (tile, order) = levels
    times = dict(loops.times).get("k", 1)
    held = lanes if wide else 1
    return Cut(
        tuple(outer), tile, order, rows, columns, held, times, loops.packed, extents.lane_order
    )


def _columns_max(loops: Loops, lanes: int) -> int:
    """Columns that a register tile may have."""
    if "j" in loops.vectorised:
        return UNROLL_MAX * lanes if lanes > 1 else VECTORS_MAX
    return UNROLL_MAX if "j" in loops.unrolled else 1


@dataclass(frozen=True)
class Chosen:
    """How a product was written: its extents, the loops (None: left to the compiler's vectoriser), whether the user stated them,
    the accumulators that they keep, and how many the hardware has room for.
    """

    extents: Extents
    loops: Loops | None
    stated: bool
    accumulators: int
    registers: int


# -------------------------------------------------------------------------------------- the choice

ROWS_MAX, VECTORS_MAX = 6, 8
"""Of a register tile: 6 x 4 vectors share 10 loads among 24 products; a single row keeps the adders busy with 8."""


def lanes_of(hardware: Hardware, format: Format) -> int:
    """Values of a carrier in a vector register; 1 where it has none for them."""
    wanted = format.is_float and format.name in hardware.floats
    return max(1, hardware.vector // format.itemsize) if wanted else 1


def chosen(extents: Extents, format: Format, hardware: Hardware, side_by_side: bool) -> Loops:
    """The default loops of a product whose sums are in a carrier `format`. `side_by_side`: whether b is contiguous along j.

    The register tile is as large as the registers allow; tiles along k and packing begin where an operand leaves the caches.
    """
    lanes = lanes_of(hardware, format)
    if extents.lane_order:
        return _in_lanes(extents, max(1, -(-LANE_SUMS // lanes)), hardware)
    if lanes == 1:
        most = hardware.registers * 3 // 4
        scalars = _scalars(extents, max(1, most if format.is_float else most // 3))
        return scalars.unroll(k=hardware.unroll) if hardware.unroll > 1 else scalars
    most = hardware.registers * 3 // 4
    rows, vectors = _rectangle(extents, lanes, most)
    columns = min(extents.j, vectors * lanes)
    loops = Loops().unroll("i").vectorise("j")
    if not _packs(extents, rows, format, hardware) and side_by_side:
        return replace(loops, levels=(Level((("i", rows), ("j", columns)), ("j", "i", "k")),))
    deep = _depth(extents.k, columns * format.itemsize, hardware)
    level = Level((("i", rows), ("j", columns), ("k", deep)), ("j", "k", "i"))
    return replace(loops, levels=(level,), packed=("b",))


def _rectangle(extents: Extents, lanes: int, most: int) -> tuple[int, int]:
    """Rows and vectors of a register tile, evened out over the result."""
    across = -(-extents.j // lanes)
    rows = min(extents.i, ROWS_MAX)
    vectors = max(1, min(most // rows, VECTORS_MAX, across))
    if vectors == across:
        rows = min(extents.i, max(1, most // vectors), 2 * ROWS_MAX)
    return _even(extents.i, rows), _even(across, vectors)


def _even(n: int, size: int) -> int:
    """The smallest size that needs no more tiles.

    >>> _even(8, 6), _even(512, 6)
    (4, 6)
    """
    return -(-n // -(-n // size))


def _packs(extents: Extents, rows: int, format: Format, hardware: Hardware) -> bool:
    """Whether the copy of b is made up for: many rows read it, and its own rows lie far apart in more than the first cache."""
    if not hardware.caches:
        return False
    row = extents.j * format.itemsize
    return extents.i >= 8 * rows and row >= 1024 and extents.k * row > hardware.caches[0]


def _depth(k: int, row: int, hardware: Hardware) -> int:
    """Terms of a sum per tile, so that a panel takes an eighth of the second cache (the other operand runs through it)."""
    room = hardware.caches[-1] // 8 if hardware.caches else 1 << 12
    return _even(k, max(64, room // row))


def _scalars(extents: Extents, most: int) -> Loops:
    """Named accumulators, 12 of 16 registers; 4 for integers, which share them with addresses."""
    rows = min(extents.i, max(1, most // 4) if extents.j >= 4 else max(1, most // extents.j))
    columns = min(extents.j, max(1, most // rows))
    return tile(i=_even(extents.i, rows), j=_even(extents.j, columns)).unroll("i", "j")


def _in_lanes(extents: Extents, vectors: int, hardware: Hardware) -> Loops:
    """Each element takes 16 accumulators, in `vectors` registers."""
    most = max(1, hardware.registers * 3 // 4 // vectors)
    columns = min(extents.j, 4 if extents.i > 1 else 8, most)
    rows = min(extents.i, ROWS_MAX, max(1, most // columns))
    sizes = tile(i=_even(extents.i, rows), j=_even(extents.j, columns))
    return sizes.unroll("i", "j").vectorise("k")
