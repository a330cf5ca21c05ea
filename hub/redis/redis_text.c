/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes commands as arrays of bulk strings, and sorts refusals by what they mean for the
 * connection.
 */
#include "hub/redis/redis_text.h"

#include "codec/base/check.h"
#include "codec/base/status.h"

void redis_text_command(const struct bytes *argv, size_t argc, struct builder *out)
{
    builder_byte(out, '*');
    builder_u64(out, argc);
    builder_str(out, "\r\n");
    for (size_t i = 0; i < argc; i++) {
        builder_byte(out, '$');
        builder_u64(out, argv[i].len);
        builder_str(out, "\r\n");
        builder_add(out, argv[i]);
        builder_str(out, "\r\n");
    }
}

int redis_text_status(struct bytes error)
{
    static const char *const refusals[] = {"NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH",
        "ERR invalid password", "ERR Client sent AUTH"};
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        if (bytes_starts(error, bytes_str(refusals[i]))) {
            return STATUS_UNAUTHORIZED;
        }
    }
    return STATUS_UNAVAILABLE;
}

size_t redis_text_size(const struct bytes *argv, size_t argc)
{
    size_t size = 16;
    for (size_t i = 0; i < argc; i++) {
        size += argv[i].len + 16;
    }
    return size;
}
