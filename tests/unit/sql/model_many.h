/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_many - what becomes of posts to many, by the model.
 */
#ifndef TESTS_UNIT_SQL_MODEL_MANY_H
#define TESTS_UNIT_SQL_MODEL_MANY_H

#include "tests/unit/sql/model.h"

/* The post to many of this tenant, kind, topic and key; NULL: there was none. */
struct model_post *model_find_post(struct model *model, const struct model_post *like);

/* A new one, for those who are members now. */
struct model_post *model_add_post(
    struct model *model, const struct model_post *post, const bool listed[MODEL_INBOXES]);

/* Give a post to many other content: rows of it get it when next read (model_renew). */
void model_revise(struct model_post *post, const struct model_edit *edit);

/* The row that holds a post (from 1) and is there; NULL: none is. */
struct model_row *model_find_holder(struct model_inbox *inbox, size_t post);

/* Posts that a row holds whose content it has not got by now, and that were taken back. */
size_t model_count_behind(
    const struct model *model, const struct model_inbox *inbox, const struct model_row *row);
size_t model_count_lost(
    const struct model *model, const struct model_inbox *inbox, const struct model_row *row);

/* The row gets the content of its posts, at the inbox's rev. */
void model_renew(const struct model *model, struct model_inbox *inbox, struct model_row *row);

/* Whether a row has something to show without what was taken back. */
bool model_goes_on(
    const struct model *model, const struct model_inbox *inbox, const struct model_row *row);

/* What was taken back leaves it, at the inbox's rev. */
void model_take_out(const struct model *model, struct model_inbox *inbox, struct model_row *row);

/* Whether a row is one of a post that was taken back, and so must not be told. */
bool model_is_retracted(const struct model *model, const struct model_row *row);

/* Whether a post to many is old, or has expired: then it is dropped, unless rows of it are behind.
 */
bool model_is_old(const struct model *model, const struct model_post *post, uint64_t created_until);

/* Drop a post, which nobody gets any more. */
void model_drop_post(struct model *model, struct model_post *post);

/* End posts to many that are as old. By post - 1: which had ended before, and nobody has. */
void model_end_posts(struct model *model, const struct model_rule rules[MODEL_TENANTS],
    bool ret_unused[MODEL_POSTS_MAX]);

#endif
