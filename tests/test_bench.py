"""The benches run and hand back figures; what they measure is not judged here, but their measuring is."""

from __future__ import annotations

import importlib
import io

import pytest
from rich.console import Console

from bench import __main__ as command
from bench import driving_learners
from bench.measure import Entry, Job, Ratio, Times, calls_per_batch, contest, ratio, turn
from bench.report import Bench, Result, mark, number
from seiche import bool_, f32


def tiny() -> Bench:
    return Bench(Console(file=io.StringIO(), width=140), tiny=True)


# The instruments.


def works() -> Job:
    return Job(lambda n: sum(range(100 * n)), error=0.5, facts={"size": 3})


def fails() -> Job:
    raise ValueError("no such cell")


def is_missing() -> Job:
    raise ModuleNotFoundError("No module named 'peer'")


def test_a_contest_takes_turns_and_leaves_out_a_peer_that_is_missing() -> None:
    entries = [Entry("ours", works), Entry("theirs", works), Entry("gone", is_missing, peer=True)]
    times = contest(entries, rounds=3, batches=2, aim_s=1e-4)
    assert len(times["ours"].turns) == len(times["theirs"].turns) == 3
    assert times["ours"].error == 0.5 and times["ours"].summary()["size"] == 3
    assert ratio(times["ours"], times["theirs"]).median > 0
    assert "peer" in times["gone"].failure and not times["gone"].turns


def test_a_contestant_that_fails_is_an_error_with_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="no such cell"):
        contest([Entry("ours", fails)], rounds=1)


def test_ratios_are_formed_turn_by_turn() -> None:
    ours, theirs = Times("a", [1.0, 30.0, None, 2.0]), Times("b", [2.0, 60.0, 5.0, 4.0])
    assert ratio(ours, theirs) == Ratio(0.5, 0.5, 0.5)
    assert str(ratio(Times("a"), theirs)).startswith("nan")


def test_a_turn_counts_its_undisturbed_batches() -> None:
    calls: list[int] = []
    undisturbed, whole, kept = turn(calls.append, 7, batches=3)
    assert calls == [7] * 4 and 0 <= kept <= 3 and whole > 0
    assert (undisturbed is None) == (kept == 0)
    assert calls_per_batch(lambda n: sum(range(1000 * n)), aim_s=1e-3) > 1


def test_numbers_and_marks() -> None:
    assert [number(x) for x in (12345.0, 0.5, float("nan"))] == ["12300", "0.5", "-"]
    assert mark(None) == "-" and mark(True) != mark(False)


# The benches.


@pytest.mark.cc
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.long)
        if n
        in (
            "step",
            "train",
            "memory",
            "matmul",
            "blocks",
            "integers",
            "control",
            "bptt",
            "pipeline",
            "driving",
            "highway",
        )
        else n
        for n in command.NAMES
    ],
)
def test_a_bench_runs(name: str) -> None:
    result = importlib.import_module(f"bench.{name}").run(tiny())
    assert result.name == name and result.figures
    if name in ("gradients", "memory", "laws"):  # what is no matter of time must hold
        assert all(f.met is not False for f in result.figures), result.figures


@pytest.mark.parametrize("name", driving_learners.LEARNERS)
def test_learners_of_every_kind_find_their_place_in_the_car(name: str) -> None:
    reward, ended = driving_learners.driven.trace(name=name).node.outputs
    assert (reward.type, ended.type) == (f32[()], bool_[()])


def test_the_summary_shows_every_figure_and_results_are_kept(tmp_path) -> None:
    result = Result("step")
    result.claim("a / b", "≤ 1.0", "0.50", True)
    result.claim("c / d", "≤ 1.0", "2.00", False)
    console = Console(file=io.StringIO(), width=100)
    console.print(command.summary([result]))
    assert "c / d" in console.file.getvalue() and "2.00" in console.file.getvalue()
    assert '"a / b"' in result.save(tmp_path).read_text(encoding="utf-8")


def test_a_name_that_is_no_bench_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["speed"])
    assert "there is no bench speed" in capsys.readouterr().err


# The bytes: the instrument notices what it must.


def lowered():
    """Scratch memory that is only used for inputs that random ones never are."""
    import seiche as sc
    from seiche.schedule.lower import lower

    @sc.node
    def program(x: sc.f32[64], c: sc.f32) -> sc.f32:
        with sc.every((c > 100.0) & (c < 101.0)):
            y = sc.cumsum(sc.exp(x))
            rare = (sc.softmax(y) * y[::-1]).sum()
        return sc.hold(rare, 0.0) + x.sum()

    return lower(program.trace().node)


@pytest.mark.cc
def test_an_arena_behind_a_branch_is_reached_by_a_coin() -> None:
    from bench.memory import judge

    verdict = judge("rare", lowered())
    assert verdict.coin and not verdict.faults and verdict.arenas == verdict.reached


@pytest.mark.cc
def test_an_arena_that_is_too_large_or_a_wrong_size_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bench import memory
    from seiche.schedule import machine

    def wrong(lowered):
        scheduled = right(lowered)
        scheduled.plan.arena_bytes = {k: n + 4 for k, n in scheduled.plan.arena_bytes.items()}
        scheduled.plan.struct_bytes += 8
        return scheduled

    right = machine.schedule
    monkeypatch.setattr(machine, "schedule", wrong)
    faults = memory.judge("rare", lowered()).faults
    assert any("predicted" in f for f in faults) and any("reached" in f for f in faults)
