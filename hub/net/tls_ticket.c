/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Derives the key of a window, and finds the window in a ticket's name.
 */
#include "hub/net/tls_ticket.h"

#include <string.h>

#include "hub/net/crypto.h"

enum { WINDOW_LEN = 8 };

void tls_ticket_prepare(struct bytes secret, struct tls_ticket_secret *ret_secret)
{
    crypto_hkdf_sha256(secret, BYTES("peal tls tickets 1"), BYTES("root"), ret_secret->root,
        sizeof(ret_secret->root));
}

static void derive(
    const struct tls_ticket_secret *secret, uint64_t window, struct tls_ticket_key *ret_key)
{
    uint8_t made[TLS_TICKET_NAME - WINDOW_LEN + 2 * TLS_TICKET_KEY];
    uint8_t number[WINDOW_LEN];
    const uint8_t *at = made;
    for (unsigned i = 0; i < WINDOW_LEN; i++) {
        number[i] = (uint8_t)(window >> (8 * (WINDOW_LEN - 1 - i)));
    }
    crypto_hkdf_sha256(bytes_of(secret->root, sizeof(secret->root)), BYTES("peal tls tickets 1"),
        bytes_of(number, sizeof(number)), made, sizeof(made));
    memcpy(ret_key->name, number, WINDOW_LEN);
    memcpy(ret_key->name + WINDOW_LEN, at, TLS_TICKET_NAME - WINDOW_LEN);
    at += TLS_TICKET_NAME - WINDOW_LEN;
    memcpy(ret_key->cipher, at, TLS_TICKET_KEY);
    memcpy(ret_key->mac, at + TLS_TICKET_KEY, TLS_TICKET_KEY);
    crypto_wipe(made, sizeof(made));
}

void tls_ticket_seal(
    const struct tls_ticket_secret *secret, uint64_t now_s, struct tls_ticket_key *ret_key)
{
    derive(secret, now_s / TLS_TICKET_WINDOW_S, ret_key);
}

bool tls_ticket_open(const struct tls_ticket_secret *secret, uint64_t now_s,
    const uint8_t name[TLS_TICKET_NAME], struct tls_ticket_key *ret_key)
{
    struct tls_ticket_key key;
    uint64_t window = 0;
    for (unsigned i = 0; i < WINDOW_LEN; i++) {
        window = window << 8 | name[i];
    }
    uint64_t now = now_s / TLS_TICKET_WINDOW_S;
    if (window > now + 1 || window + 1 < now) {
        return false;
    }
    derive(secret, window, &key);
    bool ours = crypto_equal(key.name, name, TLS_TICKET_NAME);
    if (ours) {
        *ret_key = key;
    }
    crypto_wipe(&key, sizeof(key));
    return ours;
}
