"""Stages of a model on devices of their own: latency in ticks, and throughput beside the same model on one device.

Four stages of two dense layers take a microbatch per tick. The devices are XLA's host devices: threads that share the cores of
the machine, of which the table says how many there are. No more than these can be gained. Informative: there is no bar.
"""

from __future__ import annotations

import os
from typing import Any, TypeAlias

import numpy as np

from bench.measure import ONE_THREAD, Entry, Job, Times, contest, ratio
from bench.report import Bench, Result, number

Array: TypeAlias = "np.ndarray[Any, Any]"
STAGES, LAYERS, BATCH, WIDTH = 4, 2, 64, 512
TICKS, ROUNDS = 32, 12
BASE = "one device of one core"
FORMS = {
    BASE: (1, False), "the same, with registers": (1, True), "one device of all cores": (1, False), "2 devices": (2, True),
    "4 devices": (4, True),
}  # fmt: skip
"""Devices, and whether there are registers between the stages."""
ONE_CORE = (BASE, "the same, with registers")


def weights() -> list[list[Array]]:
    """Per stage, per layer: `[WIDTH, WIDTH]`."""
    rng = np.random.default_rng(0)
    made = rng.normal(size=(STAGES, LAYERS, WIDTH, WIDTH)) / np.sqrt(WIDTH)
    return [list(stage) for stage in made.astype(np.float32)]


def data() -> Array:
    """`[TICKS, BATCH, WIDTH]`."""
    return np.random.default_rng(1).normal(size=(TICKS, BATCH, WIDTH)).astype(np.float32)


def program(devices: int, registers: bool) -> Any:
    """The model, compiled for XLA."""
    import seiche as sc

    def stage(layers: list[Array]) -> Any:
        def run(x: Any) -> Any:
            for w in layers:
                x = sc.tanh(x @ sc.constant(w))
            return x

        return run

    stages = [stage(layers) for layers in weights()]

    def model(x: Any) -> Any:
        if registers:
            return sc.pipeline(stages)(x)
        for run in stages:
            x = run(x)
        return x

    model.__annotations__ = {"x": sc.f32[BATCH, WIDTH]}
    where = {"devices": devices} if devices > 1 else {}
    return sc.compile(sc.node(model), target="xla", **where)  # type: ignore[arg-type]


def reference() -> Array:
    x = data().astype(np.float64)
    for layers in weights():
        for w in layers:
            x = np.tanh(x @ w)
    return x


def job(devices: int, registers: bool) -> Job:
    """Time per microbatch, of a stream of them."""
    compiled, x = program(devices, registers), data()
    error = float(np.abs(compiled.run(x) - reference()).max())
    compiled.reset()

    def run(n: int) -> None:
        for _ in range(n):
            compiled.executor.run([x], TICKS)

    facts: dict[str, Any] = {"latency": compiled.latency}
    if devices > 1:
        facts["work"] = compiled.executor.layout.stages.work
    return Job(run, error, facts)


def run(bench: Bench) -> Result:
    result = Result("pipeline")
    flags = ONE_THREAD["XLA_FLAGS"]
    entries = [
        Entry(
            name, job, how, pinned=name in ONE_CORE,
            env={"XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={how[0]}"},
        )
        for name, how in FORMS.items()
    ]  # fmt: skip
    with bench.status("pipeline") as say:
        times = contest(entries, bench.pick(ROUNDS, 1), batches=bench.pick(3, 1), say=say)
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    _table(bench, cores, times)
    for name, (devices, _) in FORMS.items():
        if devices > 1:
            late = times[name].facts["latency"]
            said = f"{ratio(times[BASE], times[name])} with {cores} cores, {late} ticks late"
            result.claim(f"throughput on {name} / {BASE}", "", said, None)
    result.data["times"] = [t.summary() for t in times.values()]
    result.data["cores"] = cores
    return result


def _table(bench: Bench, cores: int, times: dict[str, Times]) -> None:
    rows = [
        [
            t.name, t.facts["latency"], number(1e3 * t.median / TICKS), number(BATCH * TICKS / t.median),
            str(ratio(times[BASE], t)), f"{t.error:.0e}",
        ]
        for t in times.values()
    ]  # fmt: skip
    bench.table(
        f"{STAGES} stages of {LAYERS} layers of {WIDTH}, microbatches of {BATCH}, on {cores} cores",
        ["", "latency, ticks", "ms per microbatch", "rows per s", "throughput / one core", "error"],
        rows,
    )
