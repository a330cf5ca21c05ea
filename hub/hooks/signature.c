/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads secrets, and signs by each of them.
 */
#include "hub/hooks/signature.h"

#include <stdio.h>
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

bool signature_write_lines(const struct signature_secret *secrets, size_t count,
    const uint8_t id[16], uint64_t now_s, struct bytes body, struct signature_lines *lines)
{
    enum { BYTES_OF_ID = 16, ID_LEN = 36 /* msg_ and 32 hexadecimal digits */ };
    char text[ID_LEN + 1] = "msg_";
    for (size_t i = 0; i < BYTES_OF_ID; i++) {
        snprintf(text + 4 + 2 * i, 3, "%02x", id[i]);
    }
    snprintf(lines->id, sizeof(lines->id), "webhook-id: %s", text);
    snprintf(lines->timestamp, sizeof(lines->timestamp), "webhook-timestamp: %llu",
        (unsigned long long)now_s);
    builder_str(&lines->signature, "webhook-signature: ");
    signature_write(secrets, count, bytes_of(text, ID_LEN), now_s, body, &lines->signature);
    builder_byte(&lines->signature, '\0');
    lines->lines[0] = "Content-Type: application/json";
    lines->lines[1] = lines->id;
    lines->lines[2] = lines->timestamp;
    lines->lines[3] = builder_bytes(&lines->signature).at;
    return !builder_failed(&lines->signature);
}

void signature_finish_lines(struct signature_lines *lines)
{
    builder_reset(&lines->signature);
}
