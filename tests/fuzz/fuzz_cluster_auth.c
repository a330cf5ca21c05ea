/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three messages by which nodes prove themselves: no input is a proof.
 */
#include <string.h>

#include "hub/cluster/cluster_auth.h"
#include "tests/fuzz/fuzz.h"

enum { NODE = 7 };

/* What a stranger says on either side of the handshake proves nothing, and reads within its bytes.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct bytes secret = {.at = "0123456789abcdef", .len = 16};
    struct cluster_auth called = {0};
    struct cluster_auth caller = {0};
    uint8_t greeting[CLUSTER_GREETING_LEN];
    uint8_t proof[CLUSTER_PROOF_LEN];
    uint8_t welcome[CLUSTER_WELCOME_LEN];
    cluster_auth_greet(&called, NODE, greeting);
    if (size >= CLUSTER_PROOF_LEN) {
        CHECK(!cluster_auth_accept(&called, secret, bytes_of(data, CLUSTER_PROOF_LEN), welcome));
    }
    if (size >= CLUSTER_GREETING_LEN) {
        bool good =
            cluster_auth_answer(&caller, NODE, secret, bytes_of(data, CLUSTER_GREETING_LEN), proof);
        CHECK(good == (memcmp(data, greeting, CLUSTER_GREETING_LEN - CLUSTER_NONCE_LEN) == 0));
    }
    if (size >= CLUSTER_WELCOME_LEN) {
        CHECK(cluster_auth_answer(
            &caller, NODE, secret, bytes_of(greeting, sizeof(greeting)), proof));
        CHECK(!cluster_auth_confirm(&caller, secret, bytes_of(data, CLUSTER_WELCOME_LEN)));
    }
    return 0;
}
