import seiche as sc


@sc.node
def norm(v: sc.f32[3]) -> sc.f32:
    return sc.sqrt((v * v).sum())


@sc.node
def speed(v: sc.f32[2]) -> sc.f32:
    return norm(v)


def program():
    sc.compile(speed)
