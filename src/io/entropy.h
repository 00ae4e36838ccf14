/* entropy.h - randomness of the system, for nonces and seeds. */
#ifndef IO_ENTROPY_H
#define IO_ENTROPY_H

#include <stddef.h>
#include <stdint.h>

uint64_t entropy_u64(void);

#endif
