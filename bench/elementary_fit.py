"""Derives `seiche/numbers/coefficients.py`: minimax polynomials by the Remez exchange (Remez 1934) in 45 digits.

python bench/elementary_fit.py > src/seiche/numbers/coefficients.py
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction

from mpmath import mp, mpf

mp.dps = 45
Function = Callable[[mpf], mpf]
Fit = tuple[str, str, Function, Function, mpf, mpf, tuple[int, int]]


def horner(coefficients: list[mpf], x: mpf) -> mpf:
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def solve(f: list[mpf], weight: list[mpf], x: list[mpf], picks: list[int]) -> list[mpf]:
    """The polynomial whose weighted errors at the picked points are equal and alternate."""
    n = len(picks) - 1
    system, right = mp.matrix(n + 1, n + 1), mp.matrix(n + 1, 1)
    for row, i in enumerate(picks):
        for j in range(n):
            system[row, j] = x[i] ** j
        system[row, n] = (-1) ** row / weight[i]
        right[row] = f[i]
    return list(mp.lu_solve(system, right))[:n]


def extrema(errors: list[mpf], count: int) -> list[int]:
    """Places of the largest error of each run of one sign, the outer ones dropped down to `count`."""
    runs: list[int] = []
    for i, e in enumerate(errors):
        if runs and (errors[runs[-1]] > 0) == (e > 0):
            runs[-1] = i if abs(e) > abs(errors[runs[-1]]) else runs[-1]
        else:
            runs.append(i)
    while len(runs) > count:
        runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
    return runs


def remez(f: Function, weight: Function, low: mpf, high: mpf, n: int) -> tuple[mpf, list[mpf]]:
    """(error, n coefficients) minimising max |weight (p - f)| on Chebyshev nodes of [low, high]."""
    size = 24 * n
    x = [
        (low + high - (high - low) * mp.cos(mp.pi * (i + mpf(0.5)) / size)) / 2 for i in range(size)
    ]
    fx, wx = [f(v) for v in x], [weight(v) for v in x]
    picks = [int(size * (0.5 + i) / (n + 1)) for i in range(n + 1)]
    best: tuple[mpf, list[mpf]] = (mp.inf, [])
    for _ in range(10):
        c = solve(fx, wx, x, picks)
        errors = [w * (horner(c, v) - y) for v, y, w in zip(x, fx, wx, strict=True)]
        best = min(best, (max(map(abs, errors)), c), key=lambda pair: pair[0])
        picks = extrema(errors, n + 1)
        if len(picks) <= n:
            break
    return best


def odd_rest(f: Function, limit: mpf) -> Function:
    """z -> (f(x) - x) / x^3 at x = sqrt(z)."""
    return lambda z: (f(mp.sqrt(z)) / mp.sqrt(z) - 1) / z if z > mpf(10) ** -15 else limit


def erfcx(x: mpf) -> mpf:
    return mp.exp(x * x) * mp.erfc(x)


def erfinv_ratio(w: mpf) -> mpf:
    """erfinv(x) / x where w = -log(1 - x^2), by Halley's iteration."""
    if w < mpf(10) ** -15:
        return mp.sqrt(mp.pi) / 2
    x = mp.sqrt(-mp.expm1(-w))
    tail = mp.exp(-w) / (1 + x)
    y = x * mpf(0.886) if w < 1 else mp.sqrt(w) * mpf(0.95) - mpf(0.2)
    for _ in range(100):
        rest = mp.erfc(y) - tail if w > 0.5 else x - mp.erf(y)
        step = rest * mp.sqrt(mp.pi) / 2 * mp.exp(y * y)
        step = (
            step / (1 + y * step)
            if abs(y * step) < 0.5
            else mp.sign(step) * min(abs(step) / 2, mpf(0.3))
        )
        y += step
        if abs(step) < mpf(10) ** (6 - mp.dps):
            break
    return y / x


def fits() -> list[Fit]:
    half = mp.log(2) / 2 * mpf("1.002")
    s2 = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mpf("1.001")
    quarter = mpf("0.7925") ** 2
    tiny = mpf(10) ** -15

    def first(z: mpf) -> mpf:
        return abs(z) + tiny

    def square(z: mpf) -> mpf:
        return z * z + tiny

    def exp_rest(r: mpf) -> mpf:
        return (mp.expm1(r) - r) / r**2 if abs(r) > tiny else mpf(0.5) + r / 6

    def exp2_rest(r: mpf) -> mpf:
        return mp.expm1(r * mp.log(2)) / r if abs(r) > tiny else mp.log(2)

    def cos_rest(z: mpf) -> mpf:
        return (
            (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2 if z > mpf(10) ** -9 else mpf(1) / 24 - z / 720
        )

    def cot_rest(z: mpf) -> mpf:
        return (mp.cot(mp.sqrt(z)) - 1 / mp.sqrt(z)) / mp.sqrt(z) if z > tiny else mpf(-1) / 3

    atanh2 = odd_rest(mp.atanh, mpf(1) / 3)

    def log_rest(z: mpf) -> mpf:
        return 2 * atanh2(z)

    def log2_rest(z: mpf) -> mpf:
        return (
            (2 * atanh2(z) - mpf(2) / 3) / z / mp.log(2)
            if z > mpf(10) ** -9
            else mpf(2) / 5 / mp.log(2)
        )

    def erf_rest(z: mpf) -> mpf:
        return mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1 if z > tiny else 2 / mp.sqrt(mp.pi) - 1

    def erfc_rest(u: mpf) -> mpf:
        return erfcx(1 / u) / u

    table: list[Fit] = [
        ("exp", "e^r = 1 + r + r^2 p(r)", exp_rest, first, -half, half, (5, 11)),
        ("exp2", "2^r = 1 + r p(r)", exp2_rest, first, mpf(-0.5), mpf(0.5), (6, 11)),
        ("log", "2 atanh(s) = 2 s + s^3 p(s^2), |s| <= 0.172", log_rest, first, mpf(0), s2, (3, 7)),
        ("log1p", "the same for |s| <= 1/3", log_rest, first, mpf(0), mpf(1) / 9, (5, 11)),
        ("log2", "2 atanh(s) / ln 2 = s (2 + 2/3 s^2) / ln 2 + s^5 p(s^2)", log2_rest, square, mpf(0), s2, (3, 7)),
        ("sin", "sin r = r + r^3 p(r^2)", odd_rest(mp.sin, mpf(-1) / 6), first, mpf(0), quarter, (3, 6)),
        ("cos", "cos r = 1 - r^2 / 2 + r^4 p(r^2)", cos_rest, square, mpf(0), quarter, (3, 6)),
        ("tan", "tan r = r + r^3 p(r^2)", odd_rest(mp.tan, mpf(1) / 3), first, mpf(0), quarter, (7, 15)),
        ("cot", "cot r = 1 / r + r p(r^2)", cot_rest, first, mpf(0), quarter, (4, 9)),
        ("asin", "asin s = s + s^3 p(s^2), |s| <= 1/2", odd_rest(mp.asin, mpf(1) / 6), first, mpf(0), mpf(0.25), (5, 12)),
        ("atan", "atan t = t + t^3 p(t^2), |t| <= tan(pi/8)", odd_rest(mp.atan, mpf(-1) / 3), first, mpf(0), mpf("0.17158"), (5, 11)),
        ("sinh", "sinh x = x + x^3 p(x^2), |x| <= 1", odd_rest(mp.sinh, mpf(1) / 6), first, mpf(0), mpf(1), (4, 7)),
        ("erf", "erf x = x + x p(x^2), |x| <= 0.55", erf_rest, lambda z: mpf(1), mpf(0), mpf("0.3025"), (6, 10)),
    ]  # fmt: skip
    for index, (top, low, high) in enumerate((("10.1", "16.7", "5"), ("27.3", "37", "5"))):
        pick = lambda n, i=index: (n, 0) if i == 0 else (0, n)  # noqa: E731
        # The centres of f32 are chosen so that the constant terms are nearly values of f32.
        split, near, far = (("1.75", 1.065185546875, 0.337158203125), ("2.25", 1.34375, 0.234375))[
            index
        ]
        table.append(("erfc", f"erfc x = e^(-x^2) p(x - {near}), 0.44 <= x <= {split}",
                      lambda v, c=near: erfcx(v + c), lambda v, c=near: 1 / erfcx(v + c),
                      mpf("0.44") - near, mpf(split) - near, pick((10, 22)[index])))  # fmt: skip
        table.append(("erfc_tail", f"erfc x = e^(-x^2) u p(u - {far}), u = 1 / x, {split} <= x <= {top}",
                      lambda v, c=far: erfc_rest(v + c), lambda v, c=far: 1 / erfc_rest(v + c),
                      1 / mpf(top) - far, 1 / mpf(split) - far, pick((10, 22)[index])))  # fmt: skip
        w0, w1, w2 = mpf(0), mpf(high), mpf(low)
        mid = (mp.sqrt(w1) + mp.sqrt(w2)) / 2
        mid = mpf(int(mid * 8)) / 8
        table.append(("erfinv", "erfinv x = x + x p(w - 0.5), w = -log(1 - x^2) < 5",
                      lambda v: erfinv_ratio(v + mpf(0.5)) - 1, lambda v: 1 / erfinv_ratio(v + mpf(0.5)),
                      w0 - mpf(0.5), w1 - mpf(0.5), pick(10)))  # fmt: skip
        table.append(("erfinv_tail", f"erfinv x = x + x p(sqrt(w) - {mid}), 5 <= w <= {low}",
                      lambda v, c=mid: erfinv_ratio((v + c) ** 2) - 1, lambda v, c=mid: 1 / erfinv_ratio((v + c) ** 2),
                      mp.sqrt(w1) - mid, mp.sqrt(w2) - mid, pick(10)))  # fmt: skip
    return table


def literal(c: mpf, carrier: str) -> str:
    """The shortest decimal that reads back as the carrier's nearest value."""
    if carrier == "f64":
        return repr(float(c))
    nearest = struct.unpack("f", struct.pack("f", float(c)))[0]
    return next(
        s
        for s in (f"{nearest:.{d}g}" for d in range(1, 10))
        if struct.unpack("f", struct.pack("f", float(s)))[0] == nearest
    )


def pieces(bits: int, count: int) -> list[Fraction]:
    """pi / 2 as `count` signed pieces of `bits` bits, and a rest: their products with small integers are exact."""
    scale = 1 << 400
    rest = Fraction(int(mp.pi / 2 * scale) if mp.prec >= 420 else 0, scale)
    out: list[Fraction] = []
    place = bits - 1
    for _ in range(count):
        unit = Fraction(1, 1 << place)
        piece = round(rest / unit) * unit
        out.append(piece)
        rest -= piece
        place += bits
    return [*out, rest]


HEADER = '''"""Minimax coefficients, lowest power first; printed by `bench/elementary_fit.py` (Remez exchange in 45 digits).

Each comment gives the form and the largest relative error of the approximated function before coefficients are rounded.
"""

from __future__ import annotations

'''


def main() -> None:
    print(HEADER, end="")
    table = fits()
    for index, carrier in enumerate(("f32", "f64")):
        print(f"{carrier.upper()}: dict[str, tuple[float, ...]] = {{")
        for name, form, f, weight, low, high, counts in table:
            if not counts[index]:
                continue
            error, c = remez(f, weight, low, high, counts[index])
            print(f"    # {form}; error 2^{float(mp.log(error, 2)):.1f}.")
            items = [literal(v, carrier) for v in c]
            print(f'    "{name}": (')
            width = 4 if carrier == "f64" else 6
            for start in range(0, len(items), width):
                print("        " + ", ".join(items[start : start + width]) + ",")
            print("    ),")
        with mp.workdps(140):
            bits, count = (8, 5) if carrier == "f32" else (23, 4)
            parts = pieces(bits, count)
            print(
                f"    # pi / 2 in pieces of {bits} bits, then the rest: n * piece is exact for n < 2^{(24, 53)[index] - bits}."
            )
            print('    "half_pi": (')
            for part in parts:
                print(f"        {literal(mpf(part.numerator) / part.denominator, carrier)},")
            print("    ),")
        print("}\n")
    print('COEFFICIENTS: dict[str, dict[str, tuple[float, ...]]] = {"f32": F32, "f64": F64}')


if __name__ == "__main__":
    main()
