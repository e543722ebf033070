"""Proximal policy optimisation: rollouts are frames, advantages costates, epochs and minibatches rows of a loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from seiche.errors import fail
from seiche.ir import tree
from seiche.lang import functions as f
from seiche.lang import random, trace
from seiche.lang.frames import frame, over_time
from seiche.lang.grad import value_and_grad
from seiche.lang.memory import costate, fby, first, hold, state
from seiche.lang.stream import Stream, Tensor, as_stream
from seiche.learn.adam import Adam
from seiche.learn.clipping import clip_by_global_norm
from seiche.learn.layer import Params
from seiche.learn.optimiser import Optimiser
from seiche.learn.ranges import BOUND, COUNT, NOT_NEGATIVE, POSITIVE, SHARE, check
from seiche.learn.rl.actor_critic import ActorCritic, Feedforward
from seiche.learn.rl.experience import Experience
from seiche.learn.rl.keeping import kept
from seiche.learn.rl.policies import Categorical, Gaussian, Policy
from seiche.numbers.formats import bool_


class Deed(NamedTuple):
    """What n instances did at a tick, `[n, ...]`, and what they knew then."""

    features: Stream
    opens: Stream
    action: Stream
    log_probability: Stream
    value: Stream
    memory: Any


class Row(NamedTuple):
    """A transition of n instances, `[n, ...]`: what was known and done at a tick, and what came of it at the next."""

    features: Stream
    opens: Stream
    action: Stream
    log_probability: Stream
    value: Stream
    gain: Stream
    counts: Stream


class Actions(NamedTuple):
    """What n instances do at a tick, and the loss of the last update."""

    action: Stream
    value: Stream
    loss: Stream


def advantage(error: Stream, ended: Stream, discount: float = 0.99, trace: float = 0.95) -> Stream:
    """What came of a tick beyond what was expected, `[n]`, in a frame or scan: the discounted sum of the errors ahead.

        A = error + discount trace A of the next tick        (without it where the episode `ended`)

    Generalised advantage estimation (Schulman et al. 2016, eq. 16): a costate.

    >>> import seiche as sc
    >>> @sc.node
    ... def gains(error: sc.f32[1], ended: sc.bool_[1]) -> sc.f32[1]:
    ...     with sc.frame(max=3):
    ...         return sc.learn.rl.advantage(error, ended, 1.0, 0.5)
    >>> sc.compile(gains).run([[1.0], [1.0], [1.0]], [[False], [True], [False]])[:, 0].tolist()
    [1.5, 1.0, 1.0]
    """
    check("advantage", {"discount": discount, "trace": trace}, discount=SHARE, trace=SHARE)
    ahead = costate(np.zeros(error.shape, error.format.dtype), format=error.format)
    ahead.prev = error + f.where(ended, 0.0, discount * trace * ahead)
    return ahead.prev


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation with a clipped objective (Schulman et al. 2017, eq. 9) over n `instances` of a world.

    Every `ticks` ticks the frame of a rollout closes: advantages have been swept back over it, and within that tick the
    transitions are gone through `epochs` times in `minibatches` parts, an Adam step each:

        loss = mean(max(-r A, -clip(r, 1 ± clip) A)) + value_weight mean((v - R)²) / 2 - entropy mean(H)

    with r the ratio of an action's probability to what it was, A the advantage (of mean 0 and deviation 1 in a minibatch) and
    R = A + v the return. A network with memory (`Recurrent`) is trained by back-propagation through the rollout; minibatches
    are then whole instances. Inputs and actions have a first length of `instances`. Raises SE112 where a setting is out of its range, or
    minibatches are no equal parts.

    >>> import seiche as sc
    >>> agent = sc.learn.rl.PPO(observations=2, actions=3, instances=4, ticks=8)
    >>> @sc.node
    ... def act(x: sc.f32[4, 2], reward: sc.f32[4], ended: sc.bool_[4]) -> sc.i32[4]:
    ...     return agent(x, reward, ended, sc.zeros(4) > 0).action
    >>> sc.compile(act).step(np.zeros((4, 2), np.float32), np.zeros(4, np.float32), np.zeros(4, bool)).shape
    (4,)
    """

    observations: int
    actions: int
    continuous: bool = False
    instances: int = 8
    ticks: int = 128
    epochs: int = 4
    minibatches: int = 4
    discount: float = 0.99
    trace: float = 0.95
    clip: float = 0.2
    value_weight: float = 0.5
    entropy: float = 0.01
    norm_max: float = 0.5
    optimiser: Optimiser = field(default_factory=lambda: Adam(3e-4, epsilon=1e-5))
    network: ActorCritic | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check(
            "PPO", vars(self), observations=COUNT, actions=COUNT, instances=COUNT, ticks=COUNT, epochs=COUNT, minibatches=COUNT, discount=SHARE,
            trace=SHARE, clip=POSITIVE, value_weight=NOT_NEGATIVE, entropy=NOT_NEGATIVE, norm_max=BOUND,
        )  # fmt: skip

    @property
    def policy(self) -> Policy:
        """What the numbers of the network mean."""
        return Gaussian(self.actions) if self.continuous else Categorical(self.actions)

    @cached_property
    def net(self) -> ActorCritic:
        """The network."""
        return self.network or Feedforward(self.observations, self.policy.parameters)

    @cached_property
    def remembers(self) -> bool:
        """Whether the network has memory."""
        return bool(tree.flatten(self.net.memory(1))[0])

    def init(self) -> Params:
        """Fresh weights."""
        return self.net.init(self.seed)

    def __call__(
        self,
        observation: Stream,
        reward: Stream,
        terminated: Stream,
        truncated: Stream,
        key: Tensor | None = None,
    ) -> Actions:
        """One tick of all instances."""
        with trace.instance("ppo"):
            x = Experience.of(observation, reward, terminated, truncated)
            root = random.key(self.seed) if key is None else key
            acting = kept("acting", self.init())
            opens = fby(np.ones(self.instances, bool), x.ended)
            memory = kept("memory", self.net.memory(self.instances))
            said, value, memory.next = self.net.step(acting, memory, x.observation, opens)
            action = self.policy.sample(_keyed(root, 0), said)
            logs = self.policy.log_probability(said, action)
            did = _before(Deed(x.observation, opens, action, logs, value, memory))

            w = kept("weights", self.init())
            moments = kept("optimiser", self.optimiser.init(self.init()))
            with frame(max=self.ticks) as rollout:
                ahead = f.where(x.terminated, 0.0, self.discount * value)
                error = x.reward + ahead - did.value
                gain = advantage(error, x.ended, self.discount, self.trace)
                *told, start = did
                rows = Row(*rollout.stack((*told, gain, ~opens)))
                at_first = rollout.last(_at_opening(start))
                root = root if key is None else rollout.last(as_stream(key))
            w.next, moments.next, loss = self.train(_keyed(root, 1), rows, at_first, w, moments)
            acting.next = hold(w.next, self.init())
            return Actions(action, value, hold(loss, 0.0))

    def at_work(self, observation: Stream, ended: Tensor) -> Stream:
        """A trained agent at work: the likeliest actions, by weights that stand still; `ended [n]` as in an experience.

        Its states below `acting` are called as a learner's, given a variable of the same name: what one learnt, the other
        takes. It may have other `instances` than that had.
        """
        with trace.instance("ppo"):
            acting = kept("acting", self.init())
            acting.next = acting
            opens = fby(np.ones(self.instances, bool), as_stream(ended, bool_))
            memory = kept("memory", self.net.memory(self.instances))
            said, _, memory.next = self.net.step(acting, memory, as_stream(observation), opens)
            return self.policy.likeliest(said)

    def train(
        self, key: Stream, rows: Row, memory: Any, w: Params, moments: Params
    ) -> tuple[Params, Params, Stream]:
        """`(weights, the optimiser's state, mean loss)` after all epochs over a rollout, `[ticks, n, ...]`."""

        def update(chosen: Stream) -> tuple[Params, Params, Stream]:
            now, past = state(w), state(moments)
            loss, slope = value_and_grad(self._loss)(now, *self._part(rows, memory, chosen))
            slope = clip_by_global_norm(slope, self.norm_max)
            now.next, past.next = self.optimiser.update(slope, past, now)
            return now.next, past.next, loss

        better, moved, losses = over_time(update)(self._orders(key))
        return _end(better), _end(moved), f.mean(losses)

    def _orders(self, key: Stream) -> Stream:
        """The indices of each minibatch, a row each: of transitions, or of instances where there is memory."""
        count = self.instances if self.remembers else self.instances * self.ticks
        if count % self.minibatches:
            parts = "instances" if self.remembers else "transitions of a rollout"
            what = f"PPO: {self.minibatches} minibatches are no equal parts of {count} {parts}"
            raise fail("SE112", what, trace.here())
        orders = [random.permutation(k, count) for k in random.split(key, self.epochs)]
        return f.reshape(f.stack(orders), (self.epochs * self.minibatches, -1))

    def _part(self, rows: Row, memory: Any, chosen: Stream) -> tuple[Row, Any]:
        if self.remembers:
            part = tree.map_tree(lambda x: f.take(x, chosen, 1), rows)
            return part, tree.map_tree(lambda m: f.take(m, chosen, 0), memory)

        def leaf(x: Stream) -> Stream:
            return f.take(f.reshape(x, (-1, *x.shape[2:])), chosen, 0)

        return tree.map_tree(leaf, rows), memory

    def _loss(self, w: Params, rows: Row, memory: Any) -> Stream:
        """Of transitions `[*]`, those that count."""
        said, value = self._judged(w, rows, memory)
        share = rows.counts.to(value.format)
        share = share / f.maximum(f.sum(share), 1.0)
        mean = f.sum(share * rows.gain)
        spread = f.sqrt(f.sum(share * f.square(rows.gain - mean)))
        gain = (rows.gain - mean) / (spread + 1e-8)
        ratio = f.exp(self.policy.log_probability(said, rows.action) - rows.log_probability)
        bounded = f.clip(ratio, 1 - self.clip, 1 + self.clip)
        worse = f.maximum(-ratio * gain, -bounded * gain)
        off = 0.5 * f.square(value - (rows.gain + rows.value))
        doubt = self.policy.entropy(said)
        return f.sum(share * (worse + self.value_weight * off - self.entropy * doubt))

    def _judged(self, w: Params, rows: Row, memory: Any) -> tuple[Stream, Stream]:
        """The network's words on the rows: at once, or tick by tick from what it remembered at the first."""
        if not self.remembers:
            said, value, _ = self.net.step(w, memory, rows.features, rows.opens)
            return said, value

        def tick(x: Stream, opens: Stream) -> tuple[Stream, Stream]:
            h = state(memory)
            said, value, h.next = self.net.step(w, h, x, opens)
            return said, value

        return over_time(tick)(rows.features, rows.opens)


def _keyed(root: Tensor, use: int) -> Stream:
    """A key per tick (of the clock here) and use."""
    tick = state(0)
    tick.next = tick + 1
    return random.fold_in(random.fold_in(root, np.uint32(use)), tick)


def _before(x: Deed) -> Deed:
    """The same a tick ago; zeros at first."""

    def leaf(s: Stream) -> Stream:
        return fby(np.zeros(s.shape, s.format.dtype), s)

    return tree.map_tree(leaf, x)


def _at_opening(x: Any) -> Any:
    """In a frame: a tree as it was at the first tick."""

    def leaf(s: Stream) -> Stream:
        start = state(np.zeros(s.shape, s.format.dtype), format=s.format)
        start.next = f.where(first(), s, start)
        return start.next

    return tree.map_tree(leaf, x)


def _end(rows: Any) -> Any:
    return tree.map_tree(lambda x: x[-1], rows)
