"""How long a user waits: for `import seiche`, and for the learner of digits to be traced, checked, scheduled and printed as C.

Each measurement is a fresh process with warm byte code. Stages are judged by processor time, which other users of the machine do not
change (there is one thread); wall time is printed beside it. The C compiler's time is quoted apart: it is not ours.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from bench.report import ROOT, Bench, Result, number

IMPORT_MAX_S, FRONT_MAX_S = 0.15, 2.0
IMPORTS = {
    "import seiche": "import seiche",
    "import seiche, and the words of a program": "from seiche import compile, f32, learn, node, state",
    "numpy alone": "import numpy",
}
STAGES = ("trace", "check", "lower", "schedule", "print C")
TIMED_IMPORT = "from time import perf_counter as t; a = t(); {}; print(t() - a)"


def run(bench: Bench) -> Result:
    result = Result("front")
    _imports(bench, result)
    _digits(bench, result)
    return result


def fresh(*arguments: str, **environment: str) -> str:
    """What a fresh Python prints; byte code is kept, as it is for a user."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | environment
    done = subprocess.run(
        [sys.executable, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout.strip().splitlines()[-1]


def _imports(bench: Bench, result: Result) -> None:
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    with bench.status("imports") as say:
        for k in range(-1, bench.pick(15, 1)):  # the first round writes the byte code
            for name, statement in IMPORTS.items():
                say(name)
                seconds = float(fresh("-c", TIMED_IMPORT.format(statement)))
                if k >= 0:
                    times[name].append(seconds)
    rows = [
        [name, number(1e3 * statistics.median(x)), number(1e3 * min(x))]
        for name, x in times.items()
    ]
    bench.table("Imports in a fresh process", ["", "ms, median", "ms, least"], rows)
    result.data["imports_s"] = times
    for name in list(IMPORTS)[:2]:
        median = statistics.median(times[name])
        bar, met = (
            (f"< {IMPORT_MAX_S} s", median < IMPORT_MAX_S)
            if name == "import seiche"
            else ("", None)
        )
        result.claim(name, bar, f"{number(median)} s", met)


def _digits(bench: Bench, result: Result) -> None:
    runs: list[dict[str, Any]] = []
    with bench.status("the learner of digits, from Python to C") as say:
        for k in range(bench.pick(5, 1)):
            say(f"run {k + 1}")
            with tempfile.TemporaryDirectory() as cache:
                # The C compiler works once: its cache is new, so that it does.
                runs.append(
                    json.loads(
                        fresh(
                            "-m", "bench.front", "build" if k == 0 else "front", SEICHE_CACHE=cache
                        )
                    )
                )
    first = runs[0]
    stages = {
        s: {clock: statistics.median(r[s][clock] for r in runs) for clock in ("cpu", "wall")}
        for s in STAGES
    }
    total = {
        clock: statistics.median(sum(r[s][clock] for s in STAGES) for r in runs)
        for clock in ("cpu", "wall")
    }
    shown = {**stages, "in all": total, "C compiler": first["compiler"]}
    rows = [[s, *(number(x[c]) for c in ("cpu", "wall"))] for s, x in shown.items()]
    bench.table("The learner of digits, in seconds", ["", "processor", "wall"], rows)
    bench.console.print(
        f"{first['equations']} equations traced, {first['lowered']} lowered, {first['lines']} lines and {first['bytes']} bytes of C"
    )
    result.data |= {"demo": runs}
    result.claim(
        "digits: trace, check, schedule, print C",
        f"< {FRONT_MAX_S:g} s",
        f"{total['cpu']:.2f} s",
        total["cpu"] < FRONT_MAX_S,
    )
    result.claim("digits: the C compiler", "", f"{first['compiler']['cpu']:.2f} s", None)


# In the fresh process.


def stages(build: bool) -> dict[str, Any]:
    """The seconds of each stage for the learner of digits, and sizes."""
    from examples.digits.learner import digits
    from seiche.backends.c.printer import print_c
    from seiche.check.run import verify
    from seiche.schedule.lower import lower
    from seiche.schedule.machine import schedule

    out: dict[str, Any] = {}

    def timed(name: str, job: Callable[[], Any]) -> Any:
        before = (time.process_time() + _children(), time.perf_counter())
        value = job()
        out[name] = {
            "cpu": time.process_time() + _children() - before[0],
            "wall": time.perf_counter() - before[1],
        }
        return value

    traced = timed("trace", lambda: digits.trace())
    timed("check", lambda: verify(traced.node))
    lowered = timed("lower", lambda: lower(traced.node))
    scheduled = timed("schedule", lambda: schedule(lowered))
    sources = timed("print C", lambda: print_c(scheduled.machine))
    if build:
        from seiche.backends.c import build as compiler

        compiler.find_compiler()
        names = {
            f"{sources.name}{end}": text
            for end, text in ((".h", sources.header), (".c", sources.source))
        }
        timed("compiler", lambda: compiler.build(names))
    text = sources.header + sources.source
    out |= {"equations": len(traced.node.eqs), "lowered": len(lowered.node.eqs)}
    return out | {"lines": text.count("\n"), "bytes": len(text)}


def _children() -> float:
    """Processor seconds of the processes that this one waited for."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    print(json.dumps(stages(sys.argv[1] == "build")))
