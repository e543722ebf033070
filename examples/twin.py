"""A digital twin of a motor: what the sensors do not see, what the model does not know, and whether all is well.

A motor drives a fan. Its data sheet gives a model of current, speed and winding temperature; friction, which sticks at low
speeds, is not in it. Two sensors are noisy, and the temperature has none. The twin is an extended Kalman filter that runs beside the
motor: its Jacobians are derivatives of the model, which is a node like any other. A small network learns the torque that the model lacks,
by the gradient of the filter's own surprise, carried forward through the filter. The surprise is the health signal as
well: while all is well its windowed sum stays below a bound of the chi-squared distribution. An automaton commissions the twin, then
watches, and latches a fault.

Extended Kalman filter and normalised innovations: Bar-Shalom, Li & Kirubarajan 2001, 5.4 and 10.3. Forward mode: Williams & Zipser
1989. Friction: Armstrong-Hélouvry, Dupont & Canudas de Wit 1994. Bound: Wilson & Hilferty 1931.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np

import seiche as sc
from examples import show
from examples.jacobian import jacobian
from seiche import f32, learn, node, state, u32
from seiche.backends.program import Program

TICK = 0.005
"""Seconds."""
OHMS, PER_KELVIN, HENRIES, TORQUE = 1.0, 0.0039, 0.02, 0.1
"""Resistance at 20 °C and its rise, inductance, and the torque constant (N m/A, which is V s too)."""
INERTIA, FAN = 0.002, 1e-5
"""kg m², and N m s²: the fan takes the square of the speed."""
HEAT, COOLING, ROOM = 30.0, 2.0, 20.0
"""J/K of the winding, K/W to the room, °C of the room."""
STATES = ("current", "speed", "temperature")

# Variances per tick: what disturbs the motor, and of the sensors of current and speed.
DISTURBED = np.float32([0.02**2, 0.2**2, 0.002**2])
NOISE = np.float32([0.15**2, 2.0**2])
SEES = np.eye(2, 3, dtype=np.float32)
START, DOUBT = np.float32([0, 0, ROOM]), np.diag(np.float32([0.1, 1.0, 4.0]))

COMMISSIONING = 12_000
"""Ticks that are learnt from: a minute."""
NETWORK = learn.MLP((1, 8, 1), activation=sc.tanh)
ADAM = learn.Adam(rate=learn.Cosine(0.01, COMMISSIONING))
SPEED, DRAG = 10.0, 0.1
"""The scales of the network's input (rad/s) and output (N m)."""
WINDOW, RARE = 400, 3.09
"""Ticks of a window, and how rare a larger sum is where all is well: one in a thousand, in standard deviations. Two are a fault."""
SPEEDS = np.arange(-80, 81, 8)
"""Where the network is asked what it has learnt (rad/s)."""
MODES = ("commissioning", "watching", "fault")
Missing = Literal["nothing", "learnt", "known"]
Array = np.ndarray[Any, Any]


@node
def motor(now: f32[3], volt: f32, drag: f32) -> f32[3]:
    """The data sheet's model: `(current, speed, temperature)` a tick later, under a voltage and a torque that it does not know."""
    current, speed, warm = now[0], now[1], now[2]
    ohms = OHMS * (1.0 + PER_KELVIN * (warm - ROOM))
    rises = (volt - ohms * current - TORQUE * speed) / HENRIES
    turns = (TORQUE * current - FAN * speed * sc.absolute(speed) - drag) / INERTIA
    warms = (ohms * sc.square(current) - (warm - ROOM) / COOLING) / HEAT
    return now + TICK * sc.stack([rises, turns, warms])


def friction(speed: sc.Stream) -> sc.Stream:
    """What the data sheet lacks (N m): it is largest just before the motor moves."""
    sticks = 0.06 + 0.1 * sc.exp(-sc.square(speed / 12.0))
    return sticks * sc.tanh(speed / 4.0) + 0.0004 * speed


def network(w: Any, speed: sc.Stream) -> sc.Stream:
    """The torque that the network believes in."""
    return DRAG * NETWORK(w, sc.reshape(speed / SPEED, (1,)))[0]


def bound(freedom: int, deviations: float) -> float:
    """The quantile of a chi-squared distribution of many degrees of freedom, by its cube root, which is nearly normal.

    >>> round(bound(100, 1.6449), 1)  # 95 %
    124.3
    """
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + deviations * part**0.5) ** 3)


def filtered(drag: Any, volt: sc.Stream, seen: sc.Stream, unrest: float) -> dict[str, sc.Stream]:
    """An extended Kalman filter of the motor with such a drag: mean and covariance after this tick's measurement.

    `surprise` is the squared innovation by its covariance. Its gradient goes through means alone: gains are taken as given. What is
    measured as no number is not seen: nothing is learnt of it.
    """
    mean, cov = state(START), state(DOUBT)

    def moves(now: sc.Stream) -> sc.Stream:
        return motor(now, volt, sc.constant(0.0) + drag(now[1]))

    there = sc.isfinite(seen)
    error = sc.where(there, seen - SEES @ mean, 0.0)
    scatter = SEES @ cov @ SEES.T + np.diag(NOISE)
    sharp = sc.stop_gradient(sc.inv(scatter))
    gain = sc.where(there, sc.stop_gradient(cov @ SEES.T) @ sharp, 0.0)
    after = mean + gain @ error
    certain = cov - gain @ (SEES @ cov)
    ahead, (by_now,) = jacobian(moves, after)
    mean.next = ahead
    cov.next = sc.stop_gradient(by_now @ certain @ by_now.T) + unrest * np.diag(DISTURBED)
    return {"mean": after, "cov": certain, "surprise": error @ sharp @ error}


def health(surprise: sc.Stream) -> tuple[sc.Stream, sc.Stream]:
    """The sum of the window so far by what it is on average where all is well; true where two windows in a row are too large."""
    number, total, ill = state(0), state(0.0), state(False)
    closes = number == WINDOW - 1
    number.next = sc.where(closes, 0, number + 1)
    freedom = 2 * WINDOW
    sum = total + surprise
    total.next = sc.where(closes, 0.0, sum)
    over = sum > bound(freedom, RARE)
    ill.next = sc.where(closes, over, ill)
    return sc.hold(sc.when(sum / freedom, closes), 1.0), closes & over & ill


@node
def twin(
    volt: f32,
    seen: f32[2],
    missing: Missing = "learnt",
    unrest: float = 1.0,
    commissioning: int = COMMISSIONING,
) -> dict[str, sc.Stream]:
    """Beside the motor: its estimated state, the surprise at every tick, its health by windows (1 is well), the mode, and the network.

    `missing` says where the torque comes from that the data sheet lacks. `unrest` multiplies the variance of disturbances.
    """
    w, moments = state(NETWORK.init(key=0)), state(ADAM.init(NETWORK.init(key=0)))

    def surprise(w: Any) -> Any:
        known = {"nothing": lambda _: 0.0, "learnt": lambda v: network(w, v), "known": friction}
        out = filtered(known[missing], volt, seen, unrest)
        return 0.5 * out["surprise"], out

    (_, out), dw = sc.value_and_grad(surprise, has_aux=True, method="forward")(w)
    well, alarm = health(out["surprise"])
    with sc.automaton() as control:
        with control.mode("commissioning") as m:
            age = state(0)
            age.next = age + 1
            m.until(age.next >= commissioning, "watching")
        with control.mode("watching") as m:
            m.until(alarm, "fault")
        with control.mode("fault") as m:
            pass
    learning = control.on("commissioning")
    better = ADAM.update(dw, moments, w)
    w.next, moments.next = sc.map_tree(
        lambda new, old: sc.where(learning, new, old), better, (w, moments)
    )
    torque = sc.stack([network(w, sc.constant(float(v))) for v in SPEEDS])
    return {
        "mean": out["mean"],
        "cov": out["cov"],
        "surprise": out["surprise"],
        "health": well,
        "mode": control.current,
        "torque": torque,
    }


# ------------------------------------------------------------------------------------------------------------ the world


@node
def plant(volt: f32, key: u32[2], fault: f32, kind: str = "wear") -> dict[str, sc.Stream]:
    """The motor itself: its state and what the sensors see of it. `fault` is how bad the fault of that kind is, 0 to 1.

    "wear" adds 0.05 N m of friction, "short" takes 20 % of the winding's resistance, "slip" 5 % of the speed that is read.
    """
    tick, now = state(0), state(START)
    tick.next = tick + 1
    chance = sc.random.normal(sc.random.fold_in(key, tick), (5,))
    worn = 0.05 * fault if kind == "wear" else 0.0
    missing = 0.2 * fault * OHMS * now[0] if kind == "short" else 0.0
    drag = friction(now[1]) + worn * sc.tanh(now[1] / 4.0)
    now.next = motor(now, volt + missing, drag) + np.sqrt(DISTURBED) * chance[:3]
    reads = sc.stack([now[0], now[1] * (1.0 - 0.05 * fault)]) if kind == "slip" else now[:2]
    return {"now": now, "seen": reads + np.sqrt(NOISE) * chance[3:]}


def drive(ticks: int, seed: int) -> Array:
    """The voltage of a busy day: another one every half second or so, often backwards, `[ticks]`."""
    rng = np.random.default_rng(seed)
    changes = np.cumsum(rng.random(ticks) < 2 * TICK)
    steps = rng.uniform(-12, 12, size=changes[-1] + 1)
    return steps[changes].astype(np.float32)


# ---------------------------------------------------------------------------------------------------------- figures

SEEDS = range(1000, 1020)
"""Of the days that are judged. The constants above were chosen on others."""
DAY, FAULTY = 24_000, 18_000
"""Ticks: a day of two minutes, and when a fault begins."""
INTERPRETED = 150
"""Ticks that are interpreted as well."""
USUAL = -2 * np.log(0.05)
"""95 % of the surprises are below it where all is well: of the chi-squared distribution with two degrees of freedom."""


@cache
def motor_of(kind: str) -> Program:
    """The plant with that kind of fault, as C."""
    return sc.compile(plant, target="c", kind=kind)


def day(seed: int, kind: str = "wear", fault: float = 0.0, ticks: int = DAY) -> dict[str, Array]:
    """What the motor does in a day, and what is seen of it; from `FAULTY` on with a fault of that kind."""
    volt = drive(ticks, seed)
    bad = np.where(np.arange(ticks) < FAULTY, 0.0, fault).astype(np.float32)
    key = np.tile(np.uint32([0, seed]), (ticks, 1))
    program = motor_of(kind)
    program.reset()
    return {"volt": volt, **program.run(volt, key, bad)}


@cache
def twin_of(missing: Missing = "learnt", unrest: float = 1.0) -> Program:
    """The twin as C."""
    return sc.compile(twin, target="c", missing=missing, unrest=unrest)


def beside(days: list[dict[str, Array]], *settings: Any) -> list[dict[str, Array]]:
    """What a twin of those settings says of days, each from its commissioning on."""
    program = twin_of(*settings)
    said: list[dict[str, Array]] = []
    for one in days:
        program.reset()
        said.append(program.run(one["volt"], one["seen"]))
    return said


def errors(days: list[dict[str, Array]], said: list[dict[str, Array]]) -> Array:
    """The RMS error of each state after commissioning, over all days `[3]`."""
    apart = [(s["mean"] - d["now"])[COMMISSIONING:] for d, s in zip(days, said, strict=True)]
    return np.sqrt(np.mean(np.square(apart), axis=(0, 1)))


def within(said: list[dict[str, Array]]) -> float:
    """The share of surprises after commissioning that are within their 95 % bound."""
    return float(np.mean([s["surprise"][COMMISSIONING:] < USUAL for s in said]))


def flagged(said: list[dict[str, Array]]) -> Array:
    """The tick of the fault that each twin latched, or -1."""
    found = [np.flatnonzero(s["mode"] == MODES.index("fault")) for s in said]
    return np.array([x[0] if len(x) else -1 for x in found])


TWINS: dict[str, tuple[Any, ...]] = {
    "the data sheet's model": ("nothing",),
    "  with disturbances doubled": ("nothing", 4.0),
    "  with disturbances four times as large": ("nothing", 16.0),
    "learnt where it runs": ("learnt",),
    "the true model": ("known",),
}
FAULTS = {
    "wear": "0.05 N m of friction more",
    "short": "20 % less resistance",
    "slip": "speed is read 5 % low",
}


def main() -> None:
    """Runs it."""
    show.title("A digital twin of a motor: it learns what its model lacks, and says what is wrong")
    days = [day(seed) for seed in SEEDS]
    show.fact(
        "days, ticks of a day, of its commissioning", f"{len(days)}, {DAY:,}, {COMMISSIONING:,}"
    )
    show.fact(
        "errors (RMS) of current, speed, temperature",
        "(surprises within their 95 % bound; false alarms)",
    )
    for name, settings in TWINS.items():
        said = beside(days, *settings)
        amps, speed, kelvin = errors(days, said)
        show.fact(
            f"  {name}",
            f"{amps:.3f} A, {speed:.2f} rad/s, {kelvin:.2f} K ({within(said):.1%}; {np.sum(flagged(said) >= 0)} of {len(days)})",
        )
    for kind, what in FAULTS.items():
        found = flagged(beside([day(seed, kind, 1.0) for seed in SEEDS]))
        late = (found[found >= FAULTY] - FAULTY) * TICK
        show.fact(
            f"{what}: flagged after",
            f"{np.median(late):.1f} s (at most {late.max():.1f}) in {len(late)} of {len(found)}",
        )
    show_learnt(beside(days[:1])[0]["torque"][-1])
    show_forms(days[0])
    show.look(
        "filtered() in examples/twin.py: an extended Kalman filter in ten lines, its Jacobian a derivative of motor();",
        "twin(): the gradient of the filter's surprise, forward through the filter, in the program that it improves.",
    )


def show_forms(one: dict[str, Array]) -> None:
    """The beginning of a day, interpreted and as C; and what a twin takes."""
    first, again = (
        sc.compile(twin, target=t, commissioning=INTERPRETED // 2).run(
            *(one[k][:INTERPRETED] for k in ("volt", "seen"))
        )
        for t in ("interp", "c")
    )
    same = all(first[k].tobytes() == again[k].tobytes() for k in first)
    show.fact(
        "interpreter and C, learning, then watching", "the same bits" if same else "DIFFERENT BITS"
    )
    report = twin_of().report().as_dict()
    show.fact(
        "memory of an instance, operations of a tick",
        f"{report['struct_bytes']:,} B, {report['operations']:,} at most",
    )


def show_learnt(torque: Array) -> None:
    """The network's torque over the speed beside the true one."""

    @node
    def truth(speed: f32) -> sc.Stream:
        return friction(speed)

    true = sc.compile(truth).run(SPEEDS.astype(np.float32))
    most = float(np.abs(true).max())
    show.fact(f"friction from {SPEEDS[0]} to {SPEEDS[-1]} rad/s", show.line(true, -most, most))
    show.fact("  learnt", show.line(torque, -most, most))


if __name__ == "__main__":
    main()
