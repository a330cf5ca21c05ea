/* SPDX-License-Identifier: Apache-2.0 */
/*
 * out - events of clients are given to backends by a stream of Redis, whose answers are the acks.
 *
 * Each is an entry of `<prefix>:out`; its answer is one of `<prefix>:out:reply:<node>`, with the
 * `node` and the `id` that the entry has. A shard has a name of its own there, so that each reads
 * its own answers, while it waits for some. An entry that is answered is taken out of the stream;
 * those that are not stay for OUT_KEPT_MS, `maxlen` of them at most: beyond, nothing is added and
 * who asks is told that nobody is there.
 */
#ifndef HUB_HOOKS_OUT_H
#define HUB_HOOKS_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/hook_call.h"
#include "codec/base/check.h"

struct out;
struct shard;

enum { OUT_RESULT_MAX = 1048576 /* bytes */, OUT_DEPTH_MAX = 64 };
#define OUT_KEPT_MS ((uint64_t)86400000)

struct out_settings {
    bool wanted; /* some events go there */
    uint32_t timeout_ms;
    uint32_t maxlen;
    uint32_t per_user; /* events of one that wait for answers, 1 or more */
};

/* What a shard counts. */
struct out_stats {
    uint64_t sent; /* events added to the stream */
    uint64_t answered;
    uint64_t timeouts; /* nobody answered in time */
    uint64_t full; /* not added: there are `maxlen` */
    uint64_t failed; /* Redis was away, or an answer was none */
    uint64_t bounded; /* too many of their user waited */
    uint64_t late; /* answers that nobody waited for: too late, or the second one */
    uint64_t waiting; /* now */
};

/* Make that of a shard. `settings` are borrowed until out_set. */
MUST_CHECK struct out *out_open(struct shard *shard, const struct out_settings *settings);

/* Change over to other settings, from the next event on. */
void out_set(struct out *out, const struct out_settings *settings);

/* End: what waits is told STATUS_UNAVAILABLE before it returns. */
void out_close(struct out *out);

/* Free it, closed; NULL is allowed. */
void out_destroy(struct out *out);

/* As hook_ask_fn, of events alone; `done` may have STATUS_TIMEOUT. */
MUST_CHECK int out_ask(
    struct out *out, const struct hook_question *question, struct hook_call *call);

/* What the shard counts, brought up to date. */
const struct out_stats *out_get_stats(struct out *out);

#endif
