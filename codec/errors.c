/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks up a code of errors.def by its number, and the code that a status stands for.
 */
#include "codec/errors.h"

#include <stddef.h>

#include "codec/base/check.h"

static const struct {
    const char *text;
    unsigned status;
} rows[] = {
    [ERROR_NONE] = {"ok", 200},
#define X(name, text, status, others, help) [ERROR_##name] = {text, status},
#include "codec/errors.def"
#undef X
};

const char *errors_text(enum error_code code)
{
    CHECK((size_t)code < ARRAY_LEN(rows) && code != ERROR_NONE);
    return rows[code].text;
}

unsigned errors_status(enum error_code code)
{
    CHECK((size_t)code < ARRAY_LEN(rows));
    return rows[code].status;
}

enum error_code errors_of_status(unsigned status)
{
    if (status == 414 || status == 431) { /* a target, a head */
        return ERROR_TOO_LARGE;
    }
    for (size_t i = 1; i < ARRAY_LEN(rows); i++) { /* the first of a status is the general one */
        if (rows[i].status == status) {
            return (enum error_code)i;
        }
    }
    return ERROR_BAD_REQUEST;
}
