"""Random programs on every target: `python -m tests.campaign_targets --programs 200`.

Each program runs in the interpreter, in C on the host, and on emulated processors: outputs at every tick, the check that stops it
and the states at the end must agree in every bit, and the structs must have the sizes that were predicted. Many programs share
one ELF, so that compilers and emulators start rarely. A program that fails is printed with its seed and its target.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np
from rich.console import Console
from rich.progress import track

from seiche.backends.c.binding import CProgram
from seiche.backends.deploy.compare import Reference, difference, job_of, reference
from seiche.backends.deploy.emulate import emulate
from seiche.backends.deploy.harness import Job
from seiche.backends.deploy.toolchain import Make
from seiche.errors import InternalError, SeicheError
from seiche.schedule.lower import lower
from seiche.schedule.target import names, target
from tests.agreement import same_bits
from tests.programs import random_inputs, random_program

console = Console()


def emulated_targets(compiler: Make | None = None) -> list[str]:
    """The targets whose emulator is installed, and gcc if that is to compile."""
    tools = ["qemu", *(["gcc"] if compiler == "gcc" else [])]
    found = {name: [target(name).tables.get(tool) for tool in tools] for name in names()}
    return [
        n for n, some in found.items() if all(t and shutil.which(str(t["command"])) for t in some)
    ]


def job(seed: int, name: str) -> Job:
    """A random program for a target, with the ticks that the other campaign gives it."""
    node = random_program(seed)
    ticks = int(np.random.default_rng((seed, 2)).integers(1, 24))
    lowered = lower(node)
    named = replace(lowered, node=replace(lowered.node, name=f"p{seed}"))
    return job_of(named, random_inputs(node, seed, ticks), ticks, target(name))


def faults(seeds: Sequence[int], on: Sequence[str], compiler: Make | None = None) -> list[str]:
    """What disagrees among these programs on these targets."""
    found: list[str] = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        wanted = {seed: reference(job(seed, "cortex-m3")) for seed in seeds}
        for seed in seeds:
            found += on_host(seed, wanted[seed])
        for name in on:
            jobs = [job(seed, name) for seed in seeds]
            try:
                outcomes = emulate(jobs, compiler, exact=False).outcomes
            except (SeicheError, InternalError) as error:
                found.append(f"seeds {list(seeds)} on {name}: {error}")
                continue
            for seed, one, outcome in zip(seeds, jobs, outcomes, strict=True):
                other = difference(one, wanted[seed], outcome)
                if other is not None:
                    found.append(f"seed {seed} on {name}: {other}\n{random_program(seed)}")
    return found


def on_host(seed: int, wanted: Reference) -> list[str]:
    """What disagrees between the interpreter and C on this machine."""
    one = job(seed, "cortex-m3")
    mine = reference(one, CProgram(one.lowered))
    if (mine.ticks, mine.failed) != (wanted.ticks, wanted.failed):
        return [f"seed {seed} on the host: {mine.failed} at {mine.ticks}, not {wanted.failed}"]
    states = [n for n, x in wanted.states.items() if not same_bits(mine.states[n], x)]
    return [f"seed {seed} on the host: state {name}" for name in states]


def main() -> None:
    """Runs the campaign; exits with 1 when a bit differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--share", type=int, default=20, help="programs per ELF")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--targets", nargs="*", help="all that are emulated here by default")
    parser.add_argument(
        "--compiler", choices=get_args(Make), help="zig by default, where it is there"
    )
    options = parser.parse_args()
    on = options.targets or emulated_targets(options.compiler)
    seeds = range(options.first, options.first + options.programs)
    counts: Counter[bool] = Counter()
    parts = [seeds[k : k + options.share] for k in range(0, len(seeds), options.share)]
    for found in track(
        _judged(parts, on, options.compiler, options.jobs), "shares", len(parts), console=console
    ):
        counts[bool(found)] += 1
        for fault in found:
            console.print(fault, style="red", markup=False)
    where = ", ".join(["host", *on])
    console.print(f"{len(seeds)} programs on {where}: {counts[True]} shares with differences")
    raise SystemExit(counts[True] > 0)


def _judged(
    parts: Sequence[range], on: Sequence[str], compiler: Make | None, jobs: int
) -> Iterator[list[str]]:
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(partial(faults, on=on, compiler=compiler), parts)


if __name__ == "__main__":
    main()
