"""The long campaign of random programs: `python -m tests.campaign --programs 2000`.

Each program is run by the oracle, the interpreter and C: results and states must agree in every bit, predicted bytes must be
the compiled ones. With `--xla`, the interpreter and XLA instead, to a tolerance (`laws_xla`). With `--choices`, programs are
first put into blocks, folded, cut into stages, their products cut up, at random (`choices`). A program that fails is shrunk
and printed with its seed; one that takes longer than a quarter of an hour is printed too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from rich.console import Console
from rich.progress import track

from seiche.ir.core import Node
from tests.laws import Disagreement, judge
from tests.programs import random_program, shrink

console = Console()
LIMIT_S = 900
"""For one program and its shrinking: one that takes longer has met something that does not end."""


class Endless(BaseException):
    """Not an `Exception`, which a law would take for a failure of the program's."""


def _stop(*_: object) -> None:
    raise Endless


def watched(seed: int, **how: object) -> tuple[int, str, str]:
    """`verdict`, within the limit."""
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(LIMIT_S)
    try:
        return verdict(seed, **how)  # type: ignore[arg-type]
    except Endless:
        return seed, "it ends", f"not within {LIMIT_S} s"
    finally:
        signal.alarm(0)


def verdict(
    seed: int, size: int | None = None, xla: bool = False, choices: bool = False
) -> tuple[int, str, str]:
    """(seed, "ok" or the law that fails, the shrunk program with what went wrong)."""
    node, law_of = _drawn(seed, size, choices), _judge(xla, choices)
    try:
        return seed, law_of(node, seed), ""
    except Disagreement as found:
        law = found.law

    def fails(smaller: object) -> bool:
        try:
            law_of(smaller, seed)  # type: ignore[arg-type]
        except Disagreement as other:
            return other.law == law
        return False

    small = shrink(node, fails)
    try:
        law_of(small, seed)
    except Disagreement as last:
        return seed, law, f"{last}\n{small}"
    return seed, law, str(node)


def _drawn(seed: int, size: int | None, choices: bool) -> Node:
    if not choices:
        return random_program(seed, size)
    from tests.choices import base

    return base(seed, size)


def _judge(xla: bool, choices: bool) -> Callable[[Node, int], str]:
    law = judge
    if xla:
        from tests.laws_xla import judge_xla as law
    if not choices:
        return law
    from tests.choices import chosen

    return lambda node, seed: law(chosen(node, seed), seed)


def main() -> None:
    """Runs the campaign; exits with 1 when a law fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--size", type=int, default=None, help="equations per program; random up to 60 by default"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--xla", action="store_true", help="interpreter and XLA, to a tolerance")
    parser.add_argument(
        "--choices", action="store_true", help="random blocks, folds, stages and cuts of products"
    )
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.programs)
    began = time.perf_counter()
    counts: Counter[str] = Counter()
    for seed, law, text in track(
        _judged(seeds, options.size, options.jobs, options.xla, options.choices),
        "programs",
        len(seeds),
        console=console,
    ):
        counts[law] += 1
        if text:
            console.print(f"seed {seed}: {law}\n{text}", style="red", markup=False)
    agreed = counts["ok"] + counts["overflow"] + counts["unstable"]
    who = (
        f"interpreter, XLA; {counts['unstable']} of them unstable in part"
        if options.xla
        else "oracle, interpreter, C"
    )
    console.print(
        f"{agreed} of {len(seeds)} programs agree ({who}; {counts['overflow']} of them overflow a frame, "
        f"alike) in {time.perf_counter() - began:.0f} s; seeds {seeds.start} to {seeds.stop - 1}"
    )
    raise SystemExit(agreed != len(seeds))


def _judged(
    seeds: Iterable[int], size: int | None, jobs: int, xla: bool, choices: bool
) -> Iterator[tuple[int, str, str]]:
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(
            partial(watched, size=size, xla=xla, choices=choices), seeds, chunksize=4
        )


if __name__ == "__main__":
    main()
