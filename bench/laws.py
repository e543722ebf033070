"""The laws on random programs: the oracle, the interpreter and C agree in every bit, and C has the bytes that were predicted.

The programs, their judge and the shrinker are those of `tests/`; `make campaign` runs as many as one likes.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter

from bench.report import Bench, Result

PROGRAMS = 2000


def run(bench: Bench) -> Result:
    """The figure counts programs that break a law; each is printed, shrunk, with its seed."""
    result = Result("laws")
    from tests.campaign import verdict

    count = bench.pick(PROGRAMS, 4)
    began = time.perf_counter()
    counts: Counter[str] = Counter()
    broken: list[str] = []
    with multiprocessing.get_context("spawn").Pool(bench.pick(os.cpu_count() or 1, 1)) as pool:
        verdicts = pool.imap_unordered(verdict, range(count), chunksize=4)
        for seed, law, text in bench.track(verdicts, "random programs", count):
            counts[law] += 1
            if law not in ("ok", "overflow"):
                broken.append(f"seed {seed}: {law}\n{text}")
                bench.console.print(broken[-1], style="red", markup=False)
    names = {"ok": "agree", "overflow": "overflow a frame, alike"}
    bench.table(
        f"{count} random programs",
        ["", "programs"],
        [[names.get(law, law), n] for law, n in counts.most_common()],
    )
    said = f"{len(broken)} of {count} in {time.perf_counter() - began:.0f} s"
    result.claim(
        "random programs on which oracle, interpreter and C disagree", "0", said, not broken
    )
    result.data |= {"counts": dict(counts), "broken": broken}
    return result
