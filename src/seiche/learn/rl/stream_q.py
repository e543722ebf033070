"""Stream Q(λ): control by one value per action, learnt from each transition as it comes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from seiche.lang import functions as f
from seiche.lang import random, trace
from seiche.lang.grad import value_and_grad
from seiche.lang.memory import state
from seiche.lang.stream import Stream, Tensor, as_stream
from seiche.learn.layer import Layer, Params
from seiche.learn.optimiser import Rate, rate_now
from seiche.learn.ranges import COUNT, POSITIVE, SHARE, check
from seiche.learn.rl.experience import Experience, seen
from seiche.learn.rl.keeping import kept
from seiche.learn.rl.network import streaming_mlp
from seiche.learn.rl.obgd import ObGD
from seiche.learn.schedules import Linear
from seiche.numbers.formats import bool_


class Decision(NamedTuple):
    """What an agent does at a tick, and what it thinks: the value that it expects, and how wrong its last one was."""

    action: Stream
    value: Stream
    error: Stream


@dataclass(frozen=True)
class StreamQ:
    """Stream Q(λ) (Elsayed, Vasan & Mahmood 2024, algorithm 4): observations `[n]` and rewards in, actions (i32) out.

    With w the weights, x the features, a the action taken and Q(x, ·; w) the network:

        error = reward + discount max Q(x', ·; w) - Q(x, a; w)      (without the max where x' is terminal)
        w'    = ObGD(error, traces)                                  traces' = discount trace traces + grad Q(x', a'; w')

    The action is greedy but for a share `explore` of the ticks; `explore` and `kappa` (the caution of ObGD's steps) are numbers,
    or schedules of the tick: a `kappa` that rises lets a policy settle. Traces are cut where an
    episode opens and where the action taken is not a greedy one (Watkins 1989). Nothing is stored but weights, traces and
    moments: three numbers per weight and tick. `horizon`, where given, adds the time since the episode opened, over
    `horizon`, to the features; `network` takes the place of `streaming_mlp`, which has `hidden` units.

    >>> import seiche as sc
    >>> agent = sc.learn.rl.StreamQ(observations=2, actions=3)
    >>> @sc.node
    ... def act(x: sc.f32[2], reward: sc.f32, ended: sc.bool_) -> sc.i32:
    ...     return agent(x, reward, ended, False).action
    >>> sc.compile(act).run([[0.0, 1.0]] * 4, [0.0] * 4, [False] * 4).tolist()
    [1, 0, 2, 2]
    """

    observations: int
    actions: int
    hidden: int = 32
    discount: float = 0.99
    trace: float = 0.8
    rate: float = 1.0
    kappa: Rate = 2.0
    explore: Rate = field(default_factory=lambda: Linear(1.0, 0.01, steps=25_000))
    horizon: int | None = None
    network: Layer | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check(
            "StreamQ", vars(self), observations=COUNT, actions=COUNT, hidden=COUNT, discount=SHARE, trace=SHARE, rate=POSITIVE,
            kappa=POSITIVE, explore=SHARE, horizon=COUNT,
        )  # fmt: skip

    @cached_property
    def net(self) -> Layer:
        """The network: features to a value per action."""
        inputs = self.observations + (self.horizon is not None)
        return self.network or streaming_mlp(inputs, self.actions, self.hidden)

    def optimiser(self, step: Stream) -> ObGD:
        """What turns errors into weights at that tick."""
        kappa = as_stream(self.kappa(step)) if callable(self.kappa) else self.kappa
        return ObGD(self.rate, kappa, self.discount, self.trace)

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
        """One tick. `key` (u32[2]) is that of the random choices; instances side by side need one each.

        Where `learns` does not hold, it acts greedily, and weights and moments stand still: a trained agent at work.
        """
        with trace.instance("stream_q"):
            experience = Experience.of(observation, reward, terminated, truncated)
            learns = as_stream(learns, bool_)
            x = seen(experience, self.discount, self.horizon, learns)
            said = state(0.0)
            tick = state(0)
            tick.next = tick + 1
            optimiser = self.optimiser(tick)
            w, e = kept("weights", self.init()), kept("traces", optimiser.init(self.init()))
            ahead = f.where(x.terminated, 0.0, f.max(self.net(w, x.features)))
            error = f.where(x.opens | ~learns, 0.0, x.reward + self.discount * ahead - said)
            w.next = optimiser.update(error, e, w)
            (value, (action, greedy)), slope = value_and_grad(self._choice, has_aux=True)(
                w.next, x.features, self._draw(tick, key, learns)
            )
            said.next = value
            e.next = optimiser.accumulate(slope, e, cut=x.opens | ~greedy | ~learns)
            return Decision(action, value, error)

    def _draw(self, tick: Stream, key: Tensor | None, learns: Stream) -> Any:
        """`(whether to explore, the action to explore)`."""
        root = random.key(self.seed) if key is None else key
        whether, which = random.split(random.fold_in(root, tick))
        explores = random.uniform(whether) < rate_now(self.explore, {"step": tick})
        return explores & learns, random.randint(which, self.actions)

    def _choice(self, w: Params, features: Stream, draw: Any) -> tuple[Stream, Any]:
        values = self.net(w, features)
        best = f.max(values)
        action = f.where(draw[0], draw[1], f.argmax(values))
        value = values[action]
        return value, (action, value == best)
