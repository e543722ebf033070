import seiche as sc


@sc.node
def norm(v: sc.f32[3]) -> sc.f32:
    return sc.sqrt((v * v).sum())


def program():
    sc.compile(norm).step([3.0, 4.0])
