"""The world as a Gymnasium environment (extra `rl`), so that other libraries' agents can drive in it."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Discrete

import seiche as sc
from examples.driving import features
from examples.driving.conditions import DRY, Conditions
from examples.driving.drivers import mind
from examples.driving.world import ACTIONS, world
from seiche import i32, node, u32
from seiche.learn.rl import Experience, gym

BOUND = 20.0
"""Of every feature, and more."""


@node
def sensed_world(
    action: i32, key: u32[2], latched: bool = False, of: Conditions = DRY
) -> Experience:
    """The world as a learner is told of it: the sensors' words, or, with `latched`, what is believed and remembered too."""
    now = world(action, key, of=of)
    seen = features.sensed(now.sensors)
    if latched:
        knows = mind(now.sensors, sc.fby(True, now.ended), action, of)
        seen = features.remembered(now.sensors, knows.seen, knows.known)
    return Experience(seen, now.reward, now.terminated, now.truncated)


def environment(latched: bool = False, of: Conditions = DRY) -> gym.World:
    """An environment whose observations are `features.sensed`, or with `latched` `features.remembered`.

    >>> env = environment()
    >>> observation, _ = env.reset(seed=0)
    >>> observation.shape, int(env.action_space.n)
    ((19,), 6)
    """
    length = features.REMEMBERED if latched else features.SENSED
    program = sc.compile(sensed_world, target="c", latched=latched, of=of)
    return gym.World(program, Box(-BOUND, BOUND, (length,), np.float32), Discrete(len(ACTIONS)))
