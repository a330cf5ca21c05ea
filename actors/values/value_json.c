/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacks a value as it is written.
 */
#include "actors/values/value_json.h"

#include "codec/base/status.h"
#include "codec/json_write.h"
#include "codec/zip.h"

bool value_json_write(const struct value_result *result, struct builder *out)
{
    struct bytes bytes = buf_bytes(result->body.bytes);
    json_write_key(out, "value");
    if (result->body.raw == 0) {
        builder_add(out, bytes);
    } else if (zip_unpack(bytes, result->body.raw, out) == STATUS_INVALID) {
        return false;
    }
    json_write_u64(out, "version", result->version);
    json_write_time(out, "expiresAt", result->expires_ms);
    return true;
}
