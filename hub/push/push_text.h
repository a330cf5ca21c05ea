/* SPDX-License-Identifier: Apache-2.0 */
/*
 * push_text - the texts of hand-offs: what a job of the queue says, and what a device is sent.
 */
#ifndef HUB_PUSH_PUSH_TEXT_H
#define HUB_PUSH_PUSH_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/notification_item.h"
#include "sql/store_push.h"

enum { PUSH_TOPIC_LEN = 22 };

/* How much of a notification leaves the hub. */
enum push_content { PUSH_CONTENT_FULL, PUSH_CONTENT_TITLE, PUSH_CONTENT_ID };

/* What a job says; texts lie in `texts`. */
struct push_job {
    struct bytes tenant;
    struct bytes user;
    uint8_t device[NOTIFICATION_ID_LEN];
    bool clears; /* `ids` are to be taken away; else ids[0] is to be shown */
    uint64_t rev; /* of the row that is shown, when it became new */
    uint8_t ids[STORE_PUSH_CLEAR_MAX][NOTIFICATION_ID_LEN];
    size_t count;
    char *texts; /* private */
};

/*
 * Read what the store has written (sql/store_push.h); push_job_finish after success.
 * STATUS_INVALID: it is none; STATUS_NOMEM.
 */
MUST_CHECK int push_job_read(struct bytes payload, struct push_job *job);

/* Free what reading has made. */
void push_job_finish(struct push_job *job);

/*
 * Append the notification as a browser takes it, in the declarative form, cut to `max` bytes (500
 * or more); `unread` is the badge. Failure is the builder's.
 */
void push_text_show(const struct notification_item *item, enum push_content content,
    uint64_t unread, size_t max, struct builder *out);

/* Append what takes `count` notifications away. */
void push_text_clear(
    const uint8_t (*ids)[NOTIFICATION_ID_LEN], size_t count, uint64_t unread, struct builder *out);

/* Write the topic of a notification: a later message with it takes the place of one that waits at
 * the push service. */
void push_text_topic(const uint8_t id[NOTIFICATION_ID_LEN], char ret_topic[PUSH_TOPIC_LEN + 1]);

#endif
