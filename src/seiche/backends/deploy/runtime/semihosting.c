/* Semihosting: the processor stops at an instruction that the emulator knows, and finds an answer when it goes on.
   Arm, "Semihosting for AArch32 and AArch64", 2.0; RISC-V, "Semihosting", 0.4. */
#include "board.h"
#include <string.h>

enum { OPEN = 0x01, CLOSE = 0x02, WRITE = 0x05, READ = 0x06, EXIT = 0x20, READING = 1, WRITING = 5, FINISHED = 0x20026 };

static uintptr_t call(uintptr_t operation, const void *block)
{
#if defined(__arm__)
    register uintptr_t a __asm__("r0") = operation;
    register const void *b __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(a) : "r"(b) : "memory");
#else
    register uintptr_t a __asm__("a0") = operation;
    register const void *b __asm__("a1") = block;
    /* Three uncompressed instructions in one page make an ebreak a call. */
    __asm__ volatile(
        ".option push\n.option norvc\n.balign 16\n"
        "slli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\n"
        ".option pop" : "+r"(a) : "r"(b) : "memory");
#endif
    return a;
}

int host_open(const char *name, int writing)
{
    const uintptr_t block[3] = {(uintptr_t)name, writing ? WRITING : READING, strlen(name)};
    return (int)call(OPEN, block);
}

size_t host_read(int file, void *to, size_t n)
{
    const uintptr_t block[3] = {(uintptr_t)file, (uintptr_t)to, n};
    return n == 0u ? 0u : call(READ, block);
}

size_t host_write(int file, const void *from, size_t n)
{
    const uintptr_t block[3] = {(uintptr_t)file, (uintptr_t)from, n};
    return n == 0u ? 0u : call(WRITE, block);
}

void host_close(int file)
{
    const uintptr_t block[1] = {(uintptr_t)file};
    (void)call(CLOSE, block);
}

void board_exit(int status)
{
    const uintptr_t block[2] = {FINISHED, (uintptr_t)status};
    for (;;) {
        (void)call(EXIT, block);
    }
}
