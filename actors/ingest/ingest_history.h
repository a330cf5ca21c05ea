/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest_history - whether the Redis that is read is still the one that the position belongs to.
 *
 * A Redis that comes back from an older dump, or a replica that was behind when it was promoted,
 * has lost entries, and, with its clock behind, gives new ones ids below the position: they would
 * be skipped in silence. So the position is kept together with the history that it belongs to
 * (`master_replid`, which a master draws anew when it starts or is promoted), and with an offset in
 * it. When Redis says another, what it has kept is read again: all of it, or, where the new history
 * continues the old one behind that offset (`master_replid2`), what follows the offset only.
 *
 * What is read again up to where the position stood was dealt with before: rows have their keys, so
 * the store keeps one; events are not published again, and repeats are not announced. The position
 * in the store stays until the tip of the moment is passed; a node that ends meanwhile leaves the
 * reading to the next owner.
 *
 * Private to the ingest actor.
 */
#ifndef ACTORS_INGEST_INGEST_HISTORY_H
#define ACTORS_INGEST_INGEST_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/ingest/ingest_keep.h"
#include "codec/base/bytes.h"
#include "codec/bus_name.h"
#include "codec/stream_id.h"

struct bus_link;
struct ingest_gauge;
struct shard;

enum { INGEST_REPLID_MAX = 48, INGEST_POSITION_MAX = 192 };

/* What Redis said. */
struct ingest_view {
    bool known; /* the next four are */
    char replid[INGEST_REPLID_MAX];
    char replid2[INGEST_REPLID_MAX]; /* the history before, */
    uint64_t reached; /* which is ours below this offset */
    uint64_t offset;
    struct stream_id tip;
    struct stream_id deleted; /* the highest id that was */
    uint64_t added; /* entries ever; 0: not told */
    uint64_t length;
};

struct ingest_history {
    struct shard *shard;
    struct bus_link *link; /* answers that come when it is closed are none */
    struct ingest_gauge *gauge;
    char stream[BUS_NAME_MAX];
    /* Set by the owner of this. */
    void (*read_again)(void *context, struct stream_id from);
    void (*go_on)(void *context); /* Redis has answered, also when it is read again */
    void *context;
    bool unsure; /* a connection was lost, or a term began: nothing is read until Redis answers */
    /* private */
    char replid[INGEST_REPLID_MAX]; /* empty: not known */
    struct stream_id covered; /* who has `offset` of the history has everything up to here */
    uint64_t offset;
    bool again; /* reading again, */
    struct stream_id repeats; /* what was dealt with before up to here, */
    struct stream_id until; /* and all of it up to here */
    struct stream_id asked_position;
    struct stream_id asked_read;
    bool asking;
    bool stale; /* what is asked is of a former term */
    struct ingest_view view;
    struct stream_id deleted; /* as seen last, */
    uint64_t added; /* and this */
    struct ingest_keep keep;
    uint64_t token; /* of this node's last term; 0: none */
    struct stream_id stored; /* the position as it was committed in it; 0-0: not known */
    struct stream_id written; /* which is being committed; 0-0: none is */
};

/* Look at stream `number`; the caller sets the callbacks. */
void ingest_history_init(
    struct ingest_history *history, struct shard *shard, struct bus_link *link, uint32_t number);

/*
 * Begin a term with what the store keeps of the stream; returns the position. A token that was had
 * before, or a position below the one that this node committed in the term before, is the proof
 * that the store lost commits (store_tell_loss).
 */
struct stream_id ingest_history_begin(
    struct ingest_history *history, uint64_t token, struct bytes kept);

/*
 * Ask Redis which history it has and how far the stream goes, unless that is being asked; then read
 * again, or trim. `position`: committed; `read`: read so far. Answers that come when the stream is
 * no longer owned are none.
 */
void ingest_history_ask(
    struct ingest_history *history, struct stream_id position, struct stream_id read);

/*
 * What the store is to keep when everything up to `id` is committed: an opaque text in `at`; empty
 * when the position in the store must stay as it is.
 */
struct bytes ingest_history_write(
    struct ingest_history *history, struct stream_id id, char at[INGEST_POSITION_MAX]);

/* What was written last is in the store. */
void ingest_history_committed(struct ingest_history *history);

/* Everything up to `id` is committed, or there is nothing behind it. */
void ingest_history_passed(struct ingest_history *history, struct stream_id id);

/* Up to where entries are read again; 0-0 where none is. */
struct stream_id ingest_history_repeats(const struct ingest_history *history);

#endif
