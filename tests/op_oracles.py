"""What each op of the table computes, said a second time: Python's integers and fractions, numpy's own functions, naive loops.

`ORACLES[name](arrays, params, out)` is the expected array; where it is NaN by `UNKNOWN`, anything goes. `ULPS[name]` is the
distance allowed, in units in the last place (0 where absent: equal in bits).
"""

from __future__ import annotations

import math
import statistics
import struct
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from seiche.numbers.formats import Type
from seiche.numbers.rounding import round_exact

Array = np.ndarray[Any, Any]
Oracle = Callable[[tuple[Array, ...], dict[str, Any], Type], Array]


class Unknown(Exception):
    """The oracle has no opinion."""


def wrap(x: int, dtype: np.dtype[Any]) -> Any:
    """x modulo 2^bits, as the dtype reads it."""
    bits = 8 * dtype.itemsize
    x &= (1 << bits) - 1
    return dtype.type(x - (1 << bits) if dtype.kind == "i" and x >> (bits - 1) else x)


def each(real: Callable[..., Any], whole: Callable[..., Any] | None = None) -> Oracle:
    """Element by element: `real` on numpy's scalars; `whole` on Python's integers, wrapped."""

    def oracle(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
        dtype = np.dtype(out.format.dtype)
        flat = [a.reshape(-1) for a in np.broadcast_arrays(*arrays)]
        result = []
        for xs in zip(*flat, strict=True):
            if whole is not None and flat[0].dtype.kind in "iu":
                result.append(wrap(int(whole(*map(int, xs))), dtype))
            else:
                result.append(dtype.type(real(*xs)))
        return np.array(result, dtype).reshape(out.shape)

    return oracle


def in_double(fn: Callable[..., float], limit: float = math.inf) -> Oracle:
    """Element by element in f64, rounded to the result's format; unknown beyond `limit`."""

    def real(*xs: Any) -> float:
        if any(abs(x) > limit and math.isfinite(x) for x in map(float, xs)):
            raise Unknown
        try:
            return float(fn(*map(np.float64, xs)))
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    return partly(real)


def partly(real: Callable[..., Any]) -> Oracle:
    """Element by element; NaN payload 'unknown' (a masked element) where there is no opinion."""

    def oracle(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
        dtype = np.dtype(out.format.dtype)
        result = np.ma.zeros(arrays[0].size, dtype)
        for i, xs in enumerate(zip(*(a.reshape(-1) for a in arrays), strict=True)):
            try:
                result[i] = dtype.type(real(*xs))
            except Unknown:
                result[i] = np.ma.masked
        return result.reshape(out.shape)

    return oracle


def by_numpy(fn: Callable[..., Any]) -> Oracle:
    """`fn(*arrays, **params)` on whole arrays."""
    return lambda arrays, params, out: np.asarray(fn(*arrays, **params))


# Arithmetic.


def nan_or(pick: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    return lambda x, y: x if x != x else y if y != y else x if pick(x, y) else y


def floor_div(x: Any, y: Any) -> float:
    if y == 0 or np.isinf(x) or np.isnan(x) or np.isnan(y):
        return x / y
    if np.isinf(y):
        return -1.0 if (x < 0) != (y < 0) and x else math.copysign(0.0, x / y)
    exact = Fraction(float(x)) / Fraction(float(y))
    if abs(exact) >= 2 ** (np.finfo(x.dtype).nmant - 2):
        raise Unknown
    whole = math.floor(exact)
    return float(whole) if whole else math.copysign(0.0, x / y)


def mod(x: Any, y: Any) -> float:
    if y == 0 or not (np.isfinite(x) and np.isfinite(y)):
        return np.mod(x, y)
    a, b = Fraction(float(x)), Fraction(float(y))
    if abs(a / b) >= 2 ** (np.finfo(x.dtype).nmant - 2):
        raise Unknown
    rest = a - b * math.floor(a / b)
    return float(rest) if rest else math.copysign(0.0, y)


def bitcast(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    codes = {
        "f4": "f",
        "f8": "d",
        **{
            f"{k}{n}": c
            for k, cs in (("i", "bhiq"), ("u", "BHIQ"))
            for n, c in zip((1, 2, 4, 8), cs)
        },
    }
    before, after = ("<" + codes[np.dtype(d).str[1:]] for d in (arrays[0].dtype, out.format.dtype))
    made = [struct.unpack(after, struct.pack(before, v.item()))[0] for v in arrays[0].reshape(-1)]
    return np.array(made, out.format.dtype).reshape(out.shape)


def convert(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    """Formats that the caller rounds to have a test of their own."""
    target, x = np.dtype(out.format.dtype), arrays[0]
    if out.format.is_float and not out.format.exact:
        return np.ma.masked_all(out.shape, target)

    def one(v: Any) -> Any:
        if target.kind == "b":
            return bool(v != 0)
        if v.dtype.kind != "f":
            return wrap(int(v), target) if target.kind in "iu" else v.astype(target)
        if target.kind == "f":
            return v.astype(target)
        info = np.iinfo(target)
        return (
            0
            if np.isnan(v)
            else info.max
            if v >= 2.0 ** (info.bits)
            else max(info.min, min(info.max, _whole(v)))
        )

    return np.array([one(v) for v in x.reshape(-1)], target).reshape(out.shape)


def _whole(v: Any) -> int:
    return int(v) if np.isfinite(v) else (1 << 70) * (1 if v > 0 else -1)


# Elementary functions.


def pow(x: float, y: float) -> float:
    if x == 0 and y < 0:
        odd = math.isfinite(y) and y % 2 == 1
        return math.copysign(math.inf, x) if odd else math.inf
    try:
        return math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def erfinv(x: float) -> float:
    if not abs(x) < 1:
        return math.copysign(math.inf, x) if abs(x) == 1 else math.nan
    if abs(x) < 1e-8:
        return x * math.sqrt(math.pi) / 2
    y = (
        statistics.NormalDist().inv_cdf((x + 1) / 2) / math.sqrt(2)
        if abs(x) < 0.999
        else math.copysign(3.0, x)
    )
    for _ in range(50):
        gap = (
            (math.erf(y) - x)
            if abs(x) < 0.5
            else math.copysign(1, x) * ((1 - abs(x)) - math.erfc(abs(y)))
        )
        y -= gap * math.sqrt(math.pi) / 2 * math.exp(y * y)
    return y


# Reductions.


def lanes(terms: list[Any], combine: Callable[[Any, Any], Any]) -> Any:
    """Lane order, as docs/architecture.md says it."""
    acc: list[Any] = [None] * 16
    for k, term in enumerate(terms):
        acc[k % 16] = term if acc[k % 16] is None else combine(acc[k % 16], term)
    for h in (8, 4, 2, 1):
        for j in range(h):
            if acc[j + h] is not None:
                acc[j] = combine(acc[j], acc[j + h])
            acc[j + h] = None
    return acc[0]


def reduced(combine: Callable[[Any, Any], Any]) -> Oracle:
    def oracle(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
        (x,), axes = arrays, sorted(params["axes"])
        result = np.zeros(out.shape, out.format.dtype)
        for place in np.ndindex(*out.shape):
            terms = []
            for inner in product(*(range(x.shape[a]) for a in axes)):
                full, ins, outs = [], iter(inner), iter(place)
                full = [next(ins) if i in axes else next(outs) for i in range(x.ndim)]
                terms.append(x[tuple(full)])
            result[place] = lanes(terms, combine)
        return result

    return oracle


def along(fn: Callable[[list[Any]], list[Any]], descending: bool = False) -> Oracle:
    """A function of the elements along `axis`."""

    def oracle(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
        rows = np.moveaxis(arrays[0], params["axis"], -1)
        flip = -1 if params.get("reverse") else 1
        made = [fn(list(row[::flip]))[::flip] for row in rows.reshape(-1, rows.shape[-1])]
        result = np.array(made, out.format.dtype).reshape(*rows.shape[:-1], -1)
        return np.moveaxis(result, -1, params["axis"])

    return oracle


def running(combine: Callable[[Any, Any], Any]) -> Oracle:
    def fn(xs: list[Any]) -> list[Any]:
        for i in range(1, len(xs)):
            xs[i] = combine(xs[i - 1], xs[i])
        return xs

    return along(fn)


def place_of(better: Callable[[Any, Any], bool]) -> Oracle:
    def fn(xs: list[Any]) -> list[Any]:
        nans = [i for i, x in enumerate(xs) if x != x]
        if nans:
            return nans[:1]
        return [next(i for i, x in enumerate(xs) if not any(better(y, x) for y in xs))]

    inner = along(fn)
    return lambda arrays, params, out: inner(arrays, params, out).squeeze(params["axis"])


# Moves.


def clamp(i: Any, n: int) -> int:
    return min(max(int(i), 0), n - 1)


def take(x: Array, indices: Array, axis: int) -> Array:
    return np.take(
        x, np.array([clamp(i, x.shape[axis]) for i in indices.flat]).reshape(indices.shape), axis
    )


def dynamic_slice(x: Array, i: Array, axis: int, size: int) -> Array:
    start = clamp(i, x.shape[axis] - size + 1)
    return x[(slice(None),) * axis + (slice(start, start + size),)]


def take_along(x: Array, indices: Array, axis: int) -> Array:
    out = np.zeros(indices.shape, x.dtype)
    for at in np.ndindex(*indices.shape):
        out[at] = x[(*at[:axis], clamp(indices[at], x.shape[axis]), *at[axis + 1 :])]
    return out


def one_hot(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    made = [[k == int(i) for k in range(params["depth"])] for i in arrays[0].flat]
    return np.array(made, out.format.dtype).reshape(out.shape)


def iota(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    result, dtype = np.zeros(out.shape, out.format.dtype), np.dtype(out.format.dtype)
    for at in np.ndindex(*out.shape):
        result[at] = wrap(at[params["axis"]], dtype) if dtype.kind in "iu" else at[params["axis"]]
    return result


def update(x: Array, row: Array, i: Array, axis: int, batch: int = 0) -> Array:
    if batch:
        parts = zip(x, row, i, strict=True)
        return np.stack([update(*part, axis=axis - 1, batch=batch - 1) for part in parts])
    rows = list(np.moveaxis(x, axis, 0))
    if 0 <= int(i) < len(rows):
        rows[int(i)] = row
    return np.moveaxis(np.stack(rows), 0, axis)


def scatter_add(x: Array, indices: Array, rows: Array, axis: int) -> Array:
    out = x.copy()
    for at in np.ndindex(*rows.shape):
        mid = at[axis : axis + indices.ndim]
        i = int(indices[mid])
        if 0 <= i < x.shape[axis]:
            out[(*at[:axis], i, *at[axis + indices.ndim :])] += rows[at]
    return out


def pad(x: Array, low: Any, high: Any, value: float = 0) -> Array:
    out = np.full([n + a + z for n, a, z in zip(x.shape, low, high)], value, x.dtype)
    for at in np.ndindex(*out.shape):
        source = tuple(i - a for i, a in zip(at, low))
        if all(0 <= i < n for i, n in zip(source, x.shape)):
            out[at] = x[source]
    return out


def unfold(shape: Any, window: Any, p: dict[str, Any], places: Any) -> Any:
    """(place, tap, position or None) over all of them."""
    for tap in np.ndindex(*window):
        for place in np.ndindex(*places):
            at = tuple(
                o * s + k * d - a
                for o, k, s, d, a in zip(place, tap, p["strides"], p["dilation"], p["low"])
            )
            yield place, tap, at if all(0 <= i < n for i, n in zip(at, shape)) else None


def patches(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    (x,), r = arrays, len(params["window"])
    lead, result = x.ndim - r - 1, np.zeros(out.shape, x.dtype)
    every = (slice(None),) * lead
    spatial, places = x.shape[lead : lead + r], out.shape[lead : lead + r]
    for place, tap, at in unfold(spatial, params["window"], params, places):
        if at is not None:
            result[(*every, *place, *tap)] = x[(*every, *at)]
    return result


def unpatch(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    (y,), r = arrays, len(params["spatial"])
    lead, result = y.ndim - 2 * r - 1, np.zeros(out.shape, y.dtype)
    every = (slice(None),) * lead
    places, window = y.shape[lead : lead + r], y.shape[lead + r : lead + 2 * r]
    for place, tap, at in unfold(params["spatial"], window, params, places):
        if at is not None:
            result[(*every, *at)] += y[(*every, *place, *tap)]
    return result


def sort(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    return sorting(lambda xs, order: [xs[i] for i in order])(arrays, params, out)


def sorting(give: Callable[[list[Any], list[int]], list[Any]]) -> Oracle:
    def oracle(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
        sign = -1 if params.get("descending") else 1

        def fn(xs: list[Any]) -> list[Any]:
            nans = [i for i, x in enumerate(xs) if x != x]
            rest = [i for i, x in enumerate(xs) if x == x]
            rest.sort(
                key=lambda i: sign * (float(xs[i]) if xs[i].dtype.kind == "f" else int(xs[i]))
            )
            return give(xs, rest + nans)

        return along(fn)(arrays, {"axis": params["axis"]}, out)

    return oracle


# Linear algebra.


def matmul(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    a, b = arrays
    a = np.swapaxes(a, -1, -2) if params.get("trans_a") else a
    b = b if params.get("trans_b") else np.swapaxes(b, -1, -2)
    dtype, result = np.dtype(out.format.dtype), np.zeros(out.shape, out.format.dtype)
    add = (lambda x, y: x + y) if dtype.kind == "f" else lambda x, y: wrap(int(x) + int(y), dtype)
    for at in np.ndindex(*out.shape):
        xs, ys = a[(*at[:-2], at[-2])].astype(dtype), b[(*at[:-2], at[-1])].astype(dtype)
        if dtype.kind == "f":
            terms = [x * y for x, y in zip(xs, ys)]
        else:
            terms = [wrap(int(x) * int(y), dtype) for x, y in zip(xs, ys)]
        if params.get("trans_b") and not params.get("trans_a"):
            result[at] = lanes(terms, add)
        else:
            total = terms[0]
            for term in terms[1:]:
                total = add(total, term)
            result[at] = total
    return result


def pack_words(w: Array) -> Array:
    """Part by part, in Python's integers."""
    bits = 8 * w.dtype.itemsize
    per = 32 // bits
    *batch, k, n = w.shape
    result = np.zeros((*batch, -(-k // per), n), np.uint32)
    for *at, i, j in np.ndindex(*w.shape):
        part = (int(w[(*at, i, j)]) & ((1 << bits) - 1)) << (bits * (i % per))
        result[(*at, i // per, j)] |= np.uint32(part)
    return result


def packed_matmul(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    """Each part of each word by itself, in Python's integers."""
    a, words, start = arrays
    if params.get("columns"):
        words = np.concatenate(np.moveaxis(words, -3, 0), -1)
    bits, more = 8 * a.dtype.itemsize, 128 if a.dtype == np.int8 else 0
    result = np.zeros(out.shape, out.format.dtype)
    for *batch, i, j in np.ndindex(*out.shape):
        total = int(start[(*batch, j)])
        for k in range(a.shape[-1]):
            word = int(words[(*batch, k * bits // 32, j)])
            part = word >> (k * bits % 32) & ((1 << bits) - 1)
            part -= (part >> (bits - 1)) << bits
            total += (int(a[(*batch, i, k)]) + more) * part
        result[(*batch, i, j)] = wrap(total, np.dtype(out.format.dtype))
    return result


def quantise(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    to = params["to"]
    units = [round_exact(float(v), to) * 2.0**to.mantissa for v in arrays[0].reshape(-1)]
    return np.array(units).astype(out.format.dtype).reshape(out.shape)


def requantise(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    """In fractions: Python's `round` takes the even one of two, `int` truncates."""
    to, info = params["to"], np.iinfo(out.format.dtype)
    least, most = int(info.min), int(info.max)
    if to.kind == "fixed":
        least, most = -(1 << (to.bits - 1)), (1 << (to.bits - 1)) - 1
    exact = [Fraction(int(v), 1 << params["fraction"]) for v in arrays[0].reshape(-1)]
    units = [round(v * (1 << to.mantissa)) if to.kind == "fixed" else int(v) for v in exact]
    return np.array([min(max(u, least), most) for u in units], out.format.dtype).reshape(out.shape)


def ratio(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    to = params["to"]
    least, most = -(1 << (to.bits - 1)), (1 << (to.bits - 1)) - 1

    def one(x: int, y: int) -> int:
        if y == 0:
            return 0 if x == 0 else most if x > 0 else least
        return min(max(round(Fraction(x, y) * (1 << to.mantissa)), least), most)

    pairs = zip(*(a.reshape(-1) for a in arrays), strict=True)
    units = [one(int(x), int(y)) for x, y in pairs]
    return np.array(units, out.format.dtype).reshape(out.shape)


def except_at(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    other = dict(zip(params["at"], params["to"], strict=True))
    pairs = zip(*(a.reshape(-1).tolist() for a in arrays), strict=True)
    return np.array([other.get(x, y) for x, y in pairs], out.format.dtype).reshape(out.shape)


def dequantise(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    dtype = np.dtype(out.format.dtype)
    exact = [dtype.type(Fraction(int(v), 1 << params["fraction"])) for v in arrays[0].reshape(-1)]
    return np.array(exact, dtype).reshape(out.shape)


def in_matrices(fn: Callable[..., Array]) -> Oracle:
    """Each matrix of the batch in f64; unknown where numpy gives up or the result is not finite."""

    def oracle(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
        flat = [a.reshape(-1, *a.shape[-2:]).astype(np.float64) for a in arrays]
        made = []
        for matrices in zip(*flat, strict=True):
            try:
                made.append(fn(*matrices, **params))
            except np.linalg.LinAlgError:
                made.append(np.full(out.shape[-2:], np.nan))
        result = np.array(made).reshape(out.shape)
        return np.ma.masked_invalid(result).astype(out.format.dtype)

    return oracle


def triangular(a: Array, b: Array, lower: bool = True, trans: bool = False) -> Array:
    half = np.tril(a) if lower else np.triu(a)
    return np.linalg.solve(half.T if trans else half, b)


def lower_half(a: Array) -> Array:
    return np.linalg.cholesky(np.tril(a) + np.tril(a, -1).T)


# Random numbers.


def threefry(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """Threefry-2x32, 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3")."""
    keys = (*key, 0x1BD11BDA ^ key[0] ^ key[1])
    x = [(c + k) & 0xFFFFFFFF for c, k in zip(counter, key)]
    for i in range(20):
        turn = (13, 15, 26, 6, 17, 29, 16, 24)[i % 8]
        x[0] = (x[0] + x[1]) & 0xFFFFFFFF
        x[1] = ((x[1] << turn | x[1] >> (32 - turn)) & 0xFFFFFFFF) ^ x[0]
        if i % 4 == 3:
            n = i // 4 + 1
            x[0] = (x[0] + keys[n % 3]) & 0xFFFFFFFF
            x[1] = (x[1] + keys[(n + 1) % 3] + n) & 0xFFFFFFFF
    return x[0], x[1]


def per_key(oracle: Oracle) -> Oracle:
    """Keys `[n, 2]` one by one."""

    def each(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
        if arrays[0].ndim == 1:
            return oracle(arrays, params, out)
        one = Type(out.format, out.shape[1:])
        return np.stack([oracle(part, params, one) for part in zip(*arrays, strict=True)])

    return each


def random_bits(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    key = tuple(map(int, arrays[0]))
    return np.array([threefry(key, (i, 0))[0] for i in range(out.size)], np.uint32).reshape(
        out.shape
    )


def fold_in(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    return np.array(threefry(tuple(map(int, arrays[0])), (int(arrays[1]), 2)), np.uint32)


def split_key(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    return np.array(
        [threefry(tuple(map(int, arrays[0])), (i, 1)) for i in range(params["n"])], np.uint32
    )


def uniform01(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    format = out.format
    count = min(32, format.mantissa + (format.kind == "float"))
    made = [Fraction(int(u) >> (32 - count), 1 << count) for u in arrays[0].reshape(-1)]
    return np.array(list(map(float, made)), format.dtype).reshape(out.shape)


def normal01(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    made = []
    for u in map(int, arrays[0].reshape(-1)):
        fine = out.format.carrier == "f64"
        share = Fraction(2 * u + 1, 1 << 33) if fine else Fraction(2 * (u >> 8) + 1, 1 << 25)
        made.append(math.sqrt(2) * erfinv(float(2 * share - 1)))
    return np.array(made, out.format.dtype).reshape(out.shape)


def round_stochastic(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
    if out.format.exact:
        return arrays[0]
    made = [
        round_exact(float(x), out.format, "stochastic", int(u))
        for x, u in zip(*(a.reshape(-1) for a in arrays))
    ]
    return np.array(made, out.format.dtype).reshape(out.shape)


def wrapped(op: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    """On floats as numpy does, on integers wrapped."""
    return lambda x, y: op(x, y) if x.dtype.kind == "f" else wrap(op(int(x), int(y)), x.dtype)


def shift(by: Callable[[int, int], int]) -> Oracle:
    def oracle(arrays: tuple[Array, ...], params: dict[str, Any], out: Type) -> Array:
        bits = out.format.bits
        return each(lambda x, c: None, lambda x, c: by(x, c % bits))(arrays, params, out)

    return oracle


ADD, MUL = wrapped(lambda x, y: x + y), wrapped(lambda x, y: x * y)
LEAST, MOST = nan_or(lambda x, y: x < y), nan_or(lambda x, y: x > y)

ORACLES: dict[str, Oracle] = {
    "add": each(np.add, lambda x, y: x + y),
    "sub": each(np.subtract, lambda x, y: x - y),
    "mul": each(np.multiply, lambda x, y: x * y),
    "div": each(np.divide),
    "neg": each(np.negative, lambda x: -x),
    "square": each(np.square, lambda x: x * x),
    "reciprocal": each(lambda x: type(x)(1) / x),
    "abs": each(np.fabs, abs),
    "sign": each(lambda x: np.copysign(1, x) if abs(x) > 0 else x, lambda x: (x > 0) - (x < 0)),
    "minimum": each(LEAST, min),
    "maximum": each(MOST, max),
    "eq": by_numpy(np.equal), "ne": by_numpy(np.not_equal), "lt": by_numpy(np.less),
    "le": by_numpy(np.less_equal), "gt": by_numpy(np.greater), "ge": by_numpy(np.greater_equal),
    "logical_and": by_numpy(np.logical_and), "logical_or": by_numpy(np.logical_or),
    "logical_xor": by_numpy(np.logical_xor), "logical_not": by_numpy(np.logical_not),
    "select": by_numpy(np.where),
    "floor_div": partly(lambda x, y: floor_div(x, y) if x.dtype.kind == "f" else wrap(int(x) // int(y) if y else 0, x.dtype)),
    "mod": partly(lambda x, y: mod(x, y) if x.dtype.kind == "f" else x.dtype.type(int(x) % int(y) if y else x)),
    "floor": each(np.floor), "ceil": each(np.ceil), "trunc": each(np.trunc), "round": each(np.rint),
    "bit_and": each(np.bitwise_and, lambda x, y: x & y), "bit_or": each(np.bitwise_or, lambda x, y: x | y),
    "bit_xor": each(np.bitwise_xor, lambda x, y: x ^ y), "bit_not": each(np.invert, lambda x: ~x),
    "shift_left": shift(lambda x, c: x << c), "shift_right": shift(lambda x, c: x >> c),
    "bitcast": bitcast, "convert": convert, "quantise": quantise, "requantise": requantise, "dequantise": dequantise, "ratio": ratio, "except_at": except_at, "stop_gradient": by_numpy(lambda x: x),
    "pipeline_register": by_numpy(lambda x: x),
    "isnan": by_numpy(np.isnan), "isfinite": by_numpy(np.isfinite), "sqrt": each(np.sqrt),
    "exp": in_double(np.exp), "expm1": in_double(np.expm1), "exp2": in_double(np.exp2), "log": in_double(np.log),
    "log1p": in_double(np.log1p), "log2": in_double(np.log2), "tanh": in_double(np.tanh), "sinh": in_double(np.sinh),
    "cosh": in_double(np.cosh), "sigmoid": in_double(sigmoid), "softplus": in_double(softplus),
    "sin": in_double(np.sin, 1e5), "cos": in_double(np.cos, 1e5), "tan": in_double(np.tan, 1e5),
    "asin": in_double(np.arcsin), "acos": in_double(np.arccos), "atan": in_double(np.arctan),
    "erf": in_double(math.erf), "erfc": in_double(math.erfc), "erfinv": in_double(erfinv),
    "pow": in_double(pow), "atan2": in_double(np.arctan2), "copysign": each(np.copysign),
    "sum": reduced(ADD), "prod": reduced(MUL), "max": reduced(MOST), "min": reduced(LEAST),
    "any": by_numpy(lambda x, axes: np.any(x, axis=axes)), "all": by_numpy(lambda x, axes: np.all(x, axis=axes)),
    "argmax": place_of(lambda y, x: y > x), "argmin": place_of(lambda y, x: y < x),
    "cumsum": running(ADD), "cumprod": running(MUL), "cummax": running(MOST), "cummin": running(LEAST),
    "reshape": by_numpy(lambda x, shape: x.flatten().reshape(shape)), "broadcast": by_numpy(np.broadcast_to),
    "transpose": by_numpy(lambda x, perm: np.einsum(x, list(range(x.ndim)), list(perm))),
    "slice": by_numpy(lambda x, start, stop, step: x[tuple(map(slice, start, stop, step))]),
    "concat": by_numpy(lambda *xs, axis: np.concatenate(xs, axis)), "pad": by_numpy(pad),
    "index": by_numpy(lambda x, i, axis: np.moveaxis(x, axis, 0)[clamp(i, x.shape[axis])]),
    "dynamic_slice": by_numpy(dynamic_slice), "take": by_numpy(take), "take_along": by_numpy(take_along),
    "one_hot": one_hot, "iota": iota, "update": by_numpy(update), "scatter_add": by_numpy(scatter_add),
    "patches": patches, "unpatch": unpatch, "sort": sort, "argsort": sorting(lambda xs, order: order),
    "matmul": matmul, "packed_matmul": packed_matmul, "pack_words": by_numpy(pack_words), "cholesky": in_matrices(lower_half), "triangular_solve": in_matrices(triangular),
    "solve": in_matrices(np.linalg.solve), "random_bits": per_key(random_bits), "fold_in": per_key(fold_in),
    "split_key": per_key(split_key),
    "uniform01": uniform01, "normal01": normal01, "round_stochastic": round_stochastic,
}  # fmt: skip

ULPS: dict[str, float] = {
    "mod": 1, "exp": 4, "expm1": 4, "exp2": 4, "log": 4, "log1p": 4, "log2": 4, "tanh": 4, "sinh": 4, "cosh": 4, "sigmoid": 4,
    "softplus": 4, "sin": 4, "cos": 4, "tan": 4, "asin": 4, "acos": 4, "atan": 4, "erf": 4, "erfc": 64, "erfinv": 16, "pow": 4,
    "atan2": 4, "normal01": 20, "cholesky": 400, "triangular_solve": 1000, "solve": 1000,
}  # fmt: skip
