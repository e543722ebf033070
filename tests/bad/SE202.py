import seiche as sc


@sc.node
def last(x: sc.f32[4]) -> sc.f32:
    return x[4]


def program():
    sc.compile(last)
