"""Random tensor functions that can be folded: stacks of layers on `[rows, columns, channels]`, and what is made of the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import seiche as sc
from seiche.lang.stream import apply

Function = Callable[[Any], Any]


@dataclass
class Draw:
    """Random choices; weights are fixed when a layer is drawn, so that tracing it twice gives one program."""

    rng: np.random.Generator

    def pick(self, *items: Any) -> Any:
        return items[int(self.rng.integers(len(items)))]

    def real(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape).astype(np.float32)

    def geometry(self, n: int) -> tuple[int, int, int, tuple[int, int]]:
        """Window, stride, dilation and padding of an axis of length n that do not make it longer."""
        for _ in range(50):
            window, stride, dilation = (
                self.pick(1, 2, 3, 4),
                self.pick(1, 1, 2, 3),
                self.pick(1, 1, 2),
            )
            reach = (window - 1) * dilation
            low, high = int(self.rng.integers(0, reach + 1)), int(self.rng.integers(0, reach + 1))
            if reach + 1 <= n + low + high and (n + low + high - reach - 1) // stride + 1 <= -(
                -n // stride
            ):
                return window, stride, dilation, (low, high)
        return 1, 1, 1, (0, 0)


def conv(d: Draw, shape: tuple[int, ...]) -> Function:
    (h, w, c), out = shape, d.pick(1, 2, 3)
    rows, columns = d.geometry(h), d.geometry(w)
    weight = d.real(rows[0], columns[0], c, out)
    strides, dilation, padding = zip(rows[1:], columns[1:], strict=True)
    return lambda x: sc.conv(x, weight, strides=strides, dilation=dilation, padding=padding)


def conv_of_rows(d: Draw, shape: tuple[int, ...]) -> Function:
    """One-dimensional, over the rows; the columns are channels."""
    h, w, c = shape
    window, stride, dilation, padding = d.geometry(h)
    weight = d.real(window, w * c, w * 2)
    return lambda x: sc.conv(
        x.reshape(-1, w * c), weight, strides=stride, dilation=dilation, padding=[padding]
    ).reshape(-1, w, 2)


def conv_of_columns(d: Draw, shape: tuple[int, ...]) -> Function:
    window, stride, dilation, padding = d.geometry(shape[1])
    weight = d.real(window, shape[2], 2)
    return lambda x: sc.conv(x, weight, strides=stride, dilation=dilation, padding=[padding])


def depthwise(d: Draw, shape: tuple[int, ...]) -> Function:
    window, stride, dilation, padding = d.geometry(shape[0])
    weight = d.real(window, 1, 1, shape[2])
    return lambda x: sc.conv(
        x,
        weight,
        strides=(stride, 1),
        dilation=(dilation, 1),
        padding=[padding, (0, 0)],
        groups=shape[2],
    )


def pool(d: Draw, shape: tuple[int, ...]) -> Function:
    rows, columns, op = d.geometry(shape[0]), d.geometry(shape[1]), d.pick(sc.max, sc.sum, sc.mean)
    window, strides, dilation, padding = zip(rows, columns, strict=True)
    low, high = zip(*padding, strict=True)
    return lambda x: op(
        apply("patches", x, window=window, strides=strides, dilation=dilation, low=low, high=high),
        (2, 3),
    )


def pool_by_reshape(d: Draw, shape: tuple[int, ...]) -> Function:
    h, w, c = shape
    return (lambda x: x.reshape(h // 2, 2, w, c).max(1)) if h % 2 == 0 else relu(d, shape)


def relu(d: Draw, shape: tuple[int, ...]) -> Function:
    return sc.relu


def affine(d: Draw, shape: tuple[int, ...]) -> Function:
    scale, shift = d.real(*d.pick(shape, shape[1:], shape[2:])), d.real(*shape[:1], 1, 1)
    return lambda x: x * scale + shift


def mix(d: Draw, shape: tuple[int, ...]) -> Function:
    weight = d.real(shape[2], 3)
    return lambda x: sc.tanh(x @ weight)


def norm(d: Draw, shape: tuple[int, ...]) -> Function:
    axis = d.pick(1, 2, (1, 2))
    return lambda x: (
        (x - x.mean(axis, keepdims=True)) / sc.sqrt(x.variance(axis, keepdims=True) + 1e-3)
    )


def softmax(d: Draw, shape: tuple[int, ...]) -> Function:
    return lambda x: sc.softmax(x, -1)


def running(d: Draw, shape: tuple[int, ...]) -> Function:
    axis, op = d.pick(0, 0, 1), d.pick(sc.cumsum, sc.cumprod, sc.cummax)
    return lambda x: op(x, axis)


def crop(d: Draw, shape: tuple[int, ...]) -> Function:
    low = int(d.rng.integers(0, shape[0]))
    step = d.pick(1, 1, 2)
    return lambda x: x[low::step]


def pad_then_conv(d: Draw, shape: tuple[int, ...]) -> Function:
    value, weight = d.pick(0, 1.5), d.real(3, 1, shape[2], 2)
    return lambda x: sc.conv(sc.pad(x, [(1, 1), (0, 0), (0, 0)], value), weight)


def residual(d: Draw, shape: tuple[int, ...]) -> Function:
    weight = d.real(3, 3, shape[2], shape[2])
    return lambda x: x + sc.relu(sc.conv(x, weight, padding="same"))


def joined(d: Draw, shape: tuple[int, ...]) -> Function:
    cut, block = int(d.rng.integers(1, shape[0] + 1)), d.real(2, *shape[1:])
    kind = d.pick("roll", "swap", "columns", "block") if shape[0] > 2 else "columns"
    return {
        "roll": lambda x: sc.roll(x, cut, 0),
        "swap": lambda x: sc.concatenate([x[1:] * 2, x[:1]]),
        "columns": lambda x: sc.concatenate([x, -x], 1),
        "block": lambda x: sc.concatenate([block[:1], x[2:], block[1:]]),
    }[kind]


def ordered(d: Draw, shape: tuple[int, ...]) -> Function:
    table = d.real(shape[2], 2)
    return d.pick(
        lambda x: sc.sort(x, 1), lambda x: sc.take(table, sc.argmax(x, -1)), lambda x: x[:, ::-1]
    )


LAYERS = (
    conv, conv, conv, conv_of_rows, conv_of_columns, depthwise, pool, pool, pool_by_reshape, relu, affine, mix, norm,
    softmax, running, crop, pad_then_conv, residual, joined, ordered,
)  # fmt: skip


def heads(d: Draw, shape: tuple[int, ...]) -> list[Function]:
    """What is made of the last layer: rows as they are, and values that are known once per frame."""
    h, w, c = shape
    weight, square = d.real(h * w * c, 3), d.real(h, 2)
    made = [
        lambda x: x, lambda x: x.transpose((1, 0, 2)).sum(1), lambda x: x.sum((0, 1)), lambda x: x.mean(),
        lambda x: x.max(0), lambda x: x.min((0, 2)), lambda x: sc.tanh(x.reshape(-1) @ weight), lambda x: x.prod(0),
        lambda x: sc.argmax(x, 0), lambda x: (x > 0).any((0, 1)), lambda x: (x.reshape(h, -1).T @ square).sum(0),
        lambda x: x.reshape(h, -1).T @ x.reshape(h, -1), lambda x: x[-1], lambda x: (x * 8).to(sc.i32).sum(1).sum(0),
        lambda x: x.sum(0) / (1 + x[0] * x[0]), lambda x: x.to(sc.bf16).sum(0), lambda x: x.reshape(h * w, c),
        lambda x: x.reshape(h * w, c).sum(0), lambda x: sc.swapaxes(x, 0, 1),
    ]  # fmt: skip
    return [d.pick(*made) for _ in range(2)]


def shape_of(function: Function, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a function's result."""
    return sc.node(function).trace(sc.f32[shape]).outputs.shape


def function(seed: int) -> tuple[Any, tuple[int, ...]]:
    """A node and the shape of its argument."""
    d = Draw(np.random.default_rng(seed))
    shape = first = (
        int(d.rng.integers(1, 13)),
        int(d.rng.integers(1, 6)),
        int(d.rng.integers(1, 4)),
    )
    layers: list[Function] = []
    for _ in range(int(d.rng.integers(0, 6))):
        layer = d.pick(*LAYERS)(d, shape)
        shape = shape_of(layer, shape)
        layers.append(layer)
    results = heads(d, shape)

    def stack(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return tuple(head(x) for head in results)

    return sc.node(stack), first
