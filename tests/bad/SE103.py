import seiche as sc


@sc.node
def counter(up: sc.bool_, down: sc.bool_) -> sc.i32:
    n = sc.state(0)
    n.next = sc.where(up, n + 1, n)
    n.next = sc.where(down, n - 1, n)
    return n


def program():
    sc.compile(counter)
