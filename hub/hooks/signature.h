/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signature - how a backend knows that a request is ours: Standard Webhooks, v1 (HMAC-SHA-256).
 *
 * What is signed is "<id>.<timestamp>.<body>"; the receiver refuses timestamps that are old.
 */
#ifndef HUB_HOOKS_SIGNATURE_H
#define HUB_HOOKS_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { SIGNATURE_SECRET_MIN = 24, SIGNATURE_SECRET_MAX = 64 };

/* The bytes behind a text such as whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw. */
struct signature_secret {
    uint8_t len;
    uint8_t at[SIGNATURE_SECRET_MAX];
};

/*
 * Read `whsec_` and the base64 of 24 to 64 bytes. STATUS_INVALID for anything else.
 */
MUST_CHECK int signature_read_secret(const char *text, struct signature_secret *ret_secret);

/*
 * Append the value of `webhook-signature`: one signature by each of `count` secrets, separated by
 * blanks, so that a receiver that knows one of them is content while a secret is replaced.
 */
void signature_write(const struct signature_secret *secrets, size_t count, struct bytes id,
    uint64_t timestamp_s, struct bytes body, struct builder *out);

#endif
