import os
import tempfile

import numpy as np

import seiche as sc


@sc.node
def line(x: sc.f32[3], slope: tuple = (1.0, 2.0, 3.0)) -> sc.f32:
    weights = np.float32(slope)
    return weights @ x


@sc.node
def plane(x: sc.f32[2]) -> sc.f32:
    weights, offset = np.float32([4.0, 5.0]), np.float32([0.5, 0.25])
    return weights @ (x + offset)


def program():
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "plane.safetensors")
        sc.save_weights(sc.compile(plane), file)
        sc.load_weights(sc.compile(line), file)
