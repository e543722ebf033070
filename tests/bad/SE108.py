import seiche as sc


@sc.node
def cell(x: sc.f32) -> sc.f32:
    global hidden
    hidden = 2.0 * x
    return hidden + 1.0


@sc.node
def outer(xs: sc.f32[4]) -> sc.f32[4]:
    ys = sc.over_time(cell)(xs)
    return ys + hidden


def program():
    sc.compile(outer)
