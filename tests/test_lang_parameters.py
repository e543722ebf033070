"""What parameters are called: as the user calls the arrays, whatever is edited around them; one name for one array, on every way out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import seiche as sc
from seiche import f32, learn, node, state
from seiche.backends.c.source import sources_of
from seiche.backends.deploy.weights import parameters
from seiche.errors import SeicheError
from seiche.ir.fingerprint import fingerprint
from tests.agreement import same_bits

NET = learn.MLP((4, 5, 3))
FROZEN = NET.init(key=1)
TABLE = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
GRU = learn.GRU(4, 3, reset_after=False)
CELL = GRU.init(key=2)


def called(program: Any) -> list[str]:
    """The parameters that are no state's first value."""
    return sorted(n for n, p in parameters(program.node).items() if isinstance(p.source, str))


def ones(*shape: int) -> np.ndarray:
    return np.ones((2, *shape), np.float32)


# What a parameter is called.


def test_a_variable_and_the_place_in_its_tree() -> None:
    @node
    def model(x: f32[4]) -> f32[3]:
        local = {"scale": np.linspace(1.0, 2.0, 3)}
        return NET(FROZEN, x) * local["scale"] + TABLE[:, 0]

    layers = [f"FROZEN_{i}_{p}" for i in (0, 1) for p in ("weight", "bias")]
    assert called(sc.compile(model)) == sorted([*layers, "local_scale", "TABLE"])


def test_the_outermost_variable_whatever_functions_call_it() -> None:
    def layer(params: Any, x: sc.Stream) -> sc.Stream:
        w = params["w"]
        return x @ w

    @node
    def inner(x: f32[4], weights: Any = None) -> f32[4]:
        return layer(weights, x)

    @node
    def model(x: f32[4]) -> f32[4]:
        first, second = {"w": np.eye(4) * 2}, {"w": np.eye(4) * 3}
        return inner(layer(first, x), weights=second)

    assert called(sc.compile(model)) == ["first_w", "second_w"]


def test_the_instance_where_the_variable_lives() -> None:
    @node
    def scaled(x: f32[3]) -> f32[3]:
        gain = np.float32([1.0, 2.0, 3.0])
        return sc.square(x * gain)

    @node
    def model(x: f32[3]) -> f32[3]:
        offset = np.float32([1.0, 0.0, 1.0])
        dx = sc.grad(lambda y: (y * y * offset).sum())(x)
        return scaled(x) + scaled(dx)

    assert called(sc.compile(model)) == ["offset", "scaled/gain"]


def test_fresh_parameters_go_by_their_layer() -> None:
    gru = learn.GRU(4, 3)

    @node
    def model(x: f32[4]) -> f32[3]:
        return gru(gru.init(key=0), x)

    wanted = ["gru/bias", "gru/input", "gru/recurrent", "gru/recurrent_bias"]
    assert called(sc.compile(model)) == wanted


def test_what_an_object_holds_and_what_stands_in_the_line() -> None:
    class Filter:
        def __init__(self) -> None:
            self.taps = [0.5, 0.25, 0.125]

        @node
        def __call__(self, x: f32[3]) -> f32:
            scaled = x * np.float32([1.0, 2.0, 4.0])
            return (scaled * self.taps).sum()

    assert called(sc.compile(Filter().__call__)) == ["scaled_k", "taps"]


def test_a_state_gives_its_own_name_to_what_it_starts_from() -> None:
    @node
    def model(x: f32[3]) -> f32[3]:
        w = state(TABLE[:, 1])
        w.next = w + x
        return w * TABLE[:, 1]

    program = sc.compile(model)
    assert list(parameters(program.node)) == ["w", "TABLE"] == [*program.state, *called(program)]


def test_other_arrays_of_one_name_are_told_apart() -> None:
    def tap(x: sc.Stream, k: int) -> sc.Stream:
        own = np.float32([k, k + 1, k + 2])
        return x * own

    @node
    def model(x: f32[3]) -> f32[3]:
        return tap(x, 1) + tap(x, 2) + tap(x, 1)

    assert called(sc.compile(model)) == ["own", "own#2"]


def test_masks_indices_of_the_language_and_keys_are_no_parameters() -> None:
    attention = learn.Attention(4, 2, window=3)
    given = attention.init(key=0)

    @node
    def model(x: f32[4]) -> f32[4]:
        key = sc.random.key(3)
        return attention(given, x) + sc.random.normal(key, (4,)) * sc.eye(4)[0]

    assert all(name.startswith("given_") for name in called(sc.compile(model)))


def test_edits_elsewhere_change_no_name() -> None:
    def made(before: bool) -> Any:
        weights = NET.init(key=1)

        @node
        def model(x: f32[4]) -> f32[3]:
            y = x
            if before:
                more = np.float32([1.0, 2.0, 3.0, 4.0])
                y = learn.Dense(4, 4)(learn.Dense(4, 4).init(key=9), y * more)
            return NET(weights, y)

        return sc.compile(model)

    short, long = called(made(False)), called(made(True))
    assert set(short) < set(long) and all(name.startswith("weights_") for name in short)
    assert set(long) - set(short) == {"more", "dense/weight", "dense/bias"}


def test_names_are_no_part_of_the_meaning() -> None:
    a = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)

    def first() -> Any:
        some = a

        @node
        def model(x: f32[4]) -> f32[4]:
            return sc.tanh(x @ some) @ some.T

        return sc.compile(model)

    def second() -> Any:
        other = a.copy()

        @node
        def model(x: f32[4]) -> f32[4]:
            return sc.tanh(x @ other) @ other.T

        return sc.compile(model)

    one, two = first(), second()
    assert (called(one), called(two)) == (["some"], ["other"])
    assert fingerprint(one.node) == fingerprint(two.node)
    assert same_bits(one.run(ones(4)), two.run(ones(4)))


def test_containers_that_hold_themselves_or_much_are_passed_over() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    much = list(range(100_000))
    weights = np.float32([2.0, 3.0])

    @node
    def model(x: f32[2]) -> f32[2]:
        return x * weights if len(loop) + len(much) else x

    assert called(sc.compile(model)) == ["weights"]


# One array, one name, on every way out.


@node
def reader(x: f32[4]) -> dict[str, sc.Stream]:
    hidden = GRU(CELL, x)
    back = sc.grad(lambda h: sc.square(h @ TABLE).sum())(hidden)
    rows = sc.over_time(lambda row: (row @ TABLE.T) * CELL["bias"][:3])(sc.stack([x, x]))
    table = sc.exp(sc.constant(TABLE))
    return {"back": back, "rows": rows, "table": table @ x}


def test_whatever_is_computed_from_an_array_follows_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    program = sc.compile(reader)
    known = parameters(program.node)
    assert called(program) == [f"CELL_{n}" for n in ("bias", "input", "recurrent", "recurrent_bias")] + ["TABLE"]  # fmt: skip
    fresh = {n: rng.normal(size=known[n].type.shape).astype(np.float32) for n in called(program)}
    save_file(fresh, tmp_path / "w")
    there = sc.load_weights(program, tmp_path / "w")

    cell = {n: fresh[f"CELL_{n}"] for n in CELL}
    names = {"CELL": cell, "TABLE": fresh["TABLE"]}
    before = {n: globals()[n] for n in names}
    globals().update(names)
    try:
        wanted = sc.compile(reader)
    finally:
        globals().update(before)
    x = rng.normal(size=(3, 4)).astype(np.float32)
    mine, theirs = there.run(x), wanted.run(x)
    assert all(same_bits(mine[n], theirs[n]) for n in mine)
    assert not any(same_bits(mine[n], y) for n, y in program.run(x).items())
    sc.save_weights(there, tmp_path / "again")
    again = load_file(tmp_path / "again")
    assert again.keys() == known.keys()
    assert all(same_bits(again[n], fresh[n]) for n in fresh)


def test_the_header_the_report_and_the_file_say_the_same(tmp_path: Path) -> None:
    gru = learn.GRU(4, 6)

    @node
    def model(x: f32[4]) -> f32[3]:
        w = state(NET.init(key=4))
        w.next = w
        return NET(w, x) + NET(FROZEN, x) + gru(gru.init(key=0), x)[:3]

    program = sc.compile(model)
    sc.save_weights(program, tmp_path / "w")
    names = set(load_file(tmp_path / "w"))
    assert names == {*program.state, *called(program)}
    facts = {"/".join((*b.scope, b.user_name)) for b in program.report().plan.buffers if b.place in ("weights", "table")}  # fmt: skip
    assert facts == {n for n in names if re.search("weight|/input|/recurrent$", n)}
    header = sources_of(program).header
    assert "float FROZEN_0_weight[20];" in header
    assert "float gru_input[72];  /* gru/input: f32[4, 18], " in header
    assert "float w_0_weight[20];" in header


def test_a_program_made_again_keeps_what_it_was_compiled_with(tmp_path: Path) -> None:
    @node
    def model(x: f32[4]) -> f32[3]:
        sc.assume(x.sum() < 4, "x is small")
        return NET(FROZEN, x)

    program = sc.compile(model, monitors=False)
    sc.save_weights(program, tmp_path / "w")
    there = sc.load_weights(program, tmp_path / "w")
    assert same_bits(there.run(ones(4)), program.run(ones(4)))


# What does not fit.


def test_all_that_does_not_fit_is_said_at_once(tmp_path: Path) -> None:
    program = sc.compile(reader)
    arrays = {n: p.value for n, p in parameters(program.node).items()}
    del arrays["CELL_input"]
    arrays |= {"TABLE": np.zeros((4, 3), np.float32), "CELL_bios": np.zeros(3, np.float32)}
    arrays["CELL_recurrent"] = np.zeros((3, 9))
    save_file(arrays, tmp_path / "w")
    before = program.run(ones(4))
    with pytest.raises(SeicheError) as caught:
        sc.load_weights(program, tmp_path / "w")
    said = "\n".join(d.what for d in caught.value.diagnostics)
    assert len(caught.value.diagnostics) == 4
    for text in ("has no `CELL_input`, which is f32[4, 9]", "`TABLE` is f32[3, 4]", "has `CELL_bios`", "`CELL_recurrent` is f32[3, 9]"):  # fmt: skip
        assert text in said
    program.reset()
    after = program.run(ones(4))
    assert all(same_bits(after[n], before[n]) for n in after)
