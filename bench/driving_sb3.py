"""Stable-Baselines3's PPO and DQN in the driving world, for `bench/driving.py`: the only module that imports it."""

from __future__ import annotations

import time
import warnings
from typing import Any

import torch
from stable_baselines3 import DQN, PPO

from bench.report import Bench, Result
from examples.driving.environment import environment
from examples.driving.world import LONGEST

STEPS, EPISODES = 50_000, 50
SETTINGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "PPO": (PPO, {"n_steps": 1024, "batch_size": 64, "n_epochs": 10, "gamma": 0.95}),
    "DQN": (DQN, {"gamma": 0.95, "learning_starts": 1_000, "target_update_interval": 500}),
}


def run(bench: Bench, result: Result) -> dict[str, float]:
    """Trains each with latched facts, on one core; shows returns and crashes, and gives decisions per CPU-second."""
    torch.set_num_threads(1)
    rows: list[list[str]] = []
    rates: dict[str, float] = {}
    steps, episodes = bench.pick(STEPS, 1_200), bench.pick(EPISODES, 2)
    for name, (make, settings) in SETTINGS.items():
        with warnings.catch_warnings(), bench.status(f"Stable-Baselines3 {name}"):
            warnings.simplefilter("ignore")
            model = make("MlpPolicy", environment(latched=True), seed=0, device="cpu", **settings)
            began = time.process_time()
            model.learn(steps)
            rate = rates[name] = steps / (time.process_time() - began)
        gained, crashes = tried(model, episodes)
        rows.append([name, f"{gained:.1f}", f"{crashes:.3f}", f"{rate:,.0f}"])
        result.data[f"sb3 {name}"] = {"return": gained, "crashes": crashes, "decisions_per_s": rate}
    bench.table(
        f"Stable-Baselines3 with latched facts, {steps:,} decisions, one seed",
        ["", "return", "crashes", "decisions/s"],
        rows,
    )
    return rates


def tried(model: Any, episodes: int) -> tuple[float, float]:
    """`(mean return, crashes per episode)`."""
    env = environment(latched=True)
    total, crashes = 0.0, 0
    for episode in range(episodes):
        observation, _ = env.reset(seed=1000 + episode)
        for _ in range(LONGEST):
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, crashed, late, _ = env.step(action)
            total += reward
            crashes += crashed
            if crashed or late:
                break
    return total / episodes, crashes / episodes
