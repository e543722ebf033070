"""Fixed point of 8 and of 16 bits beside f32 on devices: instructions of a step, counted by the emulator, and bytes of an instance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.report import Bench, Result

TICKS = 8
FORMATS = ("fixed<3, 5>", "fixed<4, 12>", "f32")


def drawn(rng: np.random.Generator, shape: tuple[int, ...], format: Any, scale: float = 1.0) -> Any:
    """Values of a format."""
    from seiche.numbers.kit import NUMPY
    from seiche.numbers.rounding import round_nearest

    x = (rng.normal(size=shape) * scale).astype(format.dtype)
    return np.asarray(round_nearest(NUMPY, x, format))


def chain(f: Any, n: int, rng: np.random.Generator) -> tuple[Any, tuple[Any, ...]]:
    """Eight pointwise operations on two vectors and a state."""
    import seiche as sc

    def chain(x: Any, y: Any) -> Any:
        s = sc.state(sc.constant(np.zeros(n, f.dtype), f))
        a = x * y + s
        b = sc.maximum(a - x, y) * a
        s.next = sc.minimum(b + x, a)
        return b - s

    chain.__annotations__ = {"x": f[n], "y": f[n]}
    return sc.node(chain), (drawn(rng, (TICKS, n), f), drawn(rng, (TICKS, n), f))


def perceptron(f: Any, n: int, rng: np.random.Generator) -> tuple[Any, tuple[Any, ...]]:
    """Two layers with constant weights, a rectifier between them."""
    import seiche as sc

    first, second = (drawn(rng, (n, n), f, 0.3) for _ in range(2))

    def perceptron(x: Any) -> Any:
        h = sc.maximum(sc.matmul(x, sc.constant(first, f)), 0.0)
        return sc.matmul(h, sc.constant(second, f))

    perceptron.__annotations__ = {"x": f[n]}
    return sc.node(perceptron), (drawn(rng, (TICKS, n), f),)


def gru(f: Any, n: int, rng: np.random.Generator) -> tuple[Any, tuple[Any, ...]]:
    """A gated recurrent unit of as many inputs as states; gates are cut straight lines, so that no function is approximated."""
    import seiche as sc

    drive, carry = (drawn(rng, (n, 3 * n), f, 0.3) for _ in range(2))

    def gate(v: Any) -> Any:
        return sc.clip(v * 0.25 + 0.5, 0.0, 1.0)

    def gru(x: Any) -> Any:
        s = sc.state(sc.constant(np.zeros(n, f.dtype), f))
        a, b = sc.matmul(x, sc.constant(drive, f)), sc.matmul(s, sc.constant(carry, f))
        z, r = gate(a[:n] + b[:n]), gate(a[n : 2 * n] + b[n : 2 * n])
        new = sc.clip(a[2 * n :] + r * b[2 * n :], -1.0, 1.0)
        s.next = s + z * (new - s)
        return s.next

    gru.__annotations__ = {"x": f[n]}
    return sc.node(gru), (drawn(rng, (TICKS, n), f),)


MODELS: dict[str, tuple[Callable[..., Any], int]] = {
    "pointwise chain of 64": (chain, 64), "perceptron 32-32-32": (perceptron, 32), "GRU 16 to 16": (gru, 16),
}  # fmt: skip


def count(bench: Bench, result: Result, boards: Sequence[str]) -> None:
    """Prints and keeps the table of a board; claims that no float is faster where floats are emulated."""
    found = {b: {m: [measured(m, f, b) for f in FORMATS] for m in MODELS} for b in boards}
    for board, models in found.items():
        rows = [(m, *(f"{n:,.0f} ({size:,} B)" for n, size in some)) for m, some in models.items()]
        title = f"instructions per step, bytes of an instance, {board}"
        bench.table(title, ("", *FORMATS), rows)
        for model, ((narrow, _), (wide, _), (real, _)) in models.items():
            said = f"{narrow:,.0f}, {wide:,.0f}, {real:,.0f}"
            emulated = board in ("cortex-m3", "riscv32imc")
            met = max(narrow, wide) <= real / 2 if emulated else None
            bar = "≤ 1/2 × f32" if emulated else ""
            result.claim(f"{board}: {model}, 8 bits, 16 bits, f32", bar, said, met)
    result.data["fixed point"] = found


def measured(model: str, format: str, board: str) -> tuple[float, int]:
    """Instructions of a step, bytes of an instance."""
    import seiche as sc
    from seiche.numbers.formats import parse
    from seiche.schedule.machine import schedule
    from seiche.schedule.target import target

    make, n = MODELS[model]
    node, streams = make(parse(format), n, np.random.default_rng(0))
    compiled = sc.compile(node)
    ran = sc.emulate(compiled, *streams, target=board)
    assert ran.agrees and ran.instructions is not None, str(ran.difference)
    return float(ran.instructions), schedule(compiled.lowered, target(board)).plan.struct_bytes
