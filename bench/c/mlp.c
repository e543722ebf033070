/* One step of gradient descent of an MLP 784-128-10 on one image, by hand, with no buffer for the gradient: `mlp` subtracts the rank-1
   update from the weights where it is made; `mlp_retimed` keeps its two factors and subtracts it in the next step, in the sweep in which
   the forward pass reads the weights anyway. See ../perceptron.py. */
#include "mlp.h"

struct mlp {
    struct mlp_weights *weights;
    float seen[INPUTS];
    float slope[HIDDEN];
};

struct mlp_in {
    float x[INPUTS];
    int32_t label;
};

extern const uint64_t mlp_bytes[2], mlp_retimed_bytes[2];
const uint64_t mlp_bytes[2] = {sizeof(struct mlp_weights), sizeof(struct mlp)};
const uint64_t mlp_retimed_bytes[2] = {sizeof(struct mlp_weights), sizeof(struct mlp)};

void mlp_init(struct mlp *self, struct mlp_weights *weights);
void mlp_retimed_init(struct mlp *self, struct mlp_weights *weights);
int32_t mlp_step(struct mlp *restrict self, const struct mlp_in *restrict in, float *restrict loss);
int32_t mlp_retimed_step(struct mlp *restrict self, const struct mlp_in *restrict in, float *restrict loss);

void mlp_init(struct mlp *self, struct mlp_weights *weights)
{
    memset(self, 0, sizeof *self);
    self->weights = weights;
}

void mlp_retimed_init(struct mlp *self, struct mlp_weights *weights)
{
    mlp_init(self, weights);
}

/* From the sums of the first layer: the loss; updates all but w1; leaves RATE times the slope of these sums. */
static inline float finish(struct mlp_weights *restrict w, vec *restrict sums, int label, vec *restrict slope)
{
    vec h[ROW], back[ROW];
    float p[CLASSES], loss;
    int j, o;
    for (j = 0; j < ROW; ++j) {
        h[j] = relu_vec(sums[j]);
        back[j] = all(0.0f);
    }
    loss = classify(w, h, label, p);
    for (o = 0; o < CLASSES; ++o) {
        const float d = RATE * (p[o] - (o == label ? 1.0f : 0.0f));
        for (j = 0; j < ROW; ++j) {
            const vec weight = load(&w->w2[o][j * LANES]);
            back[j] += d * weight;
            store(&w->w2[o][j * LANES], weight - d * h[j]);
        }
        w->b2[o] -= d;
    }
    for (j = 0; j < ROW; ++j) {
        slope[j] = pick(sums[j] > all(0.0f), back[j], all(0.0f));
        store(&w->b1[j * LANES], load(&w->b1[j * LANES]) - slope[j]);
    }
    return loss;
}

int32_t mlp_step(struct mlp *restrict self, const struct mlp_in *restrict in, float *restrict loss)
{
    struct mlp_weights *const w = self->weights;
    vec sums[ROW], slope[ROW];
    int j, k;
    for (j = 0; j < ROW; ++j) {
        sums[j] = load(&w->b1[j * LANES]);
    }
    for (k = 0; k < INPUTS; ++k) {
        for (j = 0; j < ROW; ++j) {
            sums[j] += in->x[k] * load(&w->w1[k][j * LANES]);
        }
    }
    *loss = finish(w, sums, in->label, slope);
    for (k = 0; k < INPUTS; ++k) {
        for (j = 0; j < ROW; ++j) {
            float *const weight = &w->w1[k][j * LANES];
            store(weight, load(weight) - in->x[k] * slope[j]);
        }
    }
    return 0;
}

int32_t mlp_retimed_step(struct mlp *restrict self, const struct mlp_in *restrict in, float *restrict loss)
{
    struct mlp_weights *const w = self->weights;
    vec sums[ROW], slope[ROW];
    int j, k;
    for (j = 0; j < ROW; ++j) {
        sums[j] = load(&w->b1[j * LANES]);
        slope[j] = load(&self->slope[j * LANES]);
    }
    for (k = 0; k < INPUTS; ++k) {
        for (j = 0; j < ROW; ++j) {
            float *const place = &w->w1[k][j * LANES];
            const vec weight = load(place) - self->seen[k] * slope[j];
            store(place, weight);
            sums[j] += in->x[k] * weight;
        }
    }
    *loss = finish(w, sums, in->label, slope);
    for (j = 0; j < ROW; ++j) {
        store(&self->slope[j * LANES], slope[j]);
    }
    memcpy(self->seen, in->x, sizeof self->seen);
    return 0;
}
