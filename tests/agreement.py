"""Programs made from bare nodes, and their agreement with the oracle: run whole, in parts, and tick by tick."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from seiche.backends.inputs import Signature
from seiche.backends.interp import Interpreter
from seiche.backends.program import Executor, Program, Sparse
from seiche.ir import tree
from seiche.ir.core import Node
from seiche.schedule.lower import Lowered, lower
from tests import oracle

Target = Callable[[Lowered], Executor]


def program_of(node: Node, target: Target = Interpreter) -> Program:
    """A program whose arguments are the node's inputs by name and whose result is a tuple."""
    _, inputs = tree.flatten({v.name: v.type for v in node.inputs})
    _, outputs = tree.flatten(tuple(v.type for v in node.outputs))
    lowered = lower(node)
    return Program(
        node, lowered, Signature(inputs, outputs, node.inputs, node.outputs), target(lowered)
    )


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal shapes, dtypes and bits (all NaNs alike)."""
    a, b = np.asarray(a), np.asarray(b)
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    if a.dtype.kind == "f":
        return bool(
            np.all((a == b) & (np.signbit(a) == np.signbit(b)) | (np.isnan(a) & np.isnan(b)))
        )
    return bool(np.array_equal(a, b))


def expect(
    results: Sequence[np.ndarray | Sparse],
    wanted: list[tuple[np.ndarray, np.ndarray]],
    ticks: int,
    what: str,
) -> None:
    for k, (result, (there, values)) in enumerate(zip(results, wanted, strict=True)):
        if isinstance(result, Sparse):
            assert result.ticks.tolist() == there.tolist(), (what, k, result.ticks, there)
            result = result.values
        else:
            assert len(there) == ticks
        assert same_bits(result, values), f"{what}, output {k}:\n{result}\nis not\n{values}"


def agree(node: Node, inputs: Sequence[np.ndarray], target: Target = Interpreter) -> Program:
    """Asserts that a program's results are the oracle's, however it is run."""
    ticks = len(inputs[0])
    wanted = oracle.evaluate(node, inputs)
    program = program_of(node, target)
    expect(program.run(*inputs), wanted, ticks, "run")
    whole = dict(program.state)
    program.reset()
    by_steps(program, inputs, wanted)
    for name, value in program.state.items():
        assert same_bits(value, whole[name]), f"state {name} after steps and after a run"
    if ticks > 1:
        # The first part alone is an input that ends early; what follows does not notice.
        program.reset()
        half = ticks // 2
        first = program.run(*(x[:half] for x in inputs))
        expect(first, oracle.evaluate(node, [x[:half] for x in inputs]), half, "first half")
        program.run(*(x[half:] for x in inputs))
        for name, value in program.state.items():
            assert same_bits(value, whole[name]), f"state {name} after two runs"
    return program


def by_steps(
    program: Program, inputs: Sequence[np.ndarray], wanted: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    """What comes out of step t is of tick t - latency, and the same whether or not the input ends at T."""
    ticks = len(inputs[0])
    steps = [program.step(*(x[t] for x in inputs)) for t in range(ticks)]
    for k, (there, values) in enumerate(wanted):
        late = program.lowered.latency[k]
        expected = dict(zip((there + late).tolist(), values))
        for t in range(ticks):
            out = steps[t][k]
            assert (out is None) == (t not in expected), f"output {k} at step {t}: {out}"
            assert out is None or same_bits(out, expected[t]), f"output {k} at step {t}: {out}"
