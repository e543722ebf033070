"""The long campaign of random programs: `python -m tests.campaign --programs 2000`.

Each program is run by the oracle, the interpreter and C: results and states must agree in every bit, predicted bytes must be
the compiled ones. A program that fails is shrunk and printed with its seed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from rich.console import Console
from rich.progress import track

from tests.laws import Disagreement, judge
from tests.programs import random_program, shrink

console = Console()


def verdict(seed: int, size: int | None = None) -> tuple[int, str, str]:
    """(seed, "ok" or the law that fails, the shrunk program with what went wrong)."""
    node = random_program(seed, size)
    try:
        return seed, judge(node, seed), ""
    except Disagreement as found:
        law = found.law

    def fails(smaller: object) -> bool:
        try:
            judge(smaller, seed)  # type: ignore[arg-type]
        except Disagreement as other:
            return other.law == law
        return False

    small = shrink(node, fails)
    try:
        judge(small, seed)
    except Disagreement as last:
        return seed, law, f"{last}\n{small}"
    return seed, law, str(node)


def main() -> None:
    """Runs the campaign; exits with 1 when a law fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--size", type=int, default=None, help="equations per program; random up to 60 by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.programs)
    began = time.perf_counter()
    counts: Counter[str] = Counter()
    for seed, law, text in track(_judged(seeds, options.size, options.jobs), "programs", len(seeds), console=console):
        counts[law] += 1
        if text:
            console.print(f"seed {seed}: {law}\n{text}", style="red", markup=False)
    agreed = counts["ok"] + counts["overflow"]
    console.print(
        f"{agreed} of {len(seeds)} programs agree (oracle, interpreter, C; {counts['overflow']} of them overflow a frame, "
        f"alike) in {time.perf_counter() - began:.0f} s; seeds {seeds.start} to {seeds.stop - 1}"
    )
    raise SystemExit(agreed != len(seeds))


def _judged(seeds: Iterable[int], size: int | None, jobs: int) -> Iterator[tuple[int, str, str]]:
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(partial(verdict, size=size), seeds, chunksize=4)


if __name__ == "__main__":
    main()
