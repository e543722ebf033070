import seiche as sc


@sc.node
def spread(x: sc.f32[4], n: sc.i32) -> sc.i32:
    return sc.grad(lambda k: x.sum() * k.to(sc.f32))(n)


def program():
    sc.compile(spread)
