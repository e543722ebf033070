"""Contracts on nodes: who is blamed, for what, where and when; on clocks, under resets, in bodies, side by side; and monitors in C.

`test_contracts_random.py` holds them against the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche import bool_, f32, node, state
from seiche.backends.c.binding import CProgram, Instance
from seiche.errors import SeicheError
from seiche.ir.fingerprint import fingerprint
from seiche.ir.parse import parse
from tests.deployed import needs_qemu
from tests.lang import only

TARGETS = [pytest.param("interp"), pytest.param("c", marks=pytest.mark.cc)]


@node
def total(x: f32) -> f32:
    sc.assume(x >= 0, "x is not negative")
    s = state(0.0)
    s.next = s + x
    sc.guarantee(s.next < 5, "the sum stays below 5")
    return s.next


def blamed(program: Any, *streams: Any) -> tuple[str, str, int] | None:
    """The code, the instance and the tick of what stops a run."""
    program.reset()
    try:
        program.run(*streams)
    except SeicheError as error:
        check = program.stopped.check
        path = "/".join(check.contract.instance) if check.contract else ""
        assert error.code == check.code
        return check.code, path, program.stopped.tick
    return None


# What is said.


@node
def limiter(v: f32, most: f32) -> f32:
    sc.assume(most >= 0, "the limit is not negative")
    y = sc.minimum(v, most)
    sc.guarantee(y <= most)
    return y


@node
def car(v: f32) -> f32:
    sc.assume(v < 10, "v is below 10")
    limit = v - 1.0
    return limiter(v, limit)


def test_the_line_that_uses_an_instance_is_blamed() -> None:
    with pytest.raises(SeicheError) as caught:
        sc.compile(car).run([1.0, 0.5])
    (said,) = caught.value.diagnostics
    assert (
        said.what
        == "`car/limiter` assumes that the limit is not negative, which does not hold at tick 1"
    )
    assert said.where.source == "return limiter(v, limit)"
    (stated, place), (value, _) = said.why
    assert (
        stated == "it is stated here"
        and place is not None
        and place.source.startswith("sc.assume(most")
    )
    assert value == "`limit` is -0.5" and said.hint.startswith("the line that uses it must")


def test_whoever_gives_the_inputs_is_blamed_before_all_others() -> None:
    with pytest.raises(SeicheError) as caught:
        sc.compile(car).run([np.float32(11.0)])
    (said,) = caught.value.diagnostics
    assert said.code == "SE803" and said.where.source.startswith("sc.assume(v < 10")
    assert said.why == (("`v` is 11.", None),) and "whoever gives the inputs" in said.hint


def test_a_guarantee_is_the_nodes_own_fault() -> None:
    @node
    def loose(v: f32) -> f32:
        limit = v - 1.0
        sc.guarantee(v <= limit)
        return limit

    with pytest.raises(SeicheError) as caught:
        sc.compile(loose).run([2.0])
    (said,) = caught.value.diagnostics
    assert said.what == "a guarantee of `loose` does not hold at tick 0"
    assert said.where.source == "sc.guarantee(v <= limit)"
    assert [text for text, _ in said.why] == ["`v` is 2.", "`limit` is 1."]


@pytest.mark.cc
def test_c_says_the_same_but_for_the_values() -> None:
    for xs in ([1.0, 0.5], [11.0], [1.0, 2.0, 12.0]):
        said = []
        for target in ("interp", "c"):
            with pytest.raises(SeicheError) as caught:
                sc.compile(car, target=target).run(np.float32(xs))
            said.append(caught.value.diagnostics[0])
        assert (said[0].what, said[0].where, said[0].hint) == (
            said[1].what,
            said[1].where,
            said[1].hint,
        )


def test_a_program_that_was_stopped_starts_again_after_a_reset() -> None:
    program = sc.compile(total)
    with pytest.raises(SeicheError):
        program.run([1.0, -1.0])
    with pytest.raises(SeicheError, match="at tick 1"):
        program.step(1.0)
    program.reset()
    assert program.stopped is None and program.step(1.0) == 1.0


def test_what_is_refused() -> None:
    found = only(lambda x: (sc.assume(True), x)[1], "SE302", x=f32)
    assert "sc.assume" in found.what
    only(lambda x: (sc.guarantee(x > 0), x)[1], "SE302", x=f32[3])
    only(lambda x: (sc.guarantee(x > 0, 5), x)[1], "SE110", x=f32)
    with pytest.raises(SeicheError) as caught:
        sc.assume(True)
    assert caught.value.code == "SE108"


def test_an_input_that_only_a_contract_reads_is_used() -> None:
    @node
    def watched(x: f32, brake: bool_) -> f32:
        sc.assume(~brake, "nobody brakes")
        return x

    assert sc.diagnose(watched) == ()


def test_contracts_are_printed_and_read_back() -> None:
    text = str(car.trace().node)
    assert "(assumption in limiter from @" in text and "of limit)" in text
    assert str(parse(text)) == text
    with pytest.raises(SeicheError, match="no part of a contract"):
        parse(text.replace("(guarantee", "(promise"))


# Where contracts stand.


def in_rows(x: f32[3]) -> f32[3]:
    return sc.over_time(total)(x)


def side_by_side(x: f32[3]) -> f32[3]:
    return sc.over_space(total, 3)(x)


def in_blocks(x: f32[3]) -> f32[3]:
    return sc.to_space(total, 3)(x)


def gathered(x: f32) -> f32[3]:
    return sc.over_time(total)(sc.gather(x, 3))


def framed(x: f32, c: bool_) -> f32:
    with sc.frame(max=3, until=c):
        return total(x)


def framed_once(x: f32, c: bool_) -> f32:
    with sc.frame(max=3, until=c) as fr:
        return fr.last(total(x))


def framed_for_itself(x: f32, c: bool_) -> f32:
    with sc.frame(max=3, until=c):
        total(x)
    return x


def in_spread_rows(x: f32[3]) -> f32[3]:
    return sc.over_time(total, spread=True)(x)


def carried(x: f32[3]) -> f32[3]:
    return sc.over_time(total, carry=True)(x)


def rows_of_rows(x: f32[3]) -> f32[3]:
    return sc.over_time(lambda row: sc.over_time(total)(row))(sc.stack([x, x]))[0]


def for_itself(x: f32[3]) -> f32[3]:
    sc.over_time(total)(x)
    return x


def sometimes(x: f32, c: bool_) -> f32:
    with sc.every(c):
        y = total(x)
    return sc.hold(y, 0.0)


def reset(x: f32, c: bool_) -> f32:
    return total(x, reset=c)


def modes(x: f32, c: bool_) -> f32:
    with sc.automaton() as m:
        with m.mode("add") as k:
            k.emit(y=total(x))
            k.until(c, "take")
        with m.mode("take") as k:
            sc.assume(x < 2, "x is below 2")
            k.emit(y=-x)
            k.until(c, "add")
    return m.y


def differentiated(x: f32[3]) -> f32:
    return sc.grad(lambda w: sc.sum(sc.over_time(total)(w * x)))(sc.constant(1.0))


def looking_ahead(x: f32) -> f32:
    ahead = sc.post(x, 0.0)
    sc.assume(ahead >= 0, "the next x is not negative")
    return total(x)


def of_rows(x: f32[3]) -> f32[3]:
    sc.assume(sc.all(x > -5), "all of x is above -5")
    return sc.over_time(total)(x)


def inline_in_rows(x: f32[3]) -> f32[3]:
    def row(x: Any) -> Any:
        sc.guarantee(x < 2, "each is below 2")
        return x

    return sc.over_time(row)(x)


def folded(x: f32[3]) -> f32[3]:
    def rise(rows: Any) -> Any:
        sc.assume((rows >= 0).all(), "no row is negative")
        sc.guarantee(rows.sum() < 10, "the rows are small")
        return rows[1:] - rows[:-1]

    return sc.to_time(rise, rows=3)(x)


POSITIVE, MIXED = [1.0, 1, 1, 1, 2, 1, 1, 1, 1], [1.0, 1, 1, 1, -1, 1, 1, 1, 1]
NEVER, THIRD, AT_3 = [False] * 9, [False, False, True] * 3, [t == 3 for t in range(9)]
ASSUMED, OWED = "SE803", "SE804"

PLACES: list[tuple[Callable[..., Any], Any, tuple[str, str, int] | None]] = [
    (in_rows, [POSITIVE], None),
    (in_rows, [MIXED], (ASSUMED, "total", 1)),
    (in_spread_rows, [POSITIVE], None),
    (in_spread_rows, [MIXED], (ASSUMED, "total", 1)),
    (carried, [POSITIVE], (OWED, "total", 1)),
    (rows_of_rows, [POSITIVE], None),
    (rows_of_rows, [MIXED], (ASSUMED, "total", 1)),
    (for_itself, [MIXED], (ASSUMED, "total", 1)),
    (side_by_side, [POSITIVE], None),
    (side_by_side, [MIXED], (ASSUMED, "total", 1)),
    (in_blocks, [POSITIVE], (OWED, "total", 1)),
    (in_blocks, [MIXED], (ASSUMED, "total", 1)),
    (gathered, [POSITIVE], None),
    (gathered, [MIXED], (ASSUMED, "total", 5)),
    (framed, [POSITIVE, THIRD], None),
    (framed, [MIXED, THIRD], (ASSUMED, "total", 4)),
    (framed_once, [POSITIVE, THIRD], None),
    (framed_once, [MIXED, THIRD], (ASSUMED, "total", 5)),
    (framed_for_itself, [MIXED, THIRD], (ASSUMED, "total", 5)),
    (sometimes, [POSITIVE, THIRD], None),
    (sometimes, [MIXED, THIRD], None),
    (sometimes, [MIXED, [t % 2 == 0 for t in range(9)]], (ASSUMED, "total", 4)),
    (reset, [POSITIVE, NEVER], (OWED, "total", 4)),
    (reset, [POSITIVE, AT_3], (OWED, "total", 6)),
    (modes, [POSITIVE, NEVER], (OWED, "add/total", 4)),
    (modes, [POSITIVE, AT_3], (ASSUMED, "take", 4)),
    (modes, [MIXED, AT_3], None),
    (differentiated, [MIXED], (ASSUMED, "total", 1)),
    (looking_ahead, [POSITIVE], (OWED, "total", 4)),
    (looking_ahead, [MIXED], (ASSUMED, "", 3)),
    (of_rows, [[0.0, 0, 0, -9, 0, 0, 0, 0, 0]], (ASSUMED, "", 1)),
    (of_rows, [MIXED], (ASSUMED, "total", 1)),
    (folded, [[0.5] * 9], None),
    (folded, [POSITIVE], (OWED, "rise", 2)),
    (folded, [MIXED], (ASSUMED, "rise", 2)),
    (inline_in_rows, [MIXED], None),
    (inline_in_rows, [POSITIVE], (OWED, "", 1)),
]


def streams_of(program: Any, given: Any) -> list[np.ndarray]:
    """The nine values in the shapes of the inputs."""
    dtypes = [(v.type.format.dtype, v.type.shape) for v in program.node.inputs]
    return [np.asarray(x, d).reshape(-1, *shape) for x, (d, shape) in zip(given, dtypes)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("function", "given", "wanted"), PLACES, ids=lambda v: getattr(v, "__name__", "")
)
def test_contracts_hold_wherever_a_node_stands(
    function: Any, given: Any, wanted: Any, target: str
) -> None:
    program = sc.compile(node(function), target=target)
    assert blamed(program, *streams_of(program, given)) == wanted
    # Without monitors nothing is looked at, and the results up to there are the same.
    bare = sc.compile(node(function), target=target, monitors=False)
    assert all(c.contract is None for c in bare.lowered.node.checks)
    results = bare.run(*streams_of(bare, given))
    if wanted is None:
        program.reset()
        again = program.run(*streams_of(program, given))
        assert np.array_equal(
            np.asarray(getattr(again, "values", again)),
            np.asarray(getattr(results, "values", results)),
        )


def test_a_program_in_blocks_is_used_by_whoever_gives_the_inputs() -> None:
    program = sc.compile(sc.to_space(total, 3))
    with pytest.raises(SeicheError, match="whoever gives the inputs must see to it"):
        program.run(np.float32(MIXED).reshape(3, 3))
    found = sc.falsify(sc.to_space(total, 2), ticks=5, target="interp")
    assert found.counterexample is not None and found.counterexample.check.code == OWED


def test_a_function_with_memory_that_is_folded_is_refused() -> None:
    def running(rows: Any) -> Any:
        s = state(0.0)
        s.next = s + rows.sum()
        return rows + s

    found = only(lambda x: sc.to_time(running, rows=3)(x), "SE605", x=f32[3])
    assert "which has memory" in found.what


def test_work_that_is_spread_keeps_its_contracts() -> None:
    for target in ("interp", "c"):
        program = sc.compile(node(gathered), target=target, deadline="4x")
        assert blamed(program, np.float32(MIXED)) == (ASSUMED, "total", 5)


def test_xla_blames_alike() -> None:
    program = sc.compile(node(sometimes), target="xla")
    every_other = np.arange(9) % 2 == 0
    assert blamed(program, np.float32(MIXED), every_other) == (ASSUMED, "total", 4)


# Monitors in C, and without.


@node
def free_of_contracts(v: f32) -> f32:
    limit = v - 1.0
    return sc.minimum(v, limit)


def test_without_monitors_nothing_is_left_of_a_contract() -> None:
    bare, other = sc.compile(car, monitors=False), sc.compile(free_of_contracts)
    assert fingerprint(bare.lowered.node) == fingerprint(other.lowered.node)
    plan, watched = bare.report().plan, sc.compile(car).report().plan
    assert plan.state_bytes == 0 and plan.operations < watched.operations


@node
def watched(x: f32) -> f32:
    sc.assume(sc.fby(0.0, x) <= x, "x does not fall")
    mean = state(0.0)
    mean.next = sc.fby(0.5, mean + 0.25 * (x - mean))
    sc.guarantee(sc.post(x, 9.0) < 10, "the next x is below 10")
    return mean


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("monitors", [True, False])
def test_states_move_between_programs_with_and_without_monitors(
    monitors: bool, to: Any, tmp_path: Path
) -> None:
    xs = np.arange(12, dtype=np.float32) / 2
    whole = sc.compile(watched).run(xs)
    here = sc.compile(watched, monitors=monitors)
    there = sc.compile(watched, monitors=not monitors, target=to)
    assert set(here.state) != set(there.state)
    first = here.run(xs[:6])
    here.state.save(tmp_path / "state")
    there.state.load(tmp_path / "state")
    assert there.ticks == 6
    np.testing.assert_array_equal(np.concatenate([first, there.run(xs[6:])]), whole)
    other = sc.compile(total, monitors=monitors)
    with pytest.raises(SeicheError, match="the state of another program"):
        other.state.load(tmp_path / "state")


@pytest.mark.cc
def test_a_monitor_in_c_keeps_which_and_when() -> None:
    program = sc.compile(car, target="c")
    assert isinstance(program.executor, CProgram)
    library = program.executor.library
    instance, tick = Instance(library), library.machine.fault_tick
    assert tick is not None
    when = instance.self.view(tick.name, tick.type)
    for run in range(2):
        for v, failed in ((3.0, 0), (4.0, 0), (0.5, 2), (3.0, 2), (11.0, 2)):
            instance.inputs[0][...] = v
            assert instance.tick() == failed
        assert (int(instance.fault), int(when)) == (2, 2), run
        instance.reset()
        assert (int(instance.fault), int(when)) == (0, 0)


@pytest.mark.cc
def test_the_header_and_the_report_list_the_contracts() -> None:
    program = sc.compile(car, target="c")
    header, report = program.executor.sources.header, str(program.report())
    line = total.where.file.rpartition("/")[2]
    for text in (
        f"SE803 assumption of car ({line}:",
        "SE804 guarantee of car/limiter (",
        ", used at ",
    ):
        assert text in header and text in report
    assert "contracts, monitored" in report and "`fault_tick` the tick" in header
    bare = sc.compile(car, target="c", monitors=False)
    assert "SE803" not in str(bare.report()) and "fault" not in bare.executor.sources.header


def test_a_deployed_folder_lists_the_contracts(tmp_path: Any) -> None:
    sc.deploy(sc.compile(car), tmp_path, target="host")
    readme = (tmp_path / "README.md").read_text()
    assert "## Contracts" in readme and "| 2 | SE803 assumption of car/limiter" in readme


@needs_qemu
def test_a_processor_stops_at_the_same_contract() -> None:
    ran = sc.emulate(sc.compile(car), np.float32([3.0, 4.0, 0.5, 1.0]), target="cortex-m4f")
    assert ran.agrees and ran.ticks == 2
    assert "SE803 assumption of car/limiter" in str(ran.stopped) and str(ran.stopped).endswith(
        "at tick 2"
    )
