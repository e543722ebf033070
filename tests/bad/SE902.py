import seiche as sc


@sc.node
def total(x: sc.f32) -> sc.f32:
    sum_ = sc.state(0.0)
    sum_.next = sum_ + x
    return sum_


def program():
    running = sc.compile(total)
    running.state = {"sum_": [1.0, 2.0]}
