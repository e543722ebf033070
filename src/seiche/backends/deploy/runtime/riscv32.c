/* Start-up of a 32-bit RISC-V in machine mode: traps, the unit for floats, .data and .bss; minstret as the counter. */
#include "board.h"

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], stack_start[];

void reset(void) __attribute__((naked, noreturn, section(".vectors")));
static void start(void) __attribute__((noinline, noreturn, used));
static void fault(void) __attribute__((aligned(4), used, noreturn));

static void fault(void)
{
    board_exit(99);
}

static void start(void)
{
    uint32_t *to;
    const uint32_t *from = data_load;
    for (to = data_start; to < data_end; ++to) {
        *to = *from++;
    }
    for (to = bss_start; to < bss_end; ++to) {
        *to = 0u;
    }
    board_exit(main());
}

void reset(void)
{
    __asm__ volatile(
        ".option push\n.option norelax\nla gp, __global_pointer$\n.option pop\n"
        "la sp, stack_start\n"
        "la t0, %0\ncsrw mtvec, t0\n"
#if defined(__riscv_flen)
        "li t0, 0x6000\ncsrs mstatus, t0\ncsrw fcsr, x0\n"
#endif
        "j %1\n" ::"i"(fault), "i"(start));
}

void board_count(void)
{
}

uint64_t board_counter(void)
{
    uint32_t high, low, again;
    do {
        __asm__ volatile("csrr %0, minstreth\ncsrr %1, minstret\ncsrr %2, minstreth" : "=r"(high), "=r"(low), "=r"(again));
    } while (high != again);
    return ((uint64_t)high << 32) | low;
}

uint64_t board_instructions(uint64_t before, uint64_t after)
{
    return after - before;
}
