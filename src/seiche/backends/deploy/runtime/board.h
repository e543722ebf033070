/* What the loop over ticks asks of a processor: files of the machine that emulates it, a counter, the stack, an end. */
#ifndef SEICHE_BOARD_H
#define SEICHE_BOARD_H

#include <stddef.h>
#include <stdint.h>

/* The loop over ticks; start-up code calls it when memory is ready. */
int main(void);

/* Where the start-up code ends: the emulator stops with this status. */
void board_exit(int status) __attribute__((noreturn));

/* Starts the counter. */
void board_count(void);

/* What the counter says. */
uint64_t board_counter(void);

/* The instructions between two values of the counter, where the emulator takes INSTRUCTION_NS for each. */
uint64_t board_instructions(uint64_t before, uint64_t after);

/* The end of the memory that belongs to the stack; the stack grows down towards it. */
extern uint32_t board_stack_end[];

/* Files of the host, by semihosting: a handle or -1; the number of bytes that were not read or written. */
int host_open(const char *name, int writing);
size_t host_read(int file, void *to, size_t n);
size_t host_write(int file, const void *from, size_t n);
void host_close(int file);

#endif
