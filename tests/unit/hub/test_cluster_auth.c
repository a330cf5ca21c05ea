/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proofs of nodes: only who knows the secret gets in, on this connection and to this node.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/check.h"
#include "hub/cluster/cluster_auth.h"

TestSuite(cluster_auth, .timeout = 60);

static const struct bytes SECRET = {.at = "a secret of the cluster", .len = 23};

/* What both sides have said. */
struct talk {
    struct cluster_auth called;
    struct cluster_auth caller;
    uint8_t greeting[CLUSTER_GREETING_LEN];
    uint8_t proof[CLUSTER_PROOF_LEN];
    uint8_t welcome[CLUSTER_WELCOME_LEN];
};

static struct bytes whole(const void *at, size_t len)
{
    return bytes_of(at, len);
}

/* Greet, and answer as a caller of node `wanted` with `secret`. */
static void begin(struct talk *talk, uint16_t node, uint16_t wanted, struct bytes secret)
{
    memset(talk, 0, sizeof(*talk));
    cluster_auth_greet(&talk->called, node, talk->greeting);
    cr_assert(cluster_auth_answer(
        &talk->caller, wanted, secret, whole(talk->greeting, sizeof(talk->greeting)), talk->proof));
}

static bool accept_proof(struct talk *talk)
{
    return cluster_auth_accept(
        &talk->called, SECRET, whole(talk->proof, sizeof(talk->proof)), talk->welcome);
}

static bool confirm(const struct talk *talk)
{
    return cluster_auth_confirm(&talk->caller, SECRET, whole(talk->welcome, sizeof(talk->welcome)));
}

Test(cluster_auth, nodes_with_one_secret_accept_each_other)
{
    struct talk talk;
    begin(&talk, 0x1234, 0x1234, SECRET);
    cr_assert(accept_proof(&talk));
    cr_expect(confirm(&talk));
}

Test(cluster_auth, another_secret_is_refused_on_either_side)
{
    struct talk talk;
    begin(&talk, 1, 1, BYTES("another secret of a cluster"));
    cr_expect_not(accept_proof(&talk));
    begin(&talk, 1, 1, SECRET);
    cr_expect(cluster_auth_accept(
        &talk.called, SECRET, whole(talk.proof, sizeof(talk.proof)), talk.welcome));
    cr_expect_not(
        cluster_auth_confirm(&talk.caller, BYTES("x"), whole(talk.welcome, sizeof(talk.welcome))));
}

Test(cluster_auth, a_proof_for_another_node_is_refused)
{
    struct talk talk;
    begin(&talk, 1, 2, SECRET);
    cr_expect_not(accept_proof(&talk));
}

Test(cluster_auth, a_proof_of_another_connection_is_refused)
{
    struct talk first;
    struct talk second;
    begin(&first, 1, 1, SECRET);
    begin(&second, 1, 1, SECRET);
    memcpy(second.proof, first.proof, sizeof(first.proof));
    cr_expect_not(accept_proof(&second));
    cr_expect(accept_proof(&first));
}

Test(cluster_auth, the_own_proof_sent_back_is_no_welcome)
{
    struct talk talk;
    begin(&talk, 1, 1, SECRET);
    memcpy(talk.welcome, talk.proof + CLUSTER_NONCE_LEN, sizeof(talk.welcome));
    cr_expect_not(confirm(&talk));
}

Test(cluster_auth, every_changed_bit_is_seen)
{
    struct talk talk;
    for (size_t bit = 0; bit < 8 * sizeof(talk.proof); bit++) {
        begin(&talk, 1, 1, SECRET);
        talk.proof[bit / 8] ^= (uint8_t)(1U << bit % 8);
        cr_expect_not(accept_proof(&talk), "bit %zu of the proof", bit);
    }
    for (size_t bit = 0; bit < 8 * sizeof(talk.welcome); bit++) {
        begin(&talk, 1, 1, SECRET);
        cr_assert(accept_proof(&talk));
        talk.welcome[bit / 8] ^= (uint8_t)(1U << bit % 8);
        cr_expect_not(confirm(&talk), "bit %zu of the welcome", bit);
    }
}

Test(cluster_auth, other_lengths_and_other_greetings_are_refused)
{
    struct talk talk;
    begin(&talk, 1, 1, SECRET);
    cr_expect_not(cluster_auth_accept(
        &talk.called, SECRET, whole(talk.proof, sizeof(talk.proof) - 1), talk.welcome));
    cr_assert(accept_proof(&talk));
    cr_expect_not(
        cluster_auth_confirm(&talk.caller, SECRET, whole(talk.welcome, sizeof(talk.welcome) - 1)));
    cr_expect_not(
        cluster_auth_answer(&talk.caller, 1, SECRET, BYTES("HTTP/1.1 400 Bad Reques"), talk.proof));
    cr_expect_not(cluster_auth_answer(&talk.caller, 1, SECRET, BYTES("PEAL/1\n"), talk.proof));
}
