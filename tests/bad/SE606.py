import seiche as sc


@sc.node
def controller(x: sc.f32) -> sc.f32:
    u = sc.state(0.0)
    u.next = sc.pipeline([sc.tanh, sc.sin, sc.cos])(x - u)
    return u


def program():
    sc.compile(controller)
