/* Start-up of a Cortex-M: vectors, the unit for floats, .data and .bss; SysTick as the counter. */
#include "board.h"

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], stack_start[];

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define CPACR REGISTER(0xe000ed88u)
#define SYST_CSR REGISTER(0xe000e010u)
#define SYST_RVR REGISTER(0xe000e014u)
#define SYST_CVR REGISTER(0xe000e018u)
#define SYST_TOP 0xffffffu
#define ENABLED (1u << 16)
#define WRAPPED 6u

static volatile uint32_t wraps __attribute__((used));

void reset(void) __attribute__((noreturn));
static void start(void) __attribute__((noinline, noreturn));
static void fault(void);
static void wrapped(void) __attribute__((naked));

struct vectors {
    uint32_t *stack;
    void (*handlers[15])(void);
};

__attribute__((used, section(".vectors"))) static const struct vectors vectors = {
    stack_start, {reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, 0, 0, fault, wrapped}
};

static void fault(void)
{
    board_exit(99);
}

/* A number of instructions that is known, to be taken off again. */
static void wrapped(void)
{
    __asm__ volatile(
        "movw r0, #:lower16:wraps\nmovt r0, #:upper16:wraps\nldr r1, [r0]\nadds r1, r1, #1\nstr r1, [r0]\nbx lr");
}

/* Not inlined into `reset`: a prologue that saves registers of the unit for floats would fault before the unit is on. */
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
#if defined(__ARM_FP)
    CPACR |= 0xfu << 20;
    __asm__ volatile("dsb\nisb" ::: "memory");
#endif
    start();
}

/* SysTick counts down from a value that it takes over when it first reaches 0. */
void board_count(void)
{
    SYST_RVR = 1u;
    SYST_CVR = 0u;
    SYST_CSR = 5u;
    while ((SYST_CSR & ENABLED) == 0u) {
    }
    SYST_RVR = SYST_TOP;
    while (SYST_CVR < 2u) {
    }
    wraps = 0u;
    SYST_CSR = 7u;
}

uint64_t board_counter(void)
{
    uint32_t high, low;
    do {
        high = wraps;
        low = SYST_CVR;
    } while (high != wraps);
    return (uint64_t)high * (SYST_TOP + 1u) + (SYST_TOP - low);
}

/* Exact, as an instruction takes longer than two ticks of the timer. */
uint64_t board_instructions(uint64_t before, uint64_t after)
{
    const uint64_t wrapped_between = after / (SYST_TOP + 1u) - before / (SYST_TOP + 1u);
    return ((after - before) * COUNTER_NS + INSTRUCTION_NS / 2u) / INSTRUCTION_NS - wrapped_between * WRAPPED;
}
