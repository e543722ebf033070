import seiche as sc

square = sc.custom_vjp(lambda x: (x * x).sum(), lambda x, ct: (2.0 * ct,))


@sc.node
def slope(x: sc.f32[3]) -> sc.f32[3]:
    return sc.grad(square)(x)


def program():
    sc.compile(slope)
