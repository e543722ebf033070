/* The MLP 784-128-10 of `mlp.c` and `mlp_batch.c`: its weights, and the probabilities of the classes of one image. */
#ifndef BENCH_MLP_H
#define BENCH_MLP_H

#include <math.h>
#include "vectors.h"

#define INPUTS 784
#define HIDDEN 128
#define CLASSES 10
#define RATE 0.05f
#define ROW (HIDDEN / LANES)

struct mlp_weights {
    float w1[INPUTS][HIDDEN];
    float b1[HIDDEN];
    float w2[CLASSES][HIDDEN];
    float b2[LANES];
};

/* From the hidden values: p, the probability of each class; the loss. */
static inline float classify(const struct mlp_weights *restrict w, const vec *restrict h, int label, float *restrict p)
{
    float most, total = 0.0f, loss;
    int j, o;
    for (o = 0; o < CLASSES; ++o) {
        vec s = all(0.0f);
        for (j = 0; j < ROW; ++j) {
            s += h[j] * load(&w->w2[o][j * LANES]);
        }
        p[o] = sum_of(s) + w->b2[o];
    }
    most = p[0];
    for (o = 1; o < CLASSES; ++o) {
        most = p[o] > most ? p[o] : most;
    }
    for (o = 0; o < CLASSES; ++o) {
        p[o] = expf(p[o] - most);
        total += p[o];
    }
    loss = logf(total) - logf(p[label]);
    for (o = 0; o < CLASSES; ++o) {
        p[o] /= total;
    }
    return loss;
}

#endif
