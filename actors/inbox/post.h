/* SPDX-License-Identifier: Apache-2.0 */
/*
 * post - from what a backend posted to rows of the store, and from stored rows to announcements.
 *
 * The one path behind the stream and HTTP.
 */
#ifndef ACTORS_INBOX_POST_H
#define ACTORS_INBOX_POST_H

#include "codec/notification.h"
#include "sql/store.h"

struct broadcast;
struct shard;

/*
 * Fill in `rows`, one for each of the post's users, post->target_count in all (the caller has them
 * zeroed). The rows borrow from `post`. `key` is used where the post has none: it must be unique
 * for ever. STATUS_NOMEM.
 */
MUST_CHECK int post_rows(struct shard *shard, const struct notification_post *post,
    struct bytes key, struct store_row *rows);

/*
 * Fill in what stores a post to an audience (notification_audience_of), once for all; as post_rows.
 * The caller sets `base` and what a partition adds.
 */
MUST_CHECK int post_audience(struct shard *shard, const struct notification_post *post,
    struct bytes key, struct store_audience_post *ret_post);

/* Announce it, stored or a repeat, to those of its users who are online anywhere; counts it. */
void post_audience_announce(struct shard *shard, const struct store_audience_post *post);

/* Announce rows that were stored, and repeats again; counts them. */
void post_announce(struct shard *shard, const struct store_row *rows, size_t count);

/* The same without repeats, of which many are known to be in the store for long. */
void post_announce_new(struct shard *shard, const struct store_row *rows, size_t count);

/*
 * Make an ephemeral event for where the post says, with one reference. STATUS_INVALID when the
 * arguments are no JSON array, STATUS_TOO_LARGE for too many targets, STATUS_NOMEM.
 */
MUST_CHECK int post_event_make(
    struct shard *shard, const struct notification_post *post, struct broadcast **ret_broadcast);

/*
 * Whether an event that is to be kept (`retain`) may be: 0, also for any other; STATUS_INVALID, and
 * `*ret_fault` says why not.
 */
MUST_CHECK int post_event_check(struct shard *shard, const struct notification_post *post,
    struct notification_fault *ret_fault);

/* Publish it now, through the sequencer of "/"; takes the reference. */
void post_event_send(struct shard *shard, struct broadcast *broadcast);

/*
 * Make and publish it, behind what keeps it where it goes to rooms with a history. Statuses of the
 * former.
 */
MUST_CHECK int post_event(struct shard *shard, const struct notification_post *post);

#endif
