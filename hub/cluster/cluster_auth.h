/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_auth - how two nodes prove to each other that they know the secret of the cluster.
 *
 * Three messages of fixed length open every connection between nodes. Who was called greets with a
 * fresh nonce; the caller answers with one of its own and a proof; who was called answers that with
 * its proof. A proof is HMAC-SHA-256 over who proves, which node was called, and both nonces: it
 * holds for one direction of one connection to one node. What follows is neither encrypted nor
 * authenticated once more. All functions: any thread.
 */
#ifndef HUB_CLUSTER_CLUSTER_AUTH_H
#define HUB_CLUSTER_CLUSTER_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum {
    CLUSTER_NONCE_LEN = 16,
    CLUSTER_GREETING_LEN = 7 + CLUSTER_NONCE_LEN,
    CLUSTER_PROOF_LEN = CLUSTER_NONCE_LEN + 32,
    CLUSTER_WELCOME_LEN = 32,
};

/* One connection, on either side. */
struct cluster_auth {
    uint16_t node; /* tag of the node that was called */
    uint8_t called[CLUSTER_NONCE_LEN];
    uint8_t caller[CLUSTER_NONCE_LEN];
};

/* The node that was called: greet. */
void cluster_auth_greet(
    struct cluster_auth *auth, uint16_t node, uint8_t ret_greeting[CLUSTER_GREETING_LEN]);

/* The caller of `node`: answer a greeting, of CLUSTER_GREETING_LEN bytes; false: it is none. */
MUST_CHECK bool cluster_auth_answer(struct cluster_auth *auth, uint16_t node, struct bytes secret,
    struct bytes greeting, uint8_t ret_proof[CLUSTER_PROOF_LEN]);

/* The node that was called: check the proof, of CLUSTER_PROOF_LEN bytes, and answer it. */
MUST_CHECK bool cluster_auth_accept(struct cluster_auth *auth, struct bytes secret,
    struct bytes proof, uint8_t ret_welcome[CLUSTER_WELCOME_LEN]);

/* The caller: whether the welcome, of CLUSTER_WELCOME_LEN bytes, is one of the node it called. */
MUST_CHECK bool cluster_auth_confirm(
    const struct cluster_auth *auth, struct bytes secret, struct bytes welcome);

#endif
