import seiche as sc


@sc.node
def product(a: sc.f32[12, 40], b: sc.f32[40, 32]):
    return sc.matmul(a, b, loops=sc.tile(i=16, j=32).vectorise("j"))


def program():
    sc.compile(product)
