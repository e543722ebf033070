"""Stable-Baselines3's PPO and DQN in the driving world and on highway-env's highway: the only module that imports it.

For `bench/driving.py` and `bench/highway.py`. Each is trained on one core and in a process of its own, where its peak memory is taken.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN, PPO

from bench.apart import apart
from bench.report import Bench, Result
from examples.gymnasiums import peak_mb
from seiche.learn.rl.gym import Environment

STEPS, EPISODES = 50_000, 50
Settings = dict[str, tuple[Any, dict[str, Any]]]
WORLD: Settings = {
    "PPO": (PPO, {"n_steps": 1024, "batch_size": 64, "n_epochs": 10, "gamma": 0.95}),
    "DQN": (DQN, {"gamma": 0.95, "learning_starts": 1_000, "target_update_interval": 500}),
}
HIGHWAY: Settings = {
    "PPO": (
        PPO,
        {
            "n_steps": 768,
            "batch_size": 64,
            "n_epochs": 10,
            "learning_rate": 5e-4,
            "gamma": 0.8,
            "policy_kwargs": {"net_arch": {"pi": [256, 256], "vf": [256, 256]}},
        },
    ),
    "DQN": (
        DQN,
        {
            "learning_rate": 5e-4,
            "buffer_size": 15_000,
            "learning_starts": 200,
            "batch_size": 32,
            "gamma": 0.8,
            "train_freq": 1,
            "gradient_steps": 1,
            "target_update_interval": 50,
            "policy_kwargs": {"net_arch": [256, 256]},
        },
    ),
}
"""The highway's are those of highway-env's own documentation (scripts/sb3_highway_dqn.py, sb3_highway_ppo.py), in one environment."""


def run(bench: Bench, result: Result) -> dict[str, float]:
    """Trains each in our world, with latched facts; shows what came of it, and gives decisions per CPU-second."""
    steps, episodes = bench.pick(STEPS, 1_200), bench.pick(EPISODES, 2)
    rows: list[list[str]] = []
    rates: dict[str, float] = {}
    for name in WORLD:
        with bench.status(f"Stable-Baselines3 {name}"):
            came = apart("bench.driving_sb3:in_our_world", name, steps, episodes)
        rates[name] = came["decisions_per_s"]
        result.data[f"sb3 {name}"] = came
        rows.append([
            name, f"{came['returns']:.1f}", f"{came['crashes']:.3f}",
            f"{rates[name]:,.0f}", f"{came['peak_mb']:,.0f}",
        ])  # fmt: skip
    bench.table(
        f"Stable-Baselines3 in our world with latched facts, {steps:,} decisions, one seed",
        ["", "return", "crashes", "decisions/s", "peak MB"],
        rows,
    )
    return rates


def in_our_world(name: str, steps: int, episodes: int) -> dict[str, float]:
    """Trains and tries one there."""
    from examples.driving.environment import environment

    return course(WORLD[name], environment(latched=True), 0, steps, episodes, seed_of_trials=1000)


def on_the_highway(name: str, seed: int, steps: int, episodes: int) -> dict[str, float]:
    """Trains and tries one there, told of the road what our drivers are told."""
    from examples.highway.training import TRIALS_FROM, road

    return course(HIGHWAY[name], road(), seed, steps, episodes, seed_of_trials=TRIALS_FROM)


def course(
    setting: tuple[Any, dict[str, Any]],
    env: Environment,
    seed: int,
    steps: int,
    episodes: int,
    seed_of_trials: int,
) -> dict[str, float]:
    """Trains, and tries in new episodes; CPU time and peak memory are those of the training."""
    torch.set_num_threads(1)
    make, settings = setting
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make("MlpPolicy", env, seed=seed, device="cpu", **settings)
        began = time.process_time()
        model.learn(steps)
        cpu_s = time.process_time() - began
        held = peak_mb()
        returns, crashes = tried(model, env, episodes, seed_of_trials)
    return {
        "returns": float(np.mean(returns)), "deviation": float(np.std(returns)),
        "crashes": crashes / episodes, "decisions_per_s": steps / cpu_s,
        "cpu_s": cpu_s, "peak_mb": held,
    }  # fmt: skip


def tried(model: Any, env: Environment, episodes: int, seed: int) -> tuple[list[float], int]:
    """The returns of episodes, chosen greedily, and how many ended in a crash."""
    returns: list[float] = []
    crashes = 0
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed + episode)
        gained, crashed, late = 0.0, False, False
        while not (crashed or late):
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, crashed, late, _ = env.step(action)
            gained += float(reward)
        returns.append(gained)
        crashes += crashed
    return returns, crashes
