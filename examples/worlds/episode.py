"""What all worlds share: an episode's age, its opening, and fresh chance at each tick."""

from __future__ import annotations

import seiche as sc
from seiche import state


def episode(ended: sc.Stream, key: sc.Stream) -> tuple[sc.Stream, sc.Stream, sc.Stream]:
    """`(ticks since the opening, whether it opens now, a key for this tick)`; a tick after `ended` the next one opens."""
    age, tick = state(0, until=ended), state(0)
    age.next, tick.next = age + 1, tick + 1
    return age, age == 0, sc.random.fold_in(key, tick)
