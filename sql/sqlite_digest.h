/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_digest - posts to many in digests of users: joining, taking out, other content.
 *
 * Called inside a transaction, on its thread; on a negative status the caller rolls back.
 */
#ifndef SQL_SQLITE_DIGEST_H
#define SQL_SQLITE_DIGEST_H

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "sql/engine.h"
#include "sql/sqlite_db.h"

/* A post to many of which a row is made that others may share. */
struct sqlite_sharing {
    struct store_user who;
    uint64_t n;
    uint64_t created_at;
    uint64_t expires_at;
    uint64_t span; /* for so long after the first one */
    struct bytes post_id; /* as text */
};

/*
 * Let the post join the user's newest open digest of its type, with the inbox's next rev: 1. 0:
 * none began less than the span before. `list` gets what the digest remembers then, or a row of its
 * own.
 */
MUST_CHECK int sqlite_digest_join(
    struct sqlite_db *db, const struct sqlite_sharing *post, struct builder *list);

/* What a user has of a post to many. */
struct sqlite_held {
    uint64_t rowid; /* 0: the row is gone; only where it `joined` */
    uint64_t seq;
    uint8_t id[NOTIFICATION_ID_LEN];
    enum notification_state state;
    uint64_t edit; /* the content that it has */
    uint64_t count;
    struct bytes digest; /* in the arena; empty: it is a row of its own */
    bool joined; /* else the row was made of the post */
};

/* 1: the user has the post; 0: not. */
MUST_CHECK int sqlite_digest_find(struct sqlite_db *db, const struct store_user *who, uint64_t n,
    struct result *arena, struct sqlite_held *ret_held);

/*
 * Take the post out of its row, which goes on without it, with `rev`: 1. 0: nothing would be left
 * that the row could show; it is as it was.
 */
MUST_CHECK int sqlite_digest_take_out(struct sqlite_db *db, const struct store_user *who,
    uint64_t n, const struct sqlite_held *held, uint64_t rev);

/* Give the digest what was changed of the post since it was given its content, with `rev`. */
MUST_CHECK int sqlite_digest_renew(struct sqlite_db *db, const struct store_user *who, uint64_t n,
    const struct sqlite_held *held, uint64_t rev);

/* The user's row holds the post no more, or holds the content of change `edit`. */
MUST_CHECK int sqlite_digest_leave(struct sqlite_db *db, const struct store_user *who, uint64_t n);
MUST_CHECK int sqlite_digest_renewed(
    struct sqlite_db *db, const struct store_user *who, uint64_t n, uint64_t edit);

#endif
