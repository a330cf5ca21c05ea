/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_parts - what the parts of the model share.
 */
#ifndef TESTS_UNIT_SQL_MODEL_PARTS_H
#define TESTS_UNIT_SQL_MODEL_PARTS_H

#include "tests/unit/sql/model.h"

/* As good as new: on top of the list, told as a whole. */
void model_make_new(struct model_inbox *inbox, struct model_row *row);

/* A row with the next seq and rev. */
struct model_row *model_add_row(struct model_inbox *inbox, const struct model_content *content);

/* Whether a user has rows of this type, as the preferences are now. */
bool model_wants(
    const struct model_inbox *inbox, const struct model_content *content, bool unwanted);

/* How long after its first post a digest of the type takes in others; 0: there is none. */
uint64_t model_span(const struct model_inbox *inbox, unsigned type, uint64_t usual_span);

/* The newest open digest of a type, while it takes in; NULL: there is none. */
struct model_row *model_find_digest(
    struct model_inbox *inbox, unsigned type, uint64_t span, uint64_t created_at);

/* The digest remembers one more. */
void model_gather(struct model_row *row, const struct model_gathered *gathered);

/* A digest expires with the last of its posts; 0: never. */
uint64_t model_last_end(uint64_t one, uint64_t other);

/* From now on posts to everybody are for the inbox; and those that were for new ones too. */
void model_begin(struct model *model, struct model_inbox *inbox);

static inline uint64_t model_later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
