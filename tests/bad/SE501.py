import seiche as sc


@sc.node
def difference(x: sc.f32) -> sc.f32:
    before = sc.pre(x)
    change = x - before
    return change


def program():
    sc.compile(difference)
