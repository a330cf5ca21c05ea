/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retained - the last values of names: what was posted with `retain`, by the room or user it is
 * for.
 *
 * Every shard has all of them, as broadcasts that the shards share, so that who joins or connects
 * is shown them in that turn. A value ends by itself (`until_ms`); ended ones are not shown, and go
 * when others come. All calls are on the shard's thread.
 */
#ifndef ACTORS_DELIVER_RETAINED_H
#define ACTORS_DELIVER_RETAINED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/deliver/broadcast.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"
#include "codec/stream_id.h"

struct retained;
struct retained_target;
struct shard;

/* The last value of a name. Members may be read by others; what is marked may be written. */
struct retained_value {
    struct list link; /* of its target, the one that changed last at the end */
    struct list all_link;
    struct retained_target *target;
    struct broadcast *broadcast; /* a reference; it names the value */
    struct stream_id place; /* in the replay stream */
    size_t cost;
    struct bytes of_value; /* owned; of one named value:<key>: `<tenant>/<key>`, else empty */
    bool stray; /* may be written: it is not kept anywhere else yet */
    bool seen; /* may be written: by who compares with what is kept elsewhere */
};

/* `counts`: the gauges of the shard say how much there is. */
struct retained *retained_create(struct shard *shard, bool counts);

/* Free all; NULL is allowed. */
void retained_destroy(struct retained *retained);

/* What an event of `bytes` takes for one target at the most, kept under a name of `name_len`, where
 * its broadcast names `names` targets and exceptions together. */
size_t retained_cost(size_t bytes, size_t name_len, size_t names);

/* What a post would take, in bytes. */
struct retained_demand {
    size_t all; /* at all its targets */
    size_t here; /* of event, arguments and name: what is shown to who joins one of them */
};

/*
 * Whether one more value may be posted for `target` (a wire name; empty: all) under `name`: 0;
 * STATUS_FULL: it has as many names as it may; STATUS_INVALID: more than one socket can take at
 * once; STATUS_RATE_LIMITED: its tenant would have more than its part of all; STATUS_TOO_LARGE: all
 * together would be too large.
 */
MUST_CHECK int retained_check(struct retained *retained, struct bytes target, struct bytes name,
    const struct retained_demand *demand);

/*
 * What `broadcast` says is the last value for `target`, at `place`; or its name has none any more,
 * of which (`graves`) a mark stays until it is removed. NULL: it is not there; else what is now.
 */
struct retained_value *retained_put(struct retained *retained, struct bytes target,
    struct broadcast *broadcast, struct stream_id place, bool graves);

/* The same for all that the broadcast goes to, without marks. */
void retained_take(struct retained *retained, struct broadcast *broadcast);

/* Told of a value that has ended by itself, and goes. */
typedef void (*retained_ended_fn)(void *context, const struct retained_value *value);

/* Look at a few values, and let those go that have ended; `ended` may be NULL. */
void retained_look(struct retained *retained, retained_ended_fn ended, void *context);

/* What there is under a name, a mark included; NULL: nothing. */
struct retained_value *retained_find(
    const struct retained *retained, struct bytes target, struct bytes name);

/* What is shown of the value called `name` (`<tenant>/<key>`), under value:<key>; NULL: nothing. */
const struct retained_value *retained_of_value(const struct retained *retained, struct bytes name);

/*
 * The next value of `target` behind `after` (NULL: the first) that has not ended; NULL: there is no
 * other. The one that changed longest ago comes first.
 */
const struct retained_value *retained_next(
    const struct retained *retained, struct bytes target, const struct retained_value *after);

/* Whether anything is known of `target`, also what has ended or was removed lately. */
bool retained_knows(const struct retained *retained, struct bytes target);

/* All values, in no order of meaning: retained_value.all_link. */
struct list *retained_all(struct retained *retained);

/* The name of whom a value is for; empty: all. */
struct bytes retained_target_name(const struct retained_value *value);

/*
 * The same event with {"_peal":{"retained":true}} as one argument more, which names the room and
 * the offset where they are not empty; NULL: no memory.
 */
MUST_CHECK struct event *retained_mark(
    const struct event *event, struct bytes client_room, struct bytes offset);

#endif
