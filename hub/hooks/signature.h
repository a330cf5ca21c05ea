/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signature - how a backend knows that a request is ours: Standard Webhooks, v1 (HMAC-SHA-256).
 *
 * What is signed is "<id>.<timestamp>.<body>"; the receiver refuses timestamps that are old.
 */
#ifndef HUB_HOOKS_SIGNATURE_H
#define HUB_HOOKS_SIGNATURE_H

#include <stdbool.h>
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

/* The lines of a request's head that say whose its body is; all zero at first. */
struct signature_lines {
    const char *lines[4]; /* with the others they are good for one request */
    /* private */
    char id[64];
    char timestamp[64];
    struct builder signature;
};

/*
 * Write them for `body`, known to the receiver by `id` (16 bytes, of which `webhook-id` is made:
 * the same of each try). `now_s`: the wall clock. False: no memory.
 */
MUST_CHECK bool signature_write_lines(const struct signature_secret *secrets, size_t count,
    const uint8_t id[16], uint64_t now_s, struct bytes body, struct signature_lines *lines);

/* Free what they hold. */
void signature_finish_lines(struct signature_lines *lines);

#endif
