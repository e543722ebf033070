"""Every contestant of the timing benches computes the function that a float64 reference states."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from bench import bptt, contestants
from bench.bptt_by_hand import by_hand
from bench.cells import Cell
from bench.frontend import Frontend
from bench.keyword import Keyword
from bench.perceptron import Perceptron
from bench.race import ERROR_MAX
from bench.workloads import Workload, relative

WORKLOADS: tuple[Workload, ...] = (
    Cell("gru", 6, 16),
    Cell("lstm", 6, 16),
    Keyword(ticks=12),
    Frontend((5, 3), 16, 8, ticks=12),
    Perceptron(1),
    Perceptron(32),
)
NAMES = [w.title for w in WORKLOADS]


@pytest.mark.parametrize("work", WORKLOADS, ids=NAMES)
def test_onnx_runtime_computes_the_workload(work: Workload) -> None:
    pytest.importorskip("onnxruntime")
    assert contestants.onnx_numpy(work).error <= ERROR_MAX
    assert contestants.onnx_binding(work).error <= ERROR_MAX


@pytest.mark.parametrize("work", WORKLOADS, ids=NAMES)
def test_litert_computes_the_workload(work: Workload) -> None:
    pytest.importorskip("ai_edge_litert")
    assert contestants.lite_invoke(work).error <= ERROR_MAX


@pytest.mark.cc
@pytest.mark.parametrize(
    ("work", "variant"),
    [
        (Cell("gru", 40, 128), ""),
        (Cell("lstm", 40, 256), ""),
        (Keyword(ticks=12), ""),
        (Perceptron(1), ""),
        (Perceptron(1), "retimed"),
        (Perceptron(32), ""),
    ],
)
def test_c_by_hand_computes_the_workload(work: Workload, variant: str) -> None:
    job = contestants.hand_in_c(work, variant)
    assert job.error <= ERROR_MAX
    job.run(work.ticks)


@pytest.mark.cc
@pytest.mark.parametrize("work", [Keyword(ticks=12), Perceptron(1), Perceptron(1, retimed=True)])
def test_seiche_computes_the_workload(work: Workload) -> None:
    assert contestants.seiche_call(work).error <= ERROR_MAX
    assert contestants.seiche_in_c(work, "fast").error <= ERROR_MAX


@pytest.mark.cc
@pytest.mark.parametrize("arithmetic", ["strict", "fast"])
def test_seiche_computes_the_workload_in_blocks(arithmetic: str) -> None:
    work = Frontend((5, 3), 16, 8, ticks=12)
    assert contestants.seiche_in_c(work, arithmetic, 4).error <= ERROR_MAX


@pytest.mark.cc
def test_bptt_by_hand_follows_the_f64_gradient_over_many_steps() -> None:
    start, (xs, ys) = bptt.start(), bptt.data(128)
    compiled = sc.compile(bptt.node(128, double=True), target="c")
    rows = [xs.astype(np.float64), ys.astype(np.float64)]
    wanted = [compiled.step(*rows)[1] for _ in range(40)][-1]
    job = by_hand(start["cell"], start["out"], xs, ys, lambda out: relative(out, wanted), 40)
    assert job.error <= ERROR_MAX
    assert relative(start["out"], wanted) > 100 * ERROR_MAX


def test_the_references_move_with_their_inputs() -> None:
    for work in WORKLOADS:
        reference = work.reference()  # type: ignore[attr-defined]
        assert work.error(reference) == 0.0
        assert work.error(reference[::-1]) > 100 * ERROR_MAX, work.title
