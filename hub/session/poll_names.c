/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll_names - private to the session layer: which session a sid means, on each shard.
 */
#include "hub/session/poll_names.h"

#include "codec/base/mem.h"
#include "hub/session/poll_mail.h"
#include "hub/session/polling_state.h"

void poll_names_draw(const struct session_part *part, char ret_sid[SID_LEN])
{
    sid_draw((struct sid_place){.node = part->config->node,
                 .shard = (uint8_t)sched_shard(part->shard->sched)},
        ret_sid);
}

int poll_names_shard(const struct session_part *part, struct bytes sid)
{
    struct sid_place place;
    bool ours = sid_read(sid, &place) && place.node == part->config->node &&
                place.shard < part->layer->shard_count;
    return ours ? place.shard : -1;
}

static struct bytes entry_sid(const struct poll_entry *entry)
{
    return bytes_of(entry->sid, sizeof(entry->sid));
}

struct bytes poll_names_key(const void *entry)
{
    return entry_sid(entry);
}

struct bytes poll_names_sid(const struct session *session)
{
    return entry_sid(&poll_session_of(session)->entry);
}

static struct poll_forward *forward_of(struct poll_entry *entry)
{
    return container_of(entry, struct poll_forward, entry);
}

void poll_names_finish(struct session_part *part)
{
    size_t cursor = 0;
    struct poll_entry *entry;
    while ((entry = map_next(&part->polls.sids, &cursor))) {
        if (entry->forward) {
            mem_free(forward_of(entry));
        }
    }
    map_finish(&part->polls.sids);
}

struct session *poll_names_find(struct session_part *part, struct bytes sid, int *ret_forward)
{
    struct poll_entry *entry = map_get(&part->polls.sids, sid);
    *ret_forward = entry && entry->forward ? (int)forward_of(entry)->shard : -1;
    bool here = entry && !entry->forward;
    return here ? &container_of(entry, struct poll_session, entry)->session : NULL;
}

void poll_names_drop_forward(struct session_part *part, struct bytes sid)
{
    struct poll_entry *entry = map_get(&part->polls.sids, sid);
    if (entry && entry->forward) {
        map_remove(&part->polls.sids, sid);
        mem_free(forward_of(entry));
    }
}

void poll_names_leave(struct session *session, unsigned shard)
{
    struct poll_session *poll = poll_session_of(session);
    struct poll_forward *forward = mem_alloc(sizeof(*forward));
    *forward = (struct poll_forward){.entry = poll->entry, .shard = shard};
    forward->entry.forward = true;
    struct map *sids = &session->part->polls.sids;
    if (map_replace(sids, forward) == NULL && !map_put(sids, forward)) {
        mem_free(forward); /* who asks here is told that it is unknown */
    }
    poll->moves += poll->moves < 2;
    poll->place = POLL_LEFT;
}

bool poll_names_arrive(struct session *session)
{
    struct poll_session *poll = poll_session_of(session);
    poll_names_drop_forward(session->part, poll_names_sid(session));
    poll->place = POLL_HERE;
    return map_put(&session->part->polls.sids, &poll->entry);
}

/* The name is not known here any more. */
static void remove_name(struct session *session)
{
    struct map *sids = &session->part->polls.sids;
    const struct poll_entry *entry = &poll_session_of(session)->entry;
    if (map_get(sids, entry_sid(entry)) == entry) {
        map_remove(sids, entry_sid(entry));
    }
}

void poll_names_forget(struct session *session)
{
    struct poll_session *poll = poll_session_of(session);
    struct session_part *part = session->part;
    struct bytes sid = poll_names_sid(session);
    if (poll->place == POLL_NOWHERE) {
        return;
    }
    if (poll->place == POLL_LEFT) {
        poll_names_drop_forward(part, sid);
    }
    remove_name(session);
    unsigned here = sched_shard(part->shard->sched);
    int first = poll_names_shard(part, sid);
    unsigned moves = part->polls.stopping ? 0 : poll->moves;
    for (unsigned i = 0; moves > 0 && i < part->layer->shard_count; i++) {
        if (i != here && (moves > 1 || (int)i == first)) {
            poll_mail_tell(part, i, POLL_FORGET, (struct poll_ticket){0}, sid);
        }
    }
    poll->moves = 0;
}
