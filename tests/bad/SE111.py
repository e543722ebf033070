import seiche as sc


@sc.node
def describe(x: sc.f32) -> sc.f32:
    return "the value is", x


def program():
    sc.compile(describe)
