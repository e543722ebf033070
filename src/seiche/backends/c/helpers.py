"""Pieces of C that generated programs need: only those that a program uses are printed."""

from __future__ import annotations

BITS = """\
static inline {unsigned} bits_{f}({real} x)
{{
    {unsigned} u;
    memcpy(&u, &x, sizeof u);
    return u;
}}
"""

FROM_BITS = """\
static inline {real} from_bits_{f}({unsigned} u)
{{
    {real} x;
    memcpy(&x, &u, sizeof x);
    return x;
}}
"""

# Bit by bit, one more than the mantissa has, then to nearest: no square root of a float lies halfway (fdlibm, e_sqrt.c).
SQRT = """\
/* The correctly rounded square root; bit by bit where the processor has none. */
static inline {real} sqrt_{f}({real} x)
{{
#if defined(SEICHE_HW_SQRT) || defined(SEICHE_HW_SQRT_{width})
    return {builtin}(x);
#else
    {unsigned} u, m, q = 0u, s = 0u, r;
    int32_t e;
    memcpy(&u, &x, sizeof u);
    if (!(x > {zero})) {{
        return x < {zero} ? {zero} / {zero} : x;
    }}
    if (u >= {infinity}) {{
        return x;
    }}
    e = (int32_t)(u >> {mantissa});
    m = u & {mask};
    if (e == 0) {{
        e = 1;
    }} else {{
        m |= {hidden};
    }}
    while (m < {hidden}) {{  /* at most {mantissa} times */
        m <<= 1;
        e -= 1;
    }}
    e -= {bias};
    if ((e & 1) != 0) {{
        m <<= 1;
        e -= 1;
    }}
    m <<= 1;
    for (r = {hidden} << 1; r != 0u; r >>= 1) {{  /* at most {steps} times */
        const {unsigned} t = s + r;
        if (t <= m) {{
            s = t + r;
            m -= t;
            q += r;
        }}
        m <<= 1;
    }}
    if (m != 0u) {{
        q += q & 1u;
    }}
    u = (q >> 1) + (({unsigned})(e / 2 + {bias} - 1) << {mantissa});
    memcpy(&x, &u, sizeof x);
    return x;
#endif
}}
"""

# Division of what may be 0, or the least integer by -1: nothing traps.
DIVIDE = """\
static inline {type} divide_{f}({type} a, {type} b)
{{
    return b == 0 ? ({type})0 : {minus}({type})(a / b);
}}
"""

REMAINDER = """\
static inline {type} remainder_{f}({type} a, {type} b)
{{
    return b == 0 ? a : {minus}({type})(a % b);
}}
"""

REALS: dict[str, dict[str, str]] = {
    "f32": {
        "f": "f32", "width": "F32", "real": "float", "unsigned": "uint32_t", "builtin": "__builtin_sqrtf", "zero": "0.0f", "mantissa": "23", "steps": "25",
        "bias": "127", "mask": "0x007fffffu", "hidden": "0x00800000u", "infinity": "0x7f800000u",
    },
    "f64": {
        "f": "f64", "width": "F64", "real": "double", "unsigned": "uint64_t", "builtin": "__builtin_sqrt", "zero": "0.0", "mantissa": "52", "steps": "54",
        "bias": "1023", "mask": "UINT64_C(0x000fffffffffffff)", "hidden": "UINT64_C(0x0010000000000000)",
        "infinity": "UINT64_C(0x7ff0000000000000)",
    },
}  # fmt: skip

PROLOGUE = """\
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "floats must be evaluated in their own precision"
#endif
#if defined(__clang__) && !defined(SEICHE_FAST)
#pragma STDC FP_CONTRACT OFF
#endif

#if defined(__GNUC__) && !defined(__clang__)
/* gcc's vectors of straight lines: gcc 12 moves a load before a store of the same element there. */
#pragma GCC optimize ("no-tree-slp-vectorize")
#endif

/* The iterations of the loop that follows touch no common element. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"
#define SEICHE_PARALLEL _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define SEICHE_PARALLEL _Pragma("GCC ivdep")
#else
#define SEICHE_PARALLEL
#endif
"""


NANS = """\
/* NaN by the bits of its payload, where the compiler can say them. */
#if defined(__GNUC__)
#define SEICHE_NAN(payload) __builtin_nan(payload)
#define SEICHE_NANF(payload) __builtin_nanf(payload)
#else
#define SEICHE_NAN(payload) (0.0 / 0.0)
#define SEICHE_NANF(payload) (0.0f / 0.0f)
#endif
"""


def nans(text: str) -> str:
    """What NaN stands for in a text of C; nothing where there is none.

    >>> nans("x = 0.5f;")
    ''
    """
    return NANS if "SEICHE_NAN" in text else ""


NO_VECTORS = "!defined(__GNUC__) || defined(SEICHE_NO_VECTORS)"

VECTORS = """\
/* Values side by side: vectors where the compiler has them, else arrays and a loop for each statement. */
#if defined(__GNUC__) && !defined(SEICHE_NO_VECTORS)
#define SEICHE_LANES(n)
#define SEICHE_LANE
#define SEICHE_AT(type, place) (*(const type *)(place))
#define SEICHE_TO(type, place) (*(type *)(place))
#define SEICHE_ALL(type, x) ((x) - (type){{0}})
#define SEICHE_AS(type, turned, x) ((type)(x))
#define SEICHE_CAST(type, scalar, x) ((type)(x))
#define SEICHE_CONVERT(type, scalar, x) __builtin_convertvector(x, type)
#define SEICHE_MASK(type, x) ((type){{0}} - (int32_t)(x))
#define SEICHE_TRUE(type, x) (__builtin_convertvector(x, type) != 0)
#define SEICHE_ONES(x) (-(x))
#define SEICHE_BYTES(type, x) __builtin_convertvector(-(x), type)
{vectors}
#else
#define SEICHE_LANES(n) for (int32_t seiche_lane = 0; seiche_lane < (n); ++seiche_lane)
#define SEICHE_LANE [seiche_lane]
#define SEICHE_AT(type, place) ((place)[seiche_lane])
#define SEICHE_TO(type, place) ((place)[seiche_lane])
#define SEICHE_ALL(type, x) (x)
#define SEICHE_AS(type, turned, x) turned(x)
#define SEICHE_CAST(type, scalar, x) ((scalar)(x))
#define SEICHE_CONVERT(type, scalar, x) ((scalar)(x))
#define SEICHE_MASK(type, x) (x)
#define SEICHE_TRUE(type, x) (x)
#define SEICHE_ONES(x) (x)
#define SEICHE_BYTES(type, x) ((uint8_t)(x))
{arrays}
#endif
"""
# x - 0 is x for every x, -0 itself too. Vectors of integers serve products of small ones alone (`dots`).

VECTOR = (
    "typedef {real} {name} __attribute__((vector_size({nbytes}), aligned({align}), may_alias));"
)
ARRAY = "typedef {real} {name}[{lanes}];"

CHOICES = """\
/* yes where cond, else no, lane by lane: comparing vectors gives masks. */
#if defined(__GNUC__) && !defined(SEICHE_NO_VECTORS)
#define SEICHE_CHOOSE(type, cond, yes, no) \\
    ((type)(((type##_MASK)(cond) & (type##_MASK)(yes)) | (~(type##_MASK)(cond) & (type##_MASK)(no))))
{masks}
#else
#define SEICHE_CHOOSE(type, cond, yes, no) ((cond) ? (yes) : (no))
#endif
"""


def vectors(names: list[str]) -> str:
    """The types of these vectors, `SEICHE_F32X16` and so on; nothing where there are none."""
    if not names:
        return ""
    facts: list[dict[str, object]] = []
    for name in sorted(names):
        carrier, lanes = name.removeprefix("SEICHE_").split("X")
        size = int(carrier[1:]) // 8
        real = {
            "F32": "float",
            "F64": "double",
            "I32": "int32_t",
            "U32": "uint32_t",
            "U8": "uint8_t",
            "U64": "uint64_t",
        }[carrier]
        facts.append(
            {"real": real, "name": name, "lanes": lanes, "align": size, "nbytes": size * int(lanes)}
        )
    both = ("\n".join(form.format(**f) for f in facts) for form in (VECTOR, ARRAY))
    return VECTORS.format(**dict(zip(("vectors", "arrays"), both, strict=True)))


GATHERS = """\
/* The elements of a table at a place for each lane. */
#if defined(__GNUC__) && !defined(SEICHE_NO_VECTORS)
{vectors}
#else
{arrays}
#endif
"""


def gathers(counts: list[int]) -> str:
    """Look-ups of so many lanes; nothing where there are none."""
    heads = [f"#define SEICHE_GATHER_{n}(type, table, at)" for n in sorted(counts)]
    each = [", ".join(f"(table)[(at)[{k}]]" for k in range(n)) for n in sorted(counts)]
    both = {
        "vectors": [f"{head} ((type){{{x}}})" for head, x in zip(heads, each, strict=True)],
        "arrays": [f"{head} ((table)[at])" for head in heads],
    }
    return GATHERS.format(**{k: "\n".join(x) for k, x in both.items()}) if counts else ""


def choices(names: list[str]) -> str:
    """The choice between these vectors of floats; nothing where there are none."""
    facts: list[dict[str, object]] = []
    for name in sorted(names):
        carrier, lanes = name.removeprefix("SEICHE_")[1:].split("X")
        size = int(carrier) // 8
        facts.append(
            {
                "real": f"int{carrier}_t",
                "name": f"{name}_MASK",
                "align": size,
                "nbytes": size * int(lanes),
            }
        )
    masks = "\n".join(VECTOR.format(**f) for f in facts)
    return CHOICES.format(masks=masks) if names else ""


def helper(kind: str, f: str, ctype: str) -> str:
    """The text of the helper of that kind for a carrier."""
    match kind:
        case "bits":
            return BITS.format(**REALS[f])
        case "from_bits":
            return FROM_BITS.format(**REALS[f])
        case "sqrt":
            return SQRT.format(**REALS[f])
        case "divide" | "remainder":
            signed = f.startswith("i")
            negated = (
                f"({ctype})(0 - (u{ctype})a)"
                if f in ("i8", "i16")
                else f"({ctype})(0u - (u{ctype})a)"
            )
            result = negated if kind == "divide" else f"({ctype})0"
            minus = f"b == -1 ? {result} : " if signed else ""
            return (DIVIDE if kind == "divide" else REMAINDER).format(f=f, type=ctype, minus=minus)
        case _:
            raise AssertionError(kind)
