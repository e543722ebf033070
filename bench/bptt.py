"""A training step by back-propagation through time, a GRU(10→64) with a readout over 128 ticks, beside JAX's scan and grad.

Informative: there is no bar. Both are compared with our f64 gradient, which `gradients` compares with JAX's.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np

from bench import cells
from bench.measure import Entry, Job, contest, ratio
from bench.report import Bench, Result, number

Array: TypeAlias = "np.ndarray[Any, Any]"
TICKS, IN, HIDDEN, OUT, RATE = 128, 10, 64, 3, 0.01
ROUNDS = 30
CHECKED = 3
"""Training steps after which the parameters are compared."""


def start() -> dict[str, Any]:
    """The parameters before training, f32."""
    rng = np.random.default_rng(1)
    readout = 0.1 * rng.normal(size=(HIDDEN, OUT))
    return {"cell": cells.Cell("gru", IN, HIDDEN).parameters(), "out": readout.astype(np.float32)}


def data() -> tuple[Array, Array]:
    """A stretch of inputs and targets, f32."""
    rng = np.random.default_rng(2)
    return rng.normal(size=(TICKS, IN)).astype(np.float32), rng.normal(size=(TICKS, OUT)).astype(
        np.float32
    )


def program(double: bool = False, arithmetic: str = "strict") -> Any:
    """The training step as a node: parameters are its state; results are the loss and the readout's parameters."""
    import seiche as sc
    from seiche.ir.tree import map_tree

    layer = cells.Cell("gru", IN, HIDDEN).layer()
    initial = map_tree(lambda x: x.astype(np.float64) if double else x, start())
    format = sc.f64 if double else sc.f32

    def loss(w: Any, xs: Any, ys: Any) -> Any:
        hidden = sc.over_time(lambda x: layer(w["cell"], x))(xs)
        return sc.square(hidden @ w["out"] - ys).mean()

    def train(xs: Any, ys: Any) -> Any:
        w = sc.state(map_tree(lambda x: sc.constant(x, format), initial))
        value, dw = sc.value_and_grad(loss)(w, xs, ys)
        w.next = map_tree(lambda a, b: a - RATE * b, w, dw)
        return value, w.next["out"]

    train.__annotations__ = {"xs": format[TICKS, IN], "ys": format[TICKS, OUT]}
    return sc.compile(sc.node(train), target="c", arithmetic=arithmetic)  # type: ignore[arg-type]


@cache
def reference() -> Array:
    """The readout's parameters after some steps, in f64."""
    compiled = program(double=True)
    rows = [x.astype(np.float64) for x in data()]
    return [compiled.step(*rows)[1] for _ in range(CHECKED)][-1]


def error(out: Any) -> float:
    return float(
        np.abs(np.asarray(out, np.float64) - reference()).max() / np.abs(reference()).max()
    )


def ours(arithmetic: str = "strict") -> Job:
    """`Instance.tick`, in place."""
    compiled = program(arithmetic=arithmetic)
    instance, plan = compiled.executor.instance, compiled.executor.scheduled.plan
    for view, x in zip(instance.inputs, data(), strict=True):
        view[...] = x
    tick = instance.bound()
    for _ in range(CHECKED):
        tick()
    found = error(instance.outputs[1])

    def run(n: int) -> None:
        for _ in range(n):
            tick()

    return Job(
        run,
        found,
        {"struct_bytes": plan.struct_bytes, "scratch_bytes": plan.scratch_bytes},
        keep=compiled,
    )


def theirs() -> Job:
    """`jax.jit` of the same step with the parameters donated, in place, dispatched synchronously."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    xs, ys = map(jnp.asarray, data())

    def loss(w: Any, xs: Any, ys: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = cells.gru(jnp, w["cell"], h, x, jax.nn.sigmoid)
            return h, h

        hidden = jax.lax.scan(step, jnp.zeros(HIDDEN), xs)[1]
        return jnp.square(hidden @ w["out"] - ys).mean()

    def train(w: Any, xs: Any, ys: Any) -> Any:
        value, dw = jax.value_and_grad(loss)(w, xs, ys)
        return jax.tree.map(lambda a, b: a - RATE * b, w, dw), value

    held = [jax.tree.map(jnp.asarray, start())]
    compiled = jax.jit(train, donate_argnums=0).lower(held[0], xs, ys).compile()
    memory = compiled.memory_analysis()

    def run(n: int) -> None:
        for _ in range(n):
            held[0], value = compiled(held[0], xs, ys)
            value.block_until_ready()

    run(CHECKED)
    return Job(
        run, error(held[0]["out"]), {"temporary_bytes": getattr(memory, "temp_size_in_bytes", None)}
    )


def run(bench: Bench) -> Result:
    result = Result("bptt")
    mine, peer = "seiche", "JAX jit of scan and grad"
    entries = [Entry(mine, ours), Entry(peer, theirs, peer=True)]
    with bench.status("back-propagation through time") as say:
        times = contest(entries, bench.pick(ROUNDS, 1), aim_s=4e-3, say=say)
    rows = [
        [
            t.name,
            t.failure or number(1e3 * t.median),
            f"{t.error:.0e}",
            f"{t.kept}/{t.batches}",
            _bytes(t.facts),
        ]
        for t in times.values()
    ]
    bench.table(
        f"GRU({IN}→{HIDDEN}), {TICKS} ticks, one training step",
        ["", "ms", "error", "undisturbed", "temporary bytes"],
        rows,
    )
    result.data["times"] = [t.summary() for t in times.values()]
    if not times[peer].failure:
        result.claim(
            "GRU(10→64) trained through 128 ticks / JAX",
            "",
            str(ratio(times[mine], times[peer])),
            None,
        )
    return result


def _bytes(facts: dict[str, Any]) -> str:
    found = facts.get("scratch_bytes", facts.get("temporary_bytes"))
    return "" if found is None else f"{found:,}"
