"""Counter-based random numbers: the same key gives the same bits on every target (`numbers.random`)."""

from __future__ import annotations

import math
import re

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.loops import Access, Expr, Result, Writer, integer
from seiche.ir.op import (
    AnyArray,
    Cotangents,
    Element,
    Kernel,
    Law,
    NoGradient,
    Op,
    SignatureError,
    Use,
    register,
)
from seiche.ir.ops.batching import alike
from seiche.ir.ops.define import (
    REAL,
    Body,
    Rng,
    Values,
    check_kind,
    draw_extremes,
    expect,
    law,
    operations,
    same_bits,
    sample,
    scalar_op,
)
from seiche.ir.ops.indexing import flatten, need_sizes
from seiche.numbers import formats as fmt
from seiche.numbers import random, rounding
from seiche.numbers.formats import Format, Type
from seiche.numbers.kit import NUMPY, Kit, Value

DISCRETE = NoGradient("random bits have no derivative")
KEY, KEYS = fmt.u32[2], fmt.u32[3, 2]

# The second word of the counter says what is drawn (the table in `numbers.random`).
ELEMENTS, CHILDREN, FOLDS = 0, 1, 2


def first_word(k: Kit, key0: Value, key1: Value, counter: Value, kind: Value) -> Value:
    """The first word of the block at a counter."""
    return random.threefry2x32(k, key0, key1, counter, kind)[0]


def second_word(k: Kit, key0: Value, key1: Value, counter: Value, kind: Value) -> Value:
    """The second word of the block at a counter."""
    return random.threefry2x32(k, key0, key1, counter, kind)[1]


Lead = tuple[Expr, ...]


def write_word(w: Writer, word: int, key: Access, lead: Lead, counter: Expr, kind: int) -> Expr:
    """A call of the generator with the key at `lead`."""
    name, body = (("threefry_first", first_word), ("threefry_second", second_word))[word]
    key0, key1 = (key(*lead, i) for i in (0, 1))
    return w.invoke(name, body, key0, key1, counter, w.const(kind, fmt.u32), format=fmt.u32)


def words(keys: AnyArray, counters: AnyArray, kind: int) -> tuple[AnyArray, AnyArray]:
    """Both words of each key `[..., 2]` at each of its counters `[..., m]`."""
    shape = np.broadcast_shapes((*keys.shape[:-1], 1), counters.shape)
    given = (keys[..., 0, None], keys[..., 1, None], counters.astype(np.uint32), np.uint32(kind))
    key0, key1, counter, last = (np.broadcast_to(v, shape).copy() for v in given)
    with np.errstate(all="ignore"):
        return random.threefry2x32(NUMPY, key0, key1, counter, last)


BLOCK = operations(first_word, (fmt.u32,) * 4)
"""Operations of one word."""


def check_key(name: str, key: Type) -> None:
    """Raises SignatureError unless the type is that of a key, or of several: `[*lead, 2]`."""
    if key.format is not fmt.u32 or key.shape[-1:] != (2,):
        raise SignatureError(f"`{name}`: a key is u32[2], not {key}")


# Bits of a shape.


def _bits_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("random_bits", types, 1, params, "shape")
    check_key("random_bits", types[0])
    need_sizes(params["shape"])
    return Type(fmt.u32, (*types[0].shape[:-1], *params["shape"]))


def _bits_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    each = np.arange(math.prod(use.params["shape"]))
    return words(arrays[0], each, ELEMENTS)[0].reshape(use.out.shape)


def _bits_at(w: Writer, index: tuple[Expr, ...], args: tuple[Access, ...], use: Use) -> Expr:
    first = len(use.types[0].shape) - 1
    place = integer(flatten(index[first:], use.out.shape[first:]))
    return write_word(w, 0, args[0], index[:first], w.convert(place, fmt.u32), ELEMENTS)


def _known_words(value: Values, rng: Rng) -> None:
    """The vector of zeros that Salmon et al. publish with Random123."""
    assert value(np.zeros(2, np.uint32), shape=(1,)).tolist() == [0x6B200159]


def _prefix(value: Values, rng: Rng) -> None:
    key = rng.integers(0, 2**32, 2, dtype=np.uint32)
    assert same_bits(value(key, shape=(3, 4)).reshape(-1)[:5], value(key, shape=(5,)))


register(
    Op(
        "random_bits", "`random_bits(key, shape=)`: u32 random bits; element i in row-major order is the first word at counter (i, 0). "
        "Keys `[*lead, 2]` give `[*lead, *shape]`, each its own.",
        "random", _bits_signature, _bits_value, Element(_bits_at), DISCRETE, alike("random_bits"),
        lambda use: use.out.size * BLOCK,
        (sample(KEY, shape=()), sample(KEY, shape=(7,)), sample(KEY, shape=(2, 3, 2)), sample(KEYS, shape=(5,))),
        (law("published words", _known_words), law("an element depends on its place alone", _prefix)),
    )
)  # fmt: skip


# Keys from keys.


def _fold_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("fold_in", types, 2, params)
    check_key("fold_in", types[0])
    if types[1] != Type(fmt.u32, types[0].shape[:-1]):
        raise SignatureError(
            f"`fold_in`: the data is one u32 per key, not {types[1]} for {types[0]}"
        )
    return types[0]


def _fold_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    return np.concatenate(words(arrays[0], arrays[1][..., None], FOLDS), axis=-1)


def _fold_fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
    with w.loops(use.types[1].shape) as lead:
        data = w.let(args[1](*lead))
        for word in (0, 1):
            out.put((*lead, word), write_word(w, word, args[0], lead, data, FOLDS))


def _distinct(value: Values, rng: Rng) -> None:
    key = rng.integers(0, 2**32, 2, dtype=np.uint32)
    assert len({tuple(value(key, np.uint32(d)).tolist()) for d in range(100)}) == 100


register(
    Op(
        "fold_in", "`fold_in(key, data)`: the key that a u32 derives from a key: both words at counter (data, 2).",
        "random", _fold_signature, _fold_value, Kernel(_fold_fill), DISCRETE, alike("fold_in"),
        lambda use: use.out.size * BLOCK,
        (sample(KEY, fmt.u32[()]), sample(KEYS, fmt.u32[3])), (law("other data, another key", _distinct),),
    )
)  # fmt: skip


def _split_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("split_key", types, 1, params, "n")
    check_key("split_key", types[0])
    need_sizes((params["n"],))
    return Type(fmt.u32, (*types[0].shape[:-1], params["n"], 2))


def _split_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    return np.stack(words(arrays[0], np.arange(use.params["n"]), CHILDREN), axis=-1)


def _split_fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
    with w.loops(use.types[0].shape[:-1]) as lead, w.loop(use.params["n"], parallel=True) as i:
        counter = w.let(w.convert(i, fmt.u32))
        for word in (0, 1):
            out.put((*lead, i, word), write_word(w, word, args[0], lead, counter, CHILDREN))


def _all_new(value: Values, rng: Rng) -> None:
    key = rng.integers(0, 2**32, 2, dtype=np.uint32)
    assert len({tuple(row) for row in [*value(key, n=50).tolist(), key.tolist()]}) == 51


register(
    Op(
        "split_key", "`split_key(key, n=)`: n independent keys `[n, 2]`; key i is both words at counter (i, 1).",
        "random", _split_signature, _split_value, Kernel(_split_fill), DISCRETE, alike("split_key"),
        lambda use: use.out.size * BLOCK,
        (sample(KEY, n=1), sample(KEY, n=5), sample(KEYS, n=2)), (law("all keys are new", _all_new),),
    )
)  # fmt: skip


# Numbers from bits.


def _from_bits(name: str, doc: str, fn: str, *laws: Law) -> Op:
    """Registers a function of u32 bits and a real `format`."""

    def signature(types: tuple[Type, ...], params: Params) -> Type:
        expect(name, types, 1, params, "format")
        if types[0].format is not fmt.u32:
            raise SignatureError(f"`{name}`: the bits are u32, not {types[0]}")
        check_kind(name, Type(params["format"]), REAL)
        return Type(params["format"], types[0].shape)

    def body(use: Use) -> Body:
        return lambda k, bits: getattr(random, fn)(k, bits, use.out.format)

    formats = (fmt.f32, fmt.f64, fmt.bf16, fmt.fixed(4, 12))
    samples = [
        sample(fmt.u32[()], format=fmt.f32),
        *(sample(fmt.u32[3, 7], format=f) for f in formats),
    ]
    return scalar_op(
        name, doc, signature, body, vjp=DISCRETE, samples=samples, laws=laws,
        writing="call", label=lambda use: f"{name}_{slug(use.out.format)}", family="random",
    )  # fmt: skip


def slug(format: Format) -> str:
    """The format's name as part of an identifier.

    >>> slug(fmt.fixed(4, 12))
    'fixed_4_12'
    """
    return re.sub(r"\W+", "_", format.name).strip("_")


def _half_open(value: Values, rng: Rng) -> None:
    ends = np.array([0, 2**32 - 1], np.uint32)
    for format in (fmt.f32, fmt.f64):
        low, high = value(ends, format=format)
        assert low == 0 and 1 - 1e-6 < high < 1


def _moments(value: Values, rng: Rng) -> None:
    bits = rng.integers(0, 2**32, 20_000, dtype=np.uint32)
    z = value(bits, format=fmt.f32)
    assert abs(z.mean()) < 0.03 and abs(z.var() - 1) < 0.05 and np.abs(z).max() < 6.5


def _rises(value: Values, rng: Rng) -> None:
    bits = np.sort(rng.integers(0, 2**32, 1000, dtype=np.uint32))
    assert (np.diff(value(bits, format=fmt.f32)) >= 0).all()


_from_bits(
    "uniform01", "`uniform01(bits, format=)`: uniform in [0, 1): the upper bits as a fraction, a value of the format.", "uniform01",
    law("from 0, below 1", _half_open), law("rises with the bits", _rises),
)  # fmt: skip
_from_bits(
    "normal01", "`normal01(bits, format=)`: standard normal, by the inverse of the distribution.", "normal",
    law("mean 0 and variance 1", _moments), law("rises with the bits", _rises),
)  # fmt: skip


# Stochastic rounding.


def _stochastic_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("round_stochastic", types, 2, params, "format")
    x, bits = types
    target = params["format"]
    check_kind("round_stochastic", x, REAL)
    check_kind("round_stochastic", Type(target), REAL)
    if bits != Type(fmt.u32, x.shape):
        raise SignatureError(
            f"`round_stochastic`: the bits of {x} are {Type(fmt.u32, x.shape)}, not {bits}"
        )
    if x.format.carrier != target.carrier:
        raise SignatureError(
            f"`round_stochastic`: {target} is carried as {target.carrier}: convert {x} to it first"
        )
    return Type(target, x.shape)


def _stochastic(use: Use) -> Body:
    return lambda k, x, bits: rounding.round_stochastic(k, x, use.out.format, bits)


def _stochastic_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    """Straight through: rounding is the identity on average."""
    return b.convert(ct, format=use.types[0].format), DISCRETE


def _on_average(value: Values, rng: Rng) -> None:
    x = np.full(20_000, 1 + 2.0**-9, np.float32)
    rounded = value(x, rng.integers(0, 2**32, x.shape, dtype=np.uint32), format=fmt.bf16)
    assert set(rounded.tolist()) == {1.0, 1.0 + 2.0**-7}
    assert abs(rounded.mean() - x[0]) < 1e-4


def _stays(value: Values, rng: Rng) -> None:
    x = draw_extremes(rng, fmt.bf16[50])
    assert same_bits(value(x, rng.integers(0, 2**32, x.shape, dtype=np.uint32), format=fmt.bf16), x)


scalar_op(
    "round_stochastic",
    "`round_stochastic(x, bits, format=)`: x to the next value of the format, up or down with the probability of what is cut "
    "off; the derivative passes straight through.",
    _stochastic_signature, _stochastic, vjp=_stochastic_vjp,
    samples=tuple(
        sample(Type(source, shape), Type(fmt.u32, shape), format=target)
        for source, target, shape in (
            (fmt.f32, fmt.bf16, ()), (fmt.f32, fmt.bf16, (60,)), (fmt.f32, fmt.f16, (60,)), (fmt.f32, fmt.e4m3, (60,)),
            (fmt.f64, fmt.fixed(4, 12), (60,)), (fmt.f64, fmt.float_(8, 20), (3, 9)), (fmt.f32, fmt.f32, (5,)),
        )
    ),
    laws=(law("right on average", _on_average), law("values of the format stay", _stays)), writing="call",
    label=lambda use: f"round_stochastic_{slug(use.out.format)}", family="random",
)  # fmt: skip
