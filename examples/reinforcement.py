"""Reinforcement learning: a world and its learner as one program, so that one C program trains and acts.

A cart-pole is balanced by learners that keep nothing but weights and traces (stream Q, stream actor-critic), by proximal
policy optimisation over eight carts, and by deep Q-learning from a ring of transitions. A memory task is not learnt without
memory, and is with either kind: a fact latched by one line, or a recurrent policy.

Elsayed, Vasan & Mahmood 2024; Schulman et al. 2017; Mnih et al. 2015.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import seiche as sc
from examples import show
from examples.worlds import cart_pole, memory_chain, pendulum
from seiche import learn, node
from seiche.learn import rl

Outcome = tuple[sc.Stream, sc.Stream]
"""The reward of a tick, and whether an episode ends there."""
INSTANCES = 8
"""Worlds side by side, for proximal policy optimisation."""


def chance(seed: int) -> np.ndarray[Any, Any]:
    """The key of a world, apart from that of its learner."""
    return sc.Key.of(seed).fold_in(1).words


def exploration(steps: int) -> learn.Linear:
    """Less and less of it over the first twentieth of a run."""
    return learn.Linear(1.0, 0.01, steps=steps // 20)


def side_by_side(world: Callable[..., Any], seed: int) -> Callable[[Any], Any]:
    """Worlds with keys of their own."""
    keys = np.stack([key.words for key in sc.Key.of(seed).fold_in(1).split(INSTANCES)])
    return lambda action: sc.over_space(world, INSTANCES)(action, keys)


def outcome(now: rl.Experience) -> Outcome:
    """What is to be known of a run."""
    return now.reward, now.ended


@node
def balance_q(seed: int = 0, steps: int = 100_000) -> Outcome:
    """The cart-pole by stream Q(λ)."""
    agent = rl.StreamQ(4, 2, explore=exploration(steps), horizon=cart_pole.LONGEST, seed=seed)
    now, _ = rl.interaction(lambda a: cart_pole.cart_pole(a, chance(seed)), agent, 0)
    return outcome(now)


@node
def balance_ac(seed: int = 0) -> Outcome:
    """The cart-pole by a stream actor-critic."""
    agent = rl.StreamAC(4, 2, horizon=cart_pole.LONGEST, seed=seed)
    now, _ = rl.interaction(lambda a: cart_pole.cart_pole(a, chance(seed)), agent, 0)
    return outcome(now)


@node
def balance_ppo(seed: int = 0) -> Outcome:
    """Eight cart-poles by proximal policy optimisation."""
    agent = rl.PPO(
        4, 2, instances=INSTANCES, ticks=32, entropy=0.0, optimiser=learn.Adam(1e-3), seed=seed
    )
    world = side_by_side(cart_pole.cart_pole, seed)
    now, _ = rl.interaction(world, agent, np.zeros(INSTANCES, np.int32))
    return outcome(now)


@node
def balance_dqn(seed: int = 0, steps: int = 100_000) -> Outcome:
    """The cart-pole by deep Q-learning: observations near 1; of rewards only -1 for a fall, so that values stay within the loss's bend.

    The target follows the weights a hundredth at a time; after three fifths of the run the steps are nothing, and what was
    learnt stays.
    """
    agent = rl.DQN(
        4, 2, capacity=steps, batch=128, train_every=2, target_every=2, target_rate=0.01, double=False,
        explore=exploration(steps), optimiser=learn.Adam(learn.Linear(1e-3, 0.0, steps=3 * steps // 10)),
        seed=seed,
    )  # fmt: skip
    size = np.array([1 / cart_pole.PLACE_MAX, 0.5, 1 / cart_pole.ANGLE_MAX, 0.5], np.float32)

    def act(observation: sc.Stream, _: sc.Stream, fell: sc.Stream, late: sc.Stream) -> Any:
        return agent(size * observation, sc.where(fell, -1.0, 0.0), fell, late)

    now, _ = rl.interaction(lambda a: cart_pole.cart_pole(a, chance(seed)), act, 0)
    return outcome(now)


@node
def balance_gru(seed: int = 0) -> Outcome:
    """Eight cart-poles by proximal policy optimisation of a GRU; rewards are made small, as its value shares the unit."""
    steps = learn.Linear(3e-3, 3e-4, steps=3_000)
    agent = rl.PPO(
        4, 2, instances=INSTANCES, ticks=64, entropy=0.0, network=rl.Recurrent(4, 2),
        optimiser=learn.Adam(steps), seed=seed,
    )  # fmt: skip

    def act(observation: sc.Stream, reward: sc.Stream, *ends: sc.Stream) -> Any:
        return agent(observation, 0.05 * reward, *ends)

    world = side_by_side(cart_pole.cart_pole, seed)
    now, _ = rl.interaction(world, act, np.zeros(INSTANCES, np.int32))
    return outcome(now)


@node
def swing_up(seed: int = 0) -> Outcome:
    """The pendulum by a stream actor-critic with continuous actions."""
    agent = rl.StreamAC(3, 1, continuous=True, hidden=128, horizon=pendulum.LONGEST, seed=seed)
    idle = np.zeros(1, np.float32)
    now, _ = rl.interaction(lambda a: pendulum.pendulum(a, chance(seed)), agent, idle)
    return outcome(now)


PENDULUMS, WIDE = 4, 3.0
"""Pendulums side by side, and how far at first their actions are spread, in motors."""


@node
def swing_up_ppo(seed: int = 0) -> Outcome:
    """Four pendulums by proximal policy optimisation: decisions, networks, epochs and minibatches are those of RLtools' benchmark."""
    agent = rl.PPO(
        3, 1, continuous=True, instances=PENDULUMS, ticks=1024, epochs=2, minibatches=16, discount=0.9,
        entropy=0.0, norm_max=100.0, optimiser=learn.Adam(learn.Linear(3e-3, 3e-4, steps=2_300)), seed=seed,
    )  # fmt: skip
    size = np.array([1.0, 1.0, 1.0 / pendulum.TURN_MAX], np.float32)

    def one(action: sc.Stream, key: sc.Stream) -> rl.Experience:
        now = pendulum.pendulum(WIDE * pendulum.TORQUE_MAX * action, key)
        return now._replace(observation=size * now.observation)

    def act(observation: sc.Stream, reward: sc.Stream, *ends: sc.Stream) -> Any:
        return agent(observation, 0.1 * reward, *ends)

    keys = np.stack([key.words for key in sc.Key.of(seed).fold_in(1).split(PENDULUMS)])
    idle = np.zeros((PENDULUMS, 1), np.float32)
    now, _ = rl.interaction(lambda a: sc.over_space(one, PENDULUMS)(a, keys), act, idle)
    return outcome(now)


def latched(now: rl.Experience) -> rl.Experience:
    """With the cue of the memory task held as a fact."""
    cue = now.observation[2]
    fact = sc.hold(sc.when(cue, cue != 0), 0.0)
    return now._replace(observation=sc.concatenate([now.observation, fact.reshape(1)]))


def forgetful(learner: str, observations: int, seed: int, steps: int) -> Callable[..., Any]:
    """A learner without memory, for two actions."""
    if learner == "stream_q":
        return rl.StreamQ(observations, 2, explore=exploration(steps), seed=seed)
    if learner == "stream_ac":
        return rl.StreamAC(observations, 2, seed=seed)
    return rl.DQN(observations, 2, explore=exploration(steps), seed=seed)


@node
def remember(
    latch: bool = True,
    learner: str = "stream_q",
    length: int = 8,
    seed: int = 0,
    steps: int = 20_000,
) -> Outcome:
    """The memory task by a learner without memory ("stream_q", "stream_ac", "dqn"); with `latch`, the cue is held as a fact."""

    def world(action: sc.Stream) -> rl.Experience:
        now = memory_chain.memory_chain(action, chance(seed), length=length)
        return latched(now) if latch else now

    now, _ = rl.interaction(world, forgetful(learner, 3 + latch, seed, steps), 0)
    return outcome(now)


@node
def remember_gru(
    recurrent: bool = True, latch: bool = False, length: int = 8, seed: int = 0
) -> Outcome:
    """The memory task by proximal policy optimisation; with `recurrent`, of a GRU, trained through time."""
    agent = rl.PPO(
        3 + latch,
        2,
        instances=INSTANCES,
        ticks=2 * (length + 2),
        network=rl.Recurrent(3, 2, hidden=16) if recurrent else None,
        optimiser=learn.Adam(3e-3),
        seed=seed,
    )

    def one(action: sc.Stream, key: sc.Stream) -> rl.Experience:
        now = memory_chain.memory_chain(action, key, length=length)
        return latched(now) if latch else now

    now, _ = rl.interaction(side_by_side(one, seed), agent, np.zeros(INSTANCES, np.int32))
    return outcome(now)


def returns(reward: np.ndarray[Any, Any], ended: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The sums of rewards of the episodes that ended, in the order of their ends: of `[ticks]` or `[ticks, n]`."""
    reward, ended = (x.reshape(len(x), -1) for x in (reward, ended))
    total = np.cumsum(reward, axis=0, dtype=np.float64)
    ticks, which = np.nonzero(ended)
    found, before = np.zeros(len(ticks)), np.zeros(reward.shape[1])
    for k, (t, i) in enumerate(zip(ticks, which)):
        found[k], before[i] = total[t, i] - before[i], total[t, i]
    return found


RUNS: dict[str, tuple[sc.NodeFunction, dict[str, Any], int]] = {
    "cart-pole, stream Q(λ)": (balance_q, {}, 1),
    "cart-pole, stream actor-critic": (balance_ac, {}, 1),
    "eight cart-poles, PPO": (balance_ppo, {}, INSTANCES),
    "cart-pole, DQN": (balance_dqn, {}, 1),
    "memory task, no memory": (remember, {"latch": False}, 1),
    "memory task, a latched fact": (remember, {"latch": True}, 1),
    "eight memory tasks, PPO of a GRU": (remember_gru, {}, INSTANCES),
}
"""What is run: the node, its settings, and the decisions of a tick."""
TICKS = dict(zip(RUNS, (100_000, 100_000, 12_500, 100_000, 20_000, 20_000, 5_000), strict=True))
"""How long."""


def learnt(name: str) -> None:
    """Runs one, and prints what came of it."""
    world, settings, decisions = RUNS[name]
    program = sc.compile(world, target="c", **settings)
    began = time.process_time()
    gained = returns(*program.run(ticks=TICKS[name]))
    rate = TICKS[name] * decisions / (time.process_time() - began)
    held = program.report().plan.struct_bytes
    show.fact(name, f"{gained[-100:].mean():6.2f}   {rate:9,.0f} decisions/s   {held:9,} B")
    show.fact("  returns", curve(gained))


def curve(gained: np.ndarray[Any, Any]) -> str:
    """The means of 50 parts at most, as a line."""
    parts = np.array_split(gained, min(50, len(gained)))
    return show.line([float(part.mean()) for part in parts])


def main() -> None:
    """Runs it."""
    show.title("Reinforcement learning: world and learner in one C program, in strict arithmetic")
    print(
        "  return of the last 100 episodes, decisions with learning per CPU-second, bytes of all memory\n"
    )
    for name in RUNS:
        learnt(name)
    program = sc.compile(balance_q, target="c")
    first, again = program.run(ticks=300), sc.compile(balance_q).run(ticks=300)
    same = all(a.tobytes() == b.tobytes() for a, b in zip(first, again))
    show.fact("interpreter and C, 300 ticks", "the same bits" if same else "DIFFERENT BITS")
    show.look(
        "remember() in examples/reinforcement.py: one `hold` under a `when` is what the agent lacks;",
        "learn/rl/ppo.py: a rollout is a frame, `advantage` a costate of it, `train` a loop over minibatches.",
    )


if __name__ == "__main__":
    main()
