/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_last - the last change that the connection that writes was told is committed.
 *
 * A standby that was promoted, or a backup, has all commits up to one and none behind it. So where
 * any commit of a connection was lost its last one was, and one inbox tells: the first statement of
 * each new session reads where it stands, before anything that waits is written.
 */
#ifndef SQL_PG_LAST_H
#define SQL_PG_LAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sql/pg_conn.h"

struct pg_last {
    uint64_t rev; /* of the inbox, after the change; 0: none was told yet */
    size_t tenant_len;
    size_t user_len;
    char names[2 * STORE_NAME_MAX]; /* tenant, user */
    bool asked; /* the session has not answered */
    struct store_user who; /* the same */
    struct store_positions question;
};

/* A flight has committed: keep its last change. Before its requests are given back. */
void pg_last_note(struct pg_last *last, const struct pg_flight *flight);

/* A session of `port` has begun: what to ask it first; NULL where no change was told yet. */
MUST_CHECK struct store_request *pg_last_question(struct pg_last *last, struct store_port *port);

/*
 * Whether `flight`, which has landed, is the question; then it is dealt with: a session that has
 * less tells of the loss, and where there is no answer (`asked`) it is asked again.
 */
MUST_CHECK bool pg_last_landed(struct pg_last *last, const struct pg_flight *flight);

#endif
