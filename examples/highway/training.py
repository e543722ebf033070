"""Training and trying drivers on the highway, through the adapter for Gymnasium's environments."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import seiche as sc
from examples import gymnasiums
from examples.highway.drivers import LEARNERS, drive
from examples.highway.scene import CONFIG, FASTEST, ID, IDLE
from seiche.learn.rl import gym

TRIALS_FROM = 10_000
"""The seed of the first episode of a trial; those of training begin at 0."""


class Wheel(gymnasiums.Timed):
    """A program of `drive`, as what trains an agent takes it; it keeps count of what the shield did."""

    def __init__(self, program: Any) -> None:
        super().__init__(program)
        self.overridden = self.cornered = 0

    def step(self, *args: Any) -> Any:
        """The action of one tick."""
        now = super().step(*args)
        self.overridden += bool(now.overridden)
        self.cornered += not now.safe
        return now.action


@dataclass(frozen=True)
class Score:
    """What a driver does: the mean return and its standard deviation over episodes, the share of episodes that end in a crash, metres a
    second, and the shares of decisions that the shield overrides, and in which nothing was safe."""

    returns: float
    deviation: float
    crashes: float
    speed: float
    overrides: float = 0.0
    cornered: float = 0.0


@dataclass(frozen=True)
class Pilot:
    """A driver with what it has learnt: its program's state, by name; and the CPU seconds that took, its peak memory (MB), its bytes."""

    driver: str
    shield: bool = True
    learnt: dict[str, Any] | None = None
    cpu_s: float = 0.0
    driver_cpu_s: float = 0.0
    peak_mb: float = 0.0
    struct_bytes: int = 0
    training: gym.Episodes | None = None


def road() -> gym.Environment:
    """The environment."""
    return gymnasiums.made(ID, config=CONFIG)


def program(driver: str, shield: bool, **options: Any) -> Any:
    """A driver as C."""
    return sc.compile(drive, target="c", driver=driver, shield=shield, **options)


def train(
    driver: str,
    steps: int = 20_000,
    seed: int = 0,
    shield: bool = True,
    env: gym.Environment | None = None,
    watch: Callable[[int, gym.Episodes], None] | None = None,
) -> Pilot:
    """Trains a driver for so many decisions; one that learns nothing is there at once."""
    if driver not in LEARNERS:
        return Pilot(driver, shield)
    wheel = Wheel(program(driver, shield, seed=seed, steps=steps))
    began = time.process_time()
    # Each seed has episodes of its own.
    done = gym.train(wheel, env or road(), steps, 100_000 * (seed + 1), watch)
    cpu_s = time.process_time() - began
    peak_mb = gymnasiums.peak_mb()
    held = wheel.program.report().plan.struct_bytes
    return Pilot(
        driver, shield, dict(wheel.program.state), cpu_s, wheel.seconds, peak_mb, held, done
    )


def trial(
    pilot: Pilot, episodes: int = 100, env: gym.Environment | None = None, seed: int = TRIALS_FROM
) -> Score:
    """How a driver does in so many episodes that it has not seen, greedily; it learns nothing from them."""
    wheel = Wheel(program(pilot.driver, pilot.shield, learns=False))
    if pilot.learnt is not None:
        wheel.program.state = dict(pilot.learnt)
    return score(gym.trial(wheel, env or road(), episodes, seed), wheel)


def score(done: gym.Episodes, wheel: Wheel | None = None) -> Score:
    """Of episodes."""
    decisions = sum(done.lengths)
    speed = float(np.mean([info["speed"] for info in done.infos]))
    shares = (wheel.overridden / decisions, wheel.cornered / decisions) if wheel else (0.0, 0.0)
    crashed = done.share("crashed") or 0.0
    return Score(float(np.mean(done.returns)), float(np.std(done.returns)), crashed, speed, *shares)


def course(driver: str, shield: bool, seed: int, steps: int, episodes: int) -> dict[str, Any]:
    """Trains and tries a driver: its score, and what its training took."""
    pilot = train(driver, steps, seed, shield)
    took = {"cpu_s": pilot.cpu_s, "driver_cpu_s": pilot.driver_cpu_s, "peak_mb": pilot.peak_mb}
    said = took | {"struct_bytes": pilot.struct_bytes} if pilot.learnt is not None else {}
    return asdict(trial(pilot, episodes)) | said


def simulators_own(episodes: int) -> dict[str, Any]:
    """How the simulator's own driver does, IDM and MOBIL, in the car's place; it knows all."""
    env, done = road(), gym.Episodes()
    inner: Any = env.unwrapped
    for episode in range(episodes):
        env.reset(seed=TRIALS_FROM + episode)
        own, other = inner.vehicle, inner.road.vehicles[-1]
        # It drives as fast as the car may.
        own.target_speed = FASTEST
        driver = type(other).create_from(own)
        inner.road.vehicles[inner.road.vehicles.index(own)] = driver
        inner.controlled_vehicles = [driver]
        gained, length, ended, info = 0.0, 0, False, dict[str, Any]()
        while not ended:
            _, reward, terminated, truncated, info = env.step(IDLE)
            gained, length, ended = gained + float(reward), length + 1, terminated or truncated
        done.returns.append(gained)
        done.lengths.append(length)
        done.infos.append(info)
    return asdict(score(done))
