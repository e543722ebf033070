"""Learners of reinforcement learning: what they reach, what they hold, how many decisions a second they learn from.

World and learner are one C program in strict arithmetic. Seeds are fixed here; figures are means over them with a 95 % interval
(Student's t). "Reached" is the mean return of the last 100 episodes of the run; "first" is the decision at which the mean of 100
episodes in a row first cleared the bar. Speeds are CPU-seconds of the whole run, learning included: the best of the seeds, since
whatever else the machine does only ever slows it: each of these decisions is learnt from.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

import seiche as sc
from bench.report import Bench, Result, number
from examples import reinforcement as example
from seiche.backends.program import Program

SEEDS = (0, 1, 2, 3, 4)
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""The 97.5 % point of Student's t for so many seeds."""
SOLVED, REMEMBERED = 475.0, 0.9
"""Of the cart-pole (of 500) and of the memory task (of 1)."""
RATE_MIN = 300_000.0
"""Decisions per second and core, learning included."""
WINDOW = 100


@dataclass(frozen=True)
class Contestant:
    """A learner in its world, for so many ticks of so many instances."""

    name: str
    node: Any
    ticks: int
    bar: float | None
    instances: int = 1
    rate_min: float | None = None
    settings: tuple[tuple[str, Any], ...] = ()


def by(learner: str) -> tuple[tuple[str, Any], ...]:
    """The settings of a memory task for another learner."""
    return (("learner", learner),)


PENDULUM = Contestant("pendulum, PPO of 4", example.swing_up_ppo, 75_000, None, 4)
RLTOOLS_SECONDS, RLTOOLS_SECONDS_BLAS = 4.06, (0.57, 1.61)
"""CPU-seconds that RLtools publishes for its PPO on the pendulum: without a BLAS, and with one (from MKL to ATLAS), on a Ryzen 9
7945HX; `src/rl/environments/pendulum/ppo/cpu/README.md` of github.com/rl-tools/rl-tools at 9acdf5c. Ours has its number of
decisions (300,000, 4 instances of 1,024), networks (twice two layers of 64), epochs (2) and minibatches (256); theirs evaluates
1,000 episodes at the end, ours none."""

CONTESTANTS = (
    Contestant("cart-pole, stream Q", example.balance_q, 100_000, SOLVED, rate_min=RATE_MIN),
    Contestant("cart-pole, stream AC", example.balance_ac, 100_000, SOLVED),
    Contestant("cart-pole, PPO of 8", example.balance_ppo, 12_500, SOLVED, 8),
    Contestant("cart-pole, PPO of 8 with a GRU", example.balance_gru, 12_500, SOLVED, 8),
    Contestant("cart-pole, DQN", example.balance_dqn, 100_000, SOLVED),
    Contestant("pendulum, stream AC", example.swing_up, 500_000, None),
    PENDULUM,
    Contestant("memory, latched, stream Q", example.remember, 20_000, REMEMBERED),
    Contestant("memory, latched, stream AC", example.remember, 20_000, REMEMBERED, settings=by("stream_ac")),
    Contestant("memory, latched, DQN", example.remember, 20_000, REMEMBERED, settings=by("dqn")),
    Contestant(
        "memory, latched, PPO of 8", example.remember_gru, 5_000, REMEMBERED, 8,
        settings=(("recurrent", False), ("latch", True)),
    ),
    Contestant("memory, PPO of 8 with a GRU", example.remember_gru, 5_000, REMEMBERED, 8),
    Contestant("memory, none, stream Q", example.remember, 20_000, None, settings=(("latch", False),)),
)  # fmt: skip


def beside_rltools(bench: Bench, result: Result) -> None:
    """Our seconds for the pendulum beside those that RLtools publishes for the same work."""
    one = result.data[PENDULUM.name]
    seconds = one["decisions"] / one["decisions_per_s"]
    low, high = RLTOOLS_SECONDS_BLAS
    bench.console.print(
        f"{PENDULUM.name}: {seconds:.2f} CPU-s for {one['decisions']:,} decisions; RLtools publishes {RLTOOLS_SECONDS} s without a"
        f" BLAS, {low} to {high} s with one (its README, Ryzen 9 7945HX)"
    )
    result.claim(
        "pendulum by PPO, CPU-s beside RLtools' published", f"≤ {RLTOOLS_SECONDS} (no BLAS)", f"{seconds:.2f}",
        seconds <= RLTOOLS_SECONDS,
    )  # fmt: skip


@dataclass
class Course:
    """One seed's run."""

    reached: float
    best: float
    first: float
    seconds: float


def run(bench: Bench) -> Result:
    result = Result("rl")
    rows: list[list[str]] = []
    contestants = CONTESTANTS[: bench.pick(len(CONTESTANTS), 1)]
    for contestant in bench.track(contestants, "learning", len(contestants)):
        rows.append(_contest(bench, result, contestant))
    if not bench.tiny:
        beside_rltools(bench, result)
    columns = ["", "reached", "best 100", "first (decisions)", "decisions/s", "state B", "all B"]
    bench.table("Reinforcement learning, world and learner in strict C", columns, rows)
    return result


def _contest(bench: Bench, result: Result, one: Contestant) -> list[str]:
    """Runs a contestant for all seeds, states its claims, and gives its row of the table."""
    seeds = SEEDS[: bench.pick(len(SEEDS), 2)]
    ticks = bench.pick(one.ticks, 400)
    settings = dict(one.settings)
    programs = [sc.compile(one.node, target="c", seed=seed, **settings) for seed in seeds]
    courses = [course(program, ticks, one) for program in programs]
    plan = programs[0].report().plan
    decisions = ticks * one.instances
    rate = decisions / min(c.seconds for c in courses)
    reached, interval = spread([c.reached for c in courses])
    said = f"{number(reached, 4)} ± {number(interval, 2)}"
    if one.bar is not None:
        result.claim(f"{one.name}: reached", f"≥ {one.bar:g}", said, reached >= one.bar)
    if one.rate_min is not None:
        result.claim(
            f"{one.name}: decisions/s",
            f"≥ {one.rate_min:,.0f}",
            f"{rate:,.0f}",
            rate >= one.rate_min,
        )
    result.data[one.name] = {
        "seeds": seeds, "decisions": decisions, "reached": [c.reached for c in courses],
        "best": [c.best for c in courses], "first": [c.first for c in courses], "interval": interval,
        "decisions_per_s": rate, "struct_bytes": plan.struct_bytes, "state_bytes": plan.state_bytes,
    }  # fmt: skip
    best, _ = spread([c.best for c in courses])
    return [
        one.name, said, number(best, 4), _first(courses), f"{rate:,.0f}",
        f"{plan.state_bytes:,}", f"{plan.struct_bytes:,}",
    ]  # fmt: skip


def course(program: Program, ticks: int, one: Contestant) -> Course:
    """What a program reaches from its start."""
    began = time.process_time()
    reward, ended = program.run(ticks=ticks)
    seconds = time.process_time() - began
    gained = example.returns(reward, ended)
    if len(gained) < WINDOW:
        return Course(float(np.mean(gained)) if len(gained) else float("nan"), 0.0, np.inf, seconds)
    means = np.convolve(gained, np.ones(WINDOW) / WINDOW, "valid")
    ends = np.nonzero(ended.reshape(ticks, -1))[0]
    over = np.flatnonzero(means >= (np.inf if one.bar is None else one.bar))
    first = float(ends[over[0] + WINDOW - 1] + 1) * one.instances if len(over) else np.inf
    return Course(float(means[-1]), float(means.max()), first, seconds)


def spread(values: list[float]) -> tuple[float, float]:
    """The mean, and half of its 95 % interval.

    >>> spread([1.0, 3.0])
    (2.0, 12.706)
    """
    deviation = float(np.std(values, ddof=1))
    return float(np.mean(values)), STUDENT[len(values)] * deviation / sqrt(len(values))


def _first(courses: list[Course]) -> str:
    """When each seed cleared the bar: the earliest and the latest of those that did."""
    found = [c.first for c in courses if np.isfinite(c.first)]
    if not found:
        return "-"
    return f"{min(found):,.0f} to {max(found):,.0f} ({len(found)} of {len(courses)})"
