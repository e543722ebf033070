"""Losses: the mean over all elements (or rows), a scalar, in the format of the first argument."""

from __future__ import annotations

from seiche.lang import functions as f
from seiche.lang.stream import Stream, Tensor, as_stream
from seiche.learn.ranges import FADING, POSITIVE, check
from seiche.numbers.formats import f32


def _real(target: Tensor, like: Stream) -> Stream:
    """A target as a real: labels may be booleans or integers."""
    stream = as_stream(target, like.format)
    return stream if stream.format.is_float else stream.to(like.format)


def cross_entropy(logits: Stream, label: Tensor, *, smoothing: float = 0.0) -> Stream:
    """-log softmax(logits)[label]: logits `[*, classes]`, labels integers `[*]`, in nats.

    `smoothing` s mixes the label with the uniform distribution, 1 - s to s (Szegedy et al. 2016, section 7).

    >>> import seiche as sc
    >>> @sc.node
    ... def loss(z: sc.f32[2], label: sc.i32) -> sc.f32:
    ...     return sc.learn.cross_entropy(z, label)
    >>> round(float(sc.compile(loss).step([0.0, 0.0], 1)), 4)
    0.6931
    """
    check("cross_entropy", {"smoothing": smoothing}, smoothing=FADING)
    index = f.expand_dims(as_stream(label), -1)
    picked = f.squeeze(f.take_along(logits, index), -1)
    if smoothing:
        picked = (1 - smoothing) * picked + smoothing * f.mean(logits, -1)
    return f.mean(f.logsumexp(logits) - picked)


def binary_cross_entropy(logits: Stream, target: Tensor) -> Stream:
    """-t log p - (1 - t) log(1 - p) with p = sigmoid(logits), without overflow; targets are booleans or in [0, 1].

    >>> import seiche as sc
    >>> @sc.node
    ... def loss(z: sc.f32, t: sc.bool_) -> sc.f32:
    ...     return sc.learn.binary_cross_entropy(z, t)
    >>> round(float(sc.compile(loss).step(0.0, True)), 4)
    0.6931
    """
    return f.mean(f.softplus(logits) - logits * _real(target, logits))


def mse(y: Stream, target: Tensor) -> Stream:
    """The mean of (y - target)^2.

    >>> import seiche as sc
    >>> @sc.node
    ... def loss(y: sc.f32[2]) -> sc.f32:
    ...     return sc.learn.mse(y, 0.0)
    >>> float(sc.compile(loss).step([1.0, 3.0]))
    5.0
    """
    return f.mean(f.square(y - _real(target, y)))


def mae(y: Stream, target: Tensor) -> Stream:
    """The mean of |y - target|.

    >>> import seiche as sc
    >>> @sc.node
    ... def loss(y: sc.f32[2]) -> sc.f32:
    ...     return sc.learn.mae(y, 0.0)
    >>> float(sc.compile(loss).step([1.0, -3.0]))
    2.0
    """
    return f.mean(f.absolute(y - _real(target, y)))


def huber(y: Stream, target: Tensor, *, delta: float = 1.0) -> Stream:
    """e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), with e = y - target (Huber 1964).

    >>> import seiche as sc
    >>> @sc.node
    ... def loss(y: sc.f32) -> sc.f32:
    ...     return sc.learn.huber(y, 0.0)
    >>> [float(v) for v in sc.compile(loss).run([0.5, 2.0])]
    [0.125, 1.5]
    """
    check("huber", {"delta": delta}, delta=POSITIVE)
    error = f.absolute(y - _real(target, y))
    near = f.minimum(error, delta)
    return f.mean(near * (error - 0.5 * near))


def accuracy(logits: Stream, label: Tensor) -> Stream:
    """The share (f32) of rows `[*, classes]` whose largest logit is the label's `[*]`; of equals the first counts.

    >>> import seiche as sc
    >>> @sc.node
    ... def right(z: sc.f32[3], label: sc.i32) -> sc.f32:
    ...     return sc.learn.accuracy(z, label)
    >>> float(sc.compile(right).step([0.0, 2.0, 1.0], 1))
    1.0
    """
    return _share(f.argmax(logits) == as_stream(label))


def binary_accuracy(logits: Stream, target: Tensor) -> Stream:
    """The share (f32) of logits on the side of 0 where the target is of 0.5.

    >>> import seiche as sc
    >>> @sc.node
    ... def right(z: sc.f32[2], t: sc.bool_[2]) -> sc.f32:
    ...     return sc.learn.binary_accuracy(z, t)
    >>> float(sc.compile(right).step([-1.0, 1.0], [True, True]))
    0.5
    """
    return _share((logits > 0) == (_real(target, logits) > 0.5))


def top_k_accuracy(logits: Stream, label: Tensor, k: int) -> Stream:
    """The share (f32) of rows whose label is among the k largest logits.

    >>> import seiche as sc
    >>> @sc.node
    ... def right(z: sc.f32[3], label: sc.i32) -> sc.f32:
    ...     return sc.learn.top_k_accuracy(z, label, 2)
    >>> float(sc.compile(right).step([0.0, 2.0, 1.0], 2))
    1.0
    """
    _, best = f.top_k(logits, k)
    return _share(f.any(best == f.expand_dims(as_stream(label), -1), -1))


def _share(right: Stream) -> Stream:
    return f.mean(right.to(f32))
