import seiche as sc


@sc.node
def slopes(x: sc.f32[3]) -> sc.f32[3]:
    return sc.grad(lambda v: v * v)(x)


def program():
    sc.compile(slopes)
