/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads secrets, and signs by each of them.
 */
#include "hub/hooks/signature.h"

#include <string.h>

#include "codec/base/status.h"
#include "codec/base64.h"
#include "hub/net/crypto.h"

static const char prefix[] = "whsec_";

int signature_read_secret(const char *text, struct signature_secret *ret_secret)
{
    struct bytes encoded = bytes_str(text);
    struct signature_secret secret = {0};
    size_t len;
    if (!bytes_starts(encoded, BYTES(prefix))) {
        return STATUS_INVALID;
    }
    encoded = bytes_skip(encoded, sizeof(prefix) - 1);
    int status = base64_decode(encoded, (char *)secret.at, sizeof(secret.at), &len);
    if (status != 0 || len < SIGNATURE_SECRET_MIN) {
        crypto_wipe(&secret, sizeof(secret));
        return STATUS_INVALID;
    }
    secret.len = (uint8_t)len;
    *ret_secret = secret;
    return 0;
}

void signature_write(const struct signature_secret *secrets, size_t count, struct bytes id,
    uint64_t timestamp_s, struct bytes body, struct builder *out)
{
    struct builder content = {.max = UINT32_MAX};
    builder_add(&content, id);
    builder_printf(&content, ".%llu.", (unsigned long long)timestamp_s);
    builder_add(&content, body);
    for (size_t i = 0; i < count; i++) {
        uint8_t digest[CRYPTO_SHA256_LEN];
        char text[BASE64_LEN(CRYPTO_SHA256_LEN)];
        crypto_hmac_sha256(
            bytes_of((const char *)secrets[i].at, secrets[i].len), builder_bytes(&content), digest);
        size_t len = base64_encode(bytes_of((const char *)digest, sizeof(digest)), text);
        builder_str(out, i > 0 ? " v1," : "v1,");
        builder_add(out, bytes_of(text, len));
    }
    builder_reset(&content);
}
