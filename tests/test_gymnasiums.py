"""Learners in the environments of others: highway-env's and Gymnasium's own; and the example that trains in any of them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import seiche as sc
from bench.apart import apart
from examples.gymnasiums import Setting

gymnasium = pytest.importorskip("gymnasium")

from examples import gymnasiums as example  # noqa: E402
from seiche.ir import tree  # noqa: E402
from seiche.learn.rl import gym  # noqa: E402
from tests.agreement import same_bits  # noqa: E402
from tests.chapters import outputs  # noqa: E402

SIZES = {
    "highway-fast-v0": (25, 5, False),
    "merge-v1": (25, 5, False),
    "roundabout-v1": (25, 5, False),
    "intersection-v2": (105, 3, False),
    "racetrack-v1": (288, 1, True),
    "CartPole-v1": (4, 2, False),
    "Acrobot-v1": (6, 3, False),
    "LunarLander-v3": (8, 4, False),
    "Pendulum-v1": (3, 1, True),
}
SLOW = {"merge-v1", "roundabout-v1", "intersection-v2", "racetrack-v1"}


def worlds(*left_out):
    return [
        pytest.param(name, marks=pytest.mark.long if name in SLOW else ())
        for name in SIZES
        if name not in left_out
    ]


def made(name):
    """The environment, or the word of why it cannot be tried here."""
    try:
        return example.made(name)
    except gymnasium.error.NameNotFound:
        pytest.skip(f"{name}: highway-env is not installed (pip install 'seiche[worlds]')")
    except gymnasium.error.DependencyNotInstalled:
        pytest.skip(f"{name}: Box2D is not installed (pip install 'seiche[worlds]')")


class Kept:
    """A program, with all that it was told and said, and the environment's word on each action."""

    def __init__(self, program):
        self.program, self.told, self.said = program, [], []

    def step(self, *told):
        self.told.append(told)
        self.said.append(self.program.step(*told))
        return self.said[-1]


def watched(env):
    """An environment that keeps the actions that it is given."""
    given, step = [], env.step

    def kept(action):
        given.append(action)
        return step(action)

    env.step = kept
    return env, given


@pytest.mark.cc
@pytest.mark.parametrize("name", worlds())
def test_a_learner_lives_in_each_of_them(name):
    """Sizes, bounds, finite weights; and the interpreter, told the same, does the same in bits."""
    env, given = watched(made(name))
    observations, actions, continuous = gym.sizes(env)
    assert (observations, actions, continuous) == SIZES[name]
    steps = 60 if name == "highway-fast-v0" else 200
    learner = "stream_ac" if continuous else "stream_q"
    agent = example.LEARNERS[learner](env, Setting(learner, steps, hidden=8), 0)
    program = sc.compile(gym.learner(agent, observations), target="c")
    kept = Kept(program)
    done = gym.train(kept, env, steps, seed=3)
    assert len(given) == steps and all(env.action_space.contains(np.asarray(a)) for a in given)
    assert sum(done.lengths) <= steps and np.isfinite(done.returns).all()
    assert all(told[0].shape == (observations,) for told in kept.told)
    assert all(np.isfinite(v).all() for v in program.state.values() if v.dtype.kind == "f")
    again = sc.compile(gym.learner(agent, observations))
    for told, said in list(zip(kept.told, kept.said))[:40]:
        assert same_bits(again.step(*told), said)


@pytest.mark.long
@pytest.mark.cc
@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1"])
def test_proximal_policy_optimisation_over_several(name):
    setting = Setting("ppo", 640, side=3)
    done, timed, agent = example.trained(name, setting, seed=2)
    state, fresh = timed.program.state, agent.init()
    assert all(np.isfinite(v).all() for v in state.values() if v.dtype.kind == "f")
    weights = [v for n, v in state.items() if "/weights/" in n]
    starts = tree.flatten(fresh)[0]
    assert len(weights) == len(starts) and not all(
        any(same_bits(w, s) for s in starts) for w in weights
    )
    assert done.returns and timed.ticks >= 640 // 3


@pytest.mark.cc
def test_a_trial_is_greedy_and_changes_nothing():
    setting = Setting("stream_q", 300, hidden=8)
    _, timed, agent = example.trained("CartPole-v1", setting, seed=0)
    before = dict(timed.program.state)
    frozen = example.compiled(agent, learns=False)
    frozen.state = before
    first = gym.trial(frozen, example.made("CartPole-v1"), 3, seed=10_000)
    assert first == example.tested("CartPole-v1", timed, agent, 3)
    weights = [n for n in before if "/weights/" in n]
    assert weights and all(same_bits(frozen.state[n], before[n]) for n in weights)


@pytest.mark.cc
@pytest.mark.parametrize(
    "more", [["--trial", "2"], ["--learner", "stream_ac", "--discount", "0.9"]]
)
def test_the_command_says_what_came_of_it(more, monkeypatch, capsys):
    line = ["gymnasiums", "CartPole-v1", "--steps", "300", "--hidden", "8"]
    monkeypatch.setattr(sys, "argv", [*line, *more])
    example.main()
    said = capsys.readouterr().out
    assert "decisions/s: all, learner alone" in said and "seed 0: the last 100" in said
    assert ("2 episodes greedily" in said) == ("--trial" in more)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (["highwai-v0"], "doesn't exist"),
        (["Blackjack-v1"], "observations must be an array"),
        (["Pendulum-v1", "--learner", "stream_q"], "discrete actions"),
        (["CartPole-v1", "--steps", "0"], "at least one"),
    ],
)
def test_what_cannot_be_trained_is_said(line, why, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gymnasiums", *line])
    with warnings.catch_warnings(), pytest.raises(SystemExit):
        warnings.simplefilter("ignore")
        example.main()
    assert why in capsys.readouterr().err


def test_the_settings_that_are_not_given_follow_the_world():
    assert example.chosen(example.made("CartPole-v1"), None, False) == {
        "learner": "stream_q", "discount": 0.99, "horizon": 500,
    }  # fmt: skip
    assert example.chosen(made("highway-fast-v0"), "ppo", False)["discount"] == 0.8


@pytest.mark.cc
def test_what_the_page_shows_is_what_it_prints(tmp_path):
    """`python -m tests.chapters docs/environments.md` writes it anew."""
    document = Path(__file__).parent.parent / "docs" / "environments.md"
    shown = [(p.shown.text, printed) for p, printed in outputs(document, tmp_path) if p.shown]
    assert len(shown) == 1 and all(text == printed for text, printed in shown)


def test_the_peak_of_memory_is_that_of_this_process_alone():
    """Not of the one that started it."""
    held = np.ones(50_000_000)
    assert held.nbytes / 2**20 < example.peak_mb()
    assert 10 < apart("examples.gymnasiums:peak_mb") < held.nbytes / 2**20


@pytest.mark.parametrize("word", ["VmRSS:\t   12 kB\n", None])
def test_a_system_whose_status_tells_no_peak_is_asked_otherwise(word, monkeypatch):
    """Sandboxes that emulate Linux leave it out; others have no such file."""
    monkeypatch.setattr(Path, "exists", lambda self: word is not None)
    monkeypatch.setattr(Path, "read_text", lambda self: word)
    assert example.peak_mb() > 10


def test_all_worlds_of_the_example_are_tried():
    assert set(example.WORLDS) == set(SIZES)


@pytest.mark.long
@pytest.mark.cc
@pytest.mark.parametrize(
    ("learner", "steps", "reached"), [("stream_q", 60_000, 150), ("ppo", 60_000, 150)]
)
def test_the_cart_pole_of_gymnasium_is_learnt(learner, steps, reached):
    returns = example.trained("CartPole-v1", Setting(learner, steps, horizon=500), seed=0)[
        0
    ].returns
    early, late = np.mean(returns[:20]), np.mean(returns[-50:])
    assert early < 60 and late > reached
