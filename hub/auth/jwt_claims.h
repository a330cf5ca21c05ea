/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt_claims - from the payload of a proven token to claims under a policy, and back.
 */
#ifndef HUB_AUTH_JWT_CLAIMS_H
#define HUB_AUTH_JWT_CLAIMS_H

#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/claims.h"
#include "hub/auth/jwt_options.h"

/* The part of jwt_options that is about claims, owned. */
struct jwt_policy {
    char *issuer;
    char *audience;
    char **extra;
    size_t extra_count;
    bool allow_no_exp;
    uint32_t leeway_s;
};

/* Copy it from `options`; freed with jwt_policy_finish. */
void jwt_policy_init(struct jwt_policy *policy, const struct jwt_options *options);
void jwt_policy_finish(struct jwt_policy *policy);

/*
 * Read the JSON text of a payload. `key_issuer` is the only `iss` that the key which proved it is
 * good for; empty: any. As jwt_verify: 0 with new claims, STATUS_EXPIRED, STATUS_UNAUTHORIZED,
 * STATUS_NOMEM; why is then in `refusal`, with the user where there is one.
 */
MUST_CHECK int jwt_claims_read(const struct jwt_policy *policy, struct bytes key_issuer,
    struct bytes payload, uint64_t now_s, struct jwt_refusal *refusal, struct claims **ret_claims);

/* Keep up to JWT_SHOWN_MAX bytes of `text` at `at`. */
struct bytes jwt_shown(struct bytes text, char at[JWT_SHOWN_MAX]);

/* Whether `expires_at` (0: never) has passed at `now_s`, the policy's leeway granted. */
bool jwt_claims_expired(const struct jwt_policy *policy, uint64_t expires_at, uint64_t now_s);

/* Append the JSON text of the payload of a token to be signed. */
void jwt_claims_write(const struct jwt_sign_options *options, struct builder *out);

#endif
