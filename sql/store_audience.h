/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_audience - what a store is asked about posts to many: everybody of a tenant, a topic, a
 * list.
 *
 * Such a post is one row, whoever is meant. A user's own row (its seq, rev, state) is made under
 * the lock of that user's inbox, in the order of the posts, when it is first needed:
 *
 * - STORE_PUT and STORE_MARK make what is missing before they do anything else. The rev of what
 * they store is then higher by what was made: who is told of it sees a gap and reads, as with any.
 * - STORE_LIST, STORE_ROWS, STORE_COUNTS, STORE_SYNC and STORE_POSITIONS find out whether anything
 * is missing, has been taken back, or has other content, have it mended and read again, before they
 * answer. What was acknowledged before they were submitted is in the answer; nobody has to ask for
 * it. STORE_GET does so where it names a user; it never finds a row that has been taken back.
 *
 * So there is no request that makes rows: WHO IS ONLINE IS SERVED BY STORE_POSITIONS. After a
 * post, or a retraction, each node asks for the positions of those of its users that it may concern
 * (at most 200 in one request, one such request at a time, so that nobody waits behind
 * it); each position is told to the user's own actor (feed_moved), which reads the rows if its rev
 * is lower. Whether the rows were made by this request or by another does not matter, so nodes need
 * not tell each other. Users who are concerned: of AUDIENCE_ALL all of the tenant, of
 * AUDIENCE_TOPIC its subscribers, of AUDIENCE_LIST those of the post. To ask for one who is not
 * costs a look-up.
 *
 * A node learns of posts of other nodes by a hint (its own bus message), and of those whose hint
 * was lost by STORE_POSTED. An inbox begins when something is written to it, or by
 * store_positions.begin, which connecting sets: posts to everybody are for inboxes that there are.
 *
 * STORE_AUDIENCE_SWEEP takes back what a retraction has not reached yet, renews what a change of
 * content has not, and drops what is old; it is to be repeated as STORE_SWEEP, and tells users as
 * that does (announce_swept).
 */
#ifndef SQL_STORE_AUDIENCE_H
#define SQL_STORE_AUDIENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/notification_item.h"
#include "sql/store_request.h"
#include "sql/store_types.h"

enum {
    STORE_AUDIENCE_USERS_MAX = 10000, /* of AUDIENCE_LIST */
    STORE_TOPICS_MAX = 10000, /* topics of a user */
};

/*
 * Store a post to many. Membership is of this moment: of AUDIENCE_ALL those with an inbox, of
 * AUDIENCE_TOPIC those who are subscribed, of AUDIENCE_LIST `users`.
 */
struct store_audience_post {
    struct store_request base; /* STORE_AUDIENCE_POST */
    struct bytes tenant;
    enum notification_audience kind;
    struct bytes name; /* AUDIENCE_TOPIC: the topic; else empty */
    const struct bytes *users; /* AUDIENCE_LIST: 1 to STORE_AUDIENCE_USERS_MAX; twice is once */
    size_t user_count;
    bool include_new; /* AUDIENCE_ALL: also for inboxes that begin before it expires */
    uint8_t key_hash[STORE_HASH_LEN]; /* of the key: unique for ever by tenant, kind and name */
    uint8_t content_hash[STORE_HASH_LEN];
    uint8_t id[NOTIFICATION_ID_LEN]; /* proposed, of SLOT_NONE; replaced by the first one's */
    struct bytes type;
    struct bytes title;
    struct bytes message;
    struct bytes data;
    enum notification_priority priority;
    uint64_t created_at;
    uint64_t expires_at;
    bool unwanted; /* its type, unless a user's preferences say otherwise */
    uint64_t digest_ms; /* of its type, likewise, as in store_row */
    uint64_t deliver_at; /* it is kept until then; 0: it is stored (store_schedule.h) */
    bool due; /* it was kept, and is stored now: its users are known */
    uint64_t version; /* with `due`: of what was kept, as STORE_DUE told it */
    /* As in store_put: the position of a partition, in the same transaction. */
    bool fenced;
    uint32_t partition;
    uint64_t token;
    struct bytes last_id;
    /* out */
    enum store_outcome outcome; /* of a repeat `id` and `n` are the first one's */
    uint64_t n; /* the tenant's posts are numbered in the order of their commits, without holes */
    bool nobody; /* AUDIENCE_TOPIC: it had no subscriber */
};

/* Subscribe users to a topic, or end that; at most STORE_PAGE_MAX users, all or none. */
struct store_subscribe {
    struct store_request base; /* STORE_SUBSCRIBE */
    struct bytes tenant;
    struct bytes topic;
    const struct bytes *users; /* twice is once */
    size_t user_count;
    bool remove;
    /* out */
    uint64_t changed; /* users who were not subscribed before, or were */
    uint64_t full; /* users who have STORE_TOPICS_MAX topics already, and were left out */
};

/* The subscribers of a topic, by name (bytes). */
struct store_subscribers {
    struct store_request base; /* STORE_SUBSCRIBERS */
    struct bytes tenant;
    struct bytes topic;
    struct bytes after; /* only names above this one; empty: from the start */
    uint32_t limit; /* 1 to STORE_PAGE_MAX */
    /* out */
    struct bytes *names;
    size_t count;
    bool more;
};

/* Topics, by name (bytes): those of a user, or those of a tenant that have a subscriber. */
struct store_topics {
    struct store_request base; /* STORE_TOPICS */
    struct bytes tenant;
    bool of_user;
    struct bytes user;
    struct bytes after; /* as above */
    uint32_t limit; /* 1 to STORE_PAGE_MAX */
    /* out */
    struct bytes *names;
    size_t count;
    bool more;
};

/*
 * Take a post to many back: nobody gets it any more, and whoever has it loses it (a tombstone,
 * NOTIFICATION_ERASED) when they are next read, or by the sweep. STATUS_NOT_FOUND: `tenant` has no
 * such post, or it was taken back before. Who is online is served as after a post; those who have
 * left its topic since the sweep tells.
 */
struct store_retract {
    struct store_request base; /* STORE_RETRACT */
    struct bytes tenant;
    uint8_t id[NOTIFICATION_ID_LEN];
    bool only_find; /* take nothing back: whether there is one */
    /* out */
    uint64_t n;
    enum notification_audience kind;
    struct bytes name;
};

/*
 * Give a post to many other content: who gets it from then on gets that; whoever has it gets a rev
 * and the fields that were changed, at the latest when next read, or by the sweep, without a change
 * of state or place. Of a field that STORE_EDIT changes of one row, too, the later change holds.
 * Another end that is given in time holds for everybody. STATUS_NOT_FOUND as above, or it has
 * expired by the store's clock. Who is online is served as after a post.
 */
struct store_revise {
    struct store_request base; /* STORE_REVISE */
    struct bytes tenant;
    uint8_t id[NOTIFICATION_ID_LEN];
    uint32_t fields; /* set of enum notification_edit, not empty */
    struct bytes title;
    struct bytes message;
    struct bytes data;
    enum notification_priority priority;
    uint64_t expires_at;
    uint64_t at;
    /* out */
    uint64_t n;
    enum notification_audience kind;
    struct bytes name;
};

/*
 * Which posts there are above a number, for several tenants: the cursor of a node that finds posts
 * whose hint was lost. A number that was answered stands for all posts up to it: they are told in
 * the order in which they became visible.
 */
struct store_posted {
    struct store_request base; /* STORE_POSTED */
    struct store_posted_from {
        struct bytes tenant;
        uint64_t after; /* UINT64_MAX: only where it stands */
    } * tenants;
    size_t tenant_count; /* at most STORE_PAGE_MAX */
    uint32_t limit; /* of posts: 1 to STORE_PAGE_MAX */
    /* out */
    uint64_t *heads; /* by index: the last number of the tenant that is told; pass it as `after` */
    struct store_posted_one {
        size_t tenant; /* index */
        uint64_t n;
        enum notification_audience kind;
        struct bytes name;
    } * posts;
    size_t post_count;
    bool more;
};

/*
 * Take back what retractions have not reached yet, and renew what STORE_REVISE has not, at most
 * `limit` rows; drop posts that were
 * created before `now` - `tombstone_ms` or have expired, at most `limit`. It is a struct
 * store_sweep of op STORE_AUDIENCE_SWEEP: what is gone is told as there, `more` says that it is not
 * done. `tombstone_ms` says here how long posts are kept for users who do not come (400 days).
 */

#endif
