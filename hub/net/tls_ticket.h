/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_ticket - the keys that session tickets are sealed with: made of a secret and the time, so
 * that every node with the same secret accepts what another one gave, and nothing is stored.
 *
 * A window has a key of its own for 12 hours. What was sealed in the window before, or in the next
 * one of a node whose clock is ahead, is accepted too. All functions are for any thread.
 */
#ifndef HUB_NET_TLS_TICKET_H
#define HUB_NET_TLS_TICKET_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"

enum {
    TLS_TICKET_NAME = 16,
    TLS_TICKET_KEY = 32,
    TLS_TICKET_WINDOW_S = 12 * 3600,
    TLS_TICKET_SECRET = 32
};

/* What a secret of any length comes down to. */
struct tls_ticket_secret {
    uint8_t root[TLS_TICKET_SECRET];
};

/* One window's. */
struct tls_ticket_key {
    uint8_t name[TLS_TICKET_NAME]; /* travels with the ticket: the window, and whose it is */
    uint8_t cipher[TLS_TICKET_KEY];
    uint8_t mac[TLS_TICKET_KEY];
};

/* Prepare `secret`, which is not kept. */
void tls_ticket_prepare(struct bytes secret, struct tls_ticket_secret *ret_secret);

/* The key to seal with at `now_s` seconds since 1970. */
void tls_ticket_seal(
    const struct tls_ticket_secret *secret, uint64_t now_s, struct tls_ticket_key *ret_key);

/* The key that `name` was sealed with; false when it is not accepted at `now_s`. */
bool tls_ticket_open(const struct tls_ticket_secret *secret, uint64_t now_s,
    const uint8_t name[TLS_TICKET_NAME], struct tls_ticket_key *ret_key);

#endif
