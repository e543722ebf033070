import seiche as sc
from seiche.check import verify


@sc.node
def mixed(left: sc.f32, right: sc.f32) -> sc.f32:
    return left


def program():
    return verify(mixed.trace().node).warnings
