"""Stream actor-critic(λ): a policy and a value, both learnt from each transition as it comes; discrete and continuous."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seiche.lang import functions as f
from seiche.lang import random, trace
from seiche.lang.grad import grad, value_and_grad
from seiche.lang.memory import fby, state
from seiche.lang.stream import Stream, Tensor
from seiche.learn.layer import Layer, Params
from seiche.learn.ranges import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, check
from seiche.learn.rl.experience import Experience, seen
from seiche.learn.rl.keeping import kept
from seiche.learn.rl.network import streaming_mlp
from seiche.learn.rl.obgd import ObGD
from seiche.learn.rl.policies import Categorical, Gaussian, Policy
from seiche.learn.rl.stream_q import Decision
from seiche.numbers.random import Key


@dataclass(frozen=True)
class StreamAC:
    """Stream AC(λ) (Elsayed, Vasan & Mahmood 2024, algorithm 5): observations `[n]` and rewards in, actions out.

    With v the critic, p the policy, x the features and a the action taken:

        error = reward + discount v(x') - v(x)                       (without v(x') where x' is terminal)
        critic' = ObGD(error, traces of grad v(x))
        policy' = ObGD(error, traces of grad (log p(a | x) + entropy sign(error) H(p(· | x))))

    `actions` discrete ones (i32), or, with `continuous`, that many reals (f32 `[actions]`) of a normal distribution. What an
    action was worth is known a tick later: so a tick learns from the transition that ends there, then acts. Nothing is
    stored but weights, traces, moments and the last features and action. `horizon` and `seed` as in `StreamQ`; `networks`,
    where given, are those of "policy" and "value".

    >>> import seiche as sc
    >>> agent = sc.learn.rl.StreamAC(observations=2, actions=1, hidden=8, continuous=True)
    >>> @sc.node
    ... def act(x: sc.f32[2], reward: sc.f32, ended: sc.bool_) -> sc.f32[1]:
    ...     return agent(x, reward, ended, False).action
    >>> sc.compile(act).run([[0.0, 1.0]] * 3, [0.0] * 3, [False] * 3).shape
    (3, 1)
    """

    observations: int
    actions: int
    continuous: bool = False
    hidden: int = 32
    discount: float = 0.99
    trace: float = 0.8
    rate: float = 1.0
    kappa_policy: float = 3.0
    kappa_value: float = 2.0
    entropy: float = 0.01
    horizon: int | None = None
    networks: Mapping[str, Layer] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check(
            "StreamAC", vars(self), observations=COUNT, actions=COUNT, hidden=COUNT, discount=SHARE, trace=SHARE, rate=POSITIVE,
            kappa_policy=POSITIVE, kappa_value=POSITIVE, entropy=NOT_NEGATIVE, horizon=COUNT,
        )  # fmt: skip

    @property
    def policy(self) -> Policy:
        """What the numbers of the policy's network mean."""
        return Gaussian(self.actions) if self.continuous else Categorical(self.actions)

    @cached_property
    def nets(self) -> Mapping[str, Layer]:
        """The two networks, of the same features."""
        if self.networks is not None:
            return self.networks
        inputs = self.observations + (self.horizon is not None)
        return {
            "policy": streaming_mlp(inputs, self.policy.parameters, self.hidden),
            "value": streaming_mlp(inputs, 1, self.hidden),
        }

    @property
    def optimisers(self) -> dict[str, ObGD]:
        """One for each network."""
        kappas = {"policy": self.kappa_policy, "value": self.kappa_value}
        return {n: ObGD(self.rate, k, self.discount, self.trace) for n, k in kappas.items()}

    def init(self) -> Params:
        """Fresh weights of both."""
        keys = Key.of(self.seed).split(2)
        return {name: net.init(key) for (name, net), key in zip(self.nets.items(), keys)}

    def __call__(
        self,
        observation: Stream,
        reward: Tensor,
        terminated: Tensor,
        truncated: Tensor,
        key: Tensor | None = None,
    ) -> Decision:
        """One tick. `key` (u32[2]) is that of the random choices; instances side by side need one each."""
        with trace.instance("stream_ac"):
            experience = Experience.of(observation, reward, terminated, truncated)
            x = seen(experience, self.discount, self.horizon)
            w = kept("weights", self.init())
            before = fby(np.zeros(x.features.shape, np.float32), x.features)
            said, rises = value_and_grad(self.value)(w["value"], before)
            now = self.value(w["value"], x.features)
            ahead = f.where(x.terminated, 0.0, self.discount * now)
            error = f.where(x.opens, 0.0, x.reward + ahead - said)

            action = state(self.policy.nothing)
            slope = grad(self._praised)(w["policy"], before, action, f.sign(error))
            w.next = self._better(w, {"policy": slope, "value": rises}, error, fby(True, x.opens))
            action.next = self.policy.sample(
                self._key(key), self.nets["policy"](w.next["policy"], x.features)
            )
            return Decision(action.next, now, error)

    def value(self, w: Params, features: Stream) -> Stream:
        """What the critic expects."""
        return self.nets["value"](w, features)[0]

    def _praised(self, w: Params, features: Stream, action: Stream, sign: Stream) -> Stream:
        """What the policy's weights are to raise, by as much as things went better than expected."""
        said = self.nets["policy"](w, features)
        doubt = self.policy.entropy(said)
        return self.policy.log_probability(said, action) + self.entropy * sign * doubt

    def _better(self, w: Params, slopes: Params, error: Stream, opened: Stream) -> Params:
        """The next weights: each network by its traces, which are cut at an episode's first transition."""
        better: Params = {}
        for name, optimiser in self.optimisers.items():
            e = kept(f"traces/{name}", optimiser.init(self.init()[name]))
            e.next = optimiser.accumulate(slopes[name], e, cut=opened)
            better[name] = optimiser.update(error, e.next, w[name])
        return better

    def _key(self, key: Tensor | None) -> Stream:
        tick = state(0)
        tick.next = tick + 1
        return random.fold_in(random.key(self.seed) if key is None else key, tick)
