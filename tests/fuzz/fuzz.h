/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz - what the fuzz programs share: the entry point, and a check that prints.
 *
 * Each fuzz_<module>.c has one entry point. It decodes the input, and checks what must hold
 * for any input: the same outcome in pieces as whole, slices within the input, round trips.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/log.h"

/* The entry point of libFuzzer; also called by standalone.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether `part` is empty or lies within `whole`. */
static inline bool fuzz_within(struct bytes part, struct bytes whole)
{
    return part.len == 0 || (part.at >= whole.at && part.at + part.len <= whole.at + whole.len);
}

/* A sink of log.h for programs whose inputs are all worth a line. */
static inline void fuzz_drop_line(enum log_level level, const char *line, size_t len)
{
    (void)level;
    (void)line;
    (void)len;
}

#endif
