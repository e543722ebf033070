"""highway-env's fast highway: our learners behind the shield beside Stable-Baselines3's DQN and PPO, and drivers that learn nothing.

All see the same observation, learn from 20,000 decisions and drive 100 new episodes of 30 s, whose seeds are the same for all. The simulator is
Python and takes nearly all of the time: an hour on two cores for the whole, so that `make bench` leaves it out.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from bench.apart import side_by_side
from bench.report import Bench, Result

SEEDS, PEER_SEEDS = (0, 1, 2), (0,)
"""Of stream Q; of what stands beside it."""
STEPS, EPISODES = 20_000, 100
CRASHES_MAX, RETURN_MIN, MEMORY_MAX = 0.01, 22.0, 1 / 3
"""Of an episode, as the simulator's own IDM drives; of an episode; of Stable-Baselines3's."""
UNLEARNT = ("random", "idle", "rule")
Course = dict[str, Any]
Job = tuple[Any, ...]
"""A name, `module:function`, what it is called with."""


def run(bench: Bench) -> Result:
    result = Result("highway")
    if importlib.util.find_spec("highway_env") is None:
        bench.console.print(
            "NOT MEASURED: highway-env is not installed (pip install 'seiche\\[worlds]')"
        )
        return result
    steps, episodes = bench.pick(STEPS, 60), bench.pick(EPISODES, 1)
    jobs = peers(bench, steps, episodes) + ours(bench, steps, episodes)
    came: dict[int, Course] = {}
    works = side_by_side([work for _, *work in jobs])
    for k, course in bench.track(works, "courses", len(jobs)):
        came[k] = course
        bench.console.print(
            f"{jobs[k][0]}: return {course['returns']:.1f}, crashes {course['crashes']:.0%}"
        )
    courses: dict[str, list[Course]] = {}
    for k, (name, *_) in enumerate(jobs):
        courses.setdefault(name, []).append(came[k])
    bench.table(
        f"The fast highway: {steps:,} decisions of training, {episodes} new episodes",
        ["", "seeds", "return", "crashes, %", "m/s", "overridden, %", "CPU s", "peak MB"],
        [row(name, each) for name, each in courses.items()],
    )
    result.data["courses"] = courses
    judge(result, courses)
    return result


def ours(bench: Bench, steps: int, episodes: int) -> list[Job]:
    """The learners behind the shield, what learns nothing there, and the same without it."""
    work = "examples.highway.training:course"
    learners = (("stream_q", SEEDS), ("dqn", PEER_SEEDS))[: bench.pick(2, 1)]
    jobs = [
        (f"{name}, shielded", work, name, True, seed, steps, episodes)
        for name, seeds in learners
        for seed in seeds[: bench.pick(len(seeds), 1)]
    ]
    jobs += [
        (f"{name}{', shielded' if shield else ''}", work, name, shield, 0, 0, episodes)
        for name in UNLEARNT[: bench.pick(len(UNLEARNT), 1)]
        for shield in (True, False)
    ]
    return [*jobs, ("IDM and MOBIL", "examples.highway.training:simulators_own", episodes)]


def peers(bench: Bench, steps: int, episodes: int) -> list[Job]:
    """Stable-Baselines3, where it is installed."""
    if importlib.util.find_spec("stable_baselines3") is None:
        bench.console.print(
            "NOT MEASURED: Stable-Baselines3 is not installed (pip install torch==2.13.0 'seiche\\[baselines]')"
        )
        return []
    work = "bench.driving_sb3:on_the_highway"
    return [
        (f"SB3 {name}", work, name, seed, steps, episodes)
        for name in ("DQN", "PPO")
        for seed in PEER_SEEDS
    ]


def mean(courses: list[Course], what: str) -> float:
    """Over seeds; NaN for what is not measured of it."""
    return float(np.mean([one.get(what, np.nan) for one in courses]))


def row(name: str, courses: list[Course]) -> list[str]:
    """Of the table."""
    scale = {"returns": 1, "crashes": 100, "speed": 1, "overrides": 100, "cpu_s": 1, "peak_mb": 1}
    means = {what: by * mean(courses, what) for what, by in scale.items()}
    cells = [f"{x:.1f}" if x and np.isfinite(x) else "-" for x in means.values()]
    cells[1] = f"{means['crashes']:.1f}"
    return [name, str(len(courses)), *cells]


def judge(result: Result, courses: dict[str, list[Course]]) -> None:
    """The learner behind the shield beside its bars."""
    one = courses["stream_q, shielded"]
    crashes, returns = mean(one, "crashes"), mean(one, "returns")
    result.claim(
        "shielded stream Q: crashes per episode",
        f"≤ {CRASHES_MAX:g}",
        f"{crashes:.3f}",
        crashes <= CRASHES_MAX,
    )
    result.claim(
        "shielded stream Q: return", f"≥ {RETURN_MIN:g}", f"{returns:.2f}", returns >= RETURN_MIN
    )
    theirs = [each for name, each in courses.items() if name.startswith("SB3")]
    if theirs:
        cpu = mean(one, "cpu_s") / min(mean(each, "cpu_s") for each in theirs)
        memory = mean(one, "peak_mb") / min(mean(each, "peak_mb") for each in theirs)
        result.claim(
            "CPU time of training beside Stable-Baselines3's", "≤ 1 ×", f"{cpu:.2f} ×", cpu <= 1
        )
        result.claim(
            "peak memory beside Stable-Baselines3's",
            "≤ 1/3 ×",
            f"{memory:.2f} ×",
            memory <= MEMORY_MAX,
        )
