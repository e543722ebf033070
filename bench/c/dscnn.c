/* One frame through a causal DS-CNN keyword spotter as an engineer would write it by hand: rows of the past in rings, weights as
   [in][out], the 64 sums of a layer in registers. See ../keyword.py. */
#include "vectors.h"

#define MELS 40
#define CHANNELS 64
#define CLASSES 12
#define FIRST 3
#define WINDOW 9
#define BLOCKS 4
#define ROW (CHANNELS / LANES)

struct dscnn_weights {
    float first[FIRST][MELS][CHANNELS];
    struct {
        float depth[WINDOW][CHANNELS];
        float point[CHANNELS][CHANNELS];
    } block[BLOCKS];
    float dense[CHANNELS][CLASSES];
    float first_bias[CHANNELS];
    struct {
        float depth[CHANNELS];
        float point[CHANNELS];
    } bias[BLOCKS];
    float dense_bias[CLASSES];
};

struct dscnn {
    const struct dscnn_weights *weights;
    float frames[FIRST - 1][MELS];
    float rows[BLOCKS][WINDOW - 1][CHANNELS];
    float mean[CHANNELS];
    int frame, row;
};

extern const uint64_t dscnn_bytes[2];
const uint64_t dscnn_bytes[2] = {sizeof(struct dscnn_weights), sizeof(struct dscnn)};

void dscnn_init(struct dscnn *self, const struct dscnn_weights *weights);
int32_t dscnn_step(struct dscnn *restrict self, const float *restrict x, float *restrict y);

void dscnn_init(struct dscnn *self, const struct dscnn_weights *weights)
{
    memset(self, 0, sizeof *self);
    self->weights = weights;
}

/* sums += v[k] w[k][...], for one row of channels and an even n; two sets of sums hide the latency of the additions. */
static inline void add_row(vec *sums, const float *w, const float *v, int n)
{
    vec s[2][ROW];
    int j, k, p;
    for (j = 0; j < ROW; ++j) {
        s[0][j] = sums[j];
        s[1][j] = all(0.0f);
    }
    for (k = 0; k < n; k += 2) {
        for (p = 0; p < 2; ++p) {
            for (j = 0; j < ROW; ++j) {
                s[p][j] += v[k + p] * load(w + (k + p) * CHANNELS + j * LANES);
            }
        }
    }
    for (j = 0; j < ROW; ++j) {
        sums[j] = s[0][j] + s[1][j];
    }
}

static inline void start_row(vec *sums, const float *b)
{
    int j;
    for (j = 0; j < ROW; ++j) {
        sums[j] = load(b + j * LANES);
    }
}

static inline void keep_rectified(float *a, const vec *sums)
{
    int j;
    for (j = 0; j < ROW; ++j) {
        store(a + j * LANES, relu_vec(sums[j]));
    }
}

int32_t dscnn_step(struct dscnn *restrict self, const float *restrict x, float *restrict y)
{
    const struct dscnn_weights *const w = self->weights;
    float a[CHANNELS], d[CHANNELS], scores[LANES];
    vec sums[ROW], dense[4];
    int i, j, k, n;
    start_row(sums, w->first_bias);
    for (k = 0; k < FIRST - 1; ++k) {
        add_row(sums, &w->first[k][0][0], self->frames[(self->frame + k) % (FIRST - 1)], MELS);
    }
    add_row(sums, &w->first[FIRST - 1][0][0], x, MELS);
    keep_rectified(a, sums);
    memcpy(self->frames[self->frame], x, sizeof self->frames[0]);
    self->frame = (self->frame + 1) % (FIRST - 1);
    for (n = 0; n < BLOCKS; ++n) {
        start_row(sums, w->bias[n].depth);
        for (k = 0; k < WINDOW - 1; ++k) {
            const float *const row = self->rows[n][(self->row + k) % (WINDOW - 1)];
            for (j = 0; j < ROW; ++j) {
                sums[j] += load(row + j * LANES) * load(&w->block[n].depth[k][j * LANES]);
            }
        }
        for (j = 0; j < ROW; ++j) {
            const vec now = load(a + j * LANES);
            sums[j] += now * load(&w->block[n].depth[WINDOW - 1][j * LANES]);
            store(&self->rows[n][self->row][j * LANES], now);
        }
        keep_rectified(d, sums);
        start_row(sums, w->bias[n].point);
        add_row(sums, &w->block[n].point[0][0], d, CHANNELS);
        keep_rectified(a, sums);
    }
    self->row = (self->row + 1) % (WINDOW - 1);
    for (i = 0; i < CHANNELS; i += LANES) {
        const vec old = load(self->mean + i);
        store(self->mean + i, old + 0.02f * (load(a + i) - old));
    }
    /* A vector reads 16 weights of a row of 12: what follows in the struct does no harm, and the last 4 sums are dropped. */
    for (j = 0; j < 4; ++j) {
        dense[j] = all(0.0f);
    }
    for (k = 0; k < CHANNELS; k += 4) {
        for (j = 0; j < 4; ++j) {
            dense[j] += all(self->mean[k + j]) * load(&w->dense[0][0] + (k + j) * CLASSES);
        }
    }
    store(scores, (dense[0] + dense[1]) + (dense[2] + dense[3]));
    for (i = 0; i < CLASSES; ++i) {
        y[i] = scores[i] + w->dense_bias[i];
    }
    return 0;
}
