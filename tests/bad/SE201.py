import seiche as sc


@sc.node
def layer(x: sc.f32[3], w: sc.f32[4, 2]) -> sc.f32[2]:
    return x @ w


def program():
    sc.compile(layer)
