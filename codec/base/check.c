/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a failed check does: one line to stderr, then an abort.
 */
#include "codec/base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "peal: %s:%d: check failed: %s\n", file, line, condition);
    abort();
}
