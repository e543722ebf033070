"""The law of the target "xla": the interpreter's results, to a tolerance that the program itself sets.

What a tolerance means depends on the program: a comparison of nearly equal values, or a chaotic recurrence, turns the last bit
into another result. So the interpreter runs again with noise of about an ulp after every op that XLA may round otherwise, and
before it too where terms are summed: what a sum is off by is relative to its terms, which may cancel. Subnormals are flushed,
as XLA does. Where these runs agree, XLA must agree with them, up to a multiple of their spread; an output on which they do
not agree among themselves says nothing, and the program counts as unstable.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np

from seiche.backends import interp
from seiche.backends.program import Program, Sparse
from seiche.backends.xla.executor import XlaProgram
from seiche.errors import SeicheError
from seiche.ir.core import Node
from seiche.ir.op import OPS
from seiche.numbers.formats import Format
from seiche.numbers.kit import NUMPY
from seiche.numbers.rounding import round_nearest
from tests.agreement import program_of
from tests.laws import Disagreement
from tests.programs import random_inputs

NOISE_ULPS = {"float32": 2.0, "float64": 4.0}
EXACT_FAMILIES = ("moves", "sorting", "bits")
EXACT_OPS = (
    "neg",
    "abs",
    "sign",
    "minimum",
    "maximum",
    "max",
    "min",
    "select",
    "stop_gradient",
    "pipeline_register",
    "convert",
    "floor",
    "round",
)
SUMMING = ("sum", "cumsum", "scatter_add", "matmul", "cholesky", "triangular_solve", "solve")
"""Their errors are those of arguments that are a little off (Higham, Accuracy and Stability of Numerical Algorithms, §3.1)."""
ADDING = ("add", "sub")
CIRCULAR, TURNS_MAX = ("sin", "cos", "tan"), 1e5
"""Beyond that the language's own functions are not accurate, XLA's are."""
NOISY_RUNS = 4
SPREAD_MAX = 1e-2
"""Outputs whose noisy runs differ by more, relative to their scale, are unstable."""


def flushed(x: Any) -> np.ndarray:
    """Subnormals as zeros of their sign."""
    x = np.asarray(x)
    if x.dtype.kind != "f":
        return x
    small = np.abs(x) < np.finfo(x.dtype).tiny
    return np.where(small, np.copysign(np.zeros_like(x), x), x).reshape(x.shape)


@contextmanager
def noisy(rng: np.random.Generator) -> Iterator[None]:
    """Inside, the interpreter rounds a little otherwise."""

    def shaken(x: np.ndarray) -> np.ndarray:
        if x.dtype.kind != "f":
            return x
        ulp = np.finfo(x.dtype).eps * NOISE_ULPS[x.dtype.name]
        return np.asarray(x * (1 + ulp * rng.uniform(-1, 1, x.shape))).astype(x.dtype)

    def overflowing(op: str, args: tuple[np.ndarray, ...], use: Any, result: np.ndarray) -> Any:
        """Where sums leave the range, infinite or not a number: that depends on their order, and on products fused into them."""
        if op in SUMMING:
            finite = tuple(np.where(np.isfinite(x), x, 0).astype(x.dtype) for x in args)
            beyond = ~np.isfinite(OPS[op].value(finite, use))
        else:
            beyond = np.isnan(result) & ~np.isnan(args[0]) & ~np.isnan(args[1])
        either = rng.choice([np.inf, np.nan], result.shape)
        return np.where(beyond, either, result).astype(result.dtype)

    def value(op: str, args: tuple[np.ndarray, ...], use: Any) -> np.ndarray:
        taken = tuple(map(flushed, args))
        if op in SUMMING:
            taken = tuple(map(shaken, taken))
        result = np.asarray(OPS[op].value(taken, use))
        if op in (*SUMMING, *ADDING) and not np.isfinite(result).all():
            result = overflowing(op, taken, use, result)
        if OPS[op].family not in EXACT_FAMILIES and op not in EXACT_OPS:
            result = shaken(result)
        if op in CIRCULAR:
            result = np.where(
                np.abs(args[0]) > TURNS_MAX, rng.uniform(-1, 1, result.shape), result
            ).astype(result.dtype)
        if not use.out.format.exact:
            result = round_nearest(NUMPY, result, use.out.format)
        return flushed(result).astype(use.out.format.dtype).reshape(use.out.shape)

    with mock.patch.object(interp, "value", value):
        yield


@dataclass(frozen=True)
class Outcome:
    """What a program gave: its error, or its outputs and then its states, by name."""

    error: str
    values: dict[str, np.ndarray]
    formats: dict[str, Format]


def outcome(program: Program, inputs: list[np.ndarray]) -> Outcome:
    """Runs a program from its reset."""
    program.reset()
    try:
        results = program.run(*inputs)
    except SeicheError as error:
        return Outcome(str(error), {}, {})
    values: dict[str, np.ndarray] = {}
    formats: dict[str, Format] = {}
    for k, (result, var) in enumerate(zip(results, program.node.outputs, strict=True)):
        if isinstance(result, Sparse):
            values[f"ticks of output {k}"], result = result.ticks, result.values
        values[f"output {k}"], formats[f"output {k}"] = result, var.type.format
    for name, value in program.state.items():
        values[f"state {name}"], formats[f"state {name}"] = value, program.state.types[name].format
    return Outcome("", values, formats)


def judge_xla(node: Node, seed: int) -> str:
    """The verdict: "ok", "overflow" (alike), or "unstable" where some output says nothing; raises Disagreement."""
    ticks = int(np.random.default_rng((seed, 2)).integers(1, 24))
    inputs = random_inputs(node, seed, ticks)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            interpreted = program_of(node)
            wanted = outcome(interpreted, inputs)
        except Exception as error:
            raise Disagreement(
                "the interpreter runs", f"{type(error).__name__}: {error}"
            ) from error
        others: list[Outcome] = []
        for k in range(NOISY_RUNS):
            with noisy(np.random.default_rng((seed, 3, k))):
                others.append(outcome(interpreted, inputs))
        try:
            got = outcome(program_of(node, XlaProgram), inputs)
        except Exception as error:
            raise Disagreement("XLA runs", f"{type(error).__name__}: {error}") from error
        return compare(wanted, others, got)


def compare(wanted: Outcome, others: list[Outcome], got: Outcome) -> str:
    """The verdict on one program."""
    if any(other.error != wanted.error for other in others):
        return "unstable"
    if wanted.error != got.error:
        raise Disagreement("failures agree", f"interpreter: {wanted.error}\nXLA: {got.error}")
    if wanted.error:
        return "overflow"
    unstable = False
    for name, value in wanted.values.items():
        allowed = tolerance(
            value, [other.values[name] for other in others], wanted.formats.get(name)
        )
        if allowed is None:
            unstable = True
        elif not near(value, got.values[name], allowed):
            raise Disagreement(
                "XLA = interpreter", f"{name}: {value}\nis not\n{got.values[name]}\nto {allowed}"
            )
    return "unstable" if unstable else "ok"


def tolerance(
    value: np.ndarray, others: list[np.ndarray], format: Format | None
) -> np.ndarray | None:
    """How far XLA may be off at each element; None where the noisy runs do not agree."""
    if any(other.shape != value.shape for other in others):
        return None
    if value.dtype.kind != "f":
        return np.zeros(value.shape) if all(np.array_equal(o, value) for o in others) else None
    finite = np.isfinite(value)
    alike = all(
        np.array_equal(np.where(np.isfinite(o), 0, o), np.where(finite, 0, value), equal_nan=True)
        for o in others
    )
    if not alike or format is None:
        return None
    spread = np.max([np.abs(np.where(finite, o - value, 0)) for o in others], axis=0, initial=0)
    scale = np.max(np.abs(value[finite]), initial=0)
    ulp = 2.0**-format.mantissa * (
        np.abs(np.where(finite, value, 0)) if format.kind == "float" else 1
    )
    if (spread > SPREAD_MAX * scale + 2 * ulp).any():
        return None
    coarse = 1 if format.exact else 2
    return (
        16 * spread
        + coarse * 8 * ulp
        + 8 * np.finfo(value.dtype).eps * scale
        + 4 * np.finfo(value.dtype).tiny
    )


def near(value: np.ndarray, got: np.ndarray, allowed: np.ndarray) -> bool:
    """Equal, but for what is allowed."""
    if value.shape != got.shape or value.dtype != got.dtype:
        return False
    if value.dtype.kind != "f":
        return bool(np.array_equal(value, got))
    with np.errstate(all="ignore"):
        same = (value == got) | (np.isnan(value) & np.isnan(got)) | (np.abs(value - got) <= allowed)
    return bool(same.all())
