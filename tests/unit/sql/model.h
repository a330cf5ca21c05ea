/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model - what an inbox is: what both engines are held against, in plain C over arrays.
 *
 * It has one thread and tells at once what each operation does. A post to many is kept by each
 * inbox it is for (`missing`) until something makes its rows; nothing else of how a store does it
 * is in here.
 */
#ifndef TESTS_UNIT_SQL_MODEL_H
#define TESTS_UNIT_SQL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/notification.h"
#include "codec/notification_digest.h"
#include "codec/notification_item.h"
#include "codec/notification_mark.h"
#include "sql/store_types.h"

enum {
    MODEL_INBOXES = 6,
    MODEL_TENANTS = 2,
    MODEL_TOPICS = 3,
    MODEL_TYPES = 3,
    MODEL_ROWS_MAX = 900, /* of an inbox */
    MODEL_POSTS_MAX = 400,
    MODEL_KEYS_MAX = 600, /* of a user */
    MODEL_KEPT_MAX = 400,
    MODEL_FIELDS = 5, /* that an edit may name */
};

/* What is shown of a notification: places in tables of texts. */
struct model_content {
    unsigned type; /* below MODEL_TYPES */
    unsigned title;
    unsigned message;
    unsigned data;
    enum notification_priority priority;
};

/* What a digest remembers of a post. */
struct model_gathered {
    uint8_t id[NOTIFICATION_ID_LEN];
    size_t post; /* to many, from 1; 0: it was to one */
    uint64_t at;
    struct model_content content;
};

/* What a user's preferences say of a type. */
enum model_wish { MODEL_SAYS_NOTHING, MODEL_WANTS, MODEL_REFUSES };

/* What remains of a row. */
enum model_presence {
    MODEL_IS_THERE,
    MODEL_IS_BURIED, /* a tombstone says that it went */
    MODEL_IS_FORGOTTEN, /* nothing does */
};

/* One notification of a user. Its state follows from its times (model_state). */
struct model_row {
    uint8_t id[NOTIFICATION_ID_LEN];
    bool id_known; /* a row that was made of a post to many has an id when it is first told */
    uint64_t seq;
    uint64_t rev; /* of the last change */
    uint64_t new_rev; /* when it last became new: lists go by it */
    uint64_t whole_rev; /* when devices last needed all of it */
    struct model_content content;
    uint64_t created_at;
    uint64_t updated_at;
    uint64_t expires_at;
    uint64_t snoozed_until;
    uint64_t seen_at;
    uint64_t read_at;
    uint64_t archived_at;
    uint64_t resurfaced_at;
    char name; /* under which others take its place; 0: none do */
    uint64_t count; /* posts that it stands for */
    bool gathers; /* it is a digest: posts of its type go into it for a time */
    struct model_gathered digest[NOTIFICATION_DIGEST_MAX]; /* the last ones, the oldest first */
    size_t digest_count;
    size_t post; /* of the post to many that it was made of, from 1; 0: it was for its user */
    size_t shown; /* of that whose content it shows, likewise */
    enum model_presence presence;
    enum notification_state gone; /* how it went */
    uint64_t gone_at;
};

/* The row of a user that holds a post to many. */
struct model_held {
    uint64_t seq; /* 0: none does */
    unsigned edit; /* the last change of the post's content that it has */
};

/* What a key of a user was used for. */
struct model_key {
    bool used;
    bool other_content;
    uint64_t seq; /* 0: its row was not wanted; STORE_SEQ_SCHEDULED: it is for later */
    uint8_t id[NOTIFICATION_ID_LEN];
};

struct model_inbox {
    unsigned tenant;
    const char *user;
    bool exists; /* asking is not coming: who was only asked for has none */
    struct model_row rows[MODEL_ROWS_MAX]; /* by seq - 1 */
    size_t count;
    uint64_t rev;
    uint64_t floor; /* a device that was told less lists again */
    struct model_key keys[MODEL_KEYS_MAX];
    size_t key_count;
    size_t missing[MODEL_POSTS_MAX]; /* posts of which there are no rows yet, from 1, in order */
    size_t missing_count;
    struct model_held held[MODEL_POSTS_MAX]; /* by post - 1 */
    bool topics[MODEL_TOPICS];
    enum model_wish wishes[MODEL_TYPES];
    bool says_span[MODEL_TYPES]; /* of its digests, */
    uint64_t spans[MODEL_TYPES]; /* namely so long; 0: it wants none */
    uint64_t preference_rev;
    char preferences[800];
};

/* A post to many. */
struct model_post {
    unsigned tenant;
    enum notification_audience kind;
    unsigned topic;
    unsigned key;
    bool include_new;
    uint64_t n; /* numbers a tenant's posts */
    uint8_t id[NOTIFICATION_ID_LEN];
    struct model_content content;
    bool unwanted; /* by who says nothing of its type */
    uint64_t created_at;
    uint64_t expires_at;
    bool has_expired; /* before anybody could have it */
    bool retracted;
    bool ended; /* as old as its tenant keeps any: nobody gets it any more, */
    bool dropped; /* or it is not there any more */
    bool apart; /* it was urgent: it is in no digest, */
    uint64_t usual_span; /* else in one of so long, where its users say nothing of its type */
    unsigned edits; /* changes of its content: the number of the last one, */
    unsigned field_edits[MODEL_FIELDS]; /* and of the last one that named the field */
    uint64_t updated_at;
};

/* A post to one user. */
struct model_put {
    size_t key;
    bool other_content; /* than is usual for its key */
    uint8_t id[NOTIFICATION_ID_LEN];
    struct model_content content;
    bool unwanted; /* by who says nothing of its type */
    char name;
    uint64_t usual_span; /* of digests of its type, for who says nothing of them */
    uint64_t created_at;
    uint64_t expires_at;
};

/* What is kept of a tenant's inboxes; 0: of any age, any number. */
struct model_rule {
    uint64_t age_ms;
    uint32_t rows;
};

/* A post that is kept until it is due. */
struct model_kept {
    bool there; /* else it was delivered, cancelled or dropped */
    bool delivered;
    struct model_inbox *inbox; /* NULL: it is for many, */
    struct model_post post; /* as this says */
    bool listed[MODEL_INBOXES];
    struct model_put put; /* id and content of both kinds */
    uint64_t deliver_at;
    uint64_t expires_at; /* by the database's clock, as the above */
};

struct model {
    struct model_inbox inboxes[MODEL_INBOXES];
    struct model_post posts[MODEL_POSTS_MAX];
    size_t post_count;
    struct model_kept kept[MODEL_KEPT_MAX];
    size_t kept_count;
    uint64_t heads[MODEL_TENANTS];
    bool mends_at_once; /* what is taken back and what is changed has one rev (SQLite) */
    uint64_t now;
};

/* Users without an inbox; two of them have the same name in two tenants. */
void model_init(struct model *model, uint64_t now);
enum notification_state model_state(const struct model_row *row);

/* How many rows are in a state up to `most`: unread counts up to SEEN, unseen up to UNREAD. */
uint64_t model_count(const struct model_inbox *inbox, enum notification_state most);

/* --- posts --- */

/* What every write begins with: there is an inbox, and it has all that was posted to many. */
void model_enter(struct model *model, struct model_inbox *inbox);

/* What every read begins with; `comes`: its user has come, so that there is an inbox from now on.
 * What was taken back is gone. */
void model_read(struct model *model, struct model_inbox *inbox, bool comes);

/* Store it, in an inbox that was entered. *ret_row: the row, or the first one with the key; NULL:
 * there is none. */
enum store_outcome model_put(
    struct model_inbox *inbox, const struct model_put *put, struct model_row **ret_row);

/* The same of one that was kept until now: its key is its own. */
enum store_outcome model_deliver(
    struct model_inbox *inbox, const struct model_put *put, struct model_row **ret_row);

/* Other content of a row, or (`erase`) it is taken back: by its poster. */
struct model_edit {
    bool erase;
    uint32_t fields; /* set of enum notification_edit */
    struct model_content content;
    uint64_t expires_at;
    uint64_t at;
};
void model_edit(struct model_inbox *inbox, struct model_row *row, const struct model_edit *edit);

/* Take what `fields` name from `other`. */
void model_change(
    struct model_content *content, uint32_t fields, const struct model_content *other);

/* Keep a post until it is due; its key is taken. */
struct model_kept *model_keep(struct model *model, const struct model_kept *kept);

/* One to many of this tenant, kind, topic and key that was kept, and not delivered; NULL: none. */
struct model_kept *model_find_kept(struct model *model, const struct model_post *like);

/* --- what users do --- */

/* Subscribe, or end that; whether it changed anything. */
bool model_subscribe(struct model *model, struct model_inbox *inbox, unsigned topic, bool remove);

struct model_mark {
    enum notification_verb verb;
    bool bulk; /* of the states that a seq and a type mean, else of those that ids do */
    bool named; /* by ids: what has lost is told */
    const bool *meant; /* by seq - 1 */
    uint64_t if_rev;
    uint64_t at;
    uint64_t until;
};

/* Carry a verb out in an inbox that was entered; how many changed. `ret_late`: if_rev kept it. */
size_t model_mark(
    struct model_inbox *inbox, const struct model_mark *mark, bool ret_late[MODEL_ROWS_MAX]);

/* Erase all there is of a user. */
void model_forget(struct model *model, struct model_inbox *inbox);

/* --- time --- */

/* A row has expired, or was taken back; or a row that was snoozed is new again. */
void model_remove(
    struct model_inbox *inbox, struct model_row *row, enum notification_state how, uint64_t at);
void model_wake(struct model_inbox *inbox, struct model_row *row, uint64_t at);

/* Drop tombstones made at `until` or before. */
void model_drop_tombstones(struct model *model, uint64_t until);

/* Which rows of an inbox are not kept, by seq - 1. */
void model_find_overdue(const struct model *model, const struct model_inbox *inbox,
    const struct model_rule *rule, bool ret_goes[MODEL_ROWS_MAX]);

/* --- reading --- */

/* Whether a device that was told all up to `rev` lists again. */
bool model_resyncs(const struct model_inbox *inbox, uint64_t rev);

/* Whether a page of a sync of (rev, through] must tell the row: all of it, or what has changed. */
bool model_is_item(const struct model_row *row, uint64_t rev, uint64_t through);
bool model_is_change(const struct model_row *row, uint64_t rev, uint64_t through);

/* What a list may be asked for; 0: any. */
struct model_filter {
    uint32_t states;
    uint32_t priorities;
    uint32_t types; /* set of 1u << type */
    uint64_t from;
    uint64_t to;
    bool ascending;
    bool by_priority;
};

/* The rows of a list in its order; how many. */
size_t model_list(const struct model_inbox *inbox, const struct model_filter *filter,
    const struct model_row *ret_rows[MODEL_ROWS_MAX]);

#endif
