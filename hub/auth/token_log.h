/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token_log - tells the operator why tokens are refused.
 */
#ifndef HUB_AUTH_TOKEN_LOG_H
#define HUB_AUTH_TOKEN_LOG_H

#include "codec/base/bytes.h"

struct jwt;

/*
 * Log why `jwt` has refused its last token, at most ten times in ten seconds for each thread.
 * `remote`: who showed it, or empty. Never the token; a claim only of one whose signature is right.
 */
void token_log_refusal(const struct jwt *jwt, struct bytes remote);

#endif
