"""Other people's worlds: a learner of this language, compiled to C, learns in any environment that Gymnasium can make.

    python -m examples.gymnasiums highway-fast-v0 --learner stream_q --steps 20000 --seeds 1 --trial 100
    python -m examples.gymnasiums CartPole-v1 --learner ppo --steps 100000

Cars on a highway, merging, at roundabouts and intersections, on a race track are highway-env's; the lunar lander needs Box2D
(both: the extra `worlds`). What takes the time there is the simulator: the learner's own share is printed beside it.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import seiche as sc
from examples import show
from seiche import learn
from seiche.learn import rl
from seiche.learn.rl import gym

WORLDS = (
    "highway-fast-v0", "merge-v1", "roundabout-v1", "intersection-v2", "racetrack-v1",
    "CartPole-v1", "Acrobot-v1", "LunarLander-v3", "Pendulum-v1",
)  # fmt: skip
"""Those that are tried here; any other will do whose spaces fit."""
REGISTERS = "highway_env"
"""The package whose environments Gymnasium knows once it is imported: the only place where that is done."""
CHOOSES = "stream Q chooses among discrete actions; take stream_ac or ppo"
LATE = 100
"""The episodes at the end of a run that tell what was learnt."""


@dataclass(frozen=True)
class Setting:
    """What a learner is made with."""

    learner: str
    steps: int
    discount: float = 0.99
    hidden: int = 32
    horizon: int | None = None
    side: int = 8


def stream_q(env: gymnasium.Env[Any, Any], setting: Setting, seed: int) -> rl.StreamQ:
    """Stream Q(λ); it explores less and less over the first fifth of the run."""
    observations, actions, continuous = gym.sizes(env)
    if continuous:
        raise TypeError(CHOOSES)
    explore = learn.Linear(1.0, 0.01, steps=max(setting.steps // 5, 1))
    return rl.StreamQ(
        observations,
        actions,
        setting.hidden,
        setting.discount,
        explore=explore,
        horizon=setting.horizon,
        seed=seed,
    )


def stream_ac(env: gymnasium.Env[Any, Any], setting: Setting, seed: int) -> rl.StreamAC:
    """A stream actor-critic, of discrete or continuous actions."""
    return rl.StreamAC(
        *gym.sizes(env),
        hidden=setting.hidden,
        discount=setting.discount,
        horizon=setting.horizon,
        seed=seed,
    )


def ppo(env: gymnasium.Env[Any, Any], setting: Setting, seed: int) -> rl.PPO:
    """Proximal policy optimisation over several environments side by side."""
    return rl.PPO(
        *gym.sizes(env),
        instances=setting.side,
        ticks=32,
        entropy=0.0,
        discount=setting.discount,
        optimiser=learn.Adam(1e-3),
        seed=seed,
    )


LEARNERS: dict[str, Callable[[gymnasium.Env[Any, Any], Setting, int], Any]] = {
    "stream_q": stream_q,
    "stream_ac": stream_ac,
    "ppo": ppo,
}


class Timed:
    """A program, and the CPU time that its ticks took."""

    def __init__(self, program: Any) -> None:
        self.program, self.seconds, self.ticks = program, 0.0, 0

    def step(self, *args: Any) -> Any:
        """One tick."""
        began = time.process_time()
        action = self.program.step(*args)
        self.seconds += time.process_time() - began
        self.ticks += 1
        return action

    def reset(self) -> None:
        """Back to the start."""
        self.program.reset()


def peak_mb() -> float:
    """The most memory that this process ever held at a time, in MB."""
    # Linux starts a process's ru_maxrss with the peak of the one that started it; what its status says is its own.
    status = Path("/proc/self/status")
    if own := re.search(r"VmHWM:\s*(\d+) kB", status.read_text() if status.exists() else ""):
        return int(own[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 / (1024 if sys.platform == "darwin" else 1)


def made(name: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """An environment by its id, made with `options`; that a newer version of it exists is not said."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*out of date.*")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        if name not in gymnasium.registry and importlib.util.find_spec(REGISTERS):
            importlib.import_module(REGISTERS)
        return gymnasium.make(name, **options)


def suited(name: str, setting: Setting) -> gym.Environment | list[gym.Environment]:
    """One environment, or as many as the learner goes through side by side."""
    return [made(name) for _ in range(setting.side)] if setting.learner == "ppo" else made(name)


def compiled(agent: Any, target: str = "c", **told: bool) -> Any:
    """An agent alone, as a program; `told` goes to the agent at each tick."""
    side = getattr(agent, "instances", None)
    act = partial(agent, **told) if told else agent
    return sc.compile(gym.learner(act, agent.observations, side), target=target)


def trained(
    name: str, setting: Setting, seed: int, watch: Callable[[int, gym.Episodes], None] | None = None
) -> tuple[gym.Episodes, Timed, Any]:
    """What came of a run, the program that learnt, and its agent."""
    env = suited(name, setting)
    first = env[0] if isinstance(env, list) else env
    agent = LEARNERS[setting.learner](first, setting, seed)
    program = Timed(compiled(agent))
    return gym.train(program, env, setting.steps, seed, watch), program, agent


def tested(name: str, timed: Timed, agent: Any, episodes: int) -> gym.Episodes:
    """Episodes of a trained stream Q at work: greedy, and learning no more. Their seeds are none of the training's."""
    program = compiled(agent, learns=False)
    program.state = dict(timed.program.state)
    return gym.trial(program, made(name), episodes, seed=10_000)


def summary(done: gym.Episodes, last: int = 0) -> str:
    """Returns, lengths and, where the environment speaks of them, crashes, of the last episodes."""
    gained, long = done.returns[-last:], done.lengths[-last:]
    if not gained:
        return "no episode ended"
    crashed = done.share("crashed", last)
    said = f"{np.mean(gained):8.2f} ± {np.std(gained):.2f}   {np.mean(long):6.1f} decisions"
    return said + ("" if crashed is None else f"   {crashed:.0%} crashed")


def run(name: str, setting: Setting, seed: int, trial: int) -> None:
    """Trains with a bar of progress, and prints what came of it."""
    # Here, for those who import this module and want neither the bar nor its memory.
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}"),
    )
    began = time.process_time()
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(f"{name}, seed {seed}", total=setting.steps, said="")

        def watch(taken: int, done: gym.Episodes) -> None:
            recent = f"return {np.mean(done.returns[-LATE:]):.1f}" if done.returns else ""
            bar.update(task, completed=taken, said=recent)

        done, program, agent = trained(name, setting, seed, lambda n, d: _seldom(n, d, watch))
    seconds = time.process_time() - began
    show.fact(f"seed {seed}: the last {LATE} episodes of training", summary(done, LATE))
    parts = np.array_split(done.returns, min(50, len(done.returns) or 1))
    show.fact("  returns", show.line([float(np.mean(p)) for p in parts if len(p)] or [0.0]))
    if trial and setting.learner == "stream_q":
        show.fact(f"  {trial} episodes greedily", summary(tested(name, program, agent, trial)))
    cost(setting, program, seconds)


def _seldom(taken: int, done: gym.Episodes, watch: Callable[[int, gym.Episodes], None]) -> None:
    """A bar that moves at each decision would take longer than the learner."""
    if taken % 64 == 0:
        watch(taken, done)


def cost(setting: Setting, timed: Timed, seconds: float) -> None:
    """What a run took: of the whole, and of the learner, as it is called from Python."""
    alone = timed.ticks * (setting.side if setting.learner == "ppo" else 1) / timed.seconds
    peak = peak_mb()
    held = timed.program.report().plan.struct_bytes
    show.fact(
        "  CPU time of the training, and the learner's", f"{seconds:.1f} s, {timed.seconds:.1f} s"
    )
    show.fact("  decisions/s: all, learner alone", f"{setting.steps / seconds:,.0f}, {alone:,.0f}")
    show.fact("  peak memory of the process, the learner's", f"{peak:,.0f} MB, {held:,} B")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.gymnasiums", description=__doc__.split("\n")[0]
    )
    parser.add_argument("environment", help=f"an id of Gymnasium's, such as {', '.join(WORLDS)}")
    parser.add_argument(
        "--learner", choices=LEARNERS, help="stream_q, or stream_ac where actions are continuous"
    )
    parser.add_argument("--steps", type=int, default=20_000, help="decisions of training")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--trial", type=int, default=0, help="episodes at work afterwards (stream_q)"
    )
    parser.add_argument(
        "--hidden", type=int, default=32, help="units of a streaming learner's layers"
    )
    parser.add_argument(
        "--discount", type=float, help="0.8 for highway-env's, as its authors have it; else 0.99"
    )
    given = parser.parse_args()
    if given.steps < 1 or given.seeds < 1:
        parser.error("--steps and --seeds: at least one")
    try:
        given.env = made(given.environment)
        given.continuous = gym.sizes(given.env)[2]
    except (gymnasium.error.Error, TypeError) as why:
        parser.error(f"{why}\n(highway-env and Box2D come with: pip install 'seiche[worlds]')")
    if given.continuous and given.learner == "stream_q":
        parser.error(CHOOSES)
    return given


def chosen(env: gymnasium.Env[Any, Any], learner: str | None, continuous: bool) -> dict[str, Any]:
    """What is not said on the command line: the learner, the discount, the longest episode."""
    of_highway = type(env.unwrapped).__module__.startswith("highway_env")
    return {
        "learner": learner or ("stream_ac" if continuous else "stream_q"),
        "discount": 0.8 if of_highway else 0.99,
        "horizon": env.spec.max_episode_steps if env.spec else None,
    }


def main() -> None:
    """Runs it."""
    given = _options()
    rest = chosen(given.env, given.learner, given.continuous)
    if given.discount is not None:
        rest["discount"] = given.discount
    setting = Setting(steps=given.steps, hidden=given.hidden, **rest)
    show.title(f"{given.environment}: {setting.learner}, {given.steps:,} decisions")
    for seed in range(given.seeds):
        run(given.environment, setting, seed, given.trial)


if __name__ == "__main__":
    main()
