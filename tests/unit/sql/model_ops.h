/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_ops - what the operations on a store and the model have in common: what they draw, what
 * they expect.
 */
#ifndef TESTS_UNIT_SQL_MODEL_OPS_H
#define TESTS_UNIT_SQL_MODEL_OPS_H

#include "sql/store_audience.h"
#include "tests/unit/sql/model_run.h"

/* A row of a put, and what the model says of it. */
struct posted {
    struct model_inbox *inbox;
    struct model_put put;
    uint64_t before; /* the inbox's rev before the request */
};

/* What is posted. */
struct model_content run_draw_content(struct run *run);

/* A post to one user, and the row that is asked for; one of four repeats a key. */
struct posted run_draw_put(struct run *run, struct model_inbox *inbox, struct store_row *ret_row);

/* A post to many, and what is asked; its users are not in it. */
struct model_post run_draw_post(struct run *run);
struct store_audience_post run_make_request(const struct model_post *post, bool other_content);

/* Some users of a tenant, one of them maybe twice; `ret_listed` by inbox. */
size_t run_draw_users(struct run *run, unsigned tenant, struct bytes ret_users[MODEL_INBOXES],
    bool ret_listed[MODEL_INBOXES]);

/* What is told of a row that was stored (NULL: it was not wanted), or of one whose key was used
 * before: by `first`, NULL where there is no row. */
void run_expect_stored(struct run *run, struct model_inbox *inbox, const struct model_put *put,
    struct model_row *row, const struct store_row *told);
void run_expect_repeat(struct run *run, const struct posted *posted, const struct store_row *told,
    const struct model_row *first);

/* One time of so many. */
static inline bool run_draws(struct run *run, uint64_t one_in)
{
    return run_draw(run, one_in) == 0;
}

/* Operations of model_users.c and model_later.c. */
void run_prefer(struct run *run);
void run_forget_user(struct run *run);
void run_ask_positions(struct run *run);
void run_revise_post(struct run *run);
void run_post_later(struct run *run);
void run_deliver(struct run *run);
void run_change_kept(struct run *run);

/* Of model_time.c. */
void run_expire(struct run *run);
void run_sweep_posts(struct run *run);
void run_retain(struct run *run);

#endif
