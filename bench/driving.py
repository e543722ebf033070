"""The driving example: what its drivers reach, beside each other and beside drivers that learn nothing; decisions a second; bytes.

World, facts, policy, learner, shield and modes are one C program in strict arithmetic. Seeds are fixed here; figures are means over
them with a 95 % interval (Student's t); each is trained, and then tried in 500 episodes of 120 s that it has not seen, without
learning or exploring. Returns are the world's (what the learner pays for overrides is not in them). Speeds are decisions of training
per CPU-second, the best of the seeds: whatever else the machine does only ever slows it.
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from dataclasses import asdict, dataclass

import numpy as np

import seiche as sc
from bench import driving_learners
from bench.report import Bench, Result
from examples.driving.conditions import DRY, RAIN
from examples.driving.drivers import BASELINES, LEARNERS, RECURRENT, drive
from examples.driving.training import (
    COLUMNS,
    TRAINING,
    Pilot,
    Score,
    chance,
    program,
    spread,
    train,
    trainer,
    trial,
)
from examples.driving.world import LONGEST

SEEDS = (0, 1, 2, 3, 4)
STEPS, EPISODES = 1_000_000, 500
LATCHED_MIN, MEMORYLESS_MAX = 0.97, 0.85
"""Shares of the oracle's return."""
CRASHES_MAX, OVER_MAX, WRONG_MAX, PACE_MIN, OVERRIDES_MAX = 0.005, 1.0, 0.01, 0.85, 15.0
"""With the shield: per episode, % of seconds, per episode, speed/limit, % of decisions."""
RATE_MIN, LEARNER_BYTES_MAX = 300_000.0, 80_000
FASTER_MIN = 50.0
PIL_TICKS, BOARDS = 20_000, ("cortex-m7", "cortex-m4f")


@dataclass
class Course:
    """A driver of one kind: its score for each seed, its decisions of training per CPU-second, and what it takes.

    `learner_bytes` is what it learns with (of the recurrent driver the whole program that trains it, with eight worlds and the
    rollout), `struct_bytes` the whole program that drives; `seconds` of a decision without learning, its world included.
    """

    scores: list[Score]
    rate: float = 0.0
    learner_bytes: int = 0
    struct_bytes: int = 0
    seconds: float = np.inf

    def column(self, name: str) -> list[float]:
        return [getattr(score, name) for score in self.scores]

    def mean(self, name: str) -> float:
        return float(np.mean(self.column(name)))


def run(bench: Bench) -> Result:
    result = Result("driving")
    seeds = SEEDS[: bench.pick(len(SEEDS), 2)]
    steps, episodes = bench.pick(STEPS, 4_000), bench.pick(EPISODES, 3)
    names = (*BASELINES, *LEARNERS)
    courses: dict[str, Course] = {}
    for name in bench.track(names, "driving", len(names)):
        courses[name] = course(name, seeds, steps, episodes)
    headings = ["", *(f"{heading}" for heading, _ in COLUMNS.values()), "decisions/s", "learner B"]
    rows = [_row(name, one) for name, one in courses.items()]
    bench.table(
        f"{steps:,} decisions of training, {len(seeds)} seeds, {episodes} episodes each",
        headings,
        rows,
    )
    memory(bench, result, courses)
    safety(result, courses)
    cost(result, courses["shielded"])
    rain(bench, result, seeds[0], steps, episodes)
    result.data["seeds"] = seeds
    for name, one in courses.items():
        result.data[name] = {**asdict(one), "scores": [asdict(s) for s in one.scores]}
    processors(bench, result)
    driving_learners.run(bench, result)
    peers(bench, result, courses["latched"].rate)
    return result


def course(name: str, seeds: tuple[int, ...], steps: int, episodes: int) -> Course:
    """Trains and tries a driver for every seed."""
    one = Course([])
    for seed in seeds:
        if name in LEARNERS:
            trains = trainer(name, DRY, seed, steps)
            began = time.process_time()
            pilot = train(name, seed, steps)
            one.rate = max(one.rate, steps / (time.process_time() - began))
            kept = sum(value.nbytes for value in pilot.weights.values())
            whole = trains.report().plan.struct_bytes
            one.learner_bytes = whole if name == RECURRENT else kept
        else:
            pilot = Pilot(name)
        made = program(name, DRY, pilot.seed, pilot.steps)
        one.struct_bytes = made.report().plan.struct_bytes
        # Each seed has a trial of its own, the same for all drivers.
        began = time.process_time()
        one.scores.append(trial(pilot, episodes, seed=1000 + seed))
        taken = (time.process_time() - began) / (episodes * (LONGEST + 1))
        one.seconds = min(one.seconds, taken)
    return one


def _row(name: str, one: Course) -> list[str]:
    cells = [shown(one.column(column)) for column in COLUMNS]
    learns = one.rate > 0
    return [
        name, *cells, f"{one.rate:,.0f}" if learns else "-", f"{one.learner_bytes:,}" if learns else "-"
    ]  # fmt: skip


def shown(values: list[float]) -> str:
    """The mean ± half of its 95 % interval."""
    mean, interval = spread(values)
    digits = 1 if abs(mean) >= 10 else 3
    return f"{mean:.{digits}f} ± {interval:.{digits}f}"


REMEMBERING = ("memoryless", RECURRENT, "latched", "oracle")


def memory(bench: Bench, result: Result, courses: dict[str, Course]) -> None:
    """Whether remembered facts are as good as the truth, and no memory is much worse; what learnt memory gets, and takes."""
    oracle = courses["oracle"].mean("returns")
    rows = [
        [
            name, f"{one.mean('returns') / oracle:.3f}", f"{1e6 * one.seconds:.2f}", f"{one.struct_bytes:,}",
            f"{1e6 / one.rate:.1f}", f"{one.learner_bytes:,}",
        ]
        for name, one in ((name, courses[name]) for name in REMEMBERING)
    ]  # fmt: skip
    headings = [
        "",
        "of the oracle's return",
        "drives, µs",
        "drives, B",
        "learns, µs",
        "learns with, B",
    ]
    bench.table("What memory gets, and takes by decision (world included)", headings, rows)
    learnt = courses[RECURRENT].mean("returns") / oracle
    result.claim("learnt memory (GRU): share of the oracle's return", "-", f"{learnt:.3f}", None)
    latched, blind = (courses[name].mean("returns") / oracle for name in ("latched", "memoryless"))
    result.claim(
        "latched facts: share of the oracle's return", f"≥ {LATCHED_MIN}", f"{latched:.3f}",
        latched >= LATCHED_MIN,
    )  # fmt: skip
    result.claim(
        "no memory: share of the oracle's return", f"≤ {MEMORYLESS_MAX}", f"{blind:.3f}",
        blind <= MEMORYLESS_MAX,
    )  # fmt: skip


def safety(result: Result, courses: dict[str, Course]) -> None:
    """What the shielded learner must keep to."""
    one, rule = courses["shielded"], courses["rule"].mean("crashes")
    crashes_max = min(CRASHES_MAX, rule)
    bars = (
        (
            "crashes",
            "crashes per episode",
            f"≤ {crashes_max:g}, the rule's {rule:g}",
            crashes_max,
            -1,
        ),
        ("over", "over the limit, %", f"≤ {OVER_MAX:g}", OVER_MAX, -1),
        ("wrong", "wrong turns per episode", f"≤ {WRONG_MAX:g}", WRONG_MAX, -1),
        ("pace", "speed/limit", f"≥ {PACE_MIN:g}", PACE_MIN, 1),
        ("overrides", "overrides, %", f"≤ {OVERRIDES_MAX:g}", OVERRIDES_MAX, -1),
    )
    for column, what, bar, limit, sense in bars:
        met = sense * (one.mean(column) - limit) >= 0
        result.claim(f"shielded: {what}", bar, shown(one.column(column)), bool(met))
    better = one.mean("returns") - courses["rule"].mean("returns")
    result.claim("shielded: return over the rule's", "> 0", f"{better:+.1f}", better > 0)


def cost(result: Result, one: Course) -> None:
    """Decisions per second, bytes."""
    result.claim(
        "decisions/s, world and learner, strict", f"≥ {RATE_MIN:,.0f}", f"{one.rate:,.0f}", one.rate >= RATE_MIN
    )  # fmt: skip
    result.claim(
        "bytes of the learner", f"≤ {LEARNER_BYTES_MAX:,}", f"{one.learner_bytes:,}", one.learner_bytes <= LEARNER_BYTES_MAX
    )  # fmt: skip


def rain(bench: Bench, result: Result, seed: int, steps: int, episodes: int) -> None:
    """The shifted world: as trained in the dry, and after as much again in the rain."""
    dry = train("shielded", seed, steps)
    before = trial(dry, episodes, of=RAIN)
    made = dry.takes(program("shielded", RAIN, seed, steps))
    made.run(np.ones(steps, np.bool_), chance(seed, TRAINING, steps))
    learner = {name: value for name, value in made.state.items() if name in dry.weights}
    after = trial(Pilot("shielded", seed, steps, learner), episodes, of=RAIN)
    rule = trial(Pilot("rule"), episodes, of=RAIN)
    rows = [
        [name, *(f"{getattr(score, column):.3f}" for column in COLUMNS)]
        for name, score in (
            ("rule", rule),
            ("as trained in the dry", before),
            ("after learning on", after),
        )
    ]
    bench.table(
        "In the rain, which it was not trained in", ["", *(h for h, _ in COLUMNS.values())], rows
    )
    result.data["rain"] = {
        n: asdict(s) for n, s in (("rule", rule), ("before", before), ("after", after))
    }


def processors(bench: Bench, result: Result) -> None:
    """Training on emulated microcontrollers, bit by bit beside C on this machine."""
    if importlib.util.find_spec("ziglang") is None or not shutil.which("qemu-system-arm"):
        bench.console.print(
            "NOT MEASURED: no emulated Cortex-M (pip install ziglang; qemu-system-arm)"
        )
        return
    ticks = bench.pick(PIL_TICKS, 20)
    compiled = sc.compile(drive, target="c", driver="shielded", steps=ticks)
    given = (np.ones(ticks, np.bool_), chance(0, TRAINING, ticks))
    for board in BOARDS[: bench.pick(len(BOARDS), 1)]:
        with bench.status(f"training on an emulated {board}"):
            ran = sc.emulate(compiled, *given, target=board, against="c")
        said = "the same bits" if ran.agrees else str(ran.difference)
        result.claim(
            f"{ticks:,} decisions of training on {board}", "the same bits", said, ran.agrees
        )
        result.data[board] = {
            "instructions": ran.instructions,
            "instructions_max": ran.instructions_max,
        }


def peers(bench: Bench, result: Result, rate: float) -> None:
    """Stable-Baselines3 in the same world, where it is installed; `rate` is ours, decisions per CPU-second."""
    if importlib.util.find_spec("stable_baselines3") is None:
        bench.console.print(
            "NOT MEASURED: Stable-Baselines3 is not installed (pip install 'seiche\\[baselines]')"
        )
        return
    from bench import driving_sb3

    fastest = max(driving_sb3.run(bench, result).values())
    times = rate / fastest
    result.claim(
        "decisions/s beside Stable-Baselines3's", f"≥ {FASTER_MIN:g} ×", f"{times:.0f} ×", times >= FASTER_MIN
    )  # fmt: skip
