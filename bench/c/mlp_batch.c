/* One step of gradient descent of an MLP 784-128-10 on a batch of images, by hand: the products of four rows by 64 columns are summed in
   registers, the first layer's weights are updated where their gradient is summed. See ../perceptron.py. */
#include "mlp.h"

#ifndef BATCH
#define BATCH 32
#endif
#define WIDE 64
#define COLUMNS (WIDE / LANES)
#define ROWS 4
#define DEEP 98 /* rows of w1 whose WIDE columns stay in the first-level cache */

struct mlp_batch {
    struct mlp_weights *weights;
    float sums[BATCH][HIDDEN];
    float slope[BATCH][HIDDEN];
    float d[BATCH][CLASSES];
};

struct mlp_batch_in {
    float x[BATCH][INPUTS];
    int32_t label[BATCH];
};

extern const uint64_t mlp_batch_bytes[2];
const uint64_t mlp_batch_bytes[2] = {sizeof(struct mlp_weights), sizeof(struct mlp_batch)};

void mlp_batch_init(struct mlp_batch *self, struct mlp_weights *weights);
int32_t mlp_batch_step(struct mlp_batch *restrict self, const struct mlp_batch_in *restrict in, float *restrict loss);

void mlp_batch_init(struct mlp_batch *self, struct mlp_weights *weights)
{
    memset(self, 0, sizeof *self);
    self->weights = weights;
}

static void forward(struct mlp_batch *restrict self, const struct mlp_batch_in *restrict in)
{
    const struct mlp_weights *const w = self->weights;
    int b, i, j, k, r, from;
    for (b = 0; b < BATCH; ++b) {
        memcpy(self->sums[b], w->b1, sizeof w->b1);
    }
    for (i = 0; i < HIDDEN; i += WIDE) {
        for (from = 0; from < INPUTS; from += DEEP) {
            for (b = 0; b < BATCH; b += ROWS) {
                vec s[ROWS][COLUMNS];
                for (r = 0; r < ROWS; ++r) {
                    for (j = 0; j < COLUMNS; ++j) {
                        s[r][j] = load(&self->sums[b + r][i + j * LANES]);
                    }
                }
                for (k = from; k < from + DEEP; ++k) {
                    for (r = 0; r < ROWS; ++r) {
                        for (j = 0; j < COLUMNS; ++j) {
                            s[r][j] += in->x[b + r][k] * load(&w->w1[k][i + j * LANES]);
                        }
                    }
                }
                for (r = 0; r < ROWS; ++r) {
                    for (j = 0; j < COLUMNS; ++j) {
                        store(&self->sums[b + r][i + j * LANES], s[r][j]);
                    }
                }
            }
        }
    }
}

/* The loss of one image; RATE / BATCH times the slopes of its sums, in both layers. */
static float middle(struct mlp_batch *restrict self, int b, int label)
{
    const struct mlp_weights *const w = self->weights;
    float *const sums = self->sums[b];
    float p[CLASSES], loss;
    vec h[ROW], back[ROW];
    int j, o;
    for (j = 0; j < ROW; ++j) {
        back[j] = all(0.0f);
        h[j] = relu_vec(load(sums + j * LANES));
        store(sums + j * LANES, h[j]);
    }
    loss = classify(w, h, label, p);
    for (o = 0; o < CLASSES; ++o) {
        const float d = RATE / BATCH * (p[o] - (o == label ? 1.0f : 0.0f));
        self->d[b][o] = d;
        for (j = 0; j < ROW; ++j) {
            back[j] += d * load(&w->w2[o][j * LANES]);
        }
    }
    for (j = 0; j < ROW; ++j) {
        store(&self->slope[b][j * LANES], pick(h[j] > all(0.0f), back[j], all(0.0f)));
    }
    return loss;
}

static void update_first(struct mlp_batch *restrict self, const struct mlp_batch_in *restrict in)
{
    struct mlp_weights *const w = self->weights;
    int b, i, j, k, r;
    for (i = 0; i < HIDDEN; i += WIDE) {
        for (k = 0; k < INPUTS; k += ROWS) {
            vec s[ROWS][COLUMNS];
            for (r = 0; r < ROWS; ++r) {
                for (j = 0; j < COLUMNS; ++j) {
                    s[r][j] = load(&w->w1[k + r][i + j * LANES]);
                }
            }
            for (b = 0; b < BATCH; ++b) {
                for (r = 0; r < ROWS; ++r) {
                    for (j = 0; j < COLUMNS; ++j) {
                        s[r][j] -= in->x[b][k + r] * load(&self->slope[b][i + j * LANES]);
                    }
                }
            }
            for (r = 0; r < ROWS; ++r) {
                for (j = 0; j < COLUMNS; ++j) {
                    store(&w->w1[k + r][i + j * LANES], s[r][j]);
                }
            }
        }
    }
}

int32_t mlp_batch_step(struct mlp_batch *restrict self, const struct mlp_batch_in *restrict in, float *restrict loss)
{
    struct mlp_weights *const w = self->weights;
    float total = 0.0f;
    int b, j, o;
    forward(self, in);
    for (b = 0; b < BATCH; ++b) {
        total += middle(self, b, in->label[b]);
    }
    *loss = total / BATCH;
    update_first(self, in);
    for (o = 0; o < CLASSES; ++o) {
        for (j = 0; j < HIDDEN; j += LANES) {
            vec s = load(&w->w2[o][j]);
            for (b = 0; b < BATCH; ++b) {
                s -= self->d[b][o] * load(&self->sums[b][j]);
            }
            store(&w->w2[o][j], s);
        }
        for (b = 0; b < BATCH; ++b) {
            w->b2[o] -= self->d[b][o];
        }
    }
    for (b = 0; b < BATCH; ++b) {
        for (j = 0; j < HIDDEN; j += LANES) {
            store(&w->b1[j], load(&w->b1[j]) - load(&self->slope[b][j]));
        }
    }
    return 0;
}
