"""A memory task: a cue is shown once, and asked for at the end (bsuite's "memory length", Osband et al. 2020)."""

from __future__ import annotations

import seiche as sc
from examples.worlds.episode import episode
from seiche import i32, node, state, u32
from seiche.learn.rl import Experience

OBSERVATIONS, ACTIONS = 3, 2


@node
def memory_chain(action: i32, key: u32[2], length: int = 8) -> Experience:
    """Observes the time left (1 to 0), whether it is asked now, and the cue: ±1 at the first tick, 0 afterwards.

    It is asked `length` ticks after the cue; action 1 is right after +1, action 0 after -1. Gives 1 or -1, then ends.
    """
    ended = sc.var(sc.bool_)
    age, opens, chance = episode(ended, key)
    cue = state(0.0)
    cue.next = sc.where(opens, sc.where(sc.random.bernoulli(chance, 0.5), 1.0, -1.0), cue)
    over = age == length + 1
    ended.define(over)
    said = sc.where(action == 1, 1.0, -1.0)
    left = 1.0 - age.to(sc.f32) / float(length)
    asked = sc.where(age == length, 1.0, 0.0)
    observation = sc.stack([left, asked, sc.where(opens, cue.next, 0.0)])
    return Experience(observation, sc.where(over, said * cue, 0.0), over, sc.constant(False))
