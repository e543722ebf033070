import seiche as sc


def normalised(image):
    centred = image - image.mean(0)
    return centred @ sc.ones((8, 2))


@sc.node
def features(row: sc.f32[8]):
    return sc.to_time(normalised, rows=16)(row)


def program():
    sc.compile(features)
