"""Random programs under sanitizers: `python -m tests.campaign_sanitized --programs 200`.

The campaign, with C that gcc instruments for addresses and undefined behaviour: an access outside a struct or an array, an overflow, a
bad shift or conversion ends it with the line of C. Options are those of `tests.campaign`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=all -g"
RUNTIMES = ("libasan.so", "libubsan.so")


def runtime(name: str) -> str:
    """Where gcc keeps a library of its sanitizers."""
    done = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def main() -> None:
    """Runs the campaign in a process whose C is checked; exits as it does."""
    if shutil.which("gcc") is None:
        sys.exit("the sanitizers are those of gcc, which is not on PATH")
    with tempfile.TemporaryDirectory() as cache:
        checked = {
            "CC": f"gcc {FLAGS}",
            "LD_PRELOAD": " ".join(map(runtime, RUNTIMES)),
            # Python itself leaks by intention, and gcc is started by this process.
            "ASAN_OPTIONS": "detect_leaks=0",
            "SEICHE_CACHE": cache,
        }
        command = [sys.executable, "-m", "tests.campaign", *sys.argv[1:]]
        sys.exit(subprocess.run(command, env={**os.environ, **checked}).returncode)


if __name__ == "__main__":
    main()
