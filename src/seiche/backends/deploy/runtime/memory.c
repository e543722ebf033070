/* The functions that compilers call even where there is no C library: words where both sides are aligned, bytes elsewhere. */
#include <stdint.h>
#include <string.h>

/* Else a compiler would find that the loop of memcpy is a memcpy, and call it. */
#if defined(__clang__)
#define PLAIN __attribute__((no_builtin))
#elif defined(__GNUC__)
#define PLAIN __attribute__((optimize("no-tree-loop-distribute-patterns")))
#else
#define PLAIN
#endif

typedef uint32_t word __attribute__((may_alias));

static int aligned(const void *a, const void *b)
{
    return (((uintptr_t)a | (uintptr_t)b) & 3u) == 0u;
}

PLAIN void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    unsigned char *d = to;
    const unsigned char *s = from;
    if (aligned(to, from)) {
        for (; n >= 4u; n -= 4u) {
            *(word *)(void *)d = *(const word *)(const void *)s;
            d += 4;
            s += 4;
        }
    }
    while (n-- > 0u) {
        *d++ = *s++;
    }
    return to;
}

PLAIN void *memmove(void *to, const void *from, size_t n)
{
    unsigned char *d = to;
    const unsigned char *s = from;
    if ((uintptr_t)d <= (uintptr_t)s) {
        while (n-- > 0u) {
            *d++ = *s++;
        }
    } else {
        while (n-- > 0u) {
            d[n] = s[n];
        }
    }
    return to;
}

PLAIN void *memset(void *to, int byte, size_t n)
{
    unsigned char *d = to;
    const uint32_t four = (uint32_t)(unsigned char)byte * 0x01010101u;
    if (aligned(to, to)) {
        for (; n >= 4u; n -= 4u) {
            *(word *)(void *)d = four;
            d += 4;
        }
    }
    while (n-- > 0u) {
        *d++ = (unsigned char)byte;
    }
    return to;
}

PLAIN int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;
    for (; n > 0u; --n, ++x, ++y) {
        if (*x != *y) {
            return *x < *y ? -1 : 1;
        }
    }
    return 0;
}

PLAIN size_t strlen(const char *text)
{
    size_t n = 0;
    while (text[n] != '\0') {
        ++n;
    }
    return n;
}
