import os

import seiche as sc


@sc.node
def twice(x: sc.f32) -> sc.f32:
    return 2.0 * x


def program():
    os.environ["CC"] = "no-such-compiler"
    sc.compile(twice, target="c")
