"""What the tests of deployment share: the targets whose tools are here, a program of every kind, its streams."""

from __future__ import annotations

import importlib.util
import shutil
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche import bool_, f32, learn, node, state
from seiche.backends.program import Program
from seiche.schedule.target import names, target

BOARDS = tuple(name for name in names() if name != "host")


def emulated() -> tuple[str, ...]:
    """The targets that can be built and emulated here."""
    if importlib.util.find_spec("ziglang") is None:
        return ()
    commands = {name: str(target(name).tables["qemu"]["command"]) for name in BOARDS}
    return tuple(name for name, command in commands.items() if shutil.which(command))


needs_zig = pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None,
    reason="NOT TESTED: no compiler for other targets (pip install ziglang)",
)
needs_qemu = pytest.mark.skipif(
    set(emulated()) != set(BOARDS),
    reason="NOT TESTED on Cortex-M and RISC-V: ziglang, qemu-system-arm or qemu-system-riscv32 is missing",
)

LAYER = learn.Dense(16, 12)
FROZEN = LAYER.init(key=7)


@node
def monitor(x: f32, acknowledge: bool_) -> dict[str, sc.Stream]:
    """Constants, states, a training step, modes; an output that is absent at most ticks."""
    recent = state(np.zeros(16))
    recent.next = sc.concatenate([recent[1:], x.reshape(1)])
    seen = sc.tanh(LAYER(FROZEN, recent))  # REQ-7: the layer is fixed
    w = state(np.zeros(12))
    surprise, dw = sc.value_and_grad(lambda w: sc.square(seen @ w - x))(w)
    w.next = w - 0.1 * dw
    usual = state(1.0)
    usual.next = usual + 0.02 * (sc.minimum(surprise, 1.0) - usual)
    odd = surprise > 4.0 * usual + 0.05
    with sc.automaton() as alarm:
        with alarm.mode("quiet") as m:
            m.emit(level=0)
            m.until(odd, "alarm")
        with alarm.mode("alarm") as m:
            m.emit(level=1)
            m.until(acknowledge, "quiet")
    return {"surprise": surprise, "alarm": alarm.level, "odd": sc.when(sc.sqrt(surprise), odd)}


@node
def advantage(reward: f32, value: f32, done: bool_) -> f32:
    """A frame with a costate: outputs come late, and a frame that is too long stops the program."""
    with sc.frame(max=8, until=done):
        later = sc.post(value, 0.0)
        ahead = sc.costate(0.0)
        ahead.prev = reward + 0.9 * later - value + 0.8 * ahead
        return ahead.prev


SMALL = np.random.default_rng(8)
MATRIX = SMALL.integers(-127, 128, (64, 32)).astype(np.int8)
TAPS = SMALL.integers(-127, 128, (3, 4, 8)).astype(np.int8)
SCALE = SMALL.integers(1 << 20, 1 << 23, 32)
POINT = np.ldexp(SMALL.integers(-2048, 2048, (32, 5)), -12)


@node
def quantised(x: sc.i8[16, 4]) -> dict[str, sc.Stream]:
    """Small integers: a convolution, a layer with a bias, a rescaling by a whole number of 2^-31; fixed point behind it."""
    seen = sc.conv(x, TAPS, padding="causal", strides=2, accumulate=sc.i32)
    h = sc.clip(seen >> 9, -128, 127).to(sc.i8).reshape(64)
    total = sc.matmul(h, MATRIX, accumulate=sc.i32) + np.arange(32, dtype=np.int32)
    scaled = (total.to(sc.i64) * sc.constant(SCALE, sc.i64) + (1 << 30)) >> 31
    y = sc.clip(scaled, -128, 127).to(sc.i8)
    rows = sc.matmul(x, MATRIX[:4, :7], accumulate=sc.i32)
    point = sc.fixed(4, 12)
    return {
        "y": y,
        "rows": rows,
        "point": (y.to(sc.f32) / 64).to(point) @ sc.constant(POINT, point),
    }


NARROW, WIDE = sc.fixed(3, 5), sc.fixed(4, 12)
DRIVES, CARRIES = SMALL.normal(size=(2, 8, 24)) * 0.4


@node
def pointed(x: NARROW[8], y: WIDE[8]) -> dict[str, sc.Stream]:  # type: ignore[valid-type]
    """Fixed point throughout: a GRU of 8 bits, whose gates are tables; a filter that learns, of 16 bits, its error bounded."""
    h = state(sc.constant(np.zeros(8), NARROW))
    drive, carry = (
        sc.matmul(v, sc.constant(np.round(w * 32) / 32, NARROW))
        for v, w in ((x, DRIVES), (h, CARRIES))
    )
    z, r = (sc.sigmoid(drive[k : k + 8] + carry[k : k + 8]) for k in (0, 8))
    h.next = h + z * (sc.tanh(drive[16:] + r * carry[16:]) - h)
    w = state(sc.constant(np.zeros(8), WIDE))
    wrong = sc.tanh(sc.mean(y) - y @ w)
    w.next = w + 0.125 * wrong * y / sc.maximum(sc.sum(y * y), 0.5)
    return {"h": h.next, "wrong": wrong}


def pointed_streams(ticks: int = 12) -> tuple[Any, ...]:
    """Streams for `pointed`."""
    rng = np.random.default_rng(5)
    return rng.normal(size=(ticks, 8)), rng.normal(size=(ticks, 8))


@lru_cache(maxsize=1)
def pointing() -> Program:
    return sc.compile(pointed)


def sampled(ticks: int = 12, seed: int = 0) -> tuple[Any, ...]:
    """A stream for `quantised`, with the ends of its range."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (ticks, 16, 4))
    return (np.where(rng.random(x.shape) < 0.2, -128, x).astype(np.int8),)


@lru_cache(maxsize=1)
def integral() -> Program:
    return sc.compile(quantised)


@lru_cache(maxsize=1)
def watching() -> Program:
    return sc.compile(monitor)


@lru_cache(maxsize=1)
def advising() -> Program:
    return sc.compile(advantage)


def sensed(ticks: int = 60, seed: int = 0) -> tuple[Any, ...]:
    """Streams for `monitor`."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=ticks).astype(np.float32), rng.random(ticks) < 0.1


def played(ticks: int = 40, every: int = 6, seed: int = 0) -> tuple[Any, ...]:
    """Streams for `advantage`: episodes of `every` ticks."""
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(2, ticks)).astype(np.float32)
    return one, two, np.arange(ticks) % every == every - 1
