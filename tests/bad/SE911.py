import tempfile
from pathlib import Path

import numpy as np

import seiche as sc

BOARD = """
title = "a board whose emulator is not installed"
pointer = 4
vector = 0
registers = 16
caches = []
line = 4
floats = ["f32"]

[qemu]
command = "qemu-system-none"
arguments = []

[memory]
"""


@sc.node
def twice(x: sc.f32) -> sc.f32:
    return 2.0 * x


def program():
    with tempfile.TemporaryDirectory() as folder:
        board = Path(folder) / "board.toml"
        board.write_text(BOARD)
        sc.emulate(sc.compile(twice), np.float32([1.0, 2.0]), target=str(board))
