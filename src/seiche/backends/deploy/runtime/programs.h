/* What the loop over ticks knows of a program. */
#ifndef SEICHE_PROGRAMS_H
#define SEICHE_PROGRAMS_H

#include <stdint.h>

struct program {
    uint32_t in_bytes, out_bytes;
    uint32_t sizes[4];
    void *self;
    void (*init)(void);
    int32_t (*step)(const void *in, void *out);
};

extern const struct program programs[];

#endif
