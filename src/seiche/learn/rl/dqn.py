"""Deep Q-learning: a ring of transitions, minibatches drawn from it, and a target network on a slower clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from seiche.ir import tree
from seiche.lang import functions as f
from seiche.lang import random, trace
from seiche.lang.clocks import every, merge, when
from seiche.lang.frames import over_time
from seiche.lang.grad import value_and_grad
from seiche.lang.indexing import update
from seiche.lang.memory import fby, hold, state
from seiche.lang.stream import Stream, Tensor, as_stream
from seiche.learn.adam import Adam
from seiche.learn.clipping import clip_by_global_norm
from seiche.learn.layer import Layer, Params
from seiche.learn.losses import huber
from seiche.learn.mlp import MLP
from seiche.learn.optimiser import Optimiser, Rate, average, rate_now
from seiche.learn.ranges import BOUND, COUNT, SHARE, check
from seiche.learn.rl.experience import Experience
from seiche.learn.rl.keeping import kept
from seiche.learn.rl.stream_q import Decision
from seiche.learn.schedules import Linear
from seiche.numbers.formats import bool_, f32

CAPACITY_MAX = 1 << 24
"""Of transitions: a row is drawn by an f32, which counts no further."""


class Transition(NamedTuple):
    """From a tick to the next: what was observed and done, what it brought, and where it led."""

    observation: Stream
    action: Stream
    reward: Stream
    terminated: Stream
    after: Stream


def replay(row: Any, keep: Stream | bool, capacity: int) -> tuple[Any, Stream]:
    """`(the last `capacity` rows, [capacity, ...], how many there are)`: the oldest gives way. Rows where not `keep` are left out.

    >>> import seiche as sc
    >>> @sc.node
    ... def ring(x: sc.f32, keep: sc.bool_):
    ...     return sc.learn.rl.replay(x, keep, 2)
    >>> rows, count = sc.compile(ring).run([1.0, 2.0, 3.0, 4.0], [True, True, False, True])
    >>> rows[-1].tolist(), count.tolist()
    ([4.0, 2.0], [1, 2, 2, 2])
    """
    check("replay", {"capacity": capacity}, capacity=f"1..{CAPACITY_MAX}")
    slot, count = state(0), state(0)
    keeps = as_stream(keep)
    slot.next = f.where(keeps, f.where(slot == capacity - 1, 0, slot + 1), slot)
    count.next = f.where(keeps, f.minimum(count + 1, capacity), count)
    # Out of range changes nothing.
    place = f.where(keeps, slot, capacity)

    def leaf(x: Tensor) -> Stream:
        new = as_stream(x)
        rows = kept("ring", np.zeros((capacity, *new.shape), new.format.dtype), new.format)
        rows.next = update(rows, new, place)
        return rows.next

    return tree.map_tree(leaf, row), count.next


@dataclass(frozen=True)
class DQN:
    """Deep Q-learning (Mnih et al. 2015, algorithm 1): observations `[n]` and rewards in, actions (i32) out.

    Every `train_every` ticks, from tick `starts` on, `steps` times: `batch` transitions are drawn from the last `capacity`,
    each with the same chance, and the optimiser goes down the Huber loss of

        Q(x, a; w) - (reward + discount max Q(x', ·; target))        (without the max where x' is terminal)

    Every `target_every` ticks the target's weights go a part `target_rate` of the way to w: all of it by default, or a little
    at each tick (Lillicrap et al. 2016, algorithm 1). With `double`, the best action of x' is the best by w, its value by
    the target (van Hasselt, Guez & Silver 2016, eq. 4). `explore` as in `StreamQ`. The loss is linear beyond 1: rewards
    scaled so that values are not far above that are learnt more steadily.

    >>> import seiche as sc
    >>> agent = sc.learn.rl.DQN(observations=2, actions=3, capacity=16, batch=4, starts=8)
    >>> @sc.node
    ... def act(x: sc.f32[2], reward: sc.f32, ended: sc.bool_) -> sc.i32:
    ...     return agent(x, reward, ended, False).action
    >>> sc.compile(act).run([[0.0, 1.0]] * 20, [0.0] * 20, [False] * 20).max() < 3
    np.True_
    """

    observations: int
    actions: int
    hidden: int = 64
    capacity: int = 10_000
    batch: int = 32
    starts: int = 1_000
    train_every: int = 4
    steps: int = 1
    target_every: int = 500
    target_rate: float = 1.0
    discount: float = 0.99
    double: bool = True
    norm_max: float = 10.0
    explore: Rate = field(default_factory=lambda: Linear(1.0, 0.05, steps=10_000))
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3))
    network: Layer | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check(
            "DQN", vars(self), observations=COUNT, actions=COUNT, hidden=COUNT, capacity=f"1..{CAPACITY_MAX}", batch=COUNT,
            starts="0..", train_every=COUNT, steps=COUNT, target_every=COUNT, target_rate="(0, 1]", discount=SHARE, norm_max=BOUND,
            explore=SHARE,
        )  # fmt: skip
        check("DQN", vars(self), batch=f"1..{self.capacity}")

    @cached_property
    def net(self) -> Layer:
        """The network: observations to a value per action."""
        sizes = (self.observations, self.hidden, self.hidden, self.actions)
        return self.network or MLP(sizes)

    def init(self) -> Params:
        """Fresh weights."""
        return self.net.init(self.seed)

    def __call__(
        self,
        observation: Stream,
        reward: Tensor,
        terminated: Tensor,
        truncated: Tensor,
        key: Tensor | None = None,
        learns: Tensor = True,
    ) -> Decision:
        """One tick. `key` (u32[2]) is that of the random choices.

        Where `learns` does not hold, it acts greedily, and ring, weights and target stand still: a trained agent at work.
        """
        with trace.instance("dqn"):
            x = Experience.of(observation, reward, terminated, truncated)
            learns = as_stream(learns, bool_)
            tick = state(0)
            tick.next = tick + 1
            root = random.key(self.seed) if key is None else key
            *whether, which = random.split(random.fold_in(root, tick), 3)
            w, action = kept("weights", self.init()), state(0)
            values = self.net(w, x.observation)
            action.next = f.where(
                learns & (random.uniform(whether[0]) < rate_now(self.explore, {"step": tick})),
                random.randint(whether[1], self.actions),
                f.argmax(values),
            )
            before = fby(np.zeros(x.observation.shape, np.float32), x.observation)
            passed = Transition(before, action, x.reward, x.terminated, x.observation)
            ring, count = replay(passed, learns & ~fby(True, x.ended), self.capacity)

            target = self._target(w, learns & (tick % self.target_every == 0))
            due = (tick >= self.starts) & (tick % self.train_every == 0)
            trains = learns & due & (count > 0)
            with every(trains):
                moments = kept("optimiser", self.optimiser.init(self.init()))
                better, moments.next, loss = self._trained(which, ring, count, w, target, moments)
            w.next = merge(trains, better, when(w, trains, on=False))
            return Decision(action.next, f.max(values), hold(loss, 0.0))

    def _target(self, w: Params, moves: Stream) -> Params:
        """The weights that judge what is ahead: where they move, `target_rate` of the way to `w`."""
        if self.target_rate == 1.0:
            return hold(when(w, moves), self.init())
        target = kept("target", self.init())
        nearer = average(1.0 - self.target_rate, when(target, moves), when(w, moves))
        target.next = merge(moves, nearer, when(target, moves, on=False))
        return target.next

    def _trained(
        self,
        key: Stream,
        ring: Transition,
        count: Stream,
        w: Params,
        target: Params,
        moments: Params,
    ) -> tuple[Params, Params, Stream]:
        """`(weights, the optimiser's state, mean loss)` after `steps` minibatches."""

        def step(k: Stream) -> tuple[Params, Params, Stream]:
            now, past = state(w), state(moments)
            drawn = self._drawn(random.fold_in(key, k), ring, count)
            loss, slope = value_and_grad(self._loss)(now, target, drawn)
            slope = clip_by_global_norm(slope, self.norm_max)
            now.next, past.next = self.optimiser.update(slope, past, now)
            return now.next, past.next, loss

        better, moved, losses = over_time(step)(np.arange(self.steps, dtype=np.uint32))
        return _end(better), _end(moved), f.mean(losses)

    def _drawn(self, key: Stream, ring: Transition, count: Stream) -> Transition:
        """A minibatch, each of it any of the `count` transitions with the same chance."""
        # Uniform draws fall short of 1 by 2^-24 at least: floor(u n) < n for n up to that.
        chosen = random.uniform(key, (self.batch,)) * count.to(f32)
        return tree.map_tree(lambda x: f.take(x, chosen.to(count.format), 0), ring)

    def _loss(self, w: Params, target: Params, drawn: Transition) -> Stream:
        judged = self.net(target, drawn.after)
        best = f.argmax(self.net(w, drawn.after) if self.double else judged)
        ahead = f.sum(judged * f.one_hot(best, self.actions), -1)
        wanted = drawn.reward + f.where(drawn.terminated, 0.0, self.discount * ahead)
        values = self.net(w, drawn.observation)
        said = f.sum(values * f.one_hot(drawn.action, self.actions), -1)
        return huber(said, wanted)


def _end(rows: Any) -> Any:
    return tree.map_tree(lambda x: x[-1], rows)
