"""Generalised advantage estimation in a learner: the world, the policy, the episodes and the gradient are one node.

A cart balances a pole by pushes to the left or right. An episode is a frame that closes where the pole falls, or after 200
ticks; what an action was worth is a costate of the frame, and so is the gradient. The parameters are carried from episode to
episode, and act in the next one at once.

Schulman, Moritz, Levine, Jordan & Abbeel 2016, eq. 16; advantage actor-critic (Mnih et al. 2016) without the asynchrony.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import seiche as sc
from examples import cart_pole, show
from seiche import bool_, costate, f32, i32, learn, node, state
from seiche.ir import tree

LONGEST = 200
"""Ticks of an episode, at most."""
DISCOUNT, TRACE, PUSH = 0.99, 0.95, 10.0
POLICY, CRITIC = (
    learn.MLP((4, 24, 2), activation=sc.tanh),
    learn.MLP((4, 24, 1), activation=sc.tanh),
)


def parameters(seed: int) -> dict[str, Any]:
    """Fresh ones."""
    policy, critic = sc.Key.of(seed).split()
    return {"policy": POLICY.init(policy), "critic": CRITIC.init(critic)}


@node
def world(push: f32, noise: sc.u32[2]) -> Any:
    """A cart-pole at this tick, and where it stands after the push: it starts anew, near upright, after it fell or timed out."""
    over, late = sc.var(bool_), sc.var(bool_)
    age = state(1, until=over | late)
    age.next = age + 1
    late.define(age == LONGEST)
    now = state(sc.random.uniform(noise, (4,), -0.05, 0.05), until=over | late)
    now.next = cart_pole.step(now, push)
    over.define((sc.absolute(now.next[0]) > 2.4) | (sc.absolute(now.next[2]) > 0.21))
    return now, now.next, over, over | late


def advantage(
    reward: sc.Stream, value: sc.Stream, final: sc.Stream, trace: float = TRACE
) -> sc.Stream:
    """What came of this tick beyond what was expected of it. `final` is the value of where the episode ends."""
    later = sc.post(value, final)
    ahead = costate(0.0)
    ahead.prev = reward + DISCOUNT * later - value + DISCOUNT * trace * ahead
    return ahead.prev


def objective(
    w: Any,
    now: sc.Stream,
    after: sc.Stream,
    action: sc.Stream,
    fell: sc.Stream,
    trace: float | sc.Stream = TRACE,
) -> tuple[sc.Stream, sc.Stream]:
    """The loss of a tick, inside its episode: better actions more likely, and their values better known."""
    value = CRITIC(w["critic"], now)[0]
    # An episode that fell is worth nothing more; one that ran out of time is, and the critic says what.
    final = sc.where(fell, 0.0, CRITIC(w["critic"], after)[0])
    gain = sc.stop_gradient(advantage(sc.constant(1.0), value, final, trace))
    said = sc.log_softmax(POLICY(w["policy"], now))
    chosen = sc.take(said, action)
    doubt = -(sc.exp(said) * said).sum()
    wanted = gain + sc.stop_gradient(value)
    return -chosen * gain + 0.5 * sc.square(value - wanted) - 0.01 * doubt, gain


@node
def player(
    wind: f32, seed: int = 0, trace: float = TRACE, rate: float = 0.03
) -> dict[str, sc.Stream]:
    """The learner in its world, where a wind (N) may push too. At the end of an episode it says how long it was."""
    adam = learn.Adam(rate)
    tick = state(0)
    tick.next = tick + 1
    dice, chance = sc.random.split(sc.random.fold_in(sc.random.key(seed), tick))

    acting = state(parameters(seed))  # at every tick: what was learnt from the episodes before
    push = sc.var(f32)
    now, after, fell, done = world(push + wind, dice)
    action = sc.random.categorical(chance, POLICY(acting["policy"], now))
    push.define(sc.where(action == 1, PUSH, -PUSH))

    w = state(parameters(seed))  # carried from episode to episode
    moments = state(adam.init(parameters(seed)))
    with sc.frame(max=LONGEST, until=done) as episode:
        (loss, _), dw = sc.value_and_grad(objective, has_aux=True)(
            w, now, after, action, fell, trace
        )
        age = state(1)
        age.next = age + 1
    length = episode.last(age)
    w.next, moments.next = adam.update(mean_over(episode, dw, length), moments, w)
    acting.next = sc.hold(w.next, parameters(seed))
    return {"length": length, "loss": episode.sum(loss) / length.to(f32)}


def mean_over(episode: sc.frame, dw: Any, length: sc.Stream) -> Any:
    """Gradients of the ticks, averaged over the episode."""
    return tree.map_tree(lambda d: episode.sum(d) / length.to(f32), dw)


@node
def recorded(now: f32[4], after: f32[4], action: i32, fell: bool_, done: bool_) -> Any:
    """In time: advantages and gradients of episodes that were recorded, at fixed parameters."""
    with sc.frame(max=LONGEST, until=done) as episode:
        (_, gain), dw = sc.value_and_grad(objective, has_aux=True)(
            parameters(0), now, after, action, fell
        )
    return gain, tree.map_tree(episode.sum, dw)


@node
def whole(nows: Any, afters: Any, actions: Any, fell: Any) -> Any:
    """In space: the same of one episode at once."""

    def episode(w: Any) -> Any:
        losses, gains = sc.over_time(lambda *rows: objective(w, *rows))(nows, afters, actions, fell)
        return losses.sum(), gains

    (_, gains), dw = sc.value_and_grad(episode, has_aux=True)(parameters(0))
    return gains, dw


def record(ticks: int, seed: int = 0) -> tuple[np.ndarray[Any, Any], ...]:
    """Episodes under random pushes: `(now, after, action, fell, done)`, the streams of `recorded`."""
    rng = np.random.default_rng(seed)
    action = rng.integers(0, 2, ticks).astype(np.int32)
    pushes = np.where(action == 1, PUSH, -PUSH).astype(np.float32)
    noise = rng.integers(0, 2**32, (ticks, 2), dtype=np.uint32)
    now, after, fell, done = sc.compile(world, target="c").run(pushes, noise)
    return now, after, action, fell, done


def by_loop(
    value: np.ndarray[Any, Any], final: np.ndarray[Any, Any], done: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Advantages by a loop from the last tick to the first, for rewards of 1: another way."""
    gains = np.zeros(len(value))
    ahead = later = 0.0
    for t in reversed(range(len(value))):
        if done[t]:
            ahead, later = 0.0, final[t]
        ahead = 1.0 + DISCOUNT * later - value[t] + DISCOUNT * TRACE * ahead
        gains[t], later = ahead, value[t]
    return gains


def critic(now: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The values of states by numpy, in f64."""
    first, second = parameters(0)["critic"]
    hidden = np.tanh(now.astype(float) @ first["weight"] + first["bias"])
    return (hidden @ second["weight"] + second["bias"])[:, 0]


def solved(length: np.ndarray[Any, Any]) -> str:
    """From which episode on 20 in a row balance for 195 ticks in the mean."""
    for i in range(len(length) - 19):
        if length[i : i + 20].mean() >= 195:
            return f"20 in a row above 195 ticks from episode {i} on"
    return f"no 20 in a row above 195 ticks in {len(length)} episodes"


def main() -> None:
    """Runs it."""
    show.title("Generalised advantage estimation: world, policy, episodes and gradient in one node")
    now, after, action, fell, done = record(2000)
    gains, _ = sc.compile(recorded, target="c").run(now, after, action, fell, done)
    wanted = by_loop(critic(now), np.where(fell, 0.0, critic(after)), done)
    closed = int(np.flatnonzero(done)[-1]) + 1
    show.fact(
        "recorded episodes, their mean length",
        f"{done.sum()}, {np.diff(np.flatnonzero(done)).mean():.0f} ticks",
    )
    show.fact(
        "advantages, from a loop in f64, at most",
        f"{np.abs(gains - wanted)[:closed].max():.1e} of {np.abs(wanted).max():.0f}",
    )

    ticks = 30_000
    calm = np.zeros(ticks, np.float32)
    for trace, name in ((0.0, "λ = 0 (the next value only)"), (TRACE, f"λ = {TRACE}")):
        program = sc.compile(player, trace=trace, target="c")
        began = time.perf_counter()
        length = program.run(calm)["length"].values
        spent = time.perf_counter() - began
        show.fact(f"learning with {name}", solved(length))
        show.fact(
            "  length of the first 100 episodes, to 200",
            show.line(length[:100].reshape(50, 2).mean(1), 0, LONGEST),
        )
    show.fact("  a tick of acting and learning", f"{spent / ticks * 1e6:.1f} µs")
    show.fact("  memory of an instance", f"{program.report().plan.struct_bytes:,} B")
    program.reset()
    again, first = program.run(calm[:300]), sc.compile(player).run(calm[:300])
    same = all(first[k].values.tobytes() == again[k].values.tobytes() for k in first)
    show.fact("interpreter and C, 300 ticks", "the same bits" if same else "DIFFERENT BITS")
    show.look(
        "advantage() in examples/gae.py: the estimator is a costate; its end is where the episode ends;",
        "player(): `w` is carried from episode to episode, by a gradient that is swept back over the ticks of each.",
    )


if __name__ == "__main__":
    main()
