/* One training step of a GRU with a readout through all rows of a sequence, by hand: a full tape, and the weights' gradients summed in one
   product after the sweep back. TICKS, INPUTS and OUTPUTS are given to the compiler. Gates r, z, n, as in gru.c; the loss is the mean
   square over all rows; the state starts at zero. */
#include "vectors.h"

#define HIDDEN 64
#define WIDTH (3 * HIDDEN)
#define ROW (HIDDEN / LANES)
#define WIDE (WIDTH / LANES)
#define RATE 0.01f
#define ROWS 4

struct gru_bptt_weights {
    float input[INPUTS][WIDTH];
    float recurrent[HIDDEN][WIDTH];
    float bias[WIDTH];
    float recurrent_bias[WIDTH];
    float out[HIDDEN][OUTPUTS];
};

struct tick {
    float r[HIDDEN], z[HIDDEN], n[HIDDEN];
    float carried[HIDDEN]; /* what r scales */
    float given_slope[WIDTH], carried_slope[WIDTH];
    float e[OUTPUTS];
};

struct gru_bptt {
    struct gru_bptt_weights *weights;
    float across[WIDTH][HIDDEN]; /* the recurrent weights, transposed */
    float h[TICKS + 1][HIDDEN];
    struct tick tape[TICKS];
};

struct gru_bptt_in {
    float x[TICKS][INPUTS];
    float y[TICKS][OUTPUTS];
};

extern const uint64_t gru_bptt_bytes[2];
const uint64_t gru_bptt_bytes[2] = {sizeof(struct gru_bptt_weights), sizeof(struct gru_bptt)};

void gru_bptt_init(struct gru_bptt *self, struct gru_bptt_weights *weights);
int32_t gru_bptt_step(struct gru_bptt *restrict self, const struct gru_bptt_in *restrict in, float *restrict loss);

void gru_bptt_init(struct gru_bptt *self, struct gru_bptt_weights *weights)
{
    memset(self, 0, sizeof *self);
    self->weights = weights;
}

static inline void add_wide(vec *sums, const float *w, const float *v, int n)
{
    int j, k;
    for (k = 0; k < n; ++k) {
        for (j = 0; j < WIDE; ++j) {
            sums[j] += v[k] * load(w + k * WIDTH + j * LANES);
        }
    }
}

static inline void load_wide(vec *sums, const float *b)
{
    int j;
    for (j = 0; j < WIDE; ++j) {
        sums[j] = load(b + j * LANES);
    }
}

/* One row forward; the next h, what the sweep back needs, the error of the readout. Returns its squares' sum. */
static float forward(const struct gru_bptt_weights *restrict w, const float *x, const float *y, const float *h, float *next, struct tick *restrict t)
{
    vec given[WIDE], carried[WIDE];
    float sum = 0.0f;
    int j, k, o;
    load_wide(given, w->bias);
    add_wide(given, &w->input[0][0], x, INPUTS);
    load_wide(carried, w->recurrent_bias);
    add_wide(carried, &w->recurrent[0][0], h, HIDDEN);
    for (j = 0; j < ROW; ++j) {
        const vec r = sigmoid_vec(given[j] + carried[j]);
        const vec z = sigmoid_vec(given[ROW + j] + carried[ROW + j]);
        const vec n = tanh_vec(given[2 * ROW + j] + r * carried[2 * ROW + j]);
        store(t->r + j * LANES, r);
        store(t->z + j * LANES, z);
        store(t->n + j * LANES, n);
        store(t->carried + j * LANES, carried[2 * ROW + j]);
        store(next + j * LANES, n + z * (load(h + j * LANES) - n));
    }
    for (o = 0; o < OUTPUTS; ++o) {
        t->e[o] = -y[o];
    }
    for (k = 0; k < HIDDEN; ++k) {
        for (o = 0; o < OUTPUTS; ++o) {
            t->e[o] += next[k] * w->out[k][o];
        }
    }
    for (o = 0; o < OUTPUTS; ++o) {
        sum += t->e[o] * t->e[o];
    }
    return sum;
}

/* One row back: dh is the slope of the next h when it begins, that of h when it ends. */
static void backward(const struct gru_bptt *restrict self, const float *h, struct tick *restrict t, float *restrict dh)
{
    const struct gru_bptt_weights *const w = self->weights;
    vec back[2][ROW];
    int j, k, o;
    for (o = 0; o < OUTPUTS; ++o) {
        t->e[o] *= 2.0f / ((float)TICKS * OUTPUTS);
    }
    for (k = 0; k < HIDDEN; ++k) {
        for (o = 0; o < OUTPUTS; ++o) {
            dh[k] += w->out[k][o] * t->e[o];
        }
    }
    for (j = 0; j < ROW; ++j) {
        const int at = j * LANES;
        const vec r = load(t->r + at), z = load(t->z + at), n = load(t->n + at), d = load(dh + at);
        const vec dn = d * (1.0f - z) * (1.0f - n * n);
        const vec dz = d * (load(h + at) - n) * z * (1.0f - z);
        const vec dr = dn * load(t->carried + at) * r * (1.0f - r);
        store(t->given_slope + at, dr);
        store(t->given_slope + HIDDEN + at, dz);
        store(t->given_slope + 2 * HIDDEN + at, dn);
        store(t->carried_slope + at, dr);
        store(t->carried_slope + HIDDEN + at, dz);
        store(t->carried_slope + 2 * HIDDEN + at, dn * r);
        back[0][j] = d * z;
        back[1][j] = all(0.0f);
    }
    for (k = 0; k < WIDTH; k += 2) {
        for (o = 0; o < 2; ++o) {
            for (j = 0; j < ROW; ++j) {
                back[o][j] += t->carried_slope[k + o] * load(&self->across[k + o][j * LANES]);
            }
        }
    }
    for (j = 0; j < ROW; ++j) {
        store(dh + j * LANES, back[0][j] + back[1][j]);
    }
}

/* w -= RATE x^T slope over all ticks, for `rows` rows of w; rows of x and of the slopes are `x_step` and `d_step` floats apart. */
static void update(float *restrict w, const float *restrict x, int x_step, int rows, const float *restrict slope, int d_step)
{
    int i, j, k, r, t;
    for (i = 0; i < WIDTH; i += 4 * LANES) {
        for (k = 0; k < rows; k += ROWS) {
            const int here = rows - k < ROWS ? rows - k : ROWS;
            vec s[ROWS][4];
            memset(s, 0, sizeof s);
            if (here == ROWS) {
                for (t = 0; t < TICKS; ++t) {
                    for (r = 0; r < ROWS; ++r) {
                        for (j = 0; j < 4; ++j) {
                            s[r][j] += x[t * x_step + k + r] * load(slope + t * d_step + i + j * LANES);
                        }
                    }
                }
            } else {
                for (t = 0; t < TICKS; ++t) {
                    for (r = 0; r < here; ++r) {
                        for (j = 0; j < 4; ++j) {
                            s[r][j] += x[t * x_step + k + r] * load(slope + t * d_step + i + j * LANES);
                        }
                    }
                }
            }
            for (r = 0; r < here; ++r) {
                for (j = 0; j < 4; ++j) {
                    float *const place = w + (k + r) * WIDTH + i + j * LANES;
                    store(place, load(place) - RATE * s[r][j]);
                }
            }
        }
    }
}

int32_t gru_bptt_step(struct gru_bptt *restrict self, const struct gru_bptt_in *restrict in, float *restrict loss)
{
    struct gru_bptt_weights *const w = self->weights;
    const int d_step = (int)(sizeof(struct tick) / sizeof(float));
    float dh[HIDDEN], total = 0.0f, out[HIDDEN][OUTPUTS];
    vec given[WIDE], carried[WIDE];
    int i, j, k, o, t;
    for (k = 0; k < HIDDEN; ++k) {
        for (j = 0; j < WIDTH; ++j) {
            self->across[j][k] = w->recurrent[k][j];
        }
    }
    memset(self->h[0], 0, sizeof self->h[0]);
    for (t = 0; t < TICKS; ++t) {
        total += forward(w, in->x[t], in->y[t], self->h[t], self->h[t + 1], &self->tape[t]);
    }
    memset(dh, 0, sizeof dh);
    memset(out, 0, sizeof out);
    for (i = 0; i < WIDE; ++i) {
        given[i] = carried[i] = all(0.0f);
    }
    for (t = TICKS - 1; t >= 0; --t) {
        backward(self, self->h[t], &self->tape[t], dh);
        for (k = 0; k < HIDDEN; ++k) {
            for (o = 0; o < OUTPUTS; ++o) {
                out[k][o] += self->h[t + 1][k] * self->tape[t].e[o];
            }
        }
        for (i = 0; i < WIDE; ++i) {
            given[i] += load(self->tape[t].given_slope + i * LANES);
            carried[i] += load(self->tape[t].carried_slope + i * LANES);
        }
    }
    update(&w->input[0][0], &in->x[0][0], INPUTS, INPUTS, self->tape[0].given_slope, d_step);
    update(&w->recurrent[0][0], &self->h[0][0], HIDDEN, HIDDEN, self->tape[0].carried_slope, d_step);
    for (i = 0; i < WIDE; ++i) {
        float *const bias = w->bias + i * LANES, *const recurrent = w->recurrent_bias + i * LANES;
        store(bias, load(bias) - RATE * given[i]);
        store(recurrent, load(recurrent) - RATE * carried[i]);
    }
    for (k = 0; k < HIDDEN; ++k) {
        for (o = 0; o < OUTPUTS; ++o) {
            w->out[k][o] -= RATE * out[k][o];
        }
    }
    *loss = total / ((float)TICKS * OUTPUTS);
    return 0;
}
