"""Weights as files of safetensors: out and in again in bits, into other programs by name, and what does not fit is refused whole."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import seiche as sc
from seiche import f32, i32, learn, node, state
from seiche.backends.deploy.weights import parameters, with_weights
from seiche.errors import SeicheError
from tests.deployed import watching

MODEL = learn.MLP((8, 6, 3))


@node
def learner(x: f32[8], y: i32) -> f32:
    w = state(MODEL.init(key=0))
    loss, dw = sc.value_and_grad(lambda w: learn.cross_entropy(MODEL(w, x), y))(w)
    w.next = sc.map_tree(lambda a, b: a - 0.1 * b, w, dw)
    return loss


FIXED = learn.GRU(4, 6)
PARAMS = FIXED.init(key=3)


@node
def follower(x: f32[4]) -> f32[6]:
    return FIXED(PARAMS, x)


def lessons(ticks: int = 30, seed: int = 0) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(ticks, 8)), rng.integers(0, 3, ticks)
    return x.astype(np.float32), y.astype(np.int32)


def refused(program: Any, path: Path | str) -> list[str]:
    """What loading says, a text per fault; the program goes on as it was."""
    before = {n: x.copy() for n, x in program.state.items()}
    with pytest.raises(SeicheError) as caught:
        sc.load_weights(program, path)
    assert {d.code for d in caught.value.diagnostics} == {"SE910"}
    assert all(np.array_equal(before[n], x) for n, x in program.state.items())
    return [d.what for d in caught.value.diagnostics]


# Out and in.


def test_what_was_learned_goes_on_elsewhere(tmp_path: Path) -> None:
    workstation = sc.compile(learner)
    workstation.run(*lessons())
    sc.save_weights(workstation, tmp_path / "w.safetensors")
    device = sc.load_weights(sc.compile(learner), tmp_path / "w.safetensors")
    assert device.ticks == 0
    wanted = workstation.run(*lessons(seed=1))
    np.testing.assert_array_equal(device.run(*lessons(seed=1)), wanted)
    fresh = sc.compile(learner).run(*lessons(seed=1))
    assert (fresh != wanted).any()


OPTIMISER = learn.Adam(rate=lambda step: 0.1 / (1.0 + 0.5 * step.to(f32)))


@node
def adaptive(x: f32[8], y: i32) -> f32:
    w, m = state(MODEL.init(key=0)), state(OPTIMISER.init(MODEL.init(key=0)))
    loss, dw = sc.value_and_grad(lambda w: learn.cross_entropy(MODEL(w, x), y))(w)
    w.next, m.next = OPTIMISER.update(dw, m, w)
    return loss


def test_an_optimiser_goes_on_in_bits(tmp_path: Path) -> None:
    """With its count of steps, of which bias correction and schedules are made."""
    one = sc.compile(adaptive)
    one.run(*lessons(7))
    sc.save_weights(one, tmp_path / "w")
    wanted, saved = one.run(*lessons(9, seed=1)), load_file(tmp_path / "w")
    assert saved["m_step"] == 7 and saved.keys() == set(one.state)
    for target in ("interp", "c"):
        other = sc.load_weights(sc.compile(adaptive, target=target), tmp_path / "w")
        np.testing.assert_array_equal(other.run(*lessons(9, seed=1)), wanted)
    del saved["m_step"]
    save_file(saved, tmp_path / "w")
    without = sc.load_weights(sc.compile(adaptive), tmp_path / "w")
    assert (without.run(*lessons(9, seed=1)) != wanted).any()


RING = {"capacity": 16, "batch": 4, "starts": 8, "train_every": 2, "target_every": 5}


@pytest.mark.parametrize("of", [learn.rl.StreamQ, partial(learn.rl.DQN, **RING)])
def test_an_agent_goes_on_in_bits_where_an_episode_opens(of: Any, tmp_path: Path) -> None:
    agent = of(2, 3, hidden=4)

    @node
    def acts(x: f32[2], reward: f32, ended: sc.bool_) -> tuple[sc.Stream, ...]:
        said = agent(x, reward, ended, False)
        return said.action, said.value, said.error

    def days(seed: int, ticks: int = 60) -> tuple[Any, ...]:
        rng = np.random.default_rng(seed)
        over = (rng.random(ticks) < 0.05) | (np.arange(ticks) == ticks - 1)
        return rng.normal(size=(ticks, 2)).astype("f4"), rng.normal(size=ticks).astype("f4"), over

    one = sc.compile(acts)
    one.run(*days(0))
    sc.save_weights(one, tmp_path / "w")
    wanted, fresh = one.run(*days(1)), sc.compile(acts).run(*days(1))
    other = sc.load_weights(sc.compile(acts), tmp_path / "w").run(*days(1))
    for x, y, z in zip(wanted, other, fresh, strict=True):
        np.testing.assert_array_equal(x, y)
        assert (x != z).any()


def test_numbers_that_belong_to_a_run_are_no_parameters(tmp_path: Path) -> None:
    """What a reset sets back to stays what it was; states of one name are told apart as `program.state` does."""

    @node
    def counts(x: f32, again: sc.bool_) -> tuple[f32, f32, f32]:
        def total(**how: Any) -> Any:
            n = state(0.0, **how)
            n.next = n + x
            return n

        return total(reset=again), total(), x - sc.fby(0.0, x)

    program = sc.compile(counts)
    program.run(np.float32([1, 2, 4]), np.array([False, False, True]))
    assert {n: float(x) for n, x in program.state.items() if n.startswith("n")} == {"n": 4, "n#2": 7}  # fmt: skip
    sc.save_weights(program, tmp_path / "w")
    assert {n: float(x) for n, x in load_file(tmp_path / "w").items()} == {"n#2": 7}
    there = sc.load_weights(program, tmp_path / "w")
    assert [float(y) for y in there.step(1.0, True)] == [0.0, 7.0, 1.0]


def test_the_file_is_one_that_others_read(tmp_path: Path) -> None:
    program = sc.compile(learner)
    sc.save_weights(program, tmp_path / "w.safetensors")
    found = load_file(tmp_path / "w.safetensors")
    assert {n: x.shape for n, x in found.items()} == {
        "w_0_weight": (8, 6), "w_0_bias": (6,), "w_1_weight": (6, 3), "w_1_bias": (3,)
    }  # fmt: skip
    np.testing.assert_array_equal(found["w_0_weight"], program.state["w_0_weight"])


def test_constants_are_replaced_and_what_was_derived_from_them(tmp_path: Path) -> None:
    program = sc.compile(follower)
    names = list(parameters(program.node))
    tensors = {n: p.value for n, p in parameters(program.node).items()}
    weight = next(n for n in names if tensors[n].shape == (4, 18))
    save_file({**tensors, weight: tensors[weight] * 2}, tmp_path / "w.safetensors")
    twice = sc.load_weights(program, tmp_path / "w.safetensors")
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_array_equal(twice.run(x), program.run(2 * x))


def test_weights_of_a_body(tmp_path: Path) -> None:
    """A constant inside a scan is a parameter too."""

    @node
    def smooth(xs: f32[6, 2]) -> f32[6, 2]:
        def cell(x: sc.Stream) -> sc.Stream:
            return x * np.float32([1.0, 2.0])

        return sc.over_time(cell)(xs)

    program = sc.compile(smooth)
    (name,) = parameters(program.node)
    save_file({name: np.float32([3.0, 5.0]).reshape(parameters(program.node)[name].type.shape)}, tmp_path / "w")  # fmt: skip
    there = sc.load_weights(program, tmp_path / "w")
    ones = np.ones((1, 6, 2), np.float32)
    np.testing.assert_array_equal(there.run(ones)[0], np.tile(np.float32([3, 5]), (6, 1)))


def test_a_program_under_a_budget_stays_under_it(tmp_path: Path) -> None:
    cell = learn.GRU(2, 6)

    def loss(w: Any, xs: sc.Stream) -> sc.Stream:
        return sc.over_time(lambda x: sc.square(cell(w, x)).sum())(xs).mean()

    @node
    def recurrent(xs: f32[64, 2]) -> f32:
        w = state(cell.init(key=0))
        value, dw = sc.value_and_grad(loss)(w, xs)
        w.next = sc.map_tree(lambda a, b: a - 0.1 * b, w, dw)
        return value

    whole = sc.compile(recurrent).report().plan.struct_bytes
    program = sc.compile(recurrent, memory=whole - 2000)
    sc.save_weights(program, tmp_path / "w")
    again = sc.load_weights(program, tmp_path / "w")
    assert again.lowered.checkpoints
    assert again.report().plan.struct_bytes <= program.report().plan.struct_bytes < whole


def test_an_array_of_one_number_may_be_missing(tmp_path: Path) -> None:
    program = watching()
    needed = {n: p.value for n, p in parameters(program.node).items() if not p.optional}
    assert len(needed) == 1
    save_file(needed, tmp_path / "w")
    sc.load_weights(program, tmp_path / "w")


# What does not fit.


def test_names(tmp_path: Path) -> None:
    program = sc.compile(learner)
    tensors = dict(program.state)
    tensors["w_0_wait"] = tensors.pop("w_0_weight")
    save_file(tensors, tmp_path / "w")
    said = refused(program, tmp_path / "w")
    assert any("has no `w_0_weight`, which is f32[8, 6]" in text for text in said)
    assert any("`w_0_wait`, which is no parameter" in text for text in said) and len(said) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.T.copy(), "not float32[6, 8]"),
        (lambda x: x.astype(np.float64), "not float64[8, 6]"),
        (lambda x: x * np.float32(np.nan), "48 NaN"),
    ],
    ids=["shape", "dtype", "NaN"],
)
def test_shapes_dtypes_and_nan(tmp_path: Path, change: Any, said: str) -> None:
    program = sc.compile(learner)
    tensors = dict(program.state)
    save_file({**tensors, "w_0_weight": change(tensors["w_0_weight"])}, tmp_path / "w")
    (text,) = refused(program, tmp_path / "w")
    assert said in text and text.startswith("parameter `w_0_weight`")


def test_values_that_the_format_does_not_have() -> None:
    @node
    def small(x: sc.bf16[2]) -> sc.bf16:
        return sc.sum(x * sc.constant(np.float32([1.5, 2.5]), sc.bf16))

    traced = small.trace().node
    (name,) = parameters(traced)
    with pytest.raises(SeicheError, match="no bf16"):
        with_weights(traced, {name: np.float32([1.0, 1.0001])})


def test_nan_is_refused_and_infinity_is_a_value(tmp_path: Path) -> None:
    """The same rule as for saved states, on either way in."""

    @node
    def lowest(x: f32[2]) -> f32[2]:
        least = state(np.full(2, np.inf, np.float32))
        least.next = sc.minimum(least, x)
        return least.next

    for bad in (False, True):
        program = sc.compile(lowest)
        program.step(np.float32([np.nan if bad else 1.0, np.inf]))
        program.state.save(tmp_path / "s")
        sc.save_weights(program, tmp_path / "w")
        fresh = sc.compile(lowest)
        if bad:
            (text,) = refused(fresh, tmp_path / "w")
            assert "1 NaN" in text
            with pytest.raises(SeicheError, match="1 NaN"):
                fresh.state.load(tmp_path / "s")
        fresh.state.load(tmp_path / "s", allow_nan=bad)
        there = sc.load_weights(fresh, tmp_path / "w", allow_nan=bad)
        for one in (fresh, there):
            np.testing.assert_array_equal(one.state["least"], program.state["least"])


def test_damaged_and_absent_files(tmp_path: Path) -> None:
    program = sc.compile(learner)
    assert "there is no file" in refused(program, tmp_path / "none")[0]
    sc.save_weights(program, tmp_path / "w")
    whole = (tmp_path / "w").read_bytes()
    for part in (b"", b"PK\3\4 no", whole[: len(whole) // 2]):
        (tmp_path / "cut").write_bytes(part)
        assert "damaged" in refused(program, tmp_path / "cut")[0]


def test_saving_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = sc.compile(learner)
    recorded = sc.record(learner, *lessons(3))
    for write in (partial(sc.save_weights, program), program.state.save, recorded.save, recorded.vcd, recorded.mcap):  # fmt: skip
        for path, said in (("no/such/file", "no folder no/such"), (".", "it is a folder"), ("", "it is a folder"),
                           ("n" * 300, "too long")):  # fmt: skip
            with pytest.raises(SeicheError, match=said) as caught:
                write(path)
            assert caught.value.code == "SE914" and f"{path or '``'} cannot be written" in str(caught.value)  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(SeicheError, match=r"seiche\[deploy\]"):
        sc.save_weights(sc.compile(learner), tmp_path / "w")
