/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notification_digest - what a row remembers of the posts that it stands for: the last ones, each
 * cut to what a list shows.
 *
 * As text, for the store and the bus: the oldest first, with a record separator (U+001E) between,
 * each of id, time, priority, title, message and data with unit separators (U+001F). In Postgres
 * peal.digest_entry and peal.digest_list write the same. Any thread.
 */
#ifndef CODEC_NOTIFICATION_DIGEST_H
#define CODEC_NOTIFICATION_DIGEST_H

#include <stdbool.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/notification_item.h"

enum {
    NOTIFICATION_DIGEST_MAX = 10, /* posts that are remembered */
    NOTIFICATION_DIGEST_TITLE = 120, /* characters; what is cut ends with an ellipsis */
    NOTIFICATION_DIGEST_MESSAGE = 240,
    NOTIFICATION_DIGEST_DATA = 512, /* bytes; larger data is left out */
};

/* One post. Texts are borrowed. */
struct notification_digest_entry {
    uint8_t id[NOTIFICATION_ID_LEN]; /* of the first that of the row, of others their own */
    uint64_t at;
    enum notification_priority priority;
    struct bytes title;
    struct bytes message;
    struct bytes data; /* JSON text; empty: none, or too large */
};

/* Write `list` with one post more, the newest, without those that are too many then. */
void notification_digest_add(
    struct bytes list, const struct notification_digest_entry *entry, struct builder *out);

/* Write `list` with other content of the newest post, which keeps id and time. */
void notification_digest_renew(
    struct bytes list, const struct notification_digest_entry *content, struct builder *out);

/* Write `list` without the post of an id. */
void notification_digest_without(
    struct bytes list, const uint8_t id[NOTIFICATION_ID_LEN], struct builder *out);

/*
 * Write `list` in which the post of an id has the values of `content` that `fields` name
 * (enum notification_edit); its time stays.
 */
void notification_digest_change(struct bytes list, const uint8_t id[NOTIFICATION_ID_LEN],
    uint32_t fields, const struct notification_digest_entry *content, struct builder *out);

/* Take the newest post off `list`; false: there is none, or what is there is no post. */
bool notification_digest_take(struct bytes *list, struct notification_digest_entry *ret_entry);

/* Whether `list` came whole: each post can be taken, there are not too many, data is JSON text. */
bool notification_digest_is_valid(struct bytes list);

#endif
