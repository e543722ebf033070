/* Calls a step many times from C, with inputs that take turns; reads memory, and multiplies, as fast as this core can. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef int32_t (*step_function)(void *self, const void *in, void *out);
typedef float vec __attribute__((vector_size(64), aligned(64)));

int32_t loop_steps(step_function step, void *self, void *in, void *out, const char *rows, size_t row_bytes, size_t rows_count, size_t calls);
float loop_read(const float *data, size_t count, size_t repeats);
float loop_multiply(size_t count);

/* `rows` are the inputs of `rows_count` ticks, one after the other. */
int32_t loop_steps(step_function step, void *self, void *in, void *out, const char *rows, size_t row_bytes, size_t rows_count, size_t calls)
{
    size_t k;
    int32_t failed = 0;
    for (k = 0; k < calls && failed == 0; ++k) {
        memcpy(in, rows + (k % rows_count) * row_bytes, row_bytes);
        failed = step(self, in, out);
    }
    return failed;
}

/* Reads `count` floats (a multiple of 128, aligned to 64 bytes) `repeats` times. */
float loop_read(const float *data, size_t count, size_t repeats)
{
    vec s[8];
    size_t k, r;
    int j;
    float sum = 0.0f;
    memset(s, 0, sizeof s);
    for (r = 0; r < repeats; ++r) {
        for (k = 0; k < count; k += 128) {
            for (j = 0; j < 8; ++j) {
                s[j] += *(const vec *)(data + k + 16 * j);
            }
        }
        __asm__ volatile("" : : "r"(data) : "memory");
    }
    for (j = 0; j < 8; ++j) {
        for (k = 0; k < 16; ++k) {
            sum += s[j][k];
        }
    }
    return sum;
}

#ifdef __AVX512F__
#define CHAINS 12
#else
#define CHAINS 3
#endif

/* `count` products, each added to something, in as many chains as keep the units busy and fit in registers. */
float loop_multiply(size_t count)
{
    vec s[CHAINS], a, b;
    size_t k;
    int j;
    float sum = 0.0f;
    for (k = 0; k < 16; ++k) {
        a[k] = 0.5f;
        b[k] = 1.0f;
    }
    memset(s, 0, sizeof s);
    __asm__ volatile("" : "+m"(a), "+m"(b));
    for (k = 0; k < count; k += 16 * CHAINS) {
        for (j = 0; j < CHAINS; ++j) {
            s[j] = s[j] * a + b;
        }
    }
    for (j = 0; j < CHAINS; ++j) {
        for (k = 0; k < 16; ++k) {
            sum += s[j][k];
        }
    }
    return sum;
}
