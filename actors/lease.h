/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease - a key in Redis that one holder at a time has, for as long as it renews it.
 *
 * The key's value is the holder's name and, behind a blank, what others may want to know of it (the
 * note). One script claims and renews: a key that is missing, or ours, is ours for another
 * lifetime; one of another name is left alone. So a key that was lost with the server's data is put
 * back, and who finds its own name may go on. A lease says who tries; what must not be done twice
 * needs a fence of its own.
 */
#ifndef ACTORS_LEASE_H
#define ACTORS_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/bus.h"
#include "actors/core/timer.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/bus_name.h"

struct shard;

enum { LEASE_VALUE_MAX = 256, LEASE_ARGC = 7, LEASE_TTL_TEXT = 24 };

/* Why a lease ended; see lease_end_text. */
enum lease_end {
    LEASE_TAKEN, /* the key names another holder */
    LEASE_EXPIRED, /* not renewed within its lifetime: another one may have it */
};

/* What a lease tells its owner. Members may be NULL. */
struct lease_events {
    /* Whether to claim it now, when it is not held. */
    bool (*may_claim)(void *context);
    /* It is ours. */
    void (*on_held)(void *context);
    /* It is ours for another lifetime. */
    void (*on_renewed)(void *context);
    /* It is another holder's, as before. */
    void (*on_denied)(void *context);
    /* It was ours; claiming goes on. */
    void (*on_lost)(void *context, enum lease_end why);
    /* Redis refuses the question, or answers what is no answer to it, which changes nothing: `text`
     * is its error, or says so; borrowed. */
    void (*on_refused)(void *context, struct bytes text);
};

struct lease_config {
    const char *key;
    const char *holder; /* a name without blanks */
    const char *note; /* NULL: none */
    uint32_t ttl_ms;
    uint32_t renew_ms; /* between renewals; a fraction of ttl_ms */
    uint32_t claim_ms; /* between attempts to get it */
    bool held; /* it was claimed before (lease_write_claim) */
    bool lasting; /* it never counts as expired, only as taken: without Redis nobody can have it */
};

struct lease {
    /* private */
    struct shard *shard;
    struct bus_link *link;
    const struct lease_events *events;
    void *context;
    struct timer timer;
    uint64_t asked_ms;
    uint64_t until_ms;
    uint32_t ttl_ms;
    uint32_t renew_ms;
    uint32_t claim_ms;
    uint32_t term; /* counts how often it ended: an answer from before says nothing */
    uint32_t asked_term;
    bool lasting;
    bool held;
    bool asking;
    bool stopped;
    char key[BUS_NAME_MAX];
    char holder[LEASE_VALUE_MAX];
    char value[LEASE_VALUE_MAX];
};

/* What the words of lease_write_claim are kept in. */
struct lease_claim {
    struct bytes argv[LEASE_ARGC];
    char value[LEASE_VALUE_MAX];
    char ttl[LEASE_TTL_TEXT];
};

/*
 * Write the command that claims, for who has no loop yet: `ret_claim->argv`, LEASE_ARGC words,
 * which borrow from `config`. lease_is_granted reads its answer.
 */
void lease_write_claim(const struct lease_config *config, struct lease_claim *ret_claim);

/* Whether the answer to a claim says that the key is ours. */
bool lease_is_granted(const struct bus_reply *reply);

/*
 * Begin to claim, or to keep what is held. `link` serves commands and must outlive the lease, or be
 * closed behind lease_stop; the owner may use it for more.
 */
void lease_start(struct lease *lease, struct shard *shard, struct bus_link *link,
    const struct lease_config *config, const struct lease_events *events, void *context);

/* Change the note; told to Redis with the next renewal. */
TEST_SEAM void lease_set_note(struct lease *lease, const char *note);

/* Whether the lease is ours, as far as is known. */
bool lease_is_held(const struct lease *lease);

/*
 * Give the key back; on_lost is not called. Claiming goes on, after `claim_ms`, unless the lease is
 * stopped. `fn` (may be NULL) is called once with `context` when Redis has answered, or cannot.
 */
void lease_release(struct lease *lease, bus_reply_fn fn, void *context);

/* Ask for nothing any more; what is held runs out by itself. Twice is harmless. */
void lease_stop(struct lease *lease);

/* "taken" or "expired". */
const char *lease_end_text(enum lease_end why);

#endif
