/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One message is one record (RFC 8188): its head carries the salt and the sender's public key.
 */
#include "hub/push/web_push.h"

#include <string.h>

#include "codec/base/status.h"
#include "codec/base64.h"
#include "codec/json_write.h"
#include "codec/url.h"
#include "hub/net/crypto.h"
#include "hub/net/crypto_p256.h"

enum { RECORD_SIZE = 4096, HEAD_LEN = WEB_PUSH_SALT_LEN + 4 + 1 + CRYPTO_POINT_LEN, DELIMITER = 2 };

static const char use[] = "WebPush: info"; /* with its NUL, as the next two */
static const char use_key[] = "Content-Encoding: aes128gcm";
static const char use_nonce[] = "Content-Encoding: nonce";

/* What both sides know, and nobody else (RFC 8291, 3.4). */
static int agree(const struct crypto_p256 *key, const struct device *device,
    uint8_t ret_material[CRYPTO_SHA256_LEN])
{
    uint8_t info[sizeof(use) + 2 * (size_t)CRYPTO_POINT_LEN];
    uint8_t secret[CRYPTO_SCALAR_LEN];
    int status = crypto_p256_agree(key, device->point, secret);
    if (status != 0) {
        return status;
    }
    memcpy(info, use, sizeof(use));
    memcpy(info + sizeof(use), device->point, CRYPTO_POINT_LEN);
    crypto_p256_get_point(key, info + sizeof(use) + CRYPTO_POINT_LEN);
    crypto_hkdf_sha256(bytes_of(secret, sizeof(secret)),
        bytes_of(device->secret, sizeof(device->secret)), bytes_of(info, sizeof(info)),
        ret_material, CRYPTO_SHA256_LEN);
    crypto_wipe(secret, sizeof(secret));
    return 0;
}

static void write_head(const struct crypto_p256 *key, const uint8_t salt[WEB_PUSH_SALT_LEN],
    uint8_t ret_head[HEAD_LEN])
{
    static const uint8_t sizes[] = {0, 0, RECORD_SIZE >> 8, 0, CRYPTO_POINT_LEN};
    memcpy(ret_head, salt, WEB_PUSH_SALT_LEN);
    memcpy(ret_head + WEB_PUSH_SALT_LEN, sizes, sizeof(sizes));
    crypto_p256_get_point(key, ret_head + WEB_PUSH_SALT_LEN + sizeof(sizes));
}

int web_push_seal(const struct crypto_p256 *key, const uint8_t salt[WEB_PUSH_SALT_LEN],
    const struct device *device, struct bytes plain, struct builder *out)
{
    uint8_t material[CRYPTO_SHA256_LEN];
    uint8_t content_key[CRYPTO_AES128_LEN];
    uint8_t nonce[CRYPTO_NONCE_LEN];
    uint8_t head[HEAD_LEN];
    char record[WEB_PUSH_PLAIN_MAX + 1];
    uint8_t sealed[WEB_PUSH_PLAIN_MAX + 1 + CRYPTO_TAG_LEN];
    CHECK(plain.len > 0 && plain.len <= WEB_PUSH_PLAIN_MAX);
    int status = agree(key, device, material);
    if (status != 0) {
        return status;
    }
    struct bytes secret = bytes_of(material, sizeof(material));
    struct bytes grain = bytes_of(salt, WEB_PUSH_SALT_LEN);
    crypto_hkdf_sha256(
        secret, grain, bytes_of(use_key, sizeof(use_key)), content_key, sizeof(content_key));
    crypto_hkdf_sha256(secret, grain, bytes_of(use_nonce, sizeof(use_nonce)), nonce, sizeof(nonce));
    memcpy(record, plain.at, plain.len);
    record[plain.len] = DELIMITER; /* the last record; no padding */
    crypto_aes128_gcm_seal(content_key, nonce, bytes_of(record, plain.len + 1), sealed);
    write_head(key, salt, head);
    builder_add(out, bytes_of(head, sizeof(head)));
    builder_add(out, bytes_of(sealed, plain.len + 1 + CRYPTO_TAG_LEN));
    crypto_wipe(material, sizeof(material));
    crypto_wipe(content_key, sizeof(content_key));
    crypto_wipe(record, sizeof(record));
    return 0;
}

/* --- who sends --- */

static void add_base64url(struct builder *out, struct bytes data)
{
    char *at = builder_reserve(out, BASE64URL_LEN(data.len));
    if (at != NULL) {
        builder_commit(out, base64url_encode(data, at));
    }
}

/* "https://host[:port]" of a URL. */
static struct bytes origin_of(struct bytes endpoint)
{
    struct url url;
    if (url_split(endpoint, &url) != 0) {
        return bytes_of(NULL, 0);
    }
    return bytes_of(endpoint.at, (size_t)(url.host.at + url.host.len - endpoint.at));
}

void web_push_write_key(const struct crypto_p256 *key, char ret_text[WEB_PUSH_KEY_LEN])
{
    uint8_t point[CRYPTO_POINT_LEN];
    crypto_p256_get_point(key, point);
    (void)base64url_encode(bytes_of(point, sizeof(point)), ret_text);
}

void web_push_authorize(const struct crypto_p256 *key, struct bytes endpoint, struct bytes subject,
    uint64_t expires_s, struct builder *out)
{
    uint8_t signature[CRYPTO_SIGNATURE_LEN];
    char public_key[WEB_PUSH_KEY_LEN];
    struct builder token = {0};
    struct builder claims = {0};
    json_write_open(&claims, '{');
    json_write_text(&claims, "aud", origin_of(endpoint));
    json_write_u64(&claims, "exp", expires_s);
    if (subject.len > 0) {
        json_write_text(&claims, "sub", subject);
    }
    json_write_close(&claims, '}');
    add_base64url(&token, BYTES("{\"typ\":\"JWT\",\"alg\":\"ES256\"}"));
    builder_byte(&token, '.');
    add_base64url(&token, builder_bytes(&claims));
    crypto_p256_sign(key, builder_bytes(&token), signature);
    web_push_write_key(key, public_key);
    builder_str(out, "vapid t=");
    builder_add(out, builder_bytes(&token));
    builder_byte(out, '.');
    add_base64url(out, bytes_of(signature, sizeof(signature)));
    builder_str(out, ", k=");
    builder_add(out, bytes_of(public_key, sizeof(public_key)));
    builder_reset(&claims);
    builder_reset(&token);
}
