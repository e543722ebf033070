import seiche as sc


@sc.node
def smooth(x: sc.f32) -> sc.f32:
    sc.assume(sc.absolute(x) <= 1, "x is from -1 to 1")
    y = sc.state(0.0)
    y.next = 0.5 * y + x
    sc.guarantee(sc.absolute(y) <= 1, "the result is from -1 to 1")
    return y


def program():
    sc.compile(smooth).run([1.0, 1.0, 1.0])
