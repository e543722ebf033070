import seiche as sc


@sc.node
def loop(x: sc.f32) -> sc.f32:
    y = sc.var(sc.f32)
    error = x - y
    y.define(0.5 * error)
    return y


def program():
    sc.compile(loop)
