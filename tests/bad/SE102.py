import seiche as sc


@sc.node
def total(x: sc.f32) -> sc.f32:
    sum_ = sc.state(0.0)
    return sum_ + x


def program():
    sc.compile(total)
