"""The main job: `python -m examples.driving` trains drivers side by side, puts them to the test, and writes a page that replays them."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

import seiche as sc
from examples import show
from examples.driving.conditions import DRY
from examples.driving.drivers import BASELINES, drive
from examples.driving.record import record
from examples.driving.replay import page, scorecard
from examples.driving.replay.charts import Curve
from examples.driving.training import TRAINING, Pilot, chance, learnt, program, train, trial

LEARNERS = ("memoryless", "latched", "shielded")
"""Those that are trained here; the oracle is in the bench."""
FILMED = ("rule", *LEARNERS)
PROCESSOR = "cortex-m7"
Pilots = dict[str, list[Pilot]]


def main() -> None:
    """Runs it."""
    options = _options()
    console = Console()
    began = time.perf_counter()
    console.print(
        "Three lanes, twelve other cars, signs that can be read for a moment and count for long.\n"
        f"{options.steps:,} decisions of training, {options.seeds} seed(s); then {options.episodes} episodes of two minutes."
    )
    pilots = trained(console, options)
    scores = {name: [trial(p, options.episodes) for p in each] for name, each in pilots.items()}
    console.print(scorecard.table(scores))
    for name in LEARNERS:
        curve = [float(x) for x in pilots[name][0].curve[:, 1]]
        console.print(f"  {name:<12} {show.line(curve, 0.0, 120.0)}  return {curve[-1]:.0f}")
    found = {**what_it_is(pilots["shielded"][0]), **same_bits(console, options.loop)}
    for name, value in found.items():
        console.print(f"  [bold]{name}[/]: {value}")
    runs = [page.run_of(name, record(pilots[name][0], options.drive)) for name in FILMED]
    curves = [Curve.of(pilots[name]) for name in LEARNERS]
    page.write(page.Page(runs, curves, scores, found), options.out)
    if options.gif:
        from examples.driving.replay import gif  # draws by matplotlib, which is slow to load

        gif.write(runs, options.gif)
    console.print(f"{time.perf_counter() - began:.0f} s. Now open {options.out}", style="green")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.driving", description=__doc__)
    parser.add_argument("--steps", type=int, default=300_000, help="decisions of training")
    parser.add_argument("--seeds", type=int, default=3, help="how often each driver is trained")
    parser.add_argument("--episodes", type=int, default=300, help="of each trial")
    parser.add_argument("--drive", type=int, default=3, help="seed of the drive that is shown")
    parser.add_argument(
        "--loop", type=int, default=2_000, help="decisions that an emulated processor trains for"
    )
    parser.add_argument("--out", type=Path, default=Path("build/driving/index.html"))
    parser.add_argument("--gif", type=Path, help="write the drives as a GIF too")
    return parser.parse_args()


def trained(console: Console, options: argparse.Namespace) -> Pilots:
    """All drivers; the learners side by side, as many at a time as there are cores."""
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.completed:>9,} decisions"),
        TextColumn("return {task.fields[gained]:6.1f}"),
        TimeElapsedColumn(),
    )
    runs = [(name, seed) for seed in range(options.seeds) for name in LEARNERS]
    # Programs are traced one after the other; what runs then is C, which lets go of Python's lock.
    with console.status("building the programs ..."):
        for name, seed in runs:
            program(name, DRY, seed, options.steps)
    with Progress(*columns, console=console) as bars, ThreadPoolExecutor(os.cpu_count()) as pool:
        total = options.steps * options.seeds
        bar = {name: bars.add_task(name, total=total, gained=0.0) for name in LEARNERS}
        jobs = [
            pool.submit(train, name, seed, options.steps, DRY, heard(bars, bar[name]))
            for name, seed in runs
        ]
        done = [job.result() for job in jobs]
    learners = {name: [p for p in done if p.driver == name] for name in LEARNERS}
    return {**{name: [Pilot(name)] for name in BASELINES}, **learners}


def heard(bars: Progress, bar: TaskID) -> Callable[[int, float], None]:
    """What moves a bar as a training goes on."""
    before = 0

    def hear(decisions: int, gained: float) -> None:
        nonlocal before
        bars.update(bar, advance=decisions - before, gained=gained)
        before = decisions

    return hear


def what_it_is(pilot: Pilot) -> dict[str, str]:
    """Bytes and operations of a driver's program."""
    cost = program(pilot.driver, DRY, pilot.seed, pilot.steps).report().as_dict()
    learner = sum(value.nbytes for value in pilot.weights.values())
    return {
        "one C program": "world, sensors, facts, modes, policy, learner and shield",
        "memory": f"{cost['struct_bytes']:,} B in all, of which the learner {learner:,} B",
        "operations per decision": f"{cost['operations']:,} at most, learning included",
    }


def digest(arrays: Sequence[np.ndarray]) -> str:
    """A short hash of arrays' bits."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()[:12]


def same_bits(console: Console, ticks: int) -> dict[str, str]:
    """The same training in the interpreter, in C on this machine, and on an emulated microcontroller."""
    few = min(ticks, 100)
    given = (np.ones(ticks, np.bool_), chance(0, TRAINING, ticks))
    compiled = sc.compile(drive, target="c", driver="shielded", steps=ticks)
    interpreted = sc.compile(drive, driver="shielded", steps=ticks)
    with console.status(f"{few} decisions of training, interpreted ..."):
        actions = interpreted.run(*(x[:few] for x in given)).action
        wanted = compiled.run(*(x[:few] for x in given)).action
    mine, theirs = (
        digest([a, *learnt(p).values()]) for a, p in ((actions, interpreted), (wanted, compiled))
    )
    found = {
        f"actions and weights after {few} decisions": f"interpreter {mine}, C {theirs}: "
        + ("the same bits" if mine == theirs else "DIFFERENT BITS")
    }
    if importlib.util.find_spec("ziglang") is None or not shutil.which("qemu-system-arm"):
        return found | {f"on {PROCESSOR}": "not run: it needs ziglang and qemu-system-arm"}
    with console.status(f"{ticks:,} decisions of training on an emulated {PROCESSOR} ..."):
        ran = sc.emulate(compiled, *given, target=PROCESSOR, against="c")
    said = "the same bits as here" if ran.agrees else f"DIFFERENT BITS: {ran.difference}"
    many = f"{ticks:,} decisions of training on an emulated {PROCESSOR}"
    return found | {many: f"{said}; {ran.instructions:,.0f} instructions each"}


if __name__ == "__main__":
    main()
