"""The main job: `python -m examples.driving` trains drivers side by side, puts them to the test, and writes a page that replays them."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples import show
from examples.driving import bits
from examples.driving.conditions import DRY
from examples.driving.drivers import BASELINES
from examples.driving.faults import Fault
from examples.driving.health import MODES
from examples.driving.record import record
from examples.driving.replay import page, scorecard
from examples.driving.replay.charts import Curve
from examples.driving.replay.episode import Episode, Run
from examples.driving.training import Pilot, Score, program, train, trial

LEARNERS = ("memoryless", "latched", "shielded")
"""Those that are trained here; the oracle is in the bench."""
FAULT = Fault(start=40, seconds=15, kind="lost")
"""What befalls the sensors in one of the drives that are shown."""
INTERPRETED = 60
"""Decisions of training that the interpreter, which is slow, is given too."""
Pilots = dict[str, list[Pilot]]
console = Console(highlight=False)


def main() -> None:
    """Runs it."""
    options = _options()
    began = time.perf_counter()
    console.print(
        "[bold]The car that remembers[/]\n"
        "Three lanes, twelve other cars, signs that can be read for a moment and count\n"
        "for long. Each driver is, with its world, its learner and its shield, one\n"
        "reactive program. None of the learners has driven before."
    )
    heading("Train", f"{options.seeds} of each kind, {options.steps:,} decisions each")
    pilots = trained(options.steps, options.seeds)
    heading(
        "Try",
        f"{options.episodes} new episodes of two minutes each, without learning",
    )
    scores = tried(pilots, options.episodes)
    heading("Cost", "known before it runs")
    cost = what_it_is(pilots["shielded"][0])
    column(cost)
    heading("Same bits", "one training: interpreted, as C, on emulated microcontrollers")
    ran = same_bits(options.loop)
    heading("Sensors fail", f"the shielded driver, {FAULT}")
    runs = filmed(pilots, options.drive)
    console.print(f"  {course(runs[len(LEARNERS)].episode)}")
    curves = [Curve.of(pilots[name]) for name in LEARNERS]
    page.write(page.Page(runs, curves, scores, cost | in_words(ran)), options.out)
    if options.gif:
        from examples.driving.replay import gif  # draws by matplotlib, which is slow to load

        gif.write(runs, options.gif)
    heading("Look at", f"after {time.perf_counter() - began:.0f} s")
    column(
        {
            str(options.out): "their drives side by side, in a browser",
            **look(options),
        }
    )
    if not all(one.same for one in ran):
        raise SystemExit("the same training has other bits elsewhere")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.driving", description=__doc__)
    parser.add_argument("--steps", type=int, default=300_000, help="decisions of training")
    parser.add_argument("--seeds", type=int, default=3, help="how often each driver is trained")
    parser.add_argument("--episodes", type=int, default=300, help="of each trial")
    parser.add_argument("--drive", type=int, default=12, help="seed of the drive that is shown")
    parser.add_argument(
        "--loop", type=int, default=2_000, help="decisions that an emulated processor trains for"
    )
    parser.add_argument("--out", type=Path, default=Path("build/driving/index.html"))
    parser.add_argument("--gif", type=Path, help="write the drives as a GIF too")
    given = parser.parse_args()
    if min(given.steps, given.seeds, given.episodes, given.loop) < 1:
        parser.error("--steps, --seeds, --episodes, --loop: at least one")
    return given


# ------------------------------------------------------------------------------------- what is said


def heading(what: str, how: str) -> None:
    """What comes next."""
    console.print(f"\n[bold cyan]{what}[/]  [dim]{how}[/]")


def column(told: Mapping[str, str]) -> None:
    """Names, and beside them what is said of each."""
    grid = Table.grid(padding=(0, 2))
    for name, value in told.items():
        grid.add_row("", name, value)
    console.print(grid)


def look(options: argparse.Namespace) -> dict[str, str]:
    """Where to go from here."""
    gif = {str(options.gif): "the same, moving"} if options.gif else {}
    return gif | {
        "docs/driving.md": "the world, the drivers, the shield, and their limits",
        "make bench-driving": "five seeds, an oracle, and the bars to be met",
        "make digits": "another example: handwritten digits, learnt online",
    }


# ---------------------------------------------------------------------------------------- the drivers


def trained(steps: int, seeds: int) -> Pilots:
    """All drivers; the learners side by side, as many at a time as there are cores."""
    columns = (
        TextColumn("  {task.description:<12}"),
        BarColumn(),
        TextColumn("{task.completed:>9,} decisions"),
        TextColumn("return {task.fields[gained]:6.1f}"),
        TimeElapsedColumn(),
    )
    runs = [(name, seed) for seed in range(seeds) for name in LEARNERS]
    began = time.perf_counter()
    # Programs are traced one after the other; what runs then is C, which lets go of Python's lock.
    with console.status("") as status:
        for name, seed in runs:
            status.update(f"from Python to C: {name}, seed {seed} ...")
            program(name, DRY, seed, steps)
    now = time.perf_counter()
    console.print(f"  {len(runs)} programs from Python to C in {now - began:.0f} s")
    with Progress(*columns, console=console) as bars, ThreadPoolExecutor(os.cpu_count()) as pool:
        bar = {name: bars.add_task(name, total=steps * seeds, gained=0.0) for name in LEARNERS}
        jobs = [
            pool.submit(train, name, seed, steps, DRY, heard(bars, bar[name]))
            for name, seed in runs
        ]
        done = [job.result() for job in jobs]
    rate = steps * len(runs) / (time.perf_counter() - now)
    console.print(f"  {rate:,.0f} decisions a second in all: world, driver and learner")
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


def tried(pilots: Pilots, episodes: int) -> dict[str, list[Score]]:
    """The scores of all drivers, with how they learnt."""
    scores = {name: [trial(p, episodes) for p in each] for name, each in pilots.items()}
    console.print(scorecard.table(scores))
    for name in LEARNERS:
        curve = [float(x) for x in pilots[name][0].curve[:, 1]]
        console.print(
            f"  {name:<12} {show.line(curve, 0.0, 120.0)}  as it learnt: return {curve[-1]:.0f}"
        )
    return scores


def what_it_is(pilot: Pilot) -> dict[str, str]:
    """Bytes and operations of a driver's program."""
    cost = program(pilot.driver, DRY, pilot.seed, pilot.steps).report().as_dict()
    learner = sum(value.nbytes for value in pilot.weights.values())
    return {
        "one C program": "world, sensors, facts, modes, policy, learner and shield",
        "memory": f"{cost['struct_bytes']:,} B, of which the learner {learner:,} B",
        "operations": f"{cost['operations']:,} a decision at most, learning included",
        "constants": f"{cost['constant_bytes']:,} B",
    }


# --------------------------------------------------------------------------------------- the same bits


def same_bits(decisions: int) -> list[bits.Ran]:
    """The same training on machines of several kinds, told one by one."""
    with console.status(f"{INTERPRETED} decisions of training, interpreted ..."):
        ran = bits.here(decisions, min(INTERPRETED, decisions))
    for board in bits.BOARDS:
        with console.status(f"{decisions:,} decisions of training on an emulated {board} ..."):
            ran.append(bits.emulated(decisions, board))
    grid = Table.grid(padding=(0, 2))
    for one in filter(lambda one: one.digest, ran):
        grid.add_row("", one.where, f"{one.decisions:,} decisions", *_verdict(one))
    console.print(grid)
    for one in ran:
        if not one.digest:
            console.print(f"  {one.where}: {one.remark}", style="bold yellow")
    return ran


def _verdict(one: bits.Ran) -> tuple[str, str]:
    if not one.same:
        return f"[bold red]{one.digest}[/]", f"[bold red]OTHER BITS[/] {one.remark}"
    return f"[green]{one.digest}[/]", one.remark


def in_words(ran: Sequence[bits.Ran]) -> dict[str, str]:
    """The same for a table of facts."""
    told = dict[str, str]()
    for one in ran:
        where = f"{one.where}, {one.decisions:,} decisions of training"
        said = one.digest if one.same else f"{one.digest}: OTHER BITS"
        told[where] = "; ".join(filter(None, (said, one.remark)))
    return told


# ----------------------------------------------------------------------------------- what can be seen


def filmed(pilots: Pilots, seed: int) -> list[Run]:
    """A drive of each learner, one of the shielded whose sensors fail, one by rule."""
    with console.status("filming ..."):
        runs = [page.run_of(name, record(pilots[name][0], seed)) for name in LEARNERS]
        blind = record(pilots["shielded"][0], seed, fault=FAULT)
        rule = record("rule", seed)
    name, about = "shielded, sensors fail", f"the same driver; {FAULT}"
    return [*runs, page.run_of("shielded", blind, name, about), page.run_of("rule", rule)]


def course(episode: Episode) -> str:
    """Through which modes a drive went, and how it ended."""
    modes = episode["mode"]
    changes = [0, *(int(t) + 1 for t in np.flatnonzero(np.diff(modes)))]
    said = [f"{MODES[int(modes[t])]} from {t} s" for t in changes]
    return f"{', '.join(said)}; {'a crash' if episode.crashed else 'no crash'}"


if __name__ == "__main__":
    main()
