"""All learners of the language in the driving world, with latched facts: learning steps per CPU-second, for `bench/driving.py`.

A learning step is a decision that is learnt from. PPO and DQN have the settings that Stable-Baselines3's have in
`bench/driving_sb3.py` (its defaults where it names none), so that the same work is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import seiche as sc
from bench.report import Bench, Result
from examples.driving import features
from examples.driving.conditions import DRY
from examples.driving.drivers import agent, mind
from examples.driving.training import TRAINING, chance
from examples.driving.world import ACTIONS, KEEP, world
from seiche import learn
from seiche.learn import rl

STEPS = 50_000
DISCOUNT = 0.95
Learner = Callable[..., Any]


def ppo() -> Learner:
    """One instance, 1,024 decisions a rollout, ten epochs in minibatches of 64."""
    return rl.PPO(
        features.REMEMBERED, len(ACTIONS), instances=1, ticks=1024, epochs=10, minibatches=16,
        discount=DISCOUNT, entropy=0.0,
    )  # fmt: skip


def dqn() -> Learner:
    """A minibatch of 32 each fourth decision."""
    return rl.DQN(
        features.REMEMBERED, len(ACTIONS), capacity=STEPS, batch=32, train_every=4, target_every=500,
        discount=DISCOUNT, optimiser=learn.Adam(1e-4), explore=learn.Linear(1.0, 0.05, STEPS // 10),
        double=False,
    )  # fmt: skip


LEARNERS: dict[str, Callable[[], Learner]] = {
    "stream Q(λ)": lambda: agent("latched", 0, STEPS),
    "stream actor-critic(λ)": lambda: rl.StreamAC(
        features.REMEMBERED, len(ACTIONS), discount=DISCOUNT
    ),
    "PPO": ppo,
    "DQN": dqn,
}


@sc.node
def driven(key: sc.u32[2], name: str) -> tuple[sc.Stream, sc.Stream]:
    """The reward of a second, and whether a drive ends."""
    action = sc.var(sc.i32)
    done = sc.fby(KEEP, action)
    now = world(done, key, of=DRY)
    knows = mind(now.sensors, sc.fby(True, now.ended), done)
    seen = features.remembered(now.sensors, knows.seen, knows.known)
    told = (seen, now.reward, now.terminated, now.truncated)
    if name == "PPO":
        said = LEARNERS[name]()(*(sc.expand_dims(x, 0) for x in told)).action[0]
    else:
        said = LEARNERS[name]()(*told).action
    action.define(said)
    return now.reward, now.ended


def run(bench: Bench, result: Result) -> dict[str, float]:
    """Learning steps per CPU-second of each, and its return in the last fifth of its training."""
    steps = bench.pick(STEPS, 1_200)
    rates: dict[str, float] = {}
    rows: list[list[str]] = []
    for name in LEARNERS:
        with bench.status(f"{name} in the driving world"):
            program = sc.compile(driven, target="c", name=name)
            began = time.process_time()
            reward, ended = program.run(chance(0, TRAINING, steps))
            rates[name] = steps / (time.process_time() - began)
        last = slice(-steps // 5, None)
        gained = float(reward[last].sum()) / max(1, int(np.sum(ended[last])))
        held = program.report().plan.struct_bytes
        rows.append([name, f"{rates[name]:,.0f}", f"{gained:.1f}", f"{held:,}"])
        result.data[f"learner {name}"] = {
            "steps_per_s": rates[name],
            "return": gained,
            "bytes": held,
        }
    headings = ["", "learning steps/CPU-s", "return (last fifth)", "all B"]
    bench.table(f"Learners with latched facts, {steps:,} decisions, one seed", headings, rows)
    return rates
