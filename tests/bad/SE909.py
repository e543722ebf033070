import tempfile
from pathlib import Path

import numpy as np

import seiche as sc

BOARD = """
title = "a board with little memory"
pointer = 4
vector = 0
registers = 16
caches = []
line = 4
floats = ["f32"]
ram = 65536
flash = 1024
"""


@sc.node
def filtered(window: sc.f32[300]) -> sc.f32:
    return np.hanning(300).astype(np.float32) @ window


def program():
    with tempfile.TemporaryDirectory() as folder:
        board = Path(folder) / "board.toml"
        board.write_text(BOARD)
        sc.deploy(sc.compile(filtered), folder, target=str(board))
