"""The batching rule of every op: n uses side by side are equal, in bits, to n separate ones, whichever arguments are shared."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import seiche.ir.ops  # noqa: F401  (fills the table)
from seiche.ir.builder import Builder
from seiche.ir.core import Node, Var
from seiche.ir.op import OPS, Sample, use
from seiche.ir.ops.define import draw, draw_extremes
from seiche.numbers.formats import Type
from tests import oracle
from tests.agreement import agree, same_bits

NAMES = sorted(name for name, op in OPS.items() if op.samples[0].types)
INSTANCES = 3


def several(name: str, sample: Sample, number: int) -> list[tuple[np.ndarray, ...]]:
    """Arguments for each instance."""
    rng = np.random.default_rng((number, len(name)))
    made = []
    for i in range(INSTANCES):
        if sample.values is not None:
            made.append(tuple(sample.values(rng)))
        else:
            made.append(tuple((draw, draw_extremes)[i % 2](rng, t) for t in sample.types))
    return [tuple(map(one_nan, args)) for args in made]


def one_nan(x: np.ndarray) -> np.ndarray:
    """All NaNs are one: none has a sign."""
    return np.where(np.isnan(x), np.asarray(np.nan, x.dtype), x) if x.dtype.kind == "f" else x


def shifted(values: list[np.ndarray]) -> np.ndarray:
    """The same values for all instances, but integers differ: samples often fix the indices."""
    stacked = np.stack(values)
    if stacked.dtype.kind == "i" and stacked.itemsize > 1 and np.abs(stacked).max() < 100:
        stacked = stacked + np.arange(len(values), dtype=stacked.dtype).reshape(
            -1, *(1,) * (stacked.ndim - 1)
        )
    return stacked


def side_by_side(name: str, sample: Sample, flags: tuple[bool, ...]) -> Node:
    """A node of the batched op over arguments of which some have the leading axis."""
    given = [
        Type(t.format, (INSTANCES, *t.shape)) if f else t
        for t, f in zip(sample.types, flags, strict=True)
    ]
    b, inputs = Builder(), tuple(Var(f"x{i}", t) for i, t in enumerate(given))
    application = use(name, sample.types, sample.params)
    out = OPS[name].batch(b, application, inputs, flags, INSTANCES)
    assert out.type == Type(application.out.format, (INSTANCES, *application.out.shape))
    return b.node(name, inputs, (out,))


@pytest.mark.parametrize("name", NAMES)
def test_side_by_side_is_one_by_one(name: str) -> None:
    for number, sample in enumerate(OPS[name].samples):
        if max((t.size for t in sample.types), default=0) > 5000:
            continue
        values = [
            shifted([one[k] for one in several(name, sample, number)])
            for k in range(len(sample.types))
        ]
        application = use(name, sample.types, sample.params)
        for flags in list(product((True, False), repeat=len(sample.types)))[:-1]:
            node = side_by_side(name, sample, flags)
            args = [v if f else v[0] for v, f in zip(values, flags, strict=True)]
            ((_, got),) = oracle.evaluate(node, [a[None] for a in args])
            for i in range(INSTANCES):
                own = [v[i] if f else v[0] for v, f in zip(values, flags, strict=True)]
                wanted = oracle.apply(
                    name,
                    own,
                    tuple(Var("", t) for t in sample.types),
                    dict(sample.params),
                    application.out,
                )
                assert same_bits(got[0, i], wanted), (name, dict(sample.params), flags, i)


@pytest.mark.parametrize(
    "name", ["matmul", "index", "take", "update", "scatter_add", "dynamic_slice", "solve"]
)
def test_the_rules_run_as_programs(name: str) -> None:
    for number, sample in enumerate(OPS[name].samples[:5]):
        values = [
            shifted([one[k] for one in several(name, sample, number)])
            for k in range(len(sample.types))
        ]
        for flags in list(product((True, False), repeat=len(sample.types)))[:-1]:
            node = side_by_side(name, sample, flags)
            agree(
                node,
                [
                    np.stack([v, v]) if f else np.stack([v[0], v[1]])
                    for v, f in zip(values, flags, strict=True)
                ],
            )
