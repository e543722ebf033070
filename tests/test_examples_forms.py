"""What the tests of the examples share: a program run in every form, with one result. And the table of examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import seiche as sc
from seiche.backends.program import Program, Sparse
from seiche.ir.tree import flatten
from tests.agreement import same_bits

EXAMPLES = Path(__file__).parent.parent / "examples"
HELPERS = {"__init__", "cart_pole", "ilqr", "jacobian", "show", "text", "trained"}


def leaves(results: Any) -> list[Any]:
    return flatten(results, lambda x: x is None or isinstance(x, Sparse))[0]


def by_name(*results: Any) -> Iterator[tuple[Any, ...]]:
    """The leaves of trees side by side, by sorted names: jax does not keep the order of a dict."""
    return zip(*(jax.tree.leaves(result) for result in results), strict=True)


def streams(args: tuple[Any, ...]) -> list[np.ndarray]:
    return flatten(args)[0]


def by_steps(program: Program, *args: Any) -> list[list[Any]]:
    """What leaves at each tick, per result."""
    program.reset()
    _, form = flatten(args)
    ticks = len(streams(args)[0])
    outs = [
        leaves(program.step(*form.unflatten([x[t] for x in streams(args)]))) for t in range(ticks)
    ]
    return [list(column) for column in zip(*outs, strict=True)]


def expect_ticks(program: Program, whole: Any, *args: Any) -> None:
    """Tick by tick, each result is that of the whole run, its latency later."""
    ticks = len(streams(args)[0])
    columns = zip(by_steps(program, *args), leaves(whole), leaves(program.latency), strict=True)
    for k, (column, result, late) in enumerate(columns):
        sparse = isinstance(result, Sparse)
        wanted = dict(
            zip(result.ticks.tolist(), result.values, strict=True) if sparse else enumerate(result)
        )
        for t in range(ticks):
            out, want = column[t], wanted.get(t - late)
            assert (out is None) == (want is None), f"result {k} at tick {t}"
            assert out is None or same_bits(out, want), (
                f"result {k} at tick {t}: {out} is not {want}"
            )


def expect_same(a: Any, b: Any) -> None:
    """Two results in the same bits."""
    for k, (x, y) in enumerate(zip(leaves(a), leaves(b), strict=True)):
        if isinstance(x, Sparse):
            assert x.ticks.tolist() == y.ticks.tolist(), f"result {k}"
            x, y = x.values, y.values
        assert same_bits(x, y), f"result {k}: largest difference {np.abs(x - y).max()}"


def every_form(node: Any, *args: Any, **static: Any) -> Any:
    """Interpreter and C, whole and tick by tick: one result, one final state, in bits."""
    interpreted, compiled = sc.compile(node, **static), sc.compile(node, target="c", **static)
    result = interpreted.run(*args)
    expect_same(result, compiled.run(*args))
    states = dict(interpreted.state)
    for name, value in compiled.state.items():
        assert same_bits(value, states[name]), f"state {name} of C"
    for program in (interpreted, compiled):
        expect_ticks(program, result, *args)
        for name, value in program.state.items():
            assert same_bits(value, states[name]), f"state {name} after steps"
    return result


def test_every_example_has_its_row() -> None:
    here = {
        p.stem for p in EXAMPLES.iterdir() if p.suffix == ".py" or (p / "__main__.py").exists()
    } - HELPERS
    rows = re.findall(
        r"^\| `(\w+)` \|", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(rows) == sorted(here)


def test_a_line_of_blocks() -> None:
    from examples import show

    assert show.line([0.0, 3.5, 7.0, 9.0], 0.0, 7.0) == "▁▅██"
    assert show.line([2.0, 2.0]) == "▁▁"
