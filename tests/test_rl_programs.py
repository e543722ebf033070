"""Worlds and learners as one program: every form of it in the same bits, and learners that must learn."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import seiche as sc
from examples import reinforcement as example
from examples.worlds import cart_pole, memory_chain
from seiche import f32, learn
from seiche.learn import rl
from seiche.learn.rl.experience import Experience
from tests.learning import in_c


def closed(agent, world=cart_pole.cart_pole, idle=0, seed=3):
    """The node of a world and an agent."""

    @sc.node
    def loop():
        now, said = rl.interaction(lambda a: world(a, sc.random.key(seed)), agent, idle)
        return now.observation, now.reward, now.ended, said.action

    return loop


def many(agent, n, world=cart_pole.cart_pole):
    keys = np.stack([k.words for k in sc.Key.of(7).split(n)])
    return closed(agent, lambda a, _: sc.over_space(world, n)(a, keys), np.zeros(n, np.int32))


def reaching(action, key):
    """A world of one tick's memory: say what is observed. Reward falls with the square of the error."""
    tick, asked = sc.state(0), sc.state(0.0)
    tick.next = tick + 1
    asked.next = sc.random.uniform(sc.random.fold_in(key, tick), (), -1.0, 1.0)
    ended = tick % 10 == 9
    reward = -sc.square(action[0] - asked)
    return Experience(asked.next.reshape(1), reward, sc.constant(False), ended)


AGENTS = {
    "stream_q": (lambda: closed(rl.StreamQ(4, 2, hidden=8, horizon=50)), 80),
    "stream_ac": (lambda: closed(rl.StreamAC(4, 2, hidden=8)), 80),
    "continuous": (
        lambda: closed(
            rl.StreamAC(1, 1, continuous=True, hidden=8), reaching, np.zeros(1, np.float32)
        ),
        80,
    ),
    "ppo": (lambda: many(rl.PPO(4, 2, instances=3, ticks=8, minibatches=2, epochs=2), 3), 30),
    "ppo_gru": (
        lambda: many(
            rl.PPO(
                3, 2, instances=4, ticks=8, minibatches=2, epochs=2, network=rl.Recurrent(3, 2, 5)
            ),
            4,
            memory_chain.memory_chain,
        ),
        30,
    ),
    "dqn": (
        lambda: closed(
            rl.DQN(4, 2, hidden=8, capacity=32, batch=4, starts=20, target_every=16, steps=2)
        ),
        80,
    ),
}
ALL = pytest.mark.parametrize("name", AGENTS)


def bits(program) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in program.state.items()}


def moved(program) -> bool:
    """Whether some weight is not what it was at first."""
    before = dict(program.lowered.initial)
    return any(
        "/weights/" in name and (value != before[name]).any()
        for name, value in program.state.items()
    )


@functools.cache
def compiled(name, target):
    return sc.compile(AGENTS[name][0](), target=target)


@in_c
@ALL
def test_the_interpreter_and_c_agree_in_bits(name):
    interpreted, in_c = (compiled(name, target) for target in ("interp", "c"))
    interpreted.reset(), in_c.reset()
    ticks = AGENTS[name][1]
    for a, b in zip(interpreted.run(ticks=ticks), in_c.run(ticks=ticks)):
        assert a.tobytes() == b.tobytes()
    assert bits(interpreted) == bits(in_c)
    assert moved(in_c), "nothing was learnt: the law was not put to a test"


@in_c
@ALL
def test_a_saved_learner_goes_on_bit_for_bit_on_another_target(name, tmp_path):
    interpreted, in_c = (compiled(name, target) for target in ("interp", "c"))
    in_c.reset()
    ticks, half = AGENTS[name][1], AGENTS[name][1] * 3 // 4
    wanted = in_c.run(ticks=ticks)
    last = bits(in_c)
    in_c.reset()
    in_c.run(ticks=half)
    in_c.state.save(tmp_path / "half.npz")
    interpreted.state.load(tmp_path / "half.npz")
    for a, b in zip(interpreted.run(ticks=ticks - half), wanted):
        np.testing.assert_array_equal(a, b[half:])
    assert bits(interpreted) == last


@in_c
@ALL
def test_runs_repeat(name):
    """All chance is in the seed: from its first tick on, a program does it all again."""
    program = compiled(name, "c")
    ticks, seen = AGENTS[name][1], []
    for _ in range(2):
        program.reset()
        outputs = program.run(ticks=ticks)
        seen.append(([x.tobytes() for x in outputs], bits(program)))
    assert seen[0] == seen[1]
    program.run(ticks=ticks)
    assert bits(program) != seen[1][1], "the run was no fixed point"


def test_minibatches_are_drawn_by_the_key():
    """PPO with a key that is a stream: the same one gives the same weights, another one others."""
    agent = rl.PPO(4, 2, instances=4, ticks=6, minibatches=2, epochs=1, seed=2)
    x, reward = np.random.default_rng(3).normal(size=(2, 14, 4)).astype(np.float32)

    @sc.node
    def act(x: f32[4], reward: f32[4], key: sc.u32[2]):
        seen = sc.broadcast_to(sc.expand_dims(x, 1), (4, 4))
        done = sc.constant(np.zeros(4, np.bool_))
        return agent(seen, reward, done, done, key=key).action

    program = sc.compile(act)

    def after(key):
        program.reset()
        program.run(x, reward, np.tile(sc.random.key(key), (14, 1)))
        return {n: v for n, v in bits(program).items() if "/weights/" in n}

    assert after(1) == after(1) != after(2)


def test_an_agent_at_work_learns_nothing_and_acts_greedily():
    """Half of a run at school, half at work: weights and scales stand still, and no action is drawn by chance."""
    agent = rl.StreamQ(4, 2, hidden=6, explore=1.0)

    @sc.node
    def working(learns: sc.bool_):
        _, said = rl.interaction(
            lambda a: cart_pole.cart_pole(a, sc.random.key(3)),
            lambda *x: agent(*x, learns=learns),
            0,
        )
        return said.action, said.error

    program = sc.compile(working)
    program.run(np.ones(40, np.bool_))
    before = {n: v for n, v in program.state.items() if "/weights/" in n or "moments" in n}
    _, error = program.run(np.zeros(40, np.bool_))
    assert len(before) > 8 and not error.any()
    for name, value in before.items():
        np.testing.assert_array_equal(program.state[name], value, err_msg=name)


@functools.cache
def schooled():
    """A deep Q-learner that is told when it learns: its action, and the value that it expects."""
    agent = rl.DQN(
        4, 2, hidden=6, capacity=32, batch=4, starts=10, train_every=2, target_every=2,
        target_rate=0.25, explore=1.0,
    )  # fmt: skip

    @sc.node
    def working(learns: sc.bool_):
        now, said = rl.interaction(
            lambda a: cart_pole.cart_pole(a, sc.random.key(3)),
            lambda *x: agent(*x, learns=learns),
            0,
        )
        return now.observation, said.action, said.value

    return sc.compile(working)


def test_deep_q_learning_at_work_learns_nothing_and_acts_greedily():
    program = schooled()
    program.reset()
    _, drawn, _ = program.run(np.ones(40, np.bool_))
    parts = ("/ring/", "/weights/", "/target/", "/optimiser/")
    before = {n: v for n, v in bits(program).items() if any(part in n for part in parts)}
    assert all(any(part in n for n in before) for part in parts)
    w = weights_of(program, "weights")
    seen, action, value = program.run(np.zeros(40, np.bool_))
    assert before.items() <= bits(program).items()
    for p in w[:-1]:
        seen = np.maximum(seen @ p["weight"] + p["bias"], 0)
    values = seen @ w[-1]["weight"] + w[-1]["bias"]
    np.testing.assert_array_equal(action, values.argmax(-1))
    np.testing.assert_allclose(value, values.max(-1), rtol=1e-4, atol=1e-6)
    assert set(drawn) == {0, 1}


def weights_of(program, name):
    """The layers of a tree of weights among the states of a program."""
    state = {n.split(f"/{name}/state_")[1]: v for n, v in program.state.items() if f"/{name}/" in n}
    return [{k: state[f"{i}_{k}"] for k in ("weight", "bias")} for i in range(len(state) // 2)]


def test_a_target_goes_a_part_of_the_way():
    """At every second tick a quarter of the way to the weights, as they were before they were trained."""
    program = schooled()
    program.reset()
    want, moved = weights_of(program, "target"), 0.0
    for tick in range(40):
        w = weights_of(program, "weights")
        program.step(True)
        now = weights_of(program, "target")
        for mine, theirs, toward in zip(want, now, w):
            for k in mine:
                mine[k] = mine[k] + (tick % 2 == 0) * 0.25 * (toward[k] - mine[k])
                np.testing.assert_allclose(theirs[k], mine[k], atol=1e-6)
                moved = max(moved, np.abs(toward[k] - mine[k]).max())
    assert moved > 1e-3


def test_a_kappa_may_rise():
    """A schedule that stands is its number; one that rises makes smaller steps."""

    def after(kappa):
        program = sc.compile(closed(rl.StreamQ(4, 2, hidden=6, kappa=kappa)))
        program.run(ticks=30)
        return bits(program), np.concatenate(
            [v.ravel() for n, v in program.state.items() if "/weights/" in n]
        )

    plain, same, rising = (after(k) for k in (2.0, learn.Constant(2.0), learn.Linear(2, 1e6, 10)))
    weights = {n: v for n, v in plain[0].items() if "step" not in n}
    assert {n: same[0][n] for n in weights} == weights
    fresh = sc.compile(closed(rl.StreamQ(4, 2, hidden=6))).state
    start = np.concatenate([v.ravel() for n, v in fresh.items() if "/weights/" in n])
    assert np.abs(rising[1] - start).sum() < 0.7 * np.abs(plain[1] - start).sum()


@in_c
def test_two_programs_that_take_turns_are_the_one_program():
    agent = rl.StreamQ(4, 2, hidden=8)

    @sc.node
    def acting(x: f32[4], reward: f32, terminated: sc.bool_, truncated: sc.bool_) -> sc.i32:
        return agent(x, reward, terminated, truncated).action

    world, learner = (sc.compile(n, target="c") for n in (cart_pole.cart_pole, acting))
    _, _, _, wanted = sc.compile(closed(agent), target="c").run(ticks=60)
    action = np.array(0, np.int32)
    for t in range(60):
        action = learner.step(*world.step(action, sc.random.key(3)))
        assert action == wanted[t]


@in_c
def test_learners_side_by_side_are_learners_apart():
    agent = rl.StreamQ(4, 2, hidden=6)

    @sc.node
    def one(key: sc.u32[2]):
        told = sc.random.fold_in(key, 1)
        now, said = rl.interaction(
            lambda a: cart_pole.cart_pole(a, told), lambda *x: agent(*x, key=key), 0
        )
        return now.observation, said.action, said.error

    @sc.node
    def three(keys: sc.u32[3, 2]):
        return sc.over_space(one, 3)(keys)

    keys = np.stack([k.words for k in sc.Key.of(5).split(3)])
    together = sc.compile(three, target="c").run(np.tile(keys, (60, 1, 1)))
    apart = sc.compile(one, target="c")
    for i in range(3):
        apart.reset()
        for a, b in zip(apart.run(np.tile(keys[i], (60, 1))), together):
            np.testing.assert_array_equal(a, b[:, i])


# --------------------------------------------------------------------------------- what is learnt


def gained(node, ticks, last=100, **static):
    """The mean return of the last episodes."""
    return example.returns(*sc.compile(node, target="c", **static).run(ticks=ticks))[-last:].mean()


@in_c
def test_stream_q_balances_the_pole():
    """A random push to either side lasts 22 ticks."""
    assert gained(example.balance_q, 100, last=4) < 40
    assert gained(example.balance_q, 100_000) > 475


@in_c
def test_stream_actor_critic_balances_the_pole():
    assert gained(example.balance_ac, 100_000) > 475


@pytest.mark.long
@pytest.mark.slow
@in_c
@pytest.mark.parametrize("node", [example.balance_ppo, example.balance_gru])
def test_ppo_balances_poles(node):
    """A hundred thousand decisions, of eight carts: of perceptrons, and of a GRU."""
    assert gained(node, 12_500) > 475


@pytest.mark.long
@pytest.mark.slow
@in_c
def test_dqn_balances_the_pole():
    """With the seed 0: of five, one stays at 433 (`python -m bench rl`)."""
    assert gained(example.balance_dqn, 1_500) < 40
    assert gained(example.balance_dqn, 100_000) > 475


@pytest.mark.slow
@in_c
def test_continuous_actions_are_learnt():
    program = sc.compile(
        closed(rl.StreamAC(1, 1, continuous=True, hidden=16), reaching, np.zeros(1, np.float32)),
        target="c",
    )
    _, reward, _, _ = program.run(ticks=30_000)
    assert reward[:1000].mean() < -0.3 and reward[-1000:].mean() > -0.1


@in_c
@pytest.mark.parametrize(
    "learner", ["stream_q", "stream_ac", pytest.param("dqn", marks=pytest.mark.long)]
)
def test_a_fact_that_is_latched_is_what_was_missing(learner):
    assert gained(example.remember, 20_000, latch=True, learner=learner) > 0.9
    if learner == "stream_q":
        assert abs(gained(example.remember, 20_000, last=1000, latch=False)) < 0.15


@pytest.mark.long
@in_c
def test_ppo_learns_from_a_latched_fact():
    assert gained(example.remember_gru, 5_000, recurrent=False, latch=True) > 0.9


@pytest.mark.long
@pytest.mark.slow
@in_c
def test_a_recurrent_policy_learns_to_remember():
    assert gained(example.remember_gru, 4_000, last=400) > 0.9
    assert abs(gained(example.remember_gru, 4_000, last=1000, recurrent=False)) < 0.15


@pytest.mark.slow
@in_c
def test_the_example_speaks(capsys, monkeypatch):
    monkeypatch.setattr(example, "RUNS", dict([next(iter(example.RUNS.items()))]))
    example.main()
    said = capsys.readouterr().out
    assert "the same bits" in said and said.count("decisions/s") == 1


def test_learning_needs_its_parts():
    """The bar is no gift: without traces of the error (a rate of almost 0) the pole is not balanced."""
    lazy = rl.StreamQ(4, 2, hidden=8, rate=1e-6, explore=learn.Linear(1.0, 0.01, steps=500))
    _, reward, ended, _ = sc.compile(closed(lazy), target="c").run(ticks=20_000)
    assert example.returns(reward, ended)[-100:].mean() < 60
