/* One step of a GRU(40 -> 128) as an engineer would write it by hand: weights as [in][out], so that the innermost loop runs over outputs
   that are contiguous in memory; the sums of a tile of outputs stay in registers over all inputs; gates r, z, n. */
#include "vectors.h"

#define INPUTS 40
#define HIDDEN 128
#define WIDTH (3 * HIDDEN)

struct gru_weights {
    float input[INPUTS][WIDTH];
    float recurrent[HIDDEN][WIDTH];
    float bias[WIDTH];
    float recurrent_bias[WIDTH];
};

struct gru {
    const struct gru_weights *weights;
    float h[HIDDEN];
};

extern const uint64_t gru_bytes[2];
const uint64_t gru_bytes[2] = {sizeof(struct gru_weights), sizeof(struct gru)};

void gru_init(struct gru *self, const struct gru_weights *weights);
int32_t gru_step(struct gru *restrict self, const float *restrict x, float *restrict y);

void gru_init(struct gru *self, const struct gru_weights *weights)
{
    self->weights = weights;
    memset(self->h, 0, sizeof self->h);
}

int32_t gru_step(struct gru *restrict self, const float *restrict x, float *restrict y)
{
    const struct gru_weights *const w = self->weights;
    float given[WIDTH], carried[WIDTH];
    int i, j;
    for (i = 0; i < WIDTH; i += TILE) {
        vec sums[VECTORS];
        start(sums, w->bias + i);
        add_products(sums, &w->input[0][i], WIDTH, x, INPUTS);
        for (j = 0; j < VECTORS; ++j) {
            store(given + i + j * LANES, sums[j]);
        }
        start(sums, w->recurrent_bias + i);
        add_products(sums, &w->recurrent[0][i], WIDTH, self->h, HIDDEN);
        for (j = 0; j < VECTORS; ++j) {
            store(carried + i + j * LANES, sums[j]);
        }
    }
    for (i = 0; i < HIDDEN; i += LANES) {
        const vec r = sigmoid_vec(load(given + i) + load(carried + i));
        const vec z = sigmoid_vec(load(given + HIDDEN + i) + load(carried + HIDDEN + i));
        const vec n = tanh_vec(load(given + 2 * HIDDEN + i) + r * load(carried + 2 * HIDDEN + i));
        const vec h = n + z * (load(self->h + i) - n);
        store(self->h + i, h);
        store(y + i, h);
    }
    return 0;
}
