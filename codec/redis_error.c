/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks up the first word of an error reply in redis_error.def.
 */
#include "codec/redis_error.h"

#include <string.h>

#include "codec/base/check.h"

static const struct {
    const char *word;
    enum redis_error class;
} classes[] = {
#define X(word, class) {#word, REDIS_ERROR_##class},
#include "codec/redis_error.def"
#undef X
};

enum redis_error redis_error_class(struct bytes text)
{
    const char *blank = text.len > 0 ? memchr(text.at, ' ', text.len) : NULL;
    struct bytes word = blank != NULL ? bytes_of(text.at, (size_t)(blank - text.at)) : text;
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if (bytes_eq_str(word, classes[i].word)) {
            return classes[i].class;
        }
    }
    return REDIS_ERROR_COMMAND;
}
