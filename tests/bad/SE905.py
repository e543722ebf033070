import os
import tempfile
from pathlib import Path

import seiche as sc

REFUSES = """#!/bin/sh
[ "$1" = --version ] && echo "contrary 0.1" && exit
echo "program.c:1: error: no" >&2
exit 1
"""


@sc.node
def twice(x: sc.f32) -> sc.f32:
    return 2.0 * x


def program():
    with tempfile.TemporaryDirectory() as folder:
        compiler = Path(folder) / "contrary-cc"
        compiler.write_text(REFUSES)
        compiler.chmod(0o755)
        os.environ["PATH"] = folder + os.pathsep + os.environ["PATH"]
        os.environ["CC"] = "contrary-cc"
        sc.compile(twice, target="c")
