/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hooks - the backend is asked: may this user join, what does this event come to.
 *
 * A question is a signed POST (signature.h) of JSON (hook_text.h). The same question of several
 * askers is sent once, and an answer to "may" is kept for a while. A hook that does not answer as
 * it should is unavailable: nobody waits longer than its timeout, and nobody is let in. After
 * HOOKS_FAILURES of that in a row it is not asked for a while (codec/base/breaker.h).
 *
 * Each shard has its own connections and breakers; answers are shared over Redis (hook_share.h).
 */
#ifndef HUB_HOOKS_HOOKS_H
#define HUB_HOOKS_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/hook_call.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/hooks/signature.h"
#include "hub/net/outgoing.h"

struct hooks;
struct loop;
struct outgoing_guard;

enum {
    HOOKS_MAX = 16,
    HOOKS_FAILURES = 5,
    HOOKS_ANSWER_MAX = 1048576, /* bytes */
    HOOKS_KNOWN_MAX = 4096, /* answers that a shard keeps */
    HOOKS_FORGET_MS = 60000, /* a hook that failed, and that nobody has asked for so long since */
};

/* A hook as the settings have it; texts are theirs. */
struct hook_options {
    const char *name;
    const char *url;
    struct signature_secret secrets[2];
    unsigned secret_count;
    uint32_t timeout_ms;
    uint32_t cache_ms; /* how long an answer that says nothing of it is kept; no: 5 s at most */
    uint32_t under_way; /* questions at a time, of a shard */
    uint32_t waiting; /* for a place among them */
};

/* All of them, and where requests may go. */
struct hook_settings {
    struct hook_options items[HOOKS_MAX];
    unsigned count;
    struct outgoing_guard *guard;
    const char *ca;
    uint32_t per_user; /* questions of one that are open at a time, of all hooks, 1 or more */
};

/* What a shard counts; hooks by their number in the settings. */
struct hook_stats {
    uint64_t asked; /* requests */
    uint64_t known; /* answered without one */
    uint64_t joined; /* to a question that was under way */
    uint64_t shared; /* answered by what another node had been told */
    uint64_t allowed;
    uint64_t denied;
    uint64_t failed; /* no answer, or none as it should be */
    uint64_t refused; /* not asked: it has failed, or too much waits */
    uint64_t bounded; /* not asked: too many of their user were open */
    uint64_t evicted; /* answers forgotten for want of room */
    uint64_t under_way; /* now, waiting ones too */
    uint64_t half_open[HOOKS_MAX]; /* breakers: 1 */
    uint64_t open[HOOKS_MAX];
};

/* Make the hooks of a loop's shard, on its thread. `settings` are borrowed until hooks_set. */
MUST_CHECK struct hooks *hooks_open(struct loop *loop, const struct hook_settings *settings);

/* Change over to other settings. A hook of the same name and URL keeps its breaker; what is under
 * way goes on. */
void hooks_set(struct hooks *hooks, const struct hook_settings *settings);

/* Begin to end: what is asked has STATUS_UNAVAILABLE, at once. */
void hooks_close(struct hooks *hooks);

/* How much of it is open: 0 when it was closed and may be destroyed. */
uint64_t hooks_count_open(const struct hooks *hooks);

/* Free them; NULL is allowed. */
void hooks_destroy(struct hooks *hooks);

/* As hook_ask_fn. */
MUST_CHECK int hooks_ask(
    struct hooks *hooks, const struct hook_question *question, struct hook_call *call);

/* What the shard counts, brought up to date. */
const struct hook_stats *hooks_get_stats(struct hooks *hooks);

/* What the requests of the shard count. */
const struct outgoing_stats *hooks_get_requests(const struct hooks *hooks);

/* The number of the hook that `word`, "hook:NAME", names; -1: none. Any thread. */
int hooks_find(const struct hook_settings *settings, const char *word);

#endif
