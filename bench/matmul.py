"""A large matrix product on one core: untiled, in tiles that the user states, by default, beside numpy's OpenBLAS in the same run."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np

from bench.measure import Entry, Job, Times, contest, ratio
from bench.report import Bench, Result, number

SIZE = 512
ROUNDS = 40
FAST_MIN, STRICT_MIN = 0.60, 0.30
"""Of the speed of OpenBLAS, with contraction and without."""
ZIG = f"{sys.executable} -m ziglang cc"
BLAS, STRICT, FAST = "OpenBLAS (numpy)", "default, strict", "default, fast"
SHAPES = ((256, 256, 256), (1024, 1024, 1024), (64, 512, 512), (1, 512, 512), (500, 300, 77))


def cuts(size: int) -> dict[str, Any]:
    """Ways to cut the loops up, from none to the one that a user would state for AVX-512."""
    import seiche as sc

    j, k = min(64, size), min(256, size)
    return {
        "untiled": sc.Loops(),
        "a register tile": sc.tile(i=6, j=j).unroll("i").vectorise("j"),
        "tiles of k too": sc.tile(i=6, j=j, k=k).reorder("j", "k", "i").unroll("i").vectorise("j"),
        "and a packed panel": sc.tile(i=6, j=j, k=k).reorder("j", "k", "i").unroll("i").vectorise("j").pack("b"),
    }  # fmt: skip


def operands(m: int, k: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(m, k)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)


def error(found: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Against float64, relative to the largest element."""
    wanted = a.astype(np.float64) @ b.astype(np.float64)
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def blas(m: int, k: int, n: int) -> Job:
    """`np.matmul` into an array that is there."""
    a, b = operands(m, k, n)
    out = np.empty((m, n), np.float32)

    def run(count: int) -> None:
        for _ in range(count):
            np.matmul(a, b, out=out)

    run(1)
    return Job(run, error(out, a, b), {"numpy": np.__version__})


def ours(m: int, k: int, n: int, cut: str | None, arithmetic: str) -> Job:
    """A node that is one product, on operands in its struct; `cut` is one of `cuts`, or the default."""
    import seiche as sc

    loops = None if cut is None else cuts(min(m, k, n))[cut]

    def product(a: Any, b: Any) -> Any:
        return sc.matmul(a, b, loops=loops)

    product.__annotations__ = {"a": sc.f32[m, k], "b": sc.f32[k, n], "return": sc.f32[m, n]}
    program: Any = sc.compile(sc.node(product), target="c", arithmetic=arithmetic)  # type: ignore[arg-type]
    (chosen,) = program.report().plan.products
    instance, (a, b) = program.executor.instance, operands(m, k, n)
    for view, x in zip(instance.inputs, (a, b), strict=True):
        view[...] = x
    tick = instance.bound()

    def run(count: int) -> None:
        for _ in range(count):
            tick()

    run(1)
    return Job(run, error(instance.outputs[0], a, b), {"loops": str(chosen.cut.loops)}, instance)


def entries(size: int) -> list[Entry]:
    shape = (size, size, size)
    found = [
        Entry(f"{name}, {how}", ours, (*shape, name, how))
        for name in cuts(size)
        for how in ("strict", "fast")
    ]
    found += [Entry(STRICT, ours, (*shape, None, "strict")), Entry(FAST, ours, (*shape, None, "fast"))]  # fmt: skip
    if importlib.util.find_spec("ziglang") is not None:
        found += [
            Entry(f"default, {how}, zig", ours, (*shape, None, how), env={"CC": ZIG})
            for how in ("strict", "fast")
        ]
    return [*found, Entry(BLAS, blas, shape, peer=True)]


def run(bench: Bench) -> Result:
    result = Result("matmul")
    size = bench.pick(SIZE, 48)
    with bench.status(f"{size} x {size} x {size}") as say:
        times = contest(entries(size), bench.pick(ROUNDS, 1), say=say)
    _table(bench, f"f32 {size} x {size} x {size}, one core", (size, size, size), times)
    result.data["loops"] = [t.summary() for t in times.values()]
    for name, least in ((FAST, FAST_MIN), (STRICT, STRICT_MIN)):
        share = 1 / ratio(times[name], times[BLAS]).median
        bar = f"≥ {least:.0%} of OpenBLAS"
        result.claim(f"{size}^3, {name}", bar, f"{share:.0%}", share >= least)
    for shape in SHAPES[: bench.pick(len(SHAPES), 0)]:
        _shape(bench, result, shape)
    return result


def _shape(bench: Bench, result: Result, shape: tuple[int, int, int]) -> None:
    """Other shapes, by default: no bars."""
    title = " x ".join(map(str, shape))
    some = [Entry(f"default, {how}", ours, (*shape, None, how)) for how in ("strict", "fast")]
    with bench.status(title) as say:
        times = contest([*some, Entry(BLAS, blas, shape, peer=True)], ROUNDS // 2, say=say)
    _table(bench, f"f32 {title}, one core", shape, times)
    result.data[title] = [t.summary() for t in times.values()]


def _table(bench: Bench, title: str, shape: tuple[int, int, int], times: dict[str, Times]) -> None:
    operations = 2 * shape[0] * shape[1] * shape[2]
    rows = [
        (
            name,
            number(1e6 * t.median),
            number(operations / t.median / 1e9),
            f"{1 / ratio(t, times[BLAS]).median:.0%}",
            number(t.error),
            t.facts.get("loops", ""),
        )
        for name, t in times.items()
    ]
    bench.table(title, ("loops", "µs", "GFLOP/s", "of OpenBLAS", "error", "cut up as"), rows)
