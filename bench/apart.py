"""A piece of work in a process of its own, which holds nothing but what that work needs: its memory and its time are its own.

`python -m bench.apart module:function '[arguments]'` prints what the function gives back, as JSON.
"""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
from typing import Any


def peak_mb() -> float:
    """The most memory that this process ever held at a time, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(work: str, *arguments: Any) -> Any:
    """What `module:function` gives back for these arguments; RuntimeError with its last words where it fails."""
    command = [sys.executable, "-m", "bench.apart", work, json.dumps(arguments)]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{work}{arguments} failed:\n{ran.stderr[-2000:]}")
    return json.loads(ran.stdout.splitlines()[-1])


def main() -> None:
    """The other side."""
    module, function = sys.argv[1].split(":")
    given = json.loads(sys.argv[2])
    print(json.dumps(getattr(importlib.import_module(module), function)(*given)))


if __name__ == "__main__":
    main()
