/* One step of an LSTM(40 -> 256) as an engineer would write it by hand: see gru.c. Gates i, f, g, o; one bias. */
#include "vectors.h"

#define INPUTS 40
#define HIDDEN 256
#define WIDTH (4 * HIDDEN)

struct lstm_weights {
    float input[INPUTS][WIDTH];
    float recurrent[HIDDEN][WIDTH];
    float bias[WIDTH];
};

struct lstm {
    const struct lstm_weights *weights;
    float h[HIDDEN];
    float c[HIDDEN];
};

extern const uint64_t lstm_bytes[2];
const uint64_t lstm_bytes[2] = {sizeof(struct lstm_weights), sizeof(struct lstm)};

void lstm_init(struct lstm *self, const struct lstm_weights *weights);
int32_t lstm_step(struct lstm *restrict self, const float *restrict x, float *restrict y);

void lstm_init(struct lstm *self, const struct lstm_weights *weights)
{
    self->weights = weights;
    memset(self->h, 0, sizeof self->h);
    memset(self->c, 0, sizeof self->c);
}

int32_t lstm_step(struct lstm *restrict self, const float *restrict x, float *restrict y)
{
    const struct lstm_weights *const w = self->weights;
    float gates[WIDTH];
    int i, j;
    for (i = 0; i < WIDTH; i += TILE) {
        vec sums[VECTORS];
        start(sums, w->bias + i);
        add_products(sums, &w->input[0][i], WIDTH, x, INPUTS);
        add_products(sums, &w->recurrent[0][i], WIDTH, self->h, HIDDEN);
        for (j = 0; j < VECTORS; ++j) {
            store(gates + i + j * LANES, sums[j]);
        }
    }
    for (i = 0; i < HIDDEN; i += LANES) {
        const vec in = sigmoid_vec(load(gates + i));
        const vec forget = sigmoid_vec(load(gates + HIDDEN + i));
        const vec out = sigmoid_vec(load(gates + 3 * HIDDEN + i));
        const vec c = forget * load(self->c + i) + in * tanh_vec(load(gates + 2 * HIDDEN + i));
        const vec h = out * tanh_vec(c);
        store(self->c + i, c);
        store(self->h + i, h);
        store(y + i, h);
    }
    return 0;
}
