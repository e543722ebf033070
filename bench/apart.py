"""A piece of work in a process of its own, which holds nothing but what that work needs: its memory and its time are its own.

`python -m bench.apart module:function '[arguments]'` prints what the function gives back, as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any


def apart(work: str, *arguments: Any) -> Any:
    """What `module:function` gives back for these arguments; RuntimeError with its last words where it fails."""
    command = [sys.executable, "-m", "bench.apart", work, json.dumps(arguments)]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{work}{arguments} failed:\n{ran.stderr[-2000:]}")
    return json.loads(ran.stdout.splitlines()[-1])


def side_by_side(jobs: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
    """What `apart(*job)` gives back, with the job's place in the list, as each ends; as many run at once as there are cores.

    For work that is measured by its own CPU time: seconds on the clock would be those of all.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(apart, *job): k for k, job in enumerate(jobs)}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def main() -> None:
    """The other side."""
    module, function = sys.argv[1].split(":")
    given = json.loads(sys.argv[2])
    print(json.dumps(getattr(importlib.import_module(module), function)(*given)))


if __name__ == "__main__":
    main()
