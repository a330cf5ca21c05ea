/* SPDX-License-Identifier: Apache-2.0 */
/*
 * webhooks - backends are told what has happened.
 *
 * Each shard records what happens on it (webhook_record.h) as jobs of the store, one for each call,
 * in a queue of the webhook. The calls are made by the shards of all nodes that can: each webhook
 * by one shard of a node, as many at a time as the queue's concurrency allows over the cluster. A
 * call is a signed POST (signature.h), whose `webhook-id` is made of the job's. 2xx is success;
 * else it is tried again as the queue says, and is dead in the end. After WEBHOOKS_FAILURES in a
 * row a node leases none for a while (codec/base/breaker.h), so that jobs wait without using up
 * attempts. A node that ends, or is killed, gives back what it had leased: it is delivered by
 * another, with the same id, perhaps for the second time.
 */
#ifndef HUB_HOOKS_WEBHOOKS_H
#define HUB_HOOKS_WEBHOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "hub/hooks/signature.h"
#include "hub/hooks/webhook_record.h"
#include "hub/net/outgoing.h"
#include "sql/store_job.h"

struct loop;
struct outgoing_guard;
struct webhook_note;
struct webhook_settling;
struct webhooks;

enum {
    WEBHOOKS_FAILURES = 5,
    WEBHOOKS_ANSWER_MAX = 1048576, /* bytes */
    WEBHOOKS_FORGET_MS = 60000, /* one that failed, and was told nothing for so long since */
};

/* A webhook as the settings have it; texts are theirs. */
struct webhook_options {
    const char *name;
    const char *url;
    const char *tenant; /* whose events it is told; "": all */
    struct signature_secret secrets[2];
    unsigned secret_count;
    uint32_t events; /* 1u << enum webhook_event */
    uint32_t timeout_ms;
    struct store_job_rule rule; /* of its queue */
};

/* All of them, and where requests may go. */
struct webhook_settings {
    struct webhook_options items[WEBHOOKS_MAX];
    unsigned count;
    const struct outgoing_guard *guard;
    const char *ca;
};

/* What a shard counts; webhooks by their number in the settings. */
struct webhook_stats {
    uint64_t recorded; /* events, for each webhook */
    uint64_t lost;
    uint64_t waiting; /* to be recorded, now */
    uint64_t stuck; /* 1: the store did not take them when it was asked last */
    uint64_t calls;
    uint64_t delivered; /* of these, answered with 2xx */
    uint64_t failed;
    uint64_t half_open[WEBHOOKS_MAX]; /* breakers: 1 */
    uint64_t open[WEBHOOKS_MAX];
};

/* Make those of a loop's shard, on its thread. `settings` are borrowed until webhooks_set. */
MUST_CHECK struct webhooks *webhooks_open(
    struct loop *loop, const struct webhook_settings *settings);

/* Change over to other settings. One of the same name and URL keeps its breaker; what is under way
 * goes on, also of one that is gone, whose jobs then stay in its queue. */
void webhooks_set(struct webhooks *webhooks, const struct webhook_settings *settings);

/* Begin to end: what waits is recorded, what is under way is given back. */
void webhooks_close(struct webhooks *webhooks);

/* How much of it is open: 0 when it was closed and may be destroyed. */
uint64_t webhooks_count_open(const struct webhooks *webhooks);

/* Free them; NULL is allowed. */
void webhooks_destroy(struct webhooks *webhooks);

/* Something has happened: record it for those that want it. */
void webhooks_tell(struct webhooks *webhooks, const struct webhook_note *note);

/* As webhook_settle_fn. */
MUST_CHECK bool webhooks_settle(struct webhooks *webhooks, struct webhook_settling *settling);

/* The events that any of `settings` wants: 1u << enum webhook_event. Any thread. */
uint32_t webhooks_events(const struct webhook_settings *settings);

/* What the shard counts, brought up to date. */
const struct webhook_stats *webhooks_get_stats(struct webhooks *webhooks);

/* What the requests of the shard count. */
const struct outgoing_stats *webhooks_get_requests(const struct webhooks *webhooks);

#endif
