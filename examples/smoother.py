"""A Rauch-Tung-Striebel smoother: a Kalman filter runs forward as states, its correction backward as costates.

A drone flies in a plane; a sensor sees its position with noise, and sometimes not at all. While it flies, the filter says
where it is; when it has landed, the smoother says where it was, using what was seen later. A flight is a frame that closes
where the drone lands. The variances are learnt as well: by the gradient, through the filter, of how surprising the
measurements were.

Kalman 1960; Rauch, Tung & Striebel 1965; Särkkä 2013, algorithms 4.14 and 8.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import seiche as sc
from examples import show
from seiche import bool_, costate, f32, learn, node, state

LONGEST = 48
"""Ticks of a flight, at most."""
DRIFT, NOISE = 0.05, 2.0
"""The true variances: of the acceleration, and of the sensor."""

# A state of the drone is (x, y, vx, vy); a tick is one second.
MOTION = np.kron([[1.0, 1.0], [0.0, 1.0]], np.eye(2)).astype(np.float32)
GUSTS = np.kron([[1 / 3, 1 / 2], [1 / 2, 1.0]], np.eye(2)).astype(np.float32)
SEES = np.eye(2, 4, dtype=np.float32)
START = np.zeros(4, np.float32)
DOUBT = np.diag([4.0, 4.0, 1.0, 1.0]).astype(np.float32)

LOGS = {"drift": np.float32(np.log(DRIFT)), "noise": np.float32(np.log(NOISE))}
"""The parameters: logarithms of the variances."""


def kalman(logs: Any, position: sc.Stream, seen: sc.Stream) -> dict[str, sc.Stream]:
    """The filter: mean and covariance before this tick's measurement and after it, and how surprising that was, in nats."""
    mean, cov = state(START), state(DOUBT)
    error = sc.where(seen, position - SEES @ mean, 0.0)
    scatter = SEES @ cov @ SEES.T + sc.exp(logs["noise"]) * np.eye(2)
    # What is not seen teaches nothing.
    gain = sc.where(seen, sc.solve(scatter, SEES @ cov).T, 0.0)
    filtered = mean + gain @ error
    certain = cov - gain @ (SEES @ cov)
    mean.next = MOTION @ filtered
    cov.next = MOTION @ certain @ MOTION.T + sc.exp(logs["drift"]) * GUSTS
    volume = scatter[0, 0] * scatter[1, 1] - scatter[0, 1] * scatter[1, 0]
    surprise = 0.5 * (error @ sc.solve(scatter, error) + sc.log(volume)) + np.log(2 * np.pi)
    return {
        "predicted": mean, "predicted_cov": cov, "filtered": filtered, "filtered_cov": certain,
        "coming_cov": cov.next, "surprise": sc.where(seen, surprise, 0.0),
    }  # fmt: skip


def smooth(logs: Any, position: sc.Stream, seen: sc.Stream) -> dict[str, sc.Stream]:
    """The smoother: what the next tick learnt beyond its prediction is carried back, and shared out by `back`."""
    k = kalman(logs, position, seen)
    learnt, gained = costate(np.zeros(4)), costate(np.zeros((4, 4)))
    back = sc.solve(k["coming_cov"], MOTION @ k["filtered_cov"]).T
    mean = k["filtered"] + back @ learnt
    cov = k["filtered_cov"] + back @ gained @ back.T
    learnt.prev = mean - k["predicted"]
    gained.prev = cov - k["predicted_cov"]
    return {"filtered": k["filtered"], "smoothed": mean, "cov": cov}


@node
def smoother(position: f32[2], seen: bool_, landed: bool_) -> dict[str, sc.Stream]:
    """In time: a measurement per tick. The smoothed states of a flight leave when it can no longer change them."""
    with sc.frame(max=LONGEST, until=landed):
        return smooth(LOGS, position, seen)


@node
def whole(positions: Any, seen: Any) -> dict[str, sc.Stream]:
    """In space: a flight at once, `f32[ticks, 2]` and `bool[ticks]`."""
    return sc.over_time(lambda p, s: smooth(LOGS, p, s))(positions, seen)


def miss(logs: Any, position: sc.Stream, seen: sc.Stream, truth: sc.Stream) -> sc.Stream:
    """The squared error of the smoothed position: its gradient goes back through both sweeps."""
    return sc.square(smooth(logs, position, seen)["smoothed"][:2] - truth).sum()


@node
def slope(position: f32[2], seen: bool_, landed: bool_, truth: f32[2]) -> Any:
    """The error of a flight and its derivative by the logarithms of the variances, where the flight closes."""
    with sc.frame(max=LONGEST, until=landed) as flight:
        error, d = sc.value_and_grad(miss)(
            {k: sc.constant(v) for k, v in LOGS.items()}, position, seen, truth
        )
    return flight.sum(error), {k: flight.sum(v) for k, v in d.items()}


@node
def whole_slope(positions: Any, seen: Any, truth: Any) -> Any:
    """The same of a flight at once."""

    def flight(logs: Any) -> sc.Stream:
        return sc.over_time(lambda *rows: miss(logs, *rows))(positions, seen, truth).sum()

    return sc.value_and_grad(flight)({k: sc.constant(v) for k, v in LOGS.items()})


ADAM = learn.Adam(rate=0.05)
GUESS = {"drift": np.float32(0.0), "noise": np.float32(0.0)}


@node
def calibrate(position: f32[2], seen: bool_, landed: bool_) -> Any:
    """Both variances learnt from flight to flight by maximum likelihood; a step per landing."""
    logs, moments = state(GUESS), state(ADAM.init(GUESS))
    with sc.frame(max=LONGEST, until=landed) as flight:
        surprise, d = sc.value_and_grad(lambda *args: kalman(*args)["surprise"])(
            logs, position, seen
        )
    ticks = flight.sum(sc.where(seen, 1.0, 0.0))
    total = {k: flight.sum(v) / ticks for k, v in d.items()}
    logs.next, moments.next = ADAM.update(total, moments, logs)
    return {k: sc.exp(v) for k, v in logs.items()}, flight.sum(surprise) / ticks


# ---------------------------------------------------------------------------------------- the world, and another way


def flights(count: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """`count` flights of 20 to 48 ticks one after the other: true states, measurements, whether seen, where landed."""
    rng = np.random.default_rng(seed)
    push = np.linalg.cholesky(DRIFT * GUSTS.astype(float))
    truth, landed = [], []
    for _ in range(count):
        where = rng.normal(size=4) * np.sqrt(np.diag(DOUBT))
        ticks = int(rng.integers(20, LONGEST + 1))
        for t in range(ticks):
            truth.append(where)
            landed.append(t == ticks - 1)
            where = MOTION @ where + push @ rng.normal(size=4)
    states = np.array(truth)
    seen = rng.random(len(states)) > 0.15
    noisy = states[:, :2] + np.sqrt(NOISE) * rng.normal(size=(len(states), 2))
    return {
        "truth": states.astype(np.float32), "position": noisy.astype(np.float32),
        "seen": seen, "landed": np.array(landed),
    }  # fmt: skip


def least_squares(
    position: np.ndarray[Any, Any],
    seen: np.ndarray[Any, Any],
    drift: float = DRIFT,
    noise: float = NOISE,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """All states of a flight `[ticks, 4]` and their covariances `[ticks, 4, 4]`, as one dense least-squares problem.

    One row per prior, per step and per measurement, each divided by its standard deviation; no recursion anywhere.
    """
    ticks = len(position)
    rows, right = [np.zeros((4, 4 * ticks))], [np.zeros(4)]
    rows[0][:, :4] = np.linalg.inv(np.linalg.cholesky(DOUBT.astype(float)))
    sharp = np.linalg.inv(np.linalg.cholesky(drift * GUSTS.astype(float)))
    for t in range(ticks - 1):
        row = np.zeros((4, 4 * ticks))
        row[:, 4 * t : 4 * t + 4], row[:, 4 * t + 4 : 4 * t + 8] = -sharp @ MOTION, sharp
        rows, right = [*rows, row], [*right, np.zeros(4)]
    for t in np.flatnonzero(seen):
        row = np.zeros((2, 4 * ticks))
        row[:, 4 * t : 4 * t + 2] = np.eye(2) / np.sqrt(noise)
        rows, right = [*rows, row], [*right, position[t] / np.sqrt(noise)]
    a, b = np.concatenate(rows), np.concatenate(right)
    best = np.linalg.lstsq(a, b, rcond=None)[0].reshape(ticks, 4)
    cov = np.linalg.inv(a.T @ a).reshape(ticks, 4, ticks, 4)
    return best, np.array([cov[t, :, t] for t in range(ticks)])


def parts(landed: np.ndarray[Any, Any]) -> list[slice]:
    """The ticks of each flight."""
    ends = [int(t) + 1 for t in np.flatnonzero(landed)]
    return [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]


def rms(position: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    """The root of the mean squared distance."""
    return float(np.sqrt(np.square(position - truth[:, :2]).sum(-1).mean()))


def main() -> None:
    """Runs it."""
    show.title("A Rauch-Tung-Striebel smoother: the filter is a state, the smoother a costate")
    data = flights(40)
    given = data["position"], data["seen"], data["landed"]
    program = sc.compile(smoother, target="c")
    out = program.run(*given)
    seen = data["seen"]
    show.fact("flights, ticks, longest", f"{data['landed'].sum()}, {len(seen)}, {LONGEST}")
    show.fact(
        "error of the measurements, where seen",
        f"{rms(data['position'][seen], data['truth'][seen]):.2f} m",
    )
    show.fact(
        "error of the filter (the past)", f"{rms(out['filtered'][:, :2], data['truth']):.2f} m"
    )
    show.fact(
        "error of the smoother (the whole flight)",
        f"{rms(out['smoothed'][:, :2], data['truth']):.2f} m",
    )
    apart = [
        np.abs(out["smoothed"][p] - least_squares(data["position"][p], seen[p])[0]).max()
        for p in parts(data["landed"])
    ]
    show.fact("from dense least squares, f64, at most", f"{max(apart):.1e} m")
    first = sc.compile(smoother).run(*(x[:100] for x in given))
    again = sc.compile(smoother, target="c").run(*(x[:100] for x in given))
    same = all(first[k].tobytes() == again[k].tobytes() for k in first)
    show.fact("interpreter and C", "the same bits" if same else "DIFFERENT BITS")
    report = program.report()
    sweeps = " ".join("←" if sweep.reverse else "→" for sweep in report.plan.sweeps)
    show.fact(
        "sweeps, latency, memory of an instance",
        f"{sweeps}, {program.latency['smoothed']} ticks, {report.plan.struct_bytes:,} B",
    )

    many = flights(300, seed=1)
    learnt, surprise = sc.compile(calibrate, target="c").run(
        many["position"], many["seen"], many["landed"]
    )
    last = {k: float(np.median(v.values[-50:])) for k, v in learnt.items()}
    show.fact(
        "variances learnt in 300 flights from 1, 1",
        f"drift {last['drift']:.3f}, noise {last['noise']:.2f}",
    )
    show.fact("the true ones", f"drift {DRIFT:.3f}, noise {NOISE:.2f}")
    show.fact(
        "log drift, every 10 flights", show.line(np.log(learnt["drift"].values[::10]).tolist())
    )
    show.fact(
        "surprise per measurement, first and last 50",
        f"{surprise.values[:50].mean():.2f}, {surprise.values[-50:].mean():.2f} nats",
    )
    show.look(
        "smooth() in examples/smoother.py: five lines that run backward, beside a filter that runs forward;",
        "calibrate(): their gradient, in a frame whose length the landing decides.",
    )


if __name__ == "__main__":
    main()
