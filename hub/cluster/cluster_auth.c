/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Computes and compares the proofs of the three messages.
 */
#include "hub/cluster/cluster_auth.h"

#include <string.h>

#include "codec/base/rand.h"
#include "hub/net/crypto.h"

static const struct bytes MAGIC = {.at = "PEAL/1\n", .len = 7};
static const char CONTEXT[] = "peal cluster 1";

_Static_assert((int)CLUSTER_WELCOME_LEN == (int)CRYPTO_SHA256_LEN, "a welcome is a proof alone");

enum role { CALLED = 1, CALLER = 2 };

static void prove(const struct cluster_auth *auth, enum role role, struct bytes secret,
    uint8_t ret_proof[CRYPTO_SHA256_LEN])
{
    uint8_t text[sizeof(CONTEXT) + 3 + 2 * CLUSTER_NONCE_LEN];
    uint8_t *at = text;
    memcpy(at, CONTEXT, sizeof(CONTEXT)); /* with its NUL */
    at += sizeof(CONTEXT);
    *at++ = (uint8_t)role;
    *at++ = (uint8_t)(auth->node >> 8);
    *at++ = (uint8_t)auth->node;
    memcpy(at, auth->called, CLUSTER_NONCE_LEN);
    memcpy(at + CLUSTER_NONCE_LEN, auth->caller, CLUSTER_NONCE_LEN);
    crypto_hmac_sha256(secret, bytes_of(text, sizeof(text)), ret_proof);
}

static bool is_proof(
    const struct cluster_auth *auth, enum role role, struct bytes secret, const char *proof)
{
    uint8_t expected[CRYPTO_SHA256_LEN];
    prove(auth, role, secret, expected);
    return crypto_equal(proof, expected, sizeof(expected));
}

void cluster_auth_greet(
    struct cluster_auth *auth, uint16_t node, uint8_t ret_greeting[CLUSTER_GREETING_LEN])
{
    auth->node = node;
    rand_secret(auth->called, sizeof(auth->called));
    memcpy(ret_greeting, MAGIC.at, MAGIC.len);
    memcpy(ret_greeting + MAGIC.len, auth->called, sizeof(auth->called));
}

bool cluster_auth_answer(struct cluster_auth *auth, uint16_t node, struct bytes secret,
    struct bytes greeting, uint8_t ret_proof[CLUSTER_PROOF_LEN])
{
    if (greeting.len != CLUSTER_GREETING_LEN || !bytes_starts(greeting, MAGIC)) {
        return false;
    }
    auth->node = node;
    memcpy(auth->called, greeting.at + MAGIC.len, sizeof(auth->called));
    rand_secret(auth->caller, sizeof(auth->caller));
    memcpy(ret_proof, auth->caller, sizeof(auth->caller));
    prove(auth, CALLER, secret, ret_proof + sizeof(auth->caller));
    return true;
}

bool cluster_auth_accept(struct cluster_auth *auth, struct bytes secret, struct bytes proof,
    uint8_t ret_welcome[CLUSTER_WELCOME_LEN])
{
    if (proof.len != CLUSTER_PROOF_LEN) {
        return false;
    }
    memcpy(auth->caller, proof.at, sizeof(auth->caller));
    if (!is_proof(auth, CALLER, secret, proof.at + CLUSTER_NONCE_LEN)) {
        return false;
    }
    prove(auth, CALLED, secret, ret_welcome);
    return true;
}

bool cluster_auth_confirm(
    const struct cluster_auth *auth, struct bytes secret, struct bytes welcome)
{
    return welcome.len == CLUSTER_WELCOME_LEN && is_proof(auth, CALLED, secret, welcome.at);
}
