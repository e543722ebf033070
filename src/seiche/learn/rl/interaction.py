"""A world and an agent, each answering the other: one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from seiche.lang.memory import fby, var
from seiche.lang.stream import Tensor, as_stream
from seiche.learn.rl.experience import Experience


def interaction(
    world: Callable[[Any], Experience], agent: Callable[..., Any], idle: Tensor
) -> tuple[Experience, Any]:
    """`(the experience, what the agent says of it)` of each tick.

    The world takes the action of the tick before (at first `idle`, which says its type); the agent takes the experience, and
    gives its action as `.action`. Instances side by side: `world=sc.over_space(one, n)`, and an agent over n of them.

    >>> import seiche as sc
    >>> from seiche.learn.rl import Experience, StreamQ, interaction
    >>> @sc.node
    ... def guessing() -> sc.f32:
    ...     fair = sc.constant(False)
    ...     world = lambda said: Experience(sc.zeros(1), sc.where(said == 1, 1.0, 0.0), fair, fair)
    ...     return interaction(world, StreamQ(1, 2), 0)[0].reward
    >>> sc.compile(guessing).run(ticks=3).tolist()
    [0.0, 1.0, 0.0]
    """
    start = as_stream(np.asarray(idle, np.int32) if np.asarray(idle).dtype.kind in "iu" else idle)
    action = var(start.type)
    now = world(fby(start, action))
    said = agent(*now)
    action.define(said.action)
    return now, said
