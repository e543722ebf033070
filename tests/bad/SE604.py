import seiche as sc


@sc.node
def positive(x: sc.f32) -> sc.f32:
    return sc.when(x, x > 0)


@sc.node
def lanes(x: sc.f32[4]):
    return sc.over_space(positive, 4)(x)


def program():
    sc.compile(lanes)
