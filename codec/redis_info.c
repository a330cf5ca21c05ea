/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds one field among the lines of an answer to INFO.
 */
#include "codec/redis_info.h"

#include <string.h>

struct bytes redis_info_field(struct bytes info, const char *field)
{
    struct bytes name = bytes_str(field);
    while (info.len > 0) {
        const char *end = memchr(info.at, '\n', info.len);
        struct bytes line = bytes_of(info.at, end != NULL ? (size_t)(end - info.at) : info.len);
        info = bytes_skip(info, end != NULL ? line.len + 1 : line.len);
        if (line.len > 0 && line.at[line.len - 1] == '\r') {
            line.len--;
        }
        if (line.len > name.len && bytes_starts(line, name) && line.at[name.len] == ':') {
            return bytes_skip(line, name.len + 1);
        }
    }
    return (struct bytes){0};
}
