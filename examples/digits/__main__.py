"""`python -m examples.digits` streams digits through the learner, interpreted and as C, and writes a page."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import seiche as sc
from examples.digits import page
from examples.digits.data import ROWS, Stream, stream
from examples.digits.learner import MODES, digits
from seiche.backends.c.binding import CProgram
from seiche.backends.program import Program, Sparse

console = Console()


def main() -> None:
    """Runs it."""
    options = _options()
    began = time.perf_counter()
    data = stream(options.images, options.seed)
    console.print(
        f"{data.images:,} images as {len(data.rows):,} rows; "
        + ", ".join(f"{w} from {i:,}" for i, w in data.changes)
    )
    interpreted, front = timed(lambda: sc.compile(digits, seed=options.seed))
    compiled, build = timed(lambda: sc.compile(digits, seed=options.seed, target="c"))
    report, planned = timed(compiled.report)
    console.print(
        f"traced, checked and lowered in {front:.2f} s; C written, built and loaded in {build:.2f} s"
    )
    outputs, spent = through(compiled, data, "C, the whole stream")
    part = data.first(options.compare)
    first, slow = through(interpreted, part, "interpreter, its beginning")
    identical = same(outputs, first, options.compare) and same_state(
        interpreted, digits, part, options.seed
    )
    seconds = {"c": spent / len(data.rows), "interp": slow / len(part.rows)}
    results = page.Results(
        data, outputs, report, seconds, options.compare, identical,
        facts(data, outputs, report, seconds, options.compare, identical, compiled, front + planned, build),
    )  # fmt: skip
    target = Path(options.out)
    page.write(results, target)
    for name, value in results.facts.items():
        console.print(f"  [bold]{name}[/]: {value}")
    console.print(f"{time.perf_counter() - began:.0f} s. Now open {target}", style="green")
    if not identical:
        raise SystemExit("the interpreter and C disagree")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=8000, help="length of the stream")
    parser.add_argument(
        "--compare", type=int, default=150, help="images that the interpreter runs too"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="build/digits/index.html")
    return parser.parse_args()


def timed(job: Any) -> tuple[Any, float]:
    """A job's result and its seconds."""
    began = time.perf_counter()
    return job(), time.perf_counter() - began


def through(program: Program, data: Stream, what: str) -> tuple[dict[str, Any], float]:
    """A stream through a program, in pieces, with progress; its outputs and its seconds."""
    pieces: list[dict[str, Any]] = []
    size = ROWS * max(1, data.images // 40)
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.completed:,} rows"),
        TimeElapsedColumn(),
    )
    began = time.perf_counter()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(what, total=len(data.rows))
        for low in range(0, len(data.rows), size):
            pieces.append(program.run(data.rows[low : low + size], data.labels[low : low + size]))
            progress.update(bar, completed=min(low + size, len(data.rows)))
    spent = time.perf_counter() - began
    return {k: joined([p[k] for p in pieces]) for k in pieces[0]}, spent


def joined(parts: list[Sparse]) -> Sparse:
    """The values of consecutive runs."""
    values = np.concatenate([p.values for p in parts])
    return Sparse(np.arange(len(values)) * ROWS + ROWS - 1, values)


def same(whole: dict[str, Any], part: dict[str, Any], images: int) -> bool:
    """Whether the beginnings of all outputs are equal in bits."""
    return all(whole[k].values[:images].tobytes() == part[k].values.tobytes() for k in part)


def same_state(interpreted: Program, node: Any, part: Stream, seed: int) -> bool:
    """Whether C, after the same ticks, holds the same bits in every state."""
    again = sc.compile(node, seed=seed, target="c")
    again.run(part.rows, part.labels)
    mine, theirs = dict(interpreted.state), dict(again.state)
    return mine.keys() == theirs.keys() and all(
        mine[k].tobytes() == theirs[k].tobytes() for k in mine
    )


def facts(
    data: Stream, outputs: dict[str, Any], report: Any, seconds: dict[str, float], compared: int, identical: bool,
    compiled: Program, front: float, build: float,
) -> dict[str, str]:  # fmt: skip
    """The page's table."""
    ends = [*(i for i, _ in data.changes[1:]), data.images]
    before = [
        f"{what} {outputs['both'].values[end - 200 : end].mean():.1%}"
        for (_, what), end in zip(data.changes, ends, strict=True)
    ]
    modes = outputs["mode"].values
    shares = ", ".join(f"{name} {np.mean(modes == i):.0%}" for i, name in enumerate(MODES))
    assert isinstance(compiled.executor, CProgram)
    source = compiled.executor.sources.source
    cost = report.as_dict()
    return {
        "accuracy, last 200 images of each world": "; ".join(before),
        "time in each mode": shares,
        "µs per tick": f"C {seconds['c'] * 1e6:.1f}, interpreter {seconds['interp'] * 1e6:,.0f}",
        "interpreter and C": f"{'identical' if identical else 'NOT identical'} in every bit of the outputs and states of {compared} images",
        "memory of an instance": f"{cost['struct_bytes']:,} B, of which state {cost['state_bytes']:,} B and scratch {cost['scratch_bytes']:,} B",
        "constants": f"{cost['constant_bytes']:,} B",
        "operations per tick, worst case": f"{cost['operations']:,}",
        "generated C": f"{len(source.encode()):,} B in {source.count(chr(10)):,} lines",
        "from Python to equations / to a loaded library": f"{front:.2f} s / {build:.2f} s",
    }


if __name__ == "__main__":
    main()
