/* SPDX-License-Identifier: Apache-2.0 */
/*
 * webhook_event - what has happened, as it is handed to hub/ for webhooks (webhook_note.h).
 */
#ifndef ACTORS_WEBHOOK_EVENT_H
#define ACTORS_WEBHOOK_EVENT_H

#include <stdint.h>

#include "codec/base/bytes.h"

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

/* Who takes it in, on a shard. */
struct webhook_tap {
    webhook_tell_fn tell; /* NULL: nobody does */
    uint32_t events; /* that somebody wants: 1u << enum webhook_event */
    struct webhooks *webhooks; /* of hub/hooks; NULL: there are none yet, or no more */
};

#endif
