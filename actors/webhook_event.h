/* SPDX-License-Identifier: Apache-2.0 */
/*
 * webhook_event - what has happened, as it is handed to hub/ for webhooks (webhook_note.h).
 */
#ifndef ACTORS_WEBHOOK_EVENT_H
#define ACTORS_WEBHOOK_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/list.h"

struct shard;
struct webhooks;

enum webhook_event {
#define X(name, text, help) WEBHOOK_##name,
#include "actors/webhook_events.def"
#undef X
    WEBHOOK_EVENT_COUNT
};

/* What has happened; borrowed for the call of webhook_tell_fn. */
struct webhook_note {
    enum webhook_event event;
    struct bytes tenant; /* empty where tenants are off */
    uint64_t at; /* wall clock ms */
    struct bytes data; /* a JSON object */
};

/* Take it in; on the shard's thread. */
typedef void (*webhook_tell_fn)(struct shard *shard, const struct webhook_note *note);

/* Somebody who answers when what was told so far is safe. Embedded, and there until `done`. */
struct webhook_settling {
    void (*done)(struct webhook_settling *settling); /* once, in a later turn */
    /* private */
    struct list link;
    uint64_t told; /* events before it */
};

/*
 * Have `done` called when all that was told on this shard is in the store, or the store does not
 * take it now. False: it is already, and `done` is not called.
 */
typedef bool (*webhook_settle_fn)(struct shard *shard, struct webhook_settling *settling);

/* Who takes it in, on a shard. */
struct webhook_tap {
    webhook_tell_fn tell; /* NULL: nobody does, as the next one */
    webhook_settle_fn settle;
    uint32_t events; /* that somebody wants: 1u << enum webhook_event */
    struct webhooks *webhooks; /* of hub/hooks; NULL: there are none yet, or no more */
};

#endif
