"""Back-propagation through time: a training step of a GRU(10→64) over T rows, bytes and time under budgets, beside JAX and C by hand.

The tape is what the forward rows leave for the backward ones. A budget of a share of it is the bytes of the whole program, its tape
counted at that share; the bits are those of the program without a budget, which is checked. JAX runs `scan` and `grad` as they are, with
`jax.checkpoint` around a row, and around chunks of about √T rows; PyTorch, where it is installed, its own GRU and autograd. All
are compared with our f64 gradient, which `gradients` compares with JAX's.
"""

from __future__ import annotations

import hashlib
import math
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from bench import cells
from bench.bptt_by_hand import by_hand
from bench.measure import Entry, Job, Times, contest, ratio
from bench.report import FOLDER, Bench, Result, number

Array: TypeAlias = "np.ndarray[Any, Any]"
IN, HIDDEN, OUT, RATE = 10, 64, 3, 0.01
TICKS = (128, 512, 2048)
SHARES = (1.0, 0.5, 0.25, 0.1, 0.05, 0.025, 0.005)
"""Of the tape: 1 is the program without a budget."""
ROUNDS, CHECKED = 15, 2
ROOM = 8192
"""Bytes of the smallest tape that is asked for."""
BAR_SHARE, BAR_TIMES = 0.1, 1.6
BAR_JAX, BAR_BYTES, BAR_CUT = 1 / 3, 0.2, 1.35
WHOLE, FAST = "100 % of the tape", "the whole tape, fast arithmetic"
XLA, HAND = "Seiche, XLA", "C by hand"
CHECKPOINTS = {"JAX, checkpoint per row": 1, "JAX, checkpoint per chunk": 2}
FORMS = {"JAX": 0, **CHECKPOINTS}


def start() -> dict[str, Any]:
    """The parameters before training, f32."""
    rng = np.random.default_rng(1)
    readout = 0.1 * rng.normal(size=(HIDDEN, OUT))
    return {"cell": cells.Cell("gru", IN, HIDDEN).parameters(), "out": readout.astype(np.float32)}


def data(ticks: int) -> tuple[Array, Array]:
    """A stretch of inputs and targets, f32."""
    rng = np.random.default_rng(2)
    shapes = (ticks, IN), (ticks, OUT)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)  # type: ignore[return-value]


def node(ticks: int, double: bool = False) -> Any:
    """The training step: parameters are its state; results are the loss and the readout's parameters."""
    import seiche as sc
    from seiche.ir.tree import map_tree

    layer = cells.Cell("gru", IN, HIDDEN).layer()
    format = sc.f64 if double else sc.f32
    initial = map_tree(lambda x: x.astype(np.float64) if double else x, start())

    def loss(w: Any, xs: Any, ys: Any) -> Any:
        def row(x: Any, y: Any) -> Any:
            return sc.square(layer(w["cell"], x) @ w["out"] - y).mean()

        return sc.over_time(row)(xs, ys).mean()

    def train(xs: Any, ys: Any) -> Any:
        w = sc.state(map_tree(lambda x: sc.constant(x, format), initial))
        value, dw = sc.value_and_grad(loss)(w, xs, ys)
        w.next = map_tree(lambda a, b: a - RATE * b, w, dw)
        return value, w.next["out"]

    train.__annotations__ = {"xs": format[ticks, IN], "ys": format[ticks, OUT]}
    return sc.node(train)


@cache
def tape(ticks: int) -> tuple[int, int]:
    """(bytes of the program without a budget, bytes of its tape)."""
    from seiche.schedule.budget import every_pair
    from seiche.schedule.distribute import distribute
    from seiche.schedule.lower import lower
    from seiche.schedule.machine import schedule

    lowered = lower(node(ticks).trace().node)
    kept = sum(pair.tape_bytes for pair in every_pair(distribute(lowered.node)))
    return schedule(lowered).plan.struct_bytes, kept


@cache
def reference(ticks: int) -> Array:
    """The readout's parameters after some steps, in f64."""
    import seiche as sc

    program = sc.compile(node(ticks, double=True), target="c")
    rows = [x.astype(np.float64) for x in data(ticks)]
    return [program.step(*rows)[1] for _ in range(CHECKED)][-1]


def error(ticks: int, out: Any) -> float:
    wanted = reference(ticks)
    return float(np.abs(np.asarray(out, np.float64) - wanted).max() / np.abs(wanted).max())


def ours(ticks: int, share: float, arithmetic: str = "strict") -> Job:
    """Compiled as C, called without a copy."""
    import seiche as sc

    whole, kept = tape(ticks)
    memory = None if share == 1 else int(whole - kept + share * kept)
    options: dict[str, Any] = {"memory": memory, "arithmetic": arithmetic}
    program = sc.compile(node(ticks), target="c", **options)
    instance, plan = program.executor.instance, program.executor.scheduled.plan
    for view, x in zip(instance.inputs, data(ticks), strict=True):
        view[...] = x
    tick = instance.bound()
    for _ in range(CHECKED):
        tick()
    found = error(ticks, instance.outputs[1])

    def run(n: int) -> None:
        for _ in range(n):
            tick()

    facts: dict[str, Any] = {
        "digest": hashlib.sha256(instance.outputs[1].tobytes()).hexdigest()[:16], "bytes": plan.struct_bytes, "temporary": plan.scratch_bytes, "operations": plan.operations,
        "levels": [c.levels for c in program.lowered.checkpoints],
    }  # fmt: skip
    return Job(run, found, facts, keep=program)


def on_xla(ticks: int) -> Job:
    """The same node on the target "xla", its state donated, dispatched synchronously."""
    import jax

    import seiche as sc

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    program = sc.compile(node(ticks), target="xla")
    found = [program.step(*data(ticks))[1] for _ in range(CHECKED)][-1]
    step, held, weights, given = program.executor.compiled([*data(ticks)])

    def run(n: int) -> None:
        for _ in range(n):
            _, (held[:], results, *_) = step(held, weights, given)
            results[0].block_until_ready()

    temporary = getattr(step.memory_analysis(), "temp_size_in_bytes", None)
    return Job(run, error(ticks, found), {"temporary": temporary})


def with_torch(ticks: int) -> Job:
    """PyTorch's own GRU, autograd and SGD, eager, one thread. It tells no temporary bytes on a CPU."""
    import torch

    torch.set_num_threads(1)
    xs, ys = map(torch.from_numpy, data(ticks))
    first = start()
    gru = torch.nn.GRU(IN, HIDDEN)
    head = torch.nn.Parameter(torch.from_numpy(first["out"].copy()))
    names = {"weight_ih_l0": "input", "weight_hh_l0": "recurrent", "bias_ih_l0": "bias", "bias_hh_l0": "recurrent_bias"}  # fmt: skip
    with torch.no_grad():
        for theirs, ours in names.items():
            getattr(gru, theirs).copy_(torch.from_numpy(first["cell"][ours].T.copy()))
    descent = torch.optim.SGD([*gru.parameters(), head], lr=RATE)

    def run(n: int) -> None:
        for _ in range(n):
            descent.zero_grad(set_to_none=True)
            loss = torch.square(gru(xs)[0] @ head - ys).mean()
            loss.backward()
            descent.step()

    run(CHECKED)
    return Job(run, error(ticks, head.detach().numpy()), {"version": torch.__version__})


def written(ticks: int) -> Job:
    """The same step in C by hand, with a full tape."""
    first = start()

    def judge(out: Array) -> float:
        return error(ticks, out)

    return by_hand(first["cell"], first["out"], *data(ticks), judge, CHECKED)


def theirs(ticks: int, form: int) -> Job:
    """`jax.jit` of the same step, the parameters donated, dispatched synchronously."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    xs, ys = map(jnp.asarray, data(ticks))
    chunk = 2 ** round(math.log2(ticks) / 2)

    def loss(w: Any, xs: Any, ys: Any) -> Any:
        def row(h: Any, at: Any) -> Any:
            x, y = at
            h = cells.gru(jnp, w["cell"], h, x, jax.nn.sigmoid)
            return h, jnp.square(h @ w["out"] - y).mean()

        def rows(h: Any, at: Any) -> Any:
            return jax.lax.scan(row, h, at)

        body = {0: row, 1: jax.checkpoint(row), 2: jax.checkpoint(rows)}[form]
        if form == 2:
            xs, ys = xs.reshape(-1, chunk, IN), ys.reshape(-1, chunk, OUT)
        return jax.lax.scan(body, jnp.zeros(HIDDEN), (xs, ys))[1].mean()

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
    facts = {"temporary": getattr(memory, "temp_size_in_bytes", None)}
    return Job(run, error(ticks, held[0]["out"]), facts)


def run(bench: Bench) -> Result:
    result = Result("bptt")
    curves: dict[int, dict[str, Times]] = {}
    for ticks in TICKS[:1] if bench.tiny else TICKS:
        entries = [Entry(_share(s), ours, (ticks, s)) for s in _shares(ticks, bench.tiny)]
        entries += [Entry(FAST, ours, (ticks, 1.0, "fast"))]
        entries += [
            Entry(XLA, on_xla, (ticks,), peer=True),
            Entry(HAND, written, (ticks,), peer=True),
        ]
        entries += [Entry(name, theirs, (ticks, form), peer=True) for name, form in FORMS.items()]
        entries += [Entry("PyTorch", with_torch, (ticks,), peer=True)]
        with bench.status(f"{ticks} rows") as say:
            times = curves[ticks] = contest(entries, bench.pick(ROUNDS, 1), say=say)
        _table(bench, ticks, times)
        _claims(result, ticks, times)
    result.data["times"] = {t: [x.summary() for x in times.values()] for t, times in curves.items()}
    _draw(curves)
    return result


def _share(share: float) -> str:
    return f"{100 * share:g} % of the tape"


def _shares(ticks: int, tiny: bool) -> list[float]:
    """Those that leave room for a few rows."""
    return [1.0, BAR_SHARE] if tiny else [s for s in SHARES if s * tape(ticks)[1] >= ROOM]


def _table(bench: Bench, ticks: int, times: dict[str, Times]) -> None:
    whole, kept = tape(ticks)
    rows = [
        [
            t.name, t.failure or number(1e3 * t.median), _bytes(t.facts.get("bytes")), _bytes(t.facts.get("temporary")),
            " ".join("/".join(map(str, levels)) for levels in t.facts.get("levels", [])), f"{t.error:.0e}",
        ]
        for t in times.values()
    ]  # fmt: skip
    title = f"GRU({IN}→{HIDDEN}), {ticks} rows, a training step; {whole:,} B without a budget, {kept:,} of it tape"
    bench.table(title, ["", "ms", "bytes", "temporary", "rows of a chunk", "error"], rows)


def _bytes(n: int | None) -> str:
    return "" if n is None else f"{n:,}"


def _claims(result: Result, ticks: int, times: dict[str, Times]) -> None:
    full, peer = times[WHOLE], times["JAX"]
    shares = [times[_share(s)] for s in SHARES if _share(s) in times]
    changed = sum(t.facts["digest"] != full.facts["digest"] for t in shares)
    result.claim(f"{ticks} rows: budgets that change a bit", "0", str(changed), changed == 0)
    _claim(
        result,
        f"{ticks} rows: time at 10 % of the tape / whole",
        times[_share(BAR_SHARE)],
        full,
        BAR_TIMES,
    )
    _claim(result, f"{ticks} rows: time in C / by hand", full, times[HAND], None)
    _claim(result, f"{ticks} rows: time in C / PyTorch", full, times["PyTorch"], None)
    if peer.failure:
        return
    _least(result, ticks, shares, full, [times[name] for name in CHECKPOINTS])
    for name, mine, bar in (("C", full, BAR_JAX), ("XLA", times[XLA], 1.0)):
        _claim(result, f"{ticks} rows: time in {name} / JAX", mine, peer, bar)
        bytes_, other = mine.facts["temporary"], peer.facts["temporary"]
        if bytes_ and other:
            said = f"{bytes_ / other:.2f}"
            what = f"{ticks} rows: temporary bytes in {name} / JAX's"
            result.claim(what, "≤ 1.0", said, bytes_ <= other)


def _claim(result: Result, what: str, mine: Times, other: Times, bar: float | None) -> None:
    """A ratio of times, where both were measured."""
    if mine.failure or other.failure:
        return
    found = ratio(mine, other)
    bound = "" if bar is None else f"≤ {bar:.3g}"
    result.claim(what, bound, str(found), None if bar is None else found.median <= bar)


def _least(
    result: Result, ticks: int, shares: list[Times], full: Times, checkpoints: list[Times]
) -> None:
    """Our least temporary bytes within a bound on the time, beside those of each `jax.checkpoint`."""
    least = min(t.facts["temporary"] for t in shares if ratio(t, full).median <= BAR_CUT)
    for peer in checkpoints:
        if held := peer.facts.get("temporary"):
            what = f"{ticks} rows: temporary bytes within {BAR_CUT} × the time / {peer.name}"
            found = least / held
            result.claim(what, f"≤ {BAR_BYTES}", f"{found:.2f}", found <= BAR_BYTES)


def _draw(curves: dict[int, dict[str, Times]]) -> None:
    """The curves of bytes and time, a panel per length."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return
    figure = Figure(figsize=(4.2 * len(curves), 3.9), layout="constrained")
    for k, (ticks, times) in enumerate(curves.items()):
        axes = figure.add_subplot(1, len(curves), k + 1)
        mine = [t for t in times.values() if "bytes" in t.facts and t.name != FAST]
        axes.plot(
            [t.facts["temporary"] / 1024 for t in mine],
            [1e3 * t.median for t in mine],
            "o-",
            label="Seiche, C, budgets",
        )
        for name, mark in zip((FAST, *FORMS, XLA), "*s^vD"):
            t = times[name]
            if not t.failure and t.facts.get("temporary"):
                axes.plot(t.facts["temporary"] / 1024, 1e3 * t.median, mark, label=name)
        axes.set(
            xscale="log",
            xlabel="temporary KiB",
            ylabel="ms per training step",
            title=f"{ticks} rows",
            ylim=(0, None),
        )
        axes.grid(alpha=0.3)
        if k == 0:
            figure.legend(loc="outside lower center", ncols=6, fontsize=8)
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(FOLDER / "bptt.png", dpi=150)
