/* The processor in the loop: reads the inputs of programs from a file of the host, steps, writes what comes out.
   `programs.c` is generated: the programs, their instances, and memory for blocks of rows.

   in   per program: ticks, then a row per tick, which is struct X_in as it lies in memory
   out  per program: the sizes of its structs; blocks of rows (their number, then a struct X_out each); 0; what stopped it;
        the counter over all ticks and at the longest one; bytes of stack; struct X at the end */
#include "board.h"
#include "programs.h"

#define PAINT 0xa5a5a5a5u
#define MARGIN 64u

static uint64_t in_block[BLOCK_BYTES / 8], out_block[BLOCK_BYTES / 8];

static uint32_t *here(void) __attribute__((noinline));

/* Where the stack is now, less a margin for the frame of `paint`. */
static uint32_t *here(void)
{
    return (uint32_t *)(((uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)7) - MARGIN);
}

static void paint(const uint32_t *top)
{
    volatile uint32_t *at;
    for (at = board_stack_end; at < top; ++at) {
        *at = PAINT;
    }
}

static uint32_t painted_over(const uint32_t *top)
{
    const volatile uint32_t *at = board_stack_end;
    while (at < top && *at == PAINT) {
        ++at;
    }
    return (uint32_t)((uintptr_t)top - (uintptr_t)at) + MARGIN;
}

/* One step, and the instructions that it took. */
static uint64_t measured(int32_t (*step)(const void *in, void *out), const void *in, void *out, int32_t *failed) __attribute__((noinline));

static uint64_t measured(int32_t (*step)(const void *in, void *out), const void *in, void *out, int32_t *failed)
{
    const uint64_t before = board_counter();
    *failed = step(in, out);
    return board_instructions(before, board_counter());
}

static int32_t idle(const void *in, void *out)
{
    (void)in;
    (void)out;
    return 0;
}

static int run(int in, int out, const struct program *program)
{
    const uint32_t capacity = (uint32_t)(sizeof in_block / (program->in_bytes > program->out_bytes ? program->in_bytes : program->out_bytes));
    uint32_t *const top = here();
    uint64_t none, total = 0u, most = 0u;
    uint32_t left, footer[6] = {0u, 0u, 0u, 0u, 0u, 0u};
    int32_t failed = 0;
    if (host_write(out, program->sizes, sizeof program->sizes) != 0u || host_read(in, &left, sizeof left) != 0u) {
        return 3;
    }
    none = measured(idle, in_block, out_block, &failed);
    paint(top);
    program->init();
    while (left > 0u) {
        const uint32_t rows = left < capacity ? left : capacity;
        uint32_t done = 0u;
        if (host_read(in, in_block, (size_t)rows * program->in_bytes) != 0u) {
            return 4;
        }
        while (done < rows && failed == 0) {
            const char *const row = (const char *)in_block + (size_t)done * program->in_bytes;
            const uint64_t spent = measured(program->step, row, (char *)out_block + (size_t)done * program->out_bytes, &failed) - none;
            total += spent;
            most = spent > most ? spent : most;
            done += failed == 0 ? 1u : 0u;
        }
        left -= rows;
        if (done > 0u && (host_write(out, &done, sizeof done) != 0u || host_write(out, out_block, (size_t)done * program->out_bytes) != 0u)) {
            return 5;
        }
    }
    footer[1] = (uint32_t)failed;
    footer[2] = (uint32_t)total;
    footer[3] = (uint32_t)(total >> 32);
    footer[4] = (uint32_t)most;
    footer[5] = painted_over(top);
    return host_write(out, footer, sizeof footer) != 0u || host_write(out, program->self, program->sizes[0]) != 0u ? 6 : 0;
}

int main(void)
{
    const int in = host_open("in.bin", 0), out = host_open("out.bin", 1);
    uint32_t k;
    int failed = in < 0 || out < 0 ? 2 : 0;
    board_count();
    for (k = 0u; k < PROGRAMS && failed == 0; ++k) {
        failed = run(in, out, &programs[k]);
    }
    host_close(out);
    host_close(in);
    return failed;
}
