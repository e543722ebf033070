import seiche as sc


@sc.node
def root(x: sc.f32) -> sc.f32:
    sc.assume(x >= 0, "x is not negative")
    return sc.sqrt(x)


@sc.node
def distance(a: sc.f32, b: sc.f32) -> sc.f32:
    gap = a - b
    return root(gap)


def program():
    sc.compile(distance).run([4.0, 1.0], [0.0, 2.0])
