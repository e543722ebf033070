"""A compiled program: stepping and running, inputs that do not fit, states that are set, saved, loaded, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c.binding import CProgram
from seiche.backends.inputs import Signature
from seiche.backends.interp import Interpreter
from seiche.backends.program import Program, Sparse
from seiche.errors import SeicheError
from seiche.ir import tree
from seiche.ir.builder import Builder
from seiche.ir.core import Equation, Fby, Node, Var
from seiche.numbers.formats import bf16, bool_, f32, f64, i8, i32
from seiche.schedule.lower import lower
from tests.agreement import Target, program_of, same_bits

F, B, I = f32[()], bool_[()], i32[()]


def learner(rate: float = 0.5) -> Node:
    """A mean (state), a sampled output, one look-ahead."""
    b = Builder()
    x, c = Var("x", f32[3]), Var("c", B)
    mean = Var("mean", x.type, x.loc, ("learner",))
    after = b.add(mean, b.mul(b.lit(rate, x.type), b.sub(x, mean)))
    b.eqs.append(Equation((mean,), Fby(b.lit(1, x.type), after)))
    return b.node("learner", (x, c), (after, b.when(after, c), b.post(x, b.lit(0, x.type))))


def stream(ticks: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(ticks, 3)).astype(np.float32), rng.random(ticks) < 0.5


# Running.


def test_results_have_the_trees_of_the_signature() -> None:
    b = Builder()
    x, y, z = Var("x", F), Var("y", F), Var("z", I)
    node = b.node("n", (x, y, z), (b.add(x, y), b.when(z, b.lt(x, y)), z))
    _, inputs = tree.flatten({"pair": {"x": 0, "y": 0}, "z": [0]})
    _, outputs = tree.flatten({"sum": 0, "rest": (0, None, [0])})
    lowered = lower(node)
    program = Program(
        node, lowered, Signature(inputs, outputs, node.inputs, node.outputs), Interpreter(lowered)
    )
    assert program.step({"y": 2.0, "x": 1.0}, z=[3]) == {"sum": 3.0, "rest": (3, None, [3])}
    assert program.step({"x": 2.0, "y": 1.0}, [3]) == {"sum": 3.0, "rest": (None, None, [3])}
    assert program.latency == {"sum": 0, "rest": (0, None, [0])}
    with pytest.raises(SeicheError, match="expected a dict with x, y, found a dict with x"):
        program.step({"x": 2.0}, [3])


def test_absent_outputs_are_none_in_steps_and_sparse_in_runs() -> None:
    program = program_of(learner())
    xs, cs = stream(9)
    steps = [program.step(x, c) for x, c in zip(xs, cs)]
    assert [out is None for _, out, _ in steps] == [not c for c in cs]
    assert [out is None for _, _, out in steps] == [True] + [False] * 8
    program.reset()
    mean, sampled, ahead = program.run(xs, cs)
    assert isinstance(sampled, Sparse) and sampled.ticks.tolist() == np.flatnonzero(cs).tolist()
    assert len(sampled) == cs.sum()
    assert same_bits(sampled.values, mean[cs])
    assert same_bits(ahead, np.concatenate([xs[1:], np.zeros((1, 3), np.float32)]))
    assert (sampled.dense(9, -1)[~cs] == -1).all()


def test_a_run_leaves_the_state_of_its_steps() -> None:
    program = program_of(learner())
    xs, cs = stream(20)
    program.run(xs[:7], cs[:7])
    rest = program.run(xs[7:], cs[7:])
    assert program.ticks == 20
    program.reset()
    whole = program.run(xs, cs)
    assert same_bits(rest[0], whole[0][7:])
    assert same_bits(rest[2], whole[2][7:])


@pytest.mark.parametrize("target", [Interpreter, CProgram], ids=["interp", "c"])
@pytest.mark.parametrize("whole", [False, True], ids=["step", "run"])
def test_a_check_that_stops_leaves_the_state(target: Target, whole: bool) -> None:
    @sc.node
    def framed(x: f32, c: bool_):
        total = sc.state(0.0)
        total.next = total + x
        with sc.frame(max=3, until=c) as frame:
            told = frame.sum(x)
        return total, told

    program = program_of(sc.compile(framed).node, target)
    xs, cs = np.arange(1, 9, dtype=np.float32), np.arange(8) == 1
    program.run(xs[:5], cs[:5])
    kept = {name: x.copy() for name, x in program.state.items()}
    program.reset()
    for _ in range(2):  # the second time nothing runs
        with pytest.raises(SeicheError, match=r"SE602.*at tick 5"):
            program.run(xs, cs) if whole else [program.step(x, c) for x, c in zip(xs, cs)]
    assert program.state["total"] == 15 and set(program.state) == set(kept)
    for name, x in program.state.items():
        assert same_bits(x, kept[name]), name


def test_inputs_are_never_changed_and_nothing_is_shared() -> None:
    program = program_of(learner())
    xs, cs = stream(5)
    before = xs.copy(), cs.copy()
    program.run(xs, cs)
    assert same_bits(xs, before[0]) and same_bits(cs, before[1])
    b = Builder()
    x = Var("x", f32[3])
    delay = program_of(b.node("delay", (x,), (b.fby(b.lit(0, x.type), x), x)))
    buffer = np.ones(3, np.float32)
    _, same = delay.step(buffer)
    buffer[:] = 7  # the caller's, to be filled again
    same[:] = 77
    assert delay.state["fby"].tolist() == [1, 1, 1]
    assert delay.step(buffer)[0].tolist() == [1, 1, 1]


def test_a_node_without_inputs_runs_for_a_number_of_ticks() -> None:
    b = Builder()
    n = Var("n", I)
    b.eqs.append(Equation((n,), Fby(b.lit(3, I), b.add(n, b.lit(1, I)))))
    program = program_of(b.node("count", (), (n,)))
    assert program.step() == (3,)
    assert program.run(ticks=3)[0].tolist() == [4, 5, 6]
    for wrong in ({}, {"ticks": -1}, {"ticks": 2, "x": 1}):
        with pytest.raises(SeicheError, match="SE903"):
            program.run(**wrong)


def test_empty_runs() -> None:
    program = program_of(learner())
    xs, cs = stream(0)
    assert [len(out) for out in program.run(xs, cs)] == [0, 0, 0]


def test_report_is_the_callers() -> None:
    program = program_of(learner())
    with pytest.raises(SeicheError, match="without a report"):
        program.report()
    program.reporter = lambda p: p.node.name
    assert program.report() == "learner"


# Inputs that do not fit.


@pytest.mark.parametrize(
    ("x", "c", "text"),
    [
        (np.zeros(3), True, r"`x` is f32\[3\]: float32\[3\] is needed, not float64\[3\]"),
        (np.zeros(4, np.float32), True, r"float32\[3\] is needed, not float32\[4\]"),
        (np.zeros((1, 3), np.float32), True, r"not float32\[1, 3\]"),
        (np.zeros(3, np.int32), True, r"not int32\[3\]"),
        (1.0, True, "not the Python float 1.0"),
        (np.zeros(3, np.float32), 1, "`c` is bool.*not the Python int 1"),
        (np.zeros(3, np.float32), np.float32(1), "`c` is bool"),
        ("abc", True, "not the Python str"),
        (np.zeros(3, np.complex64), True, "not complex64"),
        (np.zeros(3, ">f4"), True, "not >f4"),
    ],
)
def test_an_input_of_another_type(x: object, c: object, text: str) -> None:
    program = program_of(learner())
    with pytest.raises(SeicheError, match=text) as caught:
        program.step(x, c)
    assert caught.value.code == "SE903"
    assert program.ticks == 0


def test_all_faulty_inputs_are_named_at_once() -> None:
    with pytest.raises(SeicheError) as caught:
        program_of(learner()).step(np.zeros(3), 1.5)
    assert [d.code for d in caught.value.diagnostics] == ["SE903", "SE903"]


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "not given: `x`, `c`"),
        ((1, 2, 3), {}, "3 inputs were given"),
        ((1,), {"x": 1}, "`x` was given twice"),
        ((1,), {"y": 1}, "`y` was given and is no input"),
    ],
)
def test_wrong_arguments(args: tuple, kwargs: dict, text: str) -> None:
    with pytest.raises(SeicheError, match=text):
        program_of(learner()).step(*args, **kwargs)


def test_streams_of_different_lengths() -> None:
    xs, cs = stream(5)
    with pytest.raises(SeicheError, match="`x` 5, `c` 4"):
        program_of(learner()).run(xs, cs[:4])


def identity(type: object) -> Program:
    b = Builder()
    x = Var("x", type[()])
    return program_of(b.node("identity", (x,), (x,)))


@pytest.mark.parametrize(
    ("format", "value", "expected"),
    [
        (f32, 0.1, np.float32(0.1)),
        (f64, 0.1, 0.1),
        (f32, 3, 3.0),
        (bf16, 1.00390625, 1.0),
        (i8, -128, -128),
        (bool_, True, True),
        (i32, np.int32(4), 4),
        (f32, [1, 2.5], None),
    ],
)
def test_python_numbers_adopt_the_format(format: object, value: object, expected: object) -> None:
    if expected is None:
        (out,) = identity(format).run(value)
        assert out.dtype == np.float32 and out.tolist() == value
    else:
        (out,) = identity(format).step(value)
        assert out == expected and out.dtype == format.dtype


@pytest.mark.parametrize(
    ("format", "value"),
    [(i8, 128), (i32, 1.0), (f32, 2**24 + 1), (bool_, 0), (f32, True), (i8, True)],
)
def test_unsafe_python_numbers_are_refused(format: object, value: object) -> None:
    with pytest.raises(SeicheError, match="SE903"):
        identity(format).step(value)


# State.


def test_states_are_read_and_set_by_name() -> None:
    program = program_of(learner())
    assert "learner/mean" in program.state
    program.state["learner/mean"] = np.full(3, 2, np.float32)
    assert program.step(np.full(3, 4, np.float32), True)[0].tolist() == [3, 3, 3]
    program.state["learner/mean"][:] = 9  # a copy
    assert program.state["learner/mean"].tolist() == [3, 3, 3]
    program.state = {**program.state, "learner/mean": np.zeros(3, np.float32)}
    assert not program.state["learner/mean"].any()
    assert "learner/mean: f32[3]" in repr(program.state)
    with pytest.raises(KeyError):
        program.state["nothing"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("other", np.zeros(3, np.float32), "there is no state `other`"),
        ("learner/mean", np.zeros(2, np.float32), r"float32\[3\], not float32\[2\]"),
        ("learner/mean", np.zeros(3), r"not float64\[3\]"),
        ("learner/mean", np.array([1, np.nan, 2], np.float32), "holds 1 NaN"),
    ],
)
def test_a_state_that_does_not_fit(name: str, value: np.ndarray, text: str) -> None:
    program = program_of(learner())
    before = dict(program.state)
    with pytest.raises(SeicheError, match=text) as caught:
        program.state[name] = value
    assert caught.value.code == "SE902"
    with pytest.raises(SeicheError, match="SE902"):
        program.state = {**before, name: value}
    with pytest.raises(SeicheError, match="cannot be removed"):
        del program.state["learner/mean"]
    with pytest.raises(SeicheError, match="missing: "):
        program.state = {}
    assert all(same_bits(program.state[k], v) for k, v in before.items())


def test_states_of_one_name_are_told_apart() -> None:
    b = Builder()
    x = Var("x", F)
    node = b.node("n", (x,), (b.fby(b.lit(0, F), x), b.fby(b.lit(1, F), x)))
    assert list(lower(node).states) == ["fby", "fby#2"]


def test_a_saved_and_loaded_state_continues_bit_for_bit(tmp_path: Path) -> None:
    xs, cs = stream(20)
    program = program_of(learner())
    whole = program.run(xs, cs)
    program.reset()
    program.run(xs[:8], cs[:8])
    program.state.save(tmp_path / "mean.state")
    assert [p.name for p in tmp_path.iterdir()] == ["mean.state"]
    other = program_of(learner())
    other.state.load(tmp_path / "mean.state")
    assert other.ticks == 8
    rest = other.run(xs[8:], cs[8:])
    assert same_bits(rest[0], whole[0][8:]) and same_bits(rest[2], whole[2][8:])
    assert other.step(xs[0], cs[0])[2] is not None  # its latency has passed


def test_a_state_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "state"
    program_of(learner(0.5)).state.save(path)
    program = program_of(learner(0.25))
    with pytest.raises(SeicheError, match="the state of another program"):
        program.state.load(path)
    with pytest.raises(FileNotFoundError):
        program.state.load(tmp_path / "nothing")


def test_nan_in_a_saved_state(tmp_path: Path) -> None:
    program = program_of(learner())
    program.step(np.array([np.nan, 0, 1], np.float32), True)
    program.state.save(tmp_path / "state")
    fresh = program_of(learner())
    with pytest.raises(SeicheError, match="holds 1 NaN"):
        fresh.state.load(tmp_path / "state")
    assert fresh.ticks == 0 and (fresh.state["learner/mean"] == 1).all()
    fresh.state.load(tmp_path / "state", allow_nan=True)
    assert np.isnan(fresh.state["learner/mean"][0])


def test_values_that_the_format_does_not_have(tmp_path: Path) -> None:
    b = Builder()
    x = Var("x", bf16[()])
    program = program_of(b.node("n", (x,), (b.fby(b.lit(0, x.type), x),)))
    with pytest.raises(SeicheError, match="values that are no bf16"):
        program.state["fby"] = np.float32(1.001)


def test_a_damaged_file_changes_nothing(tmp_path: Path) -> None:
    """Every truncation, and a flipped bit in every byte: refused, or harmless and then the same state."""
    xs, cs = stream(8)
    program = program_of(learner())
    program.run(xs, cs)
    path = tmp_path / "state"
    program.state.save(path)
    data, saved = path.read_bytes(), dict(program.state)
    fresh = program_of(learner())
    start = dict(fresh.state)
    refused = 0
    rng = np.random.default_rng(0)
    cuts = [data[:n] for n in (0, 1, 22, len(data) // 2, len(data) - 1)]
    flips = [
        data[:i] + bytes([data[i] ^ (1 << rng.integers(8))]) + data[i + 1 :]
        for i in range(0, len(data), 7)
    ]
    for damaged in [*cuts, *flips, b"not a state", data + b"x"]:
        path.write_bytes(damaged)
        fresh.reset()
        try:
            fresh.state.load(path)
        except SeicheError as error:
            assert error.code == "SE902"
            refused += 1
            assert all(same_bits(fresh.state[k], v) for k, v in start.items())
        else:
            assert all(same_bits(fresh.state[k], v) for k, v in saved.items())
    assert refused > len(flips) // 2


def test_a_file_of_another_kind_or_version(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    np.savez(path, header=np.frombuffer(b'{"magic": "seiche state", "version": 9}', np.uint8))
    with pytest.raises(SeicheError, match="version 9; this is version 1"):
        program_of(learner()).state.load(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(SeicheError, match="damaged, or no saved state"):
        program_of(learner()).state.load(path)
    np.savez(path, header=np.frombuffer(b'{"magic": "another"}', np.uint8))
    with pytest.raises(SeicheError, match="does not say that it is a seiche state"):
        program_of(learner()).state.load(path)
