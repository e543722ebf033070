"""Trains on highway-env's fast highway behind the shield, and prints what came of it beside drivers that learn nothing.

    python -m examples.highway --steps 20000 --seeds 1 --trial 100
    python -m examples.highway --driver rule random --bare

What takes the time is the simulator: some twenty milliseconds of Python for a decision, of which the learner takes a hundredth.
"""

from __future__ import annotations

import argparse

from examples import show
from examples.highway.drivers import BASELINES, LEARNERS
from examples.highway.training import Pilot, Score, train, trial
from seiche.learn.rl import gym


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.highway", description=str(__doc__).split("\n")[0]
    )
    parser.add_argument(
        "--driver", nargs="+", choices=[*LEARNERS, *BASELINES], default=["rule", "stream_q"]
    )
    parser.add_argument("--steps", type=int, default=20_000, help="decisions of training")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--trial", type=int, default=100, help="episodes at work")
    parser.add_argument("--bare", action="store_true", help="without the shield as well")
    given = parser.parse_args()
    if min(given.steps, given.seeds, given.trial) < 1:
        parser.error("--steps, --seeds, --trial: at least one")
    return given


def told(name: str, steps: int, done: gym.Episodes) -> None:
    """How far a training has come, now and then."""
    if steps % 2_000 == 0 and done.returns:
        recent = done.returns[-50:]
        show.fact(f"  {name}: {steps:,} decisions", f"return {sum(recent) / len(recent):.1f}")


def shown(name: str, score: Score) -> None:
    """The line of a driver."""
    said = f"{score.returns:6.2f} ± {score.deviation:.2f}   {score.crashes:5.1%} crashed   {score.speed:.1f} m/s"
    shield = f"   {score.overrides:.0%} overridden, {score.cornered:.1%} without a safe action"
    show.fact(name, said + (shield if score.cornered else ""))


def cost(pilot: Pilot) -> None:
    """What a training took."""
    show.fact(
        "  CPU time of the training, and the driver's",
        f"{pilot.cpu_s:.0f} s, {pilot.driver_cpu_s:.1f} s",
    )
    show.fact(
        "  peak memory of the process, the driver's",
        f"{pilot.peak_mb:.0f} MB, {pilot.struct_bytes:,} B",
    )


def main() -> None:
    """Runs it."""
    given = _options()
    show.title(
        f"the fast highway behind a shield: {given.steps:,} decisions, {given.trial} episodes at work"
    )
    for driver in given.driver:
        for seed in range(given.seeds if driver in LEARNERS else 1):
            for shield in (True, False) if given.bare else (True,):
                name = f"{driver}{f', seed {seed}' if driver in LEARNERS else ''}{'' if shield else ', bare'}"
                pilot = train(
                    driver,
                    given.steps,
                    seed,
                    shield,
                    watch=lambda n, d, name=name: told(name, n, d),
                )
                shown(name, trial(pilot, given.trial))
                if pilot.learnt is not None:
                    cost(pilot)


if __name__ == "__main__":
    main()
