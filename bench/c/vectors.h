/* Vectors of 16 floats, and the two activations on them, for the hand-written programs of this folder.

   tanh(x) = x P(x^2) / Q(x^2) on [-9, 9], where it has reached 1 to within 3e-8; both of degree 4, fitted by iteratively reweighted
   least squares to a relative error of 2e-8 (3e-7 after rounding to floats). sigmoid(x) = (1 + tanh(x / 2)) / 2. */
#ifndef BENCH_VECTORS_H
#define BENCH_VECTORS_H

#include <stdint.h>
#include <string.h>

#define LANES 16
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t mask __attribute__((vector_size(4 * LANES), aligned(4)));

/* Columns that are summed together in registers: 8 vectors hide the latency of the additions where vectors are 64 bytes
   wide; narrower machines have registers for half of it. */
#if defined(__AVX512F__)
#define TILE 128
#else
#define TILE 64
#endif
#define VECTORS (TILE / LANES)

static inline vec all(float x)
{
    return (vec){0.0f} + x;
}

static inline vec load(const float *p)
{
    return *(const vec *)p;
}

static inline void store(float *p, vec x)
{
    *(vec *)p = x;
}

static inline vec pick(mask m, vec yes, vec no)
{
    return (vec)(((mask)yes & m) | ((mask)no & ~m));
}

static inline vec tanh_vec(vec x)
{
    vec u, p, q;
    x = pick(x > all(9.0f), all(9.0f), x);
    x = pick(x < all(-9.0f), all(-9.0f), x);
    u = x * x;
    p = ((((1.3355587746843867e-08f * u + 2.0609833882190287e-05f) * u + 0.003495637094601989f) * u + 0.13381068408489227f) * u) + 1.0f;
    q = ((((7.77696243403625e-07f * u + 0.0003285712737124413f) * u + 0.025877172127366066f) * u + 0.46714383363723755f) * u) + 1.0f;
    return x * p / q;
}

static inline vec sigmoid_vec(vec x)
{
    return 0.5f * tanh_vec(0.5f * x) + 0.5f;
}

static inline vec relu_vec(vec x)
{
    return pick(x > all(0.0f), x, all(0.0f));
}

static inline float sum_of(vec x)
{
    float s[LANES];
    int i, half;
    store(s, x);
    for (half = LANES / 2; half > 0; half /= 2) {
        for (i = 0; i < half; ++i) {
            s[i] += s[i + half];
        }
    }
    return s[0];
}

/* sums += v[k] w[k][...] over k, for the TILE columns at w; a row of w is `width` floats. */
static inline void add_products(vec *sums, const float *w, int width, const float *v, int n)
{
    vec s[VECTORS];
    int j, k;
    for (j = 0; j < VECTORS; ++j) {
        s[j] = sums[j];
    }
    for (k = 0; k < n; ++k) {
        const vec x = all(v[k]);
        for (j = 0; j < VECTORS; ++j) {
            s[j] += x * load(w + (long)k * width + j * LANES);
        }
    }
    for (j = 0; j < VECTORS; ++j) {
        sums[j] = s[j];
    }
}

/* The TILE values at b. */
static inline void start(vec *sums, const float *b)
{
    int j;
    for (j = 0; j < VECTORS; ++j) {
        sums[j] = load(b + j * LANES);
    }
}

#endif
