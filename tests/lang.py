"""What the tests of the surface share: functions compiled and run, judged by the oracle, and their diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import seiche as sc
from seiche.backends.program import Program, Sparse
from seiche.errors import Diagnostic, SeicheError
from seiche.ir.tree import flatten
from tests import oracle
from tests.agreement import same_bits


def _plain(x: Any) -> bool:
    return isinstance(x, list) and not isinstance(x[0], np.ndarray)


def compiled(function: Callable[..., Any], **static: Any) -> Program:
    return sc.compile(function if hasattr(function, "trace") else sc.node(function), **static)


def run(function: Callable[..., Any], *streams: Any, **static: Any) -> Any:
    """The results on whole streams; every leaf has the oracle's bits."""
    program = compiled(function, **static)
    results = program.run(*streams)
    inputs = [
        np.asarray(x, v.type.format.dtype)
        for x, v in zip(flatten(streams, _plain)[0], program.node.inputs)
    ]
    for result, (ticks, values) in zip(
        flatten(results, lambda x: isinstance(x, Sparse))[0], oracle.evaluate(program.node, inputs)
    ):
        if isinstance(result, Sparse):
            assert result.ticks.tolist() == ticks.tolist()
            result = result.values
        assert same_bits(result, values), (
            f"\n{result}\nis not the oracle's\n{values}\n{program.node}"
        )
    return results


def diagnostics(function: Callable[..., Any], **static: Any) -> tuple[Diagnostic, ...]:
    """What a node is refused for."""
    try:
        compiled(function, **static)
    except SeicheError as error:
        return error.diagnostics
    return ()


def only(function: Callable[..., Any], code: str, **static: Any) -> Diagnostic:
    """The one error of a node."""
    found = diagnostics(function, **static)
    assert [d.code for d in found] == [code], "\n\n".join(map(str, found)) or "no error"
    return found[0]


def bits(seed: int, n: int, p: float = 0.4) -> np.ndarray:
    return np.random.default_rng(seed).random(n) < p


def reals(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ints(seed: int, *shape: int, low: int = -20, high: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.int32)
