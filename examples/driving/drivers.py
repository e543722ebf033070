"""The loop: world, senses, facts, policy, learner, shield and modes as one node, which is one C program."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import seiche as sc
from examples.driving import features, rules
from examples.driving.conditions import DRY, Conditions
from examples.driving.facts import Facts, facts, truth
from examples.driving.faults import failing
from examples.driving.health import BLIND_AFTER, NOMINAL, Readings, believed, mode
from examples.driving.sensing import AHEAD, SECTORS, Sensors
from examples.driving.shield import Verdict, shielded
from examples.driving.world import ACTIONS, KEEP, Scene, world
from seiche import bool_, i32, learn, node, u32
from seiche.learn import rl

RECURRENT = "recurrent"
LEARNERS = ("memoryless", "latched", "shielded", "oracle", RECURRENT)
BASELINES = ("random", "brake", "rule")

SIDE_BY_SIDE = 8
"""Cars that the recurrent driver learns with."""
UNIT = 0.1
"""What a reward of 1 is to its value and policy, which share a GRU: about as much as its choice."""
OVERRIDE = 0.2
"""What the learner pays for each decision that the shield overrides: not a part of the world's reward."""


class Driven(NamedTuple):
    """A second of a driver: the world's reward, how it ended, faults; what was chosen and done, the mode, the facts."""

    reward: sc.Stream
    ended: sc.Stream
    crash: sc.Stream
    over: sc.Stream
    wrong: sc.Stream
    speed: sc.Stream
    limit: sc.Stream
    chosen: sc.Stream
    action: sc.Stream
    overridden: sc.Stream
    mode: sc.Stream
    facts: Facts


class Mind(NamedTuple):
    """What a driver knows of a second: what it believes, what it remembers, how far it trusts its sensors."""

    seen: Readings
    known: Facts
    mode: sc.Stream


def mind(said: Sensors, opens: sc.Stream, done: sc.Stream, of: Conditions = DRY) -> Mind:
    """Of the sensors; `opens` says where a drive begins, `done` is the action of the second that they are of."""
    seen = believed(said, opens, done, of)
    blind = seen.age[AHEAD] >= BLIND_AFTER
    return Mind(seen, facts(said, seen.moved, opens), mode(seen.bad, blind))


def omniscient(now: Scene) -> Mind:
    """Of the truth."""
    said = now.sensors
    ages = sc.zeros(SECTORS, sc.i32)
    seen = Readings(
        said.speed, said.lane, said.moved, said.pull, *now.clear, ages, sc.constant(0.0)
    )
    return Mind(seen, truth(now.road), sc.constant(NOMINAL))


def named(driver: str) -> str:
    """The name of a driver; ValueError where there is none of it."""
    if driver not in (*LEARNERS, *BASELINES):
        raise ValueError(f"{driver!r} is not one of {', '.join((*LEARNERS, *BASELINES))}")
    return driver


def agent(driver: str, seed: int, steps: int) -> rl.StreamQ:
    """The learner: stream Q(λ)."""
    length = features.SENSED if driver == "memoryless" else features.REMEMBERED
    return rl.StreamQ(
        length,
        len(ACTIONS),
        hidden=32,
        discount=0.95,
        explore=learn.Linear(1.0, 0.01, steps=steps // 10),
        kappa=learn.Linear(2.0, 20.0, steps=steps),
        seed=seed,
    )


def recurrent(instances: int, seed: int, steps: int) -> rl.PPO:
    """The learner that is to find out by itself what to remember: a GRU of the sensors' words, by PPO through time."""
    ticks, epochs, minibatches = 128, 4, 4
    updates = max(1, steps // (instances * ticks)) * epochs * minibatches
    return rl.PPO(
        features.SENSED,
        len(ACTIONS),
        instances=instances,
        ticks=ticks,
        epochs=epochs,
        minibatches=minibatches,
        discount=0.98,
        trace=0.97,
        network=rl.Recurrent(features.SENSED, len(ACTIONS), longest=ticks),
        optimiser=learn.Adam(learn.Linear(3e-3, 3e-4, steps=updates), epsilon=1e-5),
        seed=seed,
    )


class Guarded(NamedTuple):
    """What is done, in which mode, by which facts."""

    action: i32
    mode: i32
    facts: Facts


@node
def guarded(said: Sensors, opens: bool_, chosen: i32, of: Conditions = DRY) -> Guarded:
    """The loop without its world and its policy, for sensors of any car that does as it is told; `opens` says where a drive begins."""
    done = sc.var(i32)
    knows = mind(said, opens, sc.fby(KEEP, done), of)
    verdict = shielded(chosen, knows.seen, knows.known, knows.mode, of=of)
    done.define(verdict.action)
    return Guarded(verdict.action, knows.mode, knows.known)


def loop(
    learning: sc.Stream,
    key: sc.Stream,
    driver: str,
    of: Conditions,
    seed: int,
    steps: int,
    fault: sc.Stream | None = None,
) -> tuple[Scene, Driven]:
    """World and driver, each answering the other; `seed` and `steps` are the learner's, `fault` befalls the sensors."""
    action = sc.var(i32)
    done = sc.fby(KEEP, action)
    now = world(done, key, of=of)
    if fault is not None:
        now = now._replace(sensors=failing(now.sensors, fault))
    opens = sc.fby(True, now.ended)
    knows = omniscient(now) if driver == "oracle" else mind(now.sensors, opens, done, of)
    overridden = sc.var(bool_)
    paid = now.reward - sc.where(sc.fby(False, overridden), OVERRIDE, 0.0)
    if driver == RECURRENT:
        seen, over = features.sensed(now.sensors), now.ended
        trained = recurrent(1, seed, steps)
        chosen = trained.at_work(sc.expand_dims(seen, 0), sc.expand_dims(over, 0))[0]
    elif named(driver) in LEARNERS:
        learner = agent(driver, seed, steps)
        calm = learning & (knows.mode == NOMINAL)
        chosen = learner(
            seen_by(driver, now, knows), paid, now.terminated, now.truncated,
            key=sc.random.fold_in(key, 1), learns=calm,
        ).action  # fmt: skip
    else:
        chosen = unlearnt(driver, knows, key, of)
    if driver == "shielded":
        verdict = shielded(chosen, knows.seen, knows.known, knows.mode, of=of)
    else:
        verdict = Verdict(chosen, sc.constant(False), sc.constant([True] * len(ACTIONS)))
    overridden.define(verdict.overridden & ~now.ended)
    action.define(verdict.action)
    return now, Driven(
        now.reward, now.ended, now.terminated, now.over, now.road.wrong, now.speed, now.road.limit,
        chosen, verdict.action, overridden, knows.mode, knows.known,
    )  # fmt: skip


def seen_by(driver: str, now: Scene, knows: Mind) -> sc.Stream:
    """A learner's features."""
    if driver == "memoryless":
        return features.sensed(now.sensors)
    return features.remembered(now.sensors, knows.seen, knows.known)


def unlearnt(driver: str, knows: Mind, key: sc.Stream, of: Conditions) -> sc.Stream:
    """What a driver does that learns nothing."""
    if driver == "brake":
        return sc.constant(rules.BRAKING)
    if driver == "rule":
        return rules.rule(knows.seen, knows.known, of)
    tick = sc.state(0)
    tick.next = tick + 1
    return rules.by_chance(sc.random.fold_in(sc.random.fold_in(key, 2), tick))


@node
def drive(
    learning: bool_,
    key: u32[2],
    driver: str = "latched",
    of: Conditions = DRY,
    seed: int = 0,
    steps: int = 1_000_000,
) -> Driven:
    """A second of a driver in the world that `key` chooses; where it is not `learning`, it drives as well as it can.

    `driver` is one of `LEARNERS` and `BASELINES`, else ValueError; a learner explores less and less over `steps` decisions. The
    recurrent driver does not learn here, but in `school`.
    """
    return loop(learning, key, driver, of, seed, steps)[1]


class Lesson(NamedTuple):
    """A second of SIDE_BY_SIDE cars: the worlds' rewards, and where a drive ended."""

    reward: sc.Stream
    ended: sc.Stream


@node
def school(key: u32[2], of: Conditions = DRY, seed: int = 0, steps: int = 1_000_000) -> Lesson:
    """A second of cars side by side, each in a world of its own: one recurrent policy drives them, and learns from all."""

    def lone(action: sc.Stream, chance: sc.Stream) -> rl.Experience:
        now = world(action, chance, of=of)
        return rl.Experience(
            features.sensed(now.sensors), now.reward, now.terminated, now.truncated
        )

    agent = recurrent(SIDE_BY_SIDE, seed, steps)
    keys = sc.random.split(key, SIDE_BY_SIDE)
    action = sc.var(i32[SIDE_BY_SIDE])
    idle = np.zeros(SIDE_BY_SIDE, np.int32)
    now = sc.over_space(lone, SIDE_BY_SIDE)(sc.fby(idle, action), sc.stack(keys))
    told = now._replace(reward=UNIT * now.reward)
    # States are named after the variable: by this one, the weights are those of the same name in `loop`.
    chosen = agent(*told, key=sc.random.fold_in(key, SIDE_BY_SIDE)).action
    action.define(chosen)
    return Lesson(now.reward, now.ended)


@node
def film(
    learning: bool_,
    key: u32[2],
    fault: i32,
    driver: str = "latched",
    of: Conditions = DRY,
    seed: int = 0,
    steps: int = 1_000_000,
) -> tuple[Scene, Driven]:
    """As `drive`, with all that is true and sensed beside it; `fault` (an index of `faults.KINDS`) befalls the sensors."""
    return loop(learning, key, driver, of, seed, steps, fault)


@node
def dared(chosen: i32, key: u32[2], shield: bool = True, of: Conditions = DRY) -> Scene:
    """Any policy whatever, behind the shield, in the world that `key` chooses: it guarantees that nobody is hit."""
    action = sc.var(i32)
    done = sc.fby(KEEP, action)
    now = world(done, key, of=of)
    knows = mind(now.sensors, sc.fby(True, now.ended), done, of)
    safe = shielded(chosen, knows.seen, knows.known, knows.mode, of=of).action if shield else chosen
    action.define(safe)
    sc.guarantee(~now.terminated, "nobody is hit")
    return now
