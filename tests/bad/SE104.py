import seiche as sc


@sc.node
def clear_first(x: sc.f32[3]) -> sc.f32[3]:
    x[0] = 0.0
    return x


def program():
    sc.compile(clear_first)
