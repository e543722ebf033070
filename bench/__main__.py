"""`python -m bench [name ...]`: runs the benches, prints their tables, keeps `build/bench/<name>.json`, ends with the figures."""

from __future__ import annotations

import argparse
import importlib
import os
import time

from rich.console import Console
from rich.table import Table

from bench.measure import ONE_THREAD
from bench.report import FOLDER, ROOT, Bench, Result, machine, mark

NAMES = (
    "step",
    "train",
    "gradients",
    "front",
    "memory",
    "fold",
    "blocks",
    "matmul",
    "integers",
    "laws",
    "bptt",
    "deadline",
    "pipeline",
    "endurance",
    "rl",
    "control",
    "driving",
    "highway",
)
ASKED = ("highway",)
"""Those that run only where they are named: an hour, nearly all of it in somebody else's simulator."""


def main(arguments: list[str] | None = None) -> int:
    """Runs what is named, or all; returns the number of bars that are missed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Seiche's figures, peers beside them in the same run."
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="name",
        help=f"which benches: {', '.join(NAMES)}; by default all but {', '.join(ASKED)}",
    )
    parser.add_argument(
        "--tiny", action="store_true", help="only show that they work: the numbers mean nothing"
    )
    options = parser.parse_args(arguments)
    if unknown := [n for n in options.names if n not in NAMES]:
        parser.error(f"there is no bench {', '.join(unknown)}; there are {', '.join(NAMES)}")
    usual = [name for name in NAMES if name not in ASKED]
    os.environ.update(ONE_THREAD)
    console = Console()
    bench = Bench(console if console.is_terminal else Console(width=140), options.tiny)
    about = machine()
    bench.console.print(
        f"{about['processor']}, {about['cores']} cores, load {about['load']}, Python {about['python']}"
    )
    results = [run(bench, name) for name in options.names or usual]
    bench.console.print(summary(results))
    bench.console.print(f"Kept as JSON in {FOLDER.relative_to(ROOT)}/.")
    return sum(f.met is False for r in results for f in r.figures)


def run(bench: Bench, name: str) -> Result:
    """One bench."""
    bench.console.rule(f"[bold]{name}")
    began = time.perf_counter()
    result: Result = importlib.import_module(f"bench.{name}").run(bench)
    result.data["seconds"] = round(time.perf_counter() - began, 1)
    result.save()
    return result


def summary(results: list[Result]) -> Table:
    """All figures beside their bars."""
    table = Table(title="Figures", title_justify="left", title_style="bold")
    for name in ("bench", "figure", "bar", "measured", "met"):
        table.add_column(name, justify="left")
    for result in results:
        for k, f in enumerate(result.figures):
            table.add_row("" if k else result.name, f.figure, f.bar, f.measured, mark(f.met))
        table.add_section()
    return table


if __name__ == "__main__":
    raise SystemExit(min(main(), 1))
