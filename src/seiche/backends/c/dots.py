"""Products of small integers in words (`ir.ops.packed`), by the instructions that processors have for them.

Inline assembly behind a test of the compiler's own macros, and plain C of the same bits behind all others: `SEICHE_NO_ASM` chooses
that. Sums wrap, for they are added as unsigned numbers.
"""

from __future__ import annotations

ARM = "defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && !defined(SEICHE_NO_ASM)"

# Bytes 0 and 2 as halves, then bytes 1 and 3: a's without a sign by masks, w's with theirs by SXTB16; SMLAD adds two products of halves
# to a sum. In one piece: taken apart, gcc keeps all the halves of a row of sums and spills.
SCALAR: dict[str, str] = {
    "dot_bytes": """\
    const uint32_t a0 = x1 & 0x00ff00ffu;
    const uint32_t a1 = (x1 >> 8) & 0x00ff00ffu;
    uint32_t w;
    __asm__("sxtb16 %1, %4\\n\\tsmlad %0, %2, %1, %0\\n\\tsxtb16 %1, %4, ror #8\\n\\tsmlad %0, %3, %1, %0"
            : "+r"(x0), "=&r"(w) : "r"(a0), "r"(a1), "r"(x2));
    return x0;""",
    "dot_halves": """\
    __asm__("smlad %0, %1, %2, %0" : "+r"(x0) : "r"(x1), "r"(x2));
    return x0;""",
}
"""The bodies of functions of (sum x0, word of the row x1, word of the matrix x2) on Arm with its DSP instructions."""

VNNI = {
    16: "defined(__AVX512VNNI__)",
    8: "defined(__AVX512VNNI__) && defined(__AVX512VL__)",
    4: "defined(__AVX512VNNI__) && defined(__AVX512VL__)",
}
AVX = {16: "defined(__AVX512BW__)", 8: "defined(__AVX2__)", 4: "defined(__AVX__)"}
"""Where x86 has the instructions for vectors of so many sums."""

HALVES = """\
static inline void dot_halves_x{n}(SEICHE_I32X{n} *sum, const SEICHE_U32X{n} *a, const SEICHE_U32X{n} *w)
{{
#if {vnni} && !defined(SEICHE_NO_ASM)
    __asm__("vpdpwssd %2, %1, %0" : "+v"(*sum) : "v"(*a), "v"(*w));
#elif {avx} && !defined(SEICHE_NO_ASM)
    SEICHE_U32X{n} both;
    __asm__("vpmaddwd %2, %1, %0" : "={v}"(both) : "{v}"(*a), "{v}"(*w));
    *sum = (SEICHE_I32X{n})((SEICHE_U32X{n})*sum + both);
#else
    const SEICHE_I32X{n} a0 = (SEICHE_I32X{n})(*a << 16) >> 16;
    const SEICHE_I32X{n} a1 = (SEICHE_I32X{n})*a >> 16;
    const SEICHE_I32X{n} w0 = (SEICHE_I32X{n})(*w << 16) >> 16;
    const SEICHE_I32X{n} w1 = (SEICHE_I32X{n})*w >> 16;
    const SEICHE_U32X{n} low = (SEICHE_U32X{n})a0 * (SEICHE_U32X{n})w0;
    const SEICHE_U32X{n} high = (SEICHE_U32X{n})a1 * (SEICHE_U32X{n})w1;
    *sum = (SEICHE_I32X{n})((SEICHE_U32X{n})*sum + low + high);
#endif
}}
"""

# Bytes 0 and 2 of each word as halves, and bytes 1 and 3: those of a without a sign, those of w with theirs.
BYTES = """\
static inline void dot_bytes_x{n}(SEICHE_I32X{n} *sum, const SEICHE_U32X{n} *a, const SEICHE_U32X{n} *w)
{{
#if {vnni} && !defined(SEICHE_NO_ASM)
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(*a), "v"(*w));
#else
    typedef int16_t halves __attribute__((vector_size({nbytes})));
    typedef uint16_t bare __attribute__((vector_size({nbytes})));
    const SEICHE_U32X{n} a0 = *a & 0x00ff00ffu;
    const SEICHE_U32X{n} a1 = (*a >> 8) & 0x00ff00ffu;
    const SEICHE_U32X{n} w0 = (SEICHE_U32X{n})((halves)((bare)*w << 8) >> 8);
    const SEICHE_U32X{n} w1 = (SEICHE_U32X{n})((halves)*w >> 8);
    dot_halves_x{n}(sum, &a0, &w0);
    dot_halves_x{n}(sum, &a1, &w1);
#endif
}}
"""

SPARE = """\
#if !({vnni}) || defined(SEICHE_NO_ASM)
{halves}#endif
"""
"""Halves that the bytes alone call: unused where there is an instruction for bytes."""

SHARED = """\
/* Sums of 32 bits side by side, to each of which the products of the parts of two words are added. */
#if defined(__GNUC__) && !defined(SEICHE_NO_VECTORS)
{functions}{vectors}
#else
{arrays}
#endif
"""


def dot_name(function: str, lanes: int) -> str:
    """What a statement calls.

    >>> dot_name("dot_bytes", 16)
    'SEICHE_DOT_BYTES_X16'
    """
    return f"SEICHE_{function.upper()}_X{lanes}"


def dots(wanted: list[tuple[str, int]]) -> str:
    """The text of these functions, by name and lanes; nothing where there are none."""
    if not wanted:
        return ""
    pairs = sorted(set(wanted), key=lambda one: (one[1], one[0]))
    functions = "".join(_functions(pairs, n) for n in sorted({n for _, n in pairs}))
    vectors = "\n".join(
        f"#define {dot_name(f, n)}(sum, a, w) {f}_x{n}(&(sum), &(a), &(w))" for f, n in pairs
    )
    arrays = "\n".join(
        f"#define {dot_name(f, n)}(sum, a, w) ((sum) = {f}((sum), (a), (w)))" for f, n in pairs
    )
    return SHARED.format(functions=functions, vectors=vectors, arrays=arrays)


def _functions(pairs: list[tuple[str, int]], n: int) -> str:
    """What the sums in vectors of n call."""
    words = {"n": n, "nbytes": 4 * n, "v": "v" if n == 16 else "x", "vnni": VNNI[n], "avx": AVX[n]}
    halves = HALVES.format(**words)
    if ("dot_bytes", n) not in pairs:
        return halves
    if ("dot_halves", n) not in pairs:
        halves = SPARE.format(halves=halves, **words)
    return halves + BYTES.format(**words)
