/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies what is wanted into the request member by member, and what came of it into the answer.
 */
#include "actors/inbox/inbox_mark.h"

void inbox_mark_fill(struct store_mark *mark, struct store_user who,
    const struct notification_marking *marking, uint64_t at)
{
    mark->who = who;
    mark->verb = marking->verb;
    mark->states = notification_mark_states(marking->verb, marking->ids == NULL);
    mark->late_states = notification_mark_late_states(marking->verb);
    mark->ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])marking->ids;
    mark->id_count = marking->id_count;
    mark->up_to = marking->up_to;
    mark->type = bytes_of(marking->type, marking->type_len);
    mark->if_rev = marking->if_rev;
    mark->at = at;
    mark->until = marking->until;
}

void inbox_mark_answer(const struct store_mark *mark, struct builder *out)
{
    const struct notification_marked marked = {
        .rev = mark->position.rev,
        .unread = mark->position.unread,
        .unseen = mark->position.unseen,
        .bulk = mark->id_count == 0,
        .changes = mark->changes,
        .change_count = mark->id_count == 0 ? mark->total : mark->change_count,
        .late = mark->late,
        .late_count = mark->if_rev < INT64_MAX ? mark->late_count : 0,
    };
    notification_json_marked(&marked, out);
}
