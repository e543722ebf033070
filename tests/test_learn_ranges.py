"""Settings out of their ranges are refused where they are given: every number of every learner, at its user's line."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche import learn
from seiche.errors import SeicheError
from seiche.learn import rl
from tests.learning import random, step

MADE = {
    learn.SGD: {}, learn.Momentum: {}, learn.RMSprop: {}, learn.Adam: {}, learn.AdamW: {},
    learn.Linear: {"start": 1.0, "stop": 0.0, "steps": 4}, learn.Cosine: {"start": 1.0, "steps": 4},
    learn.Warmup: {"steps": 3, "then": 1.0},
    learn.StepDecay: {"start": 1.0, "every": 2, "factor": 0.5},
    learn.ExponentialDecay: {"start": 1.0, "every": 2, "factor": 0.5},
    learn.Dropout: {"rate": 0.5}, learn.BatchNorm: {"size": 3}, rl.ObGD: {},
    rl.StreamQ: {"observations": 2, "actions": 3}, rl.StreamAC: {"observations": 2, "actions": 3},
    rl.DQN: {"observations": 2, "actions": 3}, rl.PPO: {"observations": 2, "actions": 3},
    rl.Feedforward: {"inputs": 2, "parameters": 3}, rl.Recurrent: {"inputs": 2, "parameters": 3},
}  # fmt: skip
FREE = {"seed", "start", "stop", "then", "continuous", "nesterov", "double", "format", "optimiser", "network", "networks"}  # fmt: skip
SETTINGS = [(of, f.name) for of in MADE for f in fields(of) if f.name not in FREE]


def refused(code: Any) -> SeicheError:
    with pytest.raises(SeicheError) as caught:
        code()
    found = caught.value.diagnostics[0]
    assert found.code == "SE112" and found.where.file == __file__, found
    return caught.value


@pytest.mark.parametrize(("of", "name"), SETTINGS, ids=lambda x: getattr(x, "__name__", x))
def test_every_number_has_a_range(of: type, name: str) -> None:
    of(**MADE[of])
    for bad in (-1, float("nan"), "1", True):
        said = str(refused(lambda bad=bad: of(**{**MADE[of], name: bad})))
        assert f"{of.__name__}: {name} is {bad!r}, not a" in said


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: rl.StreamQ(2, 3, discount=1.5), "discount is 1.5, not a number in [0, 1]"),
        (lambda: rl.StreamQ(2, 3, trace=1.1), "trace is 1.1"),
        (lambda: rl.StreamAC(2, 3, horizon=0), "horizon is 0"),
        (lambda: rl.DQN(2, 3, capacity=0), "capacity is 0"),
        (lambda: rl.DQN(2, 3, capacity=10, batch=11), "batch is 11, not a whole number from 1 to 10"),
        (lambda: rl.DQN(2, 3, capacity=1 << 25), "from 1 to 16,777,216"),
        (lambda: rl.DQN(2, 3, capacity=1e4), "capacity is 10000.0, not a whole number"),
        (lambda: rl.DQN(2, 3, explore=1.5), "explore is 1.5"),
        (lambda: rl.PPO(2, 3, clip=0), "clip is 0, not a number in (0, inf)"),
        (lambda: rl.PPO(2, 3, epochs=0), "epochs is 0"),
        (lambda: learn.Adam(-1e-3), "rate is -0.001"),
        (lambda: learn.Adam(float("inf")), "rate is inf"),
        (lambda: learn.Adam(b1=1.0), "b1 is 1.0, not a number in [0, 1)"),
    ],
)  # fmt: skip
def test_what_is_out_of_range(make: Any, said: str) -> None:
    assert said in str(refused(make))


def test_all_are_named_at_once() -> None:
    error = refused(lambda: rl.PPO(0, 3, clip=-1.0, minibatches=0))
    assert [d.what.split()[1] for d in error.diagnostics] == ["observations", "minibatches", "clip"]


def test_functions_check_theirs() -> None:
    x = random(1, 4)
    for bad in (
        lambda x: learn.cross_entropy(x, 0, smoothing=1.0),
        lambda x: learn.huber(x, 0.0, delta=0.0),
        lambda x: learn.clip_by_value(x, -1.0),
        lambda x: learn.clip_by_global_norm(x, 0.0),
        lambda x: rl.replay(x, True, 0)[0],
        lambda x: rl.scaled_reward(x[0], x[0] > 0, x[0] > 1, discount=2.0),
        lambda x: rl.advantage(x, x > 0, trace=-0.5),
    ):
        refused(lambda bad=bad: step(bad, x))


def test_what_is_in_range_or_no_number_yet_passes() -> None:
    @sc.node
    def free(rate: sc.f32) -> sc.f32:
        opt = learn.SGD(rate)
        w, s = sc.state(1.0), sc.state(opt.init(0.0))
        w.next, s.next = opt.update(w, s, w)
        return w.next

    assert sc.compile(free).step(0.5) == 0.5
    learn.Adam(lambda step: 0.1, b1=0.0, epsilon=0.0)
    learn.SGD(np.array(0.5)), learn.SGD(np.float32(0.0)), learn.SGD(1)
    rl.PPO(2, 3, norm_max=float("inf"), discount=1, trace=0.0, entropy=0)
    rl.StreamQ(np.int64(2), 3, explore=0.0, discount=0, horizon=None)
