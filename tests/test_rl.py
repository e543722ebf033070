"""Learners of reinforcement learning against independent statements of their equations: numpy loops, jax for gradients."""

from __future__ import annotations

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seiche as sc
from seiche import learn
from seiche.errors import SeicheError
from seiche.ir.tree import flatten, map_tree
from seiche.learn import rl
from seiche.learn.initialise import sparse
from seiche.learn.rl.dqn import Transition
from seiche.learn.rl.ppo import Row
from tests.learning import TARGETS, close, random, run, same, step

DISCOUNT, TRACE = 0.99, 0.8
TICKS = 40
ENDS = {"terminated": (9, 30), "truncated": (17,)}


def story(observations: int = 3, ticks: int = TICKS) -> tuple[np.ndarray, ...]:
    """Observations, rewards and ends as a world might give them."""
    terminated, truncated = (np.isin(np.arange(ticks), at) for at in ENDS.values())
    return random(1, ticks, observations), random(2, ticks), terminated, truncated


def opens_of(terminated: np.ndarray, truncated: np.ndarray) -> np.ndarray:
    return np.concatenate([[True], (terminated | truncated)[:-1]])


# ---------------------------------------------------------------------------- what streams look like


@pytest.mark.parametrize("target", TARGETS)
def test_moments_are_those_of_all_values_so_far(target):
    x = 3 + 2 * random(3, 30, 2)
    mean, variance = run(rl.moments, x, target=target)
    close(mean, np.stack([x[: t + 1].mean(0) for t in range(30)]))
    close(variance, np.stack([np.ones(2), *(x[: t + 1].var(0, ddof=1) for t in range(1, 30))]))


def test_moments_leave_out_what_does_not_count():
    x, counts = random(4, 20), np.arange(20) % 3 != 1
    mean, variance = run(rl.moments, x, counts)
    kept = [x[: t + 1][counts[: t + 1]] for t in range(20)]
    close(mean, np.array([k.mean() for k in kept]))
    close(variance, np.array([k.var(ddof=1) if len(k) > 1 else 1.0 for k in kept]))


def test_moments_of_a_long_stream_stay_right():
    """The sum of squares would have left what f32 resolves; the mean of squares has not."""
    x = np.tile(np.float32([99.0, 101.0]), 20_000)
    mean, variance = run(rl.moments, x, target="c")
    assert abs(mean[-1] - 100) < 0.01 and abs(variance[-1] - 1) < 0.01


def scaled_by_loop(reward, opens, ended):
    """The reward over the deviation of the discounted sums so far."""
    sums, total, out = [], 0.0, []
    for r, first, last in zip(np.float64(reward), opens, ended):
        if first:
            out.append(0.0)
        else:
            total = DISCOUNT * total + r
            sums.append(total)
            out.append(r / np.sqrt((np.var(sums, ddof=1) if len(sums) > 1 else 1.0) + 1e-8))
        total = 0.0 if last or first else total
    return np.array(out)


def test_rewards_are_scaled_by_the_deviation_of_returns():
    _, reward, terminated, truncated = story()
    opens, ended = opens_of(terminated, truncated), terminated | truncated
    mine = run(lambda r, o, e: rl.scaled_reward(r, o, e, DISCOUNT), reward, opens, ended)
    close(mine, scaled_by_loop(reward, opens, ended))


def test_sparse_weights():
    w = sparse(0, (50, 40))
    assert ((w != 0).sum(axis=0) == 5).all()
    assert len({tuple(column) for column in (w != 0).T}) > 30, "which inputs, is drawn per output"
    heard = w[w != 0] * np.sqrt(50)
    assert 0.9 < np.abs(heard).max() <= 1 and abs(heard.mean()) < 0.15
    assert not sparse(0, (9, 4)).any() and (sparse(0, (10, 4)) != 0).sum() == 4


# -------------------------------------------------------------------------------- steps and traces


@pytest.mark.parametrize("target", TARGETS)
def test_obgd_is_the_papers(target):
    grads, errors = {"a": random(5, 12, 3), "b": random(6, 12, 2, 2)}, 4 * random(7, 12)
    cuts = np.arange(12) % 5 == 0
    opt = rl.ObGD(rate=0.7, kappa=3.0, discount=0.9, trace=0.6)

    def model(grads, error, cut):
        w = sc.state(map_tree(lambda g: np.zeros(g.shape, np.float32), grads))
        e = sc.state(opt.init(w))
        e.next = opt.accumulate(grads, e, cut)
        w.next = opt.update(error, e.next, w)
        return w.next

    w, e, want = np.zeros(7), np.zeros(7), []
    flat = np.concatenate([grads["a"], grads["b"].reshape(12, 4)], axis=1)
    for g, error, cut in zip(np.float64(flat), np.float64(errors), cuts):
        e = (0 if cut else 0.9 * 0.6) * e + g
        bound = 3.0 * 0.7 * max(abs(error), 1) * np.abs(e).sum()
        w = w + 0.7 / max(bound, 1) * error * e
        want.append(w)
    want = np.array(want)
    mine = run(model, grads, errors, cuts, target=target)
    close(mine, {"a": want[:, :3], "b": want[:, 3:].reshape(12, 2, 2)})


def network(w, x):
    """The paper's network in jax: normalise, rectify leakily, twice; then affine."""
    *hidden, last = w
    for p in hidden:
        h = x @ p["weight"] + p["bias"]
        h = (h - h.mean()) / jnp.sqrt(h.var() + 1e-5)
        x = jnp.where(h > 0, h, 0.01 * h)
    return x @ last["weight"] + last["bias"]


def fuller(params, seed=0):
    """Weights that are not sparse: with zeros the first gradients are too large to compare in f32."""
    leaves, form = flatten(params)
    return form.unflatten([x + 0.2 * random(seed + i, *x.shape) for i, x in enumerate(leaves)])


class Dense(learn.MLP):
    """The streaming network with weights as above."""

    def init(self, key=0):
        return fuller(super().init(key), 50)


def dense(inputs, outputs, hidden=6):
    return Dense((inputs, hidden, hidden, outputs), activation=rl.normalised_leaky_relu)


def bounded(w, e, error, kappa):
    size = sum(float(np.abs(x).sum()) for x in jax.tree.leaves(e))
    s = error / max(kappa * max(abs(error), 1) * size, 1)
    return jax.tree.map(lambda a, b: a + s * b, w, e)


def faded(e, g, cut):
    return jax.tree.map(lambda a, b: (0 if cut else DISCOUNT * TRACE) * a + b, e, g)


def normalised_by_loop(x):
    out = [np.zeros_like(x[0])]
    for t in range(1, len(x)):
        mean, variance = x[: t + 1].mean(0), x[: t + 1].var(0, ddof=1)
        out.append((x[t] - mean) / np.sqrt(variance + 1e-8))
    return np.float32(out)


def prepared(observation, reward, terminated, truncated, horizon):
    """Features, rewards and openings of a story, by loops."""
    opens, ended = opens_of(terminated, truncated), terminated | truncated
    age = np.zeros(len(opens))
    for t in range(1, len(opens)):
        age[t] = 0 if opens[t] else age[t - 1] + 1
    features = np.concatenate([normalised_by_loop(observation), (age / horizon - 0.5)[:, None]], 1)
    return np.float32(features), scaled_by_loop(reward, opens, ended), opens


@pytest.mark.parametrize("explore", [0.0, 0.6])
def test_stream_q_is_the_papers(explore):
    told = story()
    agent = rl.StreamQ(3, 3, explore=explore, horizon=20, network=dense(4, 3))
    program = sc.compile(gym_learner(agent, 3))
    said = program.run(*told)
    features, reward, opens = prepared(*told, horizon=20)
    ascent = jax.jit(jax.grad(lambda w, x, action: network(w, x)[action]))
    w = agent.init()
    e, before, errors = jax.tree.map(np.zeros_like, w), 0.0, []
    for t, x in enumerate(features):
        ahead = 0.0 if told[2][t] else DISCOUNT * float(network(w, x).max())
        errors.append(0.0 if opens[t] else reward[t] + ahead - before)
        w = bounded(w, e, errors[-1], 2.0)
        values, action = network(w, x), int(said.action[t])
        assert explore or values[action] == values.max()
        e = faded(e, ascent(w, x, action), opens[t] or values[action] < values.max())
        before = float(values[action])
    np.testing.assert_allclose(said.error, errors, atol=2e-4)
    close(weights(program, w), w, 2e-4)


def gym_learner(agent, observations):
    """The agent's node, with all that it says."""
    types = sc.f32[(observations,)], sc.f32, sc.bool_, sc.bool_

    def act(observation, reward, terminated, truncated):
        return agent(observation, reward, terminated, truncated)

    act.__annotations__ = dict(zip(("observation", "reward", "terminated", "truncated"), types))
    return sc.node(act)


def weights(program, like):
    """The weights that a compiled agent holds, as a tree."""
    _, form = flatten(like)
    agent = next(iter(program.state)).partition("/")[0]
    return form.unflatten([program.state[f"{agent}/weights/{n}"] for n in form.names("state")])


def log_probability(said, action, continuous):
    if not continuous:
        return jax.nn.log_softmax(said)[action]
    mean, spread = said[:2], jax.nn.softplus(said[2:])
    return (-0.5 * ((action - mean) / spread) ** 2 - jnp.log(spread * np.sqrt(2 * np.pi))).sum()


def entropy(said, continuous):
    if not continuous:
        return -(jax.nn.softmax(said) * jax.nn.log_softmax(said)).sum()
    return jnp.log(jax.nn.softplus(said[2:]) * np.sqrt(2 * np.pi * np.e)).sum()


@pytest.mark.parametrize("continuous", [False, True])
def test_stream_actor_critic_is_the_papers(continuous):
    told = story()
    nets = {"policy": dense(4, 4 if continuous else 2), "value": dense(4, 1)}
    agent = rl.StreamAC(3, 2, continuous=continuous, horizon=20, networks=nets, entropy=0.1)
    program = sc.compile(gym_learner(agent, 3))
    said = program.run(*told)
    features, reward, opens = prepared(*told, horizon=20)

    def praised(p, past, action, error):
        words = network(p, past)
        doubt = 0.1 * jnp.sign(error) * entropy(words, continuous)
        return log_probability(words, action, continuous) + doubt

    towards = jax.jit(jax.grad(praised))
    ascent = jax.jit(jax.grad(lambda v, past: network(v, past)[0]))
    w = agent.init()
    e, errors = jax.tree.map(np.zeros_like, w), []
    for t, x in enumerate(features):
        if opens[t]:
            errors.append(0.0)
            continue
        past, action = features[t - 1], said.action[t - 1]
        ahead = 0.0 if told[2][t] else DISCOUNT * float(network(w["value"], x)[0])
        error = reward[t] + ahead - float(network(w["value"], past)[0])
        slope = {
            "policy": towards(w["policy"], past, action, error),
            "value": ascent(w["value"], past),
        }
        e = faded(e, slope, opens[t - 1])
        w = {n: bounded(w[n], e[n], error, k) for n, k in (("policy", 3.0), ("value", 2.0))}
        errors.append(error)
    np.testing.assert_allclose(said.error, errors, atol=5e-4)
    close(weights(program, w), w, 5e-4)


# --------------------------------------------------------------------------------------- rollouts


@pytest.mark.parametrize("target", TARGETS)
def test_advantages_are_those_of_a_loop(target):
    error, ended = random(8, 12, 2), np.random.default_rng(0).random((12, 2)) < 0.3

    def gains(error, ended):
        with sc.frame(max=6):
            return rl.advantage(error, ended, DISCOUNT, 0.95)

    want = np.zeros((12, 2))
    for i in range(2):
        for first in (0, 6):
            ahead = 0.0
            for t in reversed(range(first, first + 6)):
                ahead = error[t, i] + (0.0 if ended[t, i] else DISCOUNT * 0.95 * ahead)
                want[t, i] = ahead
    close(run(gains, error, ended, target=target), want)


ROWS, N = 5, 4


def rollout():
    """What a frame of a PPO holds, made up."""
    return Row(
        features=random(10, ROWS, N, 3),
        opens=np.random.default_rng(1).random((ROWS, N)) < 0.2,
        action=np.random.default_rng(2).integers(0, 2, (ROWS, N)).astype(np.int32),
        log_probability=0.3 * random(11, ROWS, N) - np.float32(0.7),
        value=random(12, ROWS, N),
        gain=random(13, ROWS, N),
        counts=np.random.default_rng(3).random((ROWS, N)) < 0.8,
    )


def ppo_loss(agent, w, rows, said, value):
    """Equation 9 of the paper, over the transitions that count."""
    at = np.nonzero(rows.counts)
    gain = rows.gain[at]
    gain = (gain - gain.mean()) / (gain.std() + 1e-8)
    logs = jax.nn.log_softmax(said)[at]
    chosen = jnp.take_along_axis(logs, rows.action[at][:, None], 1)[:, 0]
    ratio = jnp.exp(chosen - rows.log_probability[at])
    least = jnp.minimum(ratio * gain, jnp.clip(ratio, 0.8, 1.2) * gain)
    off = (value[at] - (rows.gain + rows.value)[at]) ** 2
    doubt = -(jnp.exp(logs) * logs).sum(-1)
    return -least.mean() + agent.value_weight * 0.5 * off.mean() - agent.entropy * doubt.mean()


def perceptron(params, x):
    *below, last = params
    for p in below:
        x = jnp.tanh(x @ p["weight"] + p["bias"])
    return x @ last["weight"] + last["bias"]


def unit(p, h, x):
    """The gated recurrent unit, torch's way."""
    a, b = x @ p["input"] + p["bias"], h @ p["recurrent"] + p["recurrent_bias"]
    n = h.shape[-1]
    r, z = jax.nn.sigmoid(a[:, :n] + b[:, :n]), jax.nn.sigmoid(a[:, n : 2 * n] + b[:, n : 2 * n])
    return (1 - z) * jnp.tanh(a[:, 2 * n :] + r * b[:, 2 * n :]) + z * h


def judged(w, rows, memory):
    """The networks on all rows, in jax."""
    if "gru" not in w:
        return perceptron(w["policy"], rows.features), perceptron(w["value"], rows.features)[..., 0]
    h, said, value = memory, [], []
    for x, opens in zip(rows.features, rows.opens):
        h = unit(w["gru"], jnp.where(opens[:, None], 0.0, h), x)
        said.append(h @ w["policy"]["weight"] + w["policy"]["bias"])
        value.append((h @ w["value"]["weight"] + w["value"]["bias"])[:, 0])
    return jnp.stack(said), jnp.stack(value)


@pytest.mark.parametrize("recurrent", [False, True])
def test_an_update_of_ppo_is_the_papers(recurrent):
    """One epoch of one minibatch: which order its rows are in makes no difference."""
    net = rl.Recurrent(3, 2, hidden=5) if recurrent else rl.Feedforward(3, 2, hidden=5)
    agent = rl.PPO(
        3, 2, instances=N, ticks=ROWS, epochs=1, minibatches=1, network=net,
        optimiser=learn.SGD(0.5), norm_max=0.3,
    )  # fmt: skip
    w = fuller(agent.init())
    memory = random(14, N, 5) if recurrent else ()
    rows = rollout()

    def train(key, rows, memory, w):
        better, _, loss = agent.train(key, Row(*rows), memory, w, {})
        return better, loss

    def train_without(key, rows, w):
        return train(key, rows, (), w)

    key = sc.random.key(0)
    args = (key, tuple(rows), memory, w) if recurrent else (key, tuple(rows), w)
    better, loss = step(train if recurrent else train_without, *args)

    def objective(w):
        return ppo_loss(agent, w, rows, *judged(w, rows, memory))

    want, slope = jax.jit(jax.value_and_grad(objective))(w)
    norm = np.sqrt(sum((np.asarray(g) ** 2).sum() for g in jax.tree.leaves(slope)))
    assert norm > 0.3, "the bound on the norm is tested too"
    np.testing.assert_allclose(loss, want, rtol=1e-4)
    close(better, jax.tree.map(lambda a, g: np.asarray(a - 0.5 * 0.3 / norm * g), w, slope), 1e-4)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_policy_at_work_does_what_is_likeliest(recurrent, target):
    """By the weights of another program, in which more instances learnt; what it remembers ends with an episode."""
    net = rl.Recurrent(3, 2, hidden=5) if recurrent else rl.Feedforward(3, 2, hidden=5)
    agent = rl.PPO(3, 2, instances=N, ticks=ROWS, network=net)
    w, rows = fuller(agent.init()), rollout()
    ended = np.concatenate([rows.opens[1:], rows.opens[:1]])

    def work(x, ended):
        return agent.at_work(x, ended)

    program = sc.compile(sc.node(typed(work, sc.f32[N, 3], sc.bool_[N])), target=target)
    _, form = flatten(w)
    names = dict(zip((f"ppo/acting/{n}" for n in form.names("state")), flatten(w)[0]))
    fresh = dict(program.state)
    used = {n: v for n, v in names.items() if n in fresh}
    assert len(used) == len(names) - (2 if recurrent else 6), "the critic is left out"
    program.state.assign(fresh | used)
    said, _ = judged(w, rows._replace(opens=at_first_and(rows.opens)), np.zeros((N, 5)))
    np.testing.assert_array_equal(program.run(rows.features, ended), np.argmax(said, -1))
    for name, value in used.items():
        np.testing.assert_array_equal(program.state[name], value)


def at_first_and(opens):
    return opens | (np.arange(len(opens)) == 0)[:, None]


def typed(fn, *types):
    fn.__annotations__ = dict(zip(("x", "ended"), types))
    return fn


def test_minibatches_are_a_partition_of_each_epoch():
    agent = rl.PPO(3, 2, instances=N, ticks=6, epochs=3, minibatches=4)
    orders = step(agent._orders, sc.random.key(5))
    assert orders.shape == (12, 6)
    for epoch in orders.reshape(3, 24):
        assert sorted(epoch) == list(range(24))
    assert len({tuple(epoch) for epoch in orders.reshape(3, 24)}) == 3
    again = rl.PPO(3, 2, instances=N, ticks=6, epochs=2, minibatches=2, network=rl.Recurrent(3, 2))
    assert sorted(step(again._orders, sc.random.key(5))[:2].ravel()) == list(range(N))
    uneven = ({"minibatches": 5}, {"network": rl.Recurrent(3, 2), "minibatches": 8})
    for settings in uneven:
        other = rl.PPO(3, 2, instances=N, ticks=6, **settings)
        with pytest.raises(
            SeicheError, match=rf"SE112.*PPO: .* equal parts of {4 if other.remembers else 24} "
        ):
            step(other._orders, sc.random.key(5))


# ------------------------------------------------------------------------------------------ replay


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("capacity", [1, 4])
def test_the_ring_holds_what_a_deque_holds(capacity, target):
    xs, keep = random(15, 23, 2), np.random.default_rng(4).random(23) < 0.7

    def ring(x, keep):
        return rl.replay({"x": x, "twice": 2 * x}, keep, capacity)

    rows, count = run(ring, xs, keep, target=target)
    held = deque(maxlen=capacity)
    for t in range(23):
        if keep[t]:
            held.append(xs[t])
        assert count[t] == len(held)
        mine = {tuple(row) for row in rows["x"][t][: count[t]]}
        assert mine == {tuple(row) for row in held}
    np.testing.assert_array_equal(rows["twice"], 2 * rows["x"])


@pytest.mark.parametrize("double", [False, True])
def test_a_step_of_dqn_is_the_papers(double):
    agent = rl.DQN(3, 2, hidden=5, double=double)
    w, target = fuller(agent.init()), fuller(agent.init(), 30)
    drawn = Transition(
        random(16, 8, 3),
        np.random.default_rng(5).integers(0, 2, 8).astype(np.int32),
        2 * random(17, 8),
        np.arange(8) % 3 == 0,
        random(18, 8, 3),
    )

    def slope(w, target, drawn):
        return sc.value_and_grad(agent._loss)(w, target, Transition(*drawn))

    def q(w, x):
        *below, last = w
        for p in below:
            x = jax.nn.relu(x @ p["weight"] + p["bias"])
        return x @ last["weight"] + last["bias"]

    def objective(w):
        best = q(w if double else target, drawn.after).argmax(-1)
        ahead = q(target, drawn.after)[np.arange(8), best]
        wanted = drawn.reward + DISCOUNT * jnp.where(drawn.terminated, 0.0, ahead)
        off = jnp.abs(q(w, drawn.observation)[np.arange(8), drawn.action] - wanted)
        return jnp.where(off < 1, 0.5 * off**2, off - 0.5).mean()

    want, wanted = jax.jit(jax.value_and_grad(objective))(w)
    loss, found = step(slope, w, target, tuple(drawn))
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    close(found, jax.tree.map(np.asarray, wanted), 1e-4)


def test_dqn_learns_from_transitions_as_they_were():
    """What the ring holds: each action beside what was seen when it was taken, and what it led to."""
    told = story()
    agent = rl.DQN(3, 2, hidden=4, capacity=64, batch=4, starts=8, explore=0.5)
    program = sc.compile(gym_learner(agent, 3))
    said = program.run(*told)
    opens = opens_of(*told[2:])
    at = np.flatnonzero(~opens)
    rows = [v for k, v in program.state.items() if "/ring/" in k]
    wanted = [told[0][at - 1], said.action[at - 1], told[1][at], told[2][at], told[0][at]]
    assert len(rows) == 5
    for mine, theirs in zip(rows, wanted):
        np.testing.assert_array_equal(mine[: len(at)], theirs)


def test_a_burst_of_dqn_is_its_minibatches_one_by_one():
    agent = rl.DQN(3, 2, hidden=5, batch=6, steps=3)
    w, target = fuller(agent.init()), fuller(agent.init(), 30)
    ring = Transition(
        random(16, 8, 3), np.arange(8, dtype=np.int32) % 2, random(17, 8), np.arange(8) % 3 == 0,
        random(18, 8, 3),
    )  # fmt: skip
    key = sc.random.key(4)

    moments = agent.optimiser.init(agent.init())

    def whole(w, target, ring, moments):
        return agent._trained(key, Transition(*ring), sc.constant(np.int32(8)), w, target, moments)

    def apart(w, target, ring, moments):
        ring, losses = Transition(*ring), []
        for k in sc.random.split(key, 3):
            drawn = agent._drawn(k, ring, sc.constant(np.int32(8)))
            loss, slope = sc.value_and_grad(agent._loss)(w, target, drawn)
            slope = learn.clip_by_global_norm(slope, agent.norm_max)
            w, moments = agent.optimiser.update(slope, moments, w)
            losses.append(loss)
        return w, moments, sum(losses) / 3

    close(*(step(way, w, target, tuple(ring), moments) for way in (whole, apart)), 1e-5)


def test_minibatches_are_drawn_evenly_from_what_was_stored():
    agent = rl.DQN(1, 2, batch=9000)

    def drawn(ring, count):
        return agent._drawn(sc.random.key(8), ring, count)

    found = step(drawn, np.arange(16, dtype=np.int32), np.int32(9))
    assert (np.abs(np.bincount(found, minlength=9) - 1000) < 120).all() and found.max() == 8


def test_policies_sample_what_they_say():
    said = np.float32([0.0, 1.0, -1.0])
    n = 4000

    def draws(key):
        return rl.Categorical(3).sample(key, sc.broadcast_to(said, (n, 3)))

    share = np.bincount(step(draws, sc.random.key(1)), minlength=3) / n
    np.testing.assert_allclose(share, np.exp(said) / np.exp(said).sum(), atol=0.03)

    def reals(key):
        return rl.Gaussian(1).sample(key, sc.broadcast_to(np.float32([2.0, 0.5]), (n, 2)))

    found = step(reals, sc.random.key(2))
    assert abs(found.mean() - 2) < 0.05 and abs(found.std() - np.log1p(np.exp(0.5))) < 0.05


def test_the_same_seed_gives_the_same_decisions():
    told, other = story(), rl.StreamQ(3, 2, seed=1)
    agent = rl.StreamQ(3, 2)
    first, again = (sc.compile(gym_learner(agent, 3)).run(*told) for _ in range(2))
    same(tuple(first), tuple(again))
    assert (sc.compile(gym_learner(other, 3)).run(*told).action != first.action).any()
