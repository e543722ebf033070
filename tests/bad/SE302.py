import seiche as sc


@sc.node
def gate(x: sc.f32, level: sc.f32) -> sc.f32:
    return sc.when(x, level)


def program():
    sc.compile(gate)
