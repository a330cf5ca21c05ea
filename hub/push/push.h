/* SPDX-License-Identifier: Apache-2.0 */
/*
 * push - hands messages for devices over to their providers, from a shard, and reads what these
 * say.
 *
 * Only what means the device is of the device: an answer that means our own credential, the
 * service or this message leaves the device alone. Web Push so far; other platforms have no
 * provider.
 */
#ifndef HUB_PUSH_PUSH_H
#define HUB_PUSH_PUSH_H

#include <stdatomic.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/device.h"
#include "hub/net/outgoing.h"
#include "sql/store_job.h"

struct loop;
struct outgoing_guard;
struct push;

enum { PUSH_KEYS_MAX = 2, PUSH_SCALAR_LEN = 32, PUSH_TOPIC_MAX = 32 };

/* As the settings have it; texts are theirs. */
struct push_settings {
    uint8_t keys[PUSH_KEYS_MAX][PUSH_SCALAR_LEN]; /* of Web Push: the one for new devices first */
    char public_keys[PUSH_KEYS_MAX][88]; /* in base64url */
    unsigned key_count; /* 0: no Web Push */
    const char *subject;
    uint32_t timeout_ms;
    uint64_t after_ms; /* what is stored is pushed so long behind it */
    uint64_t ttl_ms; /* and no longer than this */
    unsigned content; /* enum push_content */
    struct store_job_rule rule; /* of the queue of hand-offs */
    const struct outgoing_guard *guard; /* borrowed from the hooks */
    const char *ca;
};

/* What has become of a message. */
enum push_outcome {
    PUSH_SENT,
    PUSH_GONE, /* there is no such device any more */
    PUSH_CREDENTIAL, /* the provider does not take ours: an alarm, until it does */
    PUSH_UNCONFIGURED, /* no provider for its platform, or not the key that it subscribed with */
    PUSH_TOO_LARGE,
    PUSH_LIMITED, /* too many: later */
    PUSH_AWAY, /* the provider did not answer, or said that it is its own fault: later */
    PUSH_FORBIDDEN, /* its address is none that may be called */
    PUSH_REFUSED, /* anything else */
    PUSH_OUTCOME_COUNT,
};

/* The name of an outcome ("sent"). */
const char *push_outcome_name(enum push_outcome outcome);

/* What a shard counts. */
struct push_stats {
    uint64_t outcomes[PUSH_OUTCOME_COUNT];
    uint64_t under_way; /* now */
};

struct push_call;

/* Called once, in a later turn than push_begin; the call may be freed in it. */
typedef void (*push_done_fn)(struct push_call *call);

/* A message for one device; embedded by who sends. All zero at first. */
struct push_call {
    const struct device *device; /* these four are borrowed until push_begin has returned */
    struct bytes plain; /* JSON; at most WEB_PUSH_PLAIN_MAX bytes */
    const char *topic; /* a later one takes its place while it waits; up to PUSH_TOPIC_MAX
                          characters of base64url, NULL: none */
    const char *urgency; /* RFC 8030, 5.3 */
    uint32_t ttl_s; /* how long the provider keeps it */
    push_done_fn done;
    enum push_outcome outcome; /* out */
    unsigned status; /* out: what the provider answered; 0: nothing */
    uint64_t wait_ms; /* out: it asks to be left alone for so long; 0: it does not say */
};

/*
 * Make the service of a loop's shard, on its thread. `settings` are borrowed until push_set;
 * `refused`, one for all shards of the node, is true while the last answer of a provider refused
 * our credential.
 */
MUST_CHECK struct push *push_open(
    struct loop *loop, const struct push_settings *settings, atomic_bool *refused);

/* Change over to other settings; what is under way goes on. */
void push_set(struct push *push, const struct push_settings *settings);

/* Begin to end: what is under way ends as PUSH_AWAY, told before it returns. */
void push_close(struct push *push);

/* How much of it is open: 0 when it was closed and may be destroyed. */
uint64_t push_count_open(const struct push *push);

/* Free it; NULL is allowed. */
void push_destroy(struct push *push);

/*
 * Begin to send. STATUS_INVALID: it cannot be sent, and `outcome` says why; STATUS_FULL: too many
 * are under way; STATUS_NOMEM, STATUS_CLOSED. `done` is not called then.
 */
MUST_CHECK int push_begin(struct push *push, struct push_call *call);

/* The public key that pages subscribe with, in base64url; NULL: there is no Web Push. */
const char *push_public_key(const struct push *push);

/* What the shard counts, now. */
const struct push_stats *push_get_stats(const struct push *push);

#endif
