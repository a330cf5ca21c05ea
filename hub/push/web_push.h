/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_push - what is sent to a push service, for one browser to read: RFC 8291 (the message), and
 * RFC 8292 (who sends it).
 */
#ifndef HUB_PUSH_WEB_PUSH_H
#define HUB_PUSH_WEB_PUSH_H

#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/device.h"

struct crypto_p256;

enum {
    WEB_PUSH_SALT_LEN = 16,
    WEB_PUSH_BODY_MAX = 4096, /* that every push service takes (RFC 8030, 7.2) */
    WEB_PUSH_PLAIN_MAX = WEB_PUSH_BODY_MAX - 103, /* head, delimiter and tag */
    WEB_PUSH_KEY_LEN = 87, /* a public key in base64url */
};

/*
 * Append `plain` (1 to WEB_PUSH_PLAIN_MAX bytes), encrypted for a browser's `device`, as the body
 * of a request with `Content-Encoding: aes128gcm`. `key` and `salt` are new for each message.
 * STATUS_INVALID: the device's key is no point of the curve.
 */
MUST_CHECK int web_push_seal(const struct crypto_p256 *key, const uint8_t salt[WEB_PUSH_SALT_LEN],
    const struct device *device, struct bytes plain, struct builder *out);

/*
 * Append the value of the header Authorization by which `key` says who sends to the push service at
 * `endpoint`, until `expires_s` (since 1970; at most a day ahead). `subject` is whom to ask:
 * mailto: or https:.
 */
void web_push_authorize(const struct crypto_p256 *key, struct bytes endpoint, struct bytes subject,
    uint64_t expires_s, struct builder *out);

/* Write the public part of a key in base64url. */
void web_push_write_key(const struct crypto_p256 *key, char ret_text[WEB_PUSH_KEY_LEN]);

#endif
