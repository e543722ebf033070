"""Recordings: streams at their ticks, and the files of viewers, read back by the libraries' own readers."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from vcd.reader import TokenKind, tokenize

import seiche as sc
from seiche import bool_, f32, i8, i32, i64, node, state, u32
from seiche.backends.recording import Recording
from seiche.backends.vcd import timescale
from seiche.errors import SeicheError
from tests.commands import call, runner_in

TICKS = 12


@node
def half(x: f32) -> f32:
    sc.assume(x < 100, "x is small")
    mean = state(0.0)
    mean.next = 0.5 * (mean + x)
    sc.guarantee(mean.next < 50)
    return mean.next


@node
def plant(x: f32, c: bool_, n: i32) -> dict[str, Any]:
    """Streams of all kinds: on the base clock, on a slow one, late, of tensors, in instances."""
    smooth = half(x)
    with sc.every(c):
        steps = state(0)
        steps.next = steps - 1
        slow = x * 2
        byte = (n & 127).to(i8) - 64
    ahead = sc.post(x, -1.0)
    pair = sc.stack([x, smooth])
    return {
        "smooth": smooth,
        "steps": steps.next,
        "slow": slow,
        "ahead": ahead,
        "pair": pair,
        "byte": byte,
    }


def streams() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    x = rng.normal(size=TICKS).astype(np.float32)
    x[3], x[5] = np.nan, np.inf
    return x, rng.random(TICKS) < 0.5, rng.integers(-1000, 1000, TICKS).astype(np.int32)


@pytest.fixture(scope="module")
def recording() -> Recording:
    return sc.record(plant, *streams(), watch=["half/*"])


def test_streams_are_those_of_a_run(recording: Recording) -> None:
    results = sc.compile(plant, monitors=False).run(*streams())
    for name, result in results.items():
        track = (
            recording[{"steps": "steps_next"}.get(name, name)]
            if name != "smooth"
            else recording["mean_next"]
        )
        values = result.values if hasattr(result, "values") else result
        ticks = result.ticks if hasattr(result, "ticks") else np.arange(TICKS)
        assert np.array_equal(track.ticks, ticks) and np.array_equal(
            track.values, values, equal_nan=True
        )
    for name, given in zip("xcn", streams()):
        assert recording[name].kind == "input"
        assert np.array_equal(recording[name].values, given, equal_nan=True)


def test_what_is_inside_and_what_is_promised_is_there_too(recording: Recording) -> None:
    line = half.where.line
    mean, met = recording["half/mean"], recording[f"half/assumption_{line + 1}"]
    assert mean.kind == "internal" and mean.values[0] == 0
    assert met.kind == "assumption" and "x is small" in met.said
    # Where x is infinite or no number the assumption is broken: the recording goes on.
    assert met.values.tolist() == [t not in (3, 5) for t in range(TICKS)]
    with pytest.raises(KeyError):
        recording["nowhere"]


@pytest.mark.cc
def test_both_targets_record_the_same(recording: Recording) -> None:
    other = sc.record(plant, *streams(), watch=["half/*"], target="c")
    for a, b in zip(recording.tracks, other.tracks, strict=True):
        assert a.path == b.path and np.array_equal(a.ticks, b.ticks)
        assert np.array_equal(a.values, b.values, equal_nan=True)


def test_a_compiled_program_is_recorded_from_its_first_tick() -> None:
    program = sc.compile(half)
    program.run([4.0])
    assert sc.record(program, [4.0, 4.0])["mean_next"].values.tolist() == [2.0, 3.0]
    assert program.ticks == 1


def test_what_is_refused() -> None:
    with pytest.raises(SeicheError, match="no stream `half/nothing`") as caught:
        sc.record(plant, *streams(), watch="half/nothing")
    assert caught.value.code == "SE906"
    for tick_s in (0.0, -1.0, np.nan):
        for write in (Recording.vcd, Recording.mcap):
            with pytest.raises(SeicheError, match="positive number of seconds"):
                write(sc.record(half, [1.0]), "never_written", tick_s)
    assert not Path("never_written").exists()


def test_long_tables_show_both_ends() -> None:
    rows = sc.record(half, np.zeros(50, np.float32)).table(most=6).splitlines()
    assert [row.split()[0] for row in rows] == ["tick", "0", "1", "2", "47", "48", "49"]


def test_a_tick_is_one_row_however_wide_its_streams_are() -> None:
    @node
    def wide(x: f32[8]) -> Any:
        return sc.stack([x, x]), x.reshape(2, 2, 2)

    rows = sc.record(wide, np.full((3, 8), 1 / 3, np.float32)).table().splitlines()
    assert [row.split()[0] for row in rows] == ["tick", "0", "1", "2"]


# VCD.


def waves(path: Path) -> tuple[str, dict[str, dict[int, Any]]]:
    """The timescale and, by its full name, the changes of each variable."""
    scopes: list[str] = []
    names: dict[str, str] = {}
    changes: dict[str, dict[int, Any]] = defaultdict(dict)
    now, scale = 0, ""
    with path.open("rb") as file:
        for token in tokenize(file):
            match token.kind:
                case TokenKind.TIMESCALE:
                    scale = f"{int(token.timescale.magnitude)} {token.timescale.unit.value}"
                case TokenKind.SCOPE:
                    scopes.append(token.scope.ident)
                case TokenKind.UPSCOPE:
                    scopes.pop()
                case TokenKind.VAR:
                    names[token.var.id_code] = "/".join([*scopes, token.var.ref_str])
                case TokenKind.CHANGE_TIME:
                    now = token.time_change
                case TokenKind.CHANGE_SCALAR:
                    changes[names[token.scalar_change.id_code]][now] = token.scalar_change.value
                case TokenKind.CHANGE_VECTOR:
                    changes[names[token.vector_change.id_code]][now] = token.vector_change.value
                case TokenKind.CHANGE_REAL:
                    changes[names[token.real_change.id_code]][now] = token.real_change.value
                case _:
                    pass
    assert set(changes) <= set(names.values()) and not scopes
    return scale, dict(changes)


def at_every_tick(changes: dict[int, Any], step: int) -> list[Any]:
    """A variable's value at each tick."""
    values, value = [], None
    for t in range(TICKS):
        value = changes.get(t * step, value)
        values.append(value)
    return values


def number(value: Any, bits: int) -> int | None:
    """A vector as a signed integer; None for x."""
    if value in ("x", "X"):
        return None
    unsigned = int(value, 2) if isinstance(value, str) else int(value)
    return unsigned - (1 << bits) if unsigned >> (bits - 1) else unsigned


def test_a_vcd_holds_every_value_at_its_tick(recording: Recording, tmp_path: Path) -> None:
    recording.vcd(tmp_path / "plant.vcd", tick_s=0.02)
    scale, found = waves(tmp_path / "plant.vcd")
    assert scale == "10 ms"
    x, c, n = streams()
    for name, values in (("x", x), ("pair[0]", x)):
        assert np.array_equal(
            np.float32(at_every_tick(found[f"plant/{name}"], 2)), values, equal_nan=True
        )
    assert [v == "1" for v in at_every_tick(found["plant/c"], 2)] == c.tolist()
    assert [number(v, 32) for v in at_every_tick(found["plant/n"], 2)] == n.tolist()
    # An instance is a scope of its own.
    assert at_every_tick(found["plant/half/mean"], 2)[1] == float(recording["half/mean"].values[1])


def test_absent_is_x_and_for_reals_a_bit_beside_them(recording: Recording, tmp_path: Path) -> None:
    recording.vcd(tmp_path / "plant.vcd", tick_s=1e-3)
    _, found = waves(tmp_path / "plant.vcd")
    c = streams()[1]
    assert 0 < c.sum() < TICKS
    steps = [number(v, 32) for v in at_every_tick(found["plant/steps_next"], 1)]
    assert steps == [-int(c[: t + 1].sum()) if c[t] else None for t in range(TICKS)]
    byte = [number(v, 8) for v in at_every_tick(found["plant/byte"], 1)]
    assert [v for v in byte if v is not None] == recording["byte"].values.tolist()
    assert [v == "1" for v in at_every_tick(found["plant/slow_present"], 1)] == c.tolist()
    slow = np.float32(at_every_tick(found["plant/slow"], 1))
    assert np.array_equal(slow[c], recording["slow"].values, equal_nan=True)
    assert "plant/x_present" not in found


def test_large_tensors_are_left_out_of_a_vcd_and_named(tmp_path: Path) -> None:
    @node
    def wide(x: f32[3], y: f32[2, 2]) -> f32:
        return sc.sum(x) + sc.sum(y)

    given = np.ones((2, 3), np.float32), np.ones((2, 2, 2), np.float32)
    sc.record(wide, *given).vcd(tmp_path / "a.vcd", elements_max=3)
    text = (tmp_path / "a.vcd").read_text()
    assert "x[2]" in text and "y[" not in text and "left out for their size: y" in text
    sc.record(wide, *given).vcd(tmp_path / "b.vcd")
    assert "y[1][0]" in (tmp_path / "b.vcd").read_text()


@pytest.mark.parametrize("tick_s", [1.0, 0.5, 1e-3, 2.5e-4, 1e-6, 3e-9, 120.0, 1 / 3])
def test_a_timescale_says_a_tick_exactly(tick_s: float) -> None:
    size, unit, steps = timescale(tick_s)
    power = {"s": 0, "ms": -3, "us": -6, "ns": -9, "ps": -12, "fs": -15}[unit]
    assert size in (1, 10, 100) and np.isclose(size * 10.0**power * steps, tick_s, rtol=1e-9)


# MCAP.


def messages(path: Path) -> dict[str, list[tuple[int, Any]]]:
    """By topic: times in nanoseconds and messages, each judged by the schema of its topic."""
    found: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file, validate_crcs=True).iter_messages():
            body = json.loads(message.data)
            described = json.loads(schema.data)
            assert schema.encoding == "jsonschema" and channel.message_encoding == "json"
            assert valid(body["value"], described["properties"]["value"]), (channel.topic, body)
            assert message.sequence == body["tick"]
            found[channel.topic].append((message.log_time, body))
    return dict(found)


def valid(value: Any, schema: dict[str, Any]) -> bool:
    """The part of JSON Schema that is used."""
    if "oneOf" in schema:
        return sum(valid(value, each) for each in schema["oneOf"]) == 1
    if "enum" in schema and value not in schema["enum"]:
        return False
    match schema["type"]:
        case "array":
            sized = (
                isinstance(value, list) and schema["minItems"] <= len(value) <= schema["maxItems"]
            )
            return sized and all(valid(item, schema["items"]) for item in value)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, float)
        case _:
            return isinstance(value, str)


def test_an_mcap_holds_every_value_at_its_tick(recording: Recording, tmp_path: Path) -> None:
    recording.mcap(tmp_path / "plant.mcap", tick_s=0.02)
    found = messages(tmp_path / "plant.mcap")
    assert set(found) == {f"/plant/{track.path}" for track in recording.tracks}
    for track in recording.tracks:
        got = found[f"/plant/{track.path}"]
        assert [body["tick"] for _, body in got] == track.ticks.tolist()
        assert [at for at, _ in got] == [t * 20_000_000 for t in track.ticks.tolist()]
        values = np.array(
            [np.asarray(body["value"], track.values.dtype) for _, body in got], track.values.dtype
        )
        assert np.array_equal(values, track.values, equal_nan=track.values.dtype.kind == "f")


def test_what_json_has_no_numbers_for_has_names(recording: Recording, tmp_path: Path) -> None:
    recording.mcap(tmp_path / "plant.mcap")
    values = [body["value"] for _, body in messages(tmp_path / "plant.mcap")["/plant/x"]]
    assert values[3] == "NaN" and values[5] == "Infinity"


def test_absent_ticks_have_no_message(recording: Recording, tmp_path: Path) -> None:
    recording.mcap(tmp_path / "plant.mcap")
    assert len(messages(tmp_path / "plant.mcap")["/plant/slow"]) == streams()[1].sum() < TICKS


def test_elements_of_integers_say_their_bits(tmp_path: Path) -> None:
    @node
    def pair(n: i32[2], b: bool_[2]) -> i32:
        return n[0] + b[1].to(i32)

    sc.record(pair, np.array([[5, -5]], np.int32), np.array([[True, False]])).vcd(
        tmp_path / "a.vcd"
    )
    _, found = waves(tmp_path / "a.vcd")
    assert number(found["pair/n[1][31:0]"][0], 32) == -5 and found["pair/b[0]"][0] == "1"


def test_wide_integers_keep_every_bit(tmp_path: Path) -> None:
    @node
    def same(a: i64, b: u32) -> dict[str, Any]:
        return {"a": a + 0, "b": b + 0}

    given = np.array([2**62 + 1, -(2**63)], np.int64), np.array([2**32 - 1, 0], np.uint32)
    made = sc.record(same, *given)
    made.mcap(tmp_path / "a.mcap")
    made.vcd(tmp_path / "a.vcd")
    assert [body["value"] for _, body in messages(tmp_path / "a.mcap")["/same/a"]] == given[
        0
    ].tolist()
    _, found = waves(tmp_path / "a.vcd")
    assert [number(found["same/a"][t], 64) for t in range(2)] == given[0].tolist()
    assert (
        int(found["same/b"][0], 2) == 2**32 - 1
        if isinstance(found["same/b"][0], str)
        else found["same/b"][0] == 2**32 - 1
    )


# The command line.

FILE = """
import seiche as sc

@sc.node
def inner(x: sc.f32) -> sc.f32:
    sc.guarantee(x < 1.5, "x is small")
    y = 2 * x
    return y

@sc.node
def outer(x: sc.f32) -> sc.f32:
    twice = inner(x)
    return twice + 1

@sc.node
def count() -> sc.i32:
    n = sc.state(0)
    n.next = n + 1
    return n
"""


def test_the_command_records_a_run_even_one_that_stops(tmp_path: Path, monkeypatch: Any) -> None:
    runner = runner_in(tmp_path, monkeypatch, {"nodes.py": FILE})
    np.savez(tmp_path / "x.npz", x=np.float32([1, 2, 3]))
    spoken = (
        "run",
        "nodes.py:outer",
        "--data",
        "x.npz",
        "--vcd",
        "a.vcd",
        "--mcap",
        "a.mcap",
        "--tick",
        "0.5",
    )
    assert "at tick 1" in call(runner, *spoken, "--watch", "inner/*", code=1)
    scale, found = waves(tmp_path / "a.vcd")
    assert scale == "100 ms" and found["outer/out"] == {0: 3.0, 5: 5.0, 10: 7.0}
    assert found["outer/inner/guarantee_6"] == {0: "1", 5: "0"}
    times = [at for at, _ in messages(tmp_path / "a.mcap")["/outer/x"]]
    assert times == [0, 500_000_000, 1_000_000_000]
    call(runner, "run", "nodes.py:count", "--ticks", "4", "--vcd", "b.vcd")
    assert list(waves(tmp_path / "b.vcd")[1]["count/n"]) == [0, 1, 2, 3]
    assert "SE906" in call(runner, *spoken, "--watch", "nothing", code=1)
