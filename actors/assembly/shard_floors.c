/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the floors of a shard together: who serves a fan-out, what an owner of sockets can do, and
 * in which order the end of a turn calls them.
 */
#include "actors/assembly/shard_floors.h"

#include "actors/deliver/fanout.h"
#include "actors/deliver/outbox.h"
#include "actors/deliver/socket.h"
#include "actors/inbox/audience.h"
#include "actors/inbox/feed.h"
#include "actors/inbox/positions.h"
#include "actors/recover/recovery.h"
#include "actors/rooms/acks.h"
#include "actors/rooms/ask.h"
#include "actors/rooms/room.h"
#include "actors/sequencer_proto.h"
#include "actors/shard.h"
#include "actors/user/user_actor.h"
#include "codec/base/rand.h"

static struct bytes sid_of(const void *socket)
{
    return bytes_of(((const struct socket *)socket)->sid, SOCKET_SID_LEN);
}

void shard_init(struct shard *shard, struct sched *sched, const struct actor_config *config)
{
    *shard = (struct shard){.sched = sched, .config = config};
    shard->owners = &user_owner_ops;
    list_init(&shard->dirty_outboxes);
    list_init(&shard->fanouts);
    list_init(&shard->users);
    list_init(&shard->unread_dirty);
    map_init(&shard->sockets, sid_of);
    uint64_t seed;
    rand_secret(&seed, sizeof(seed));
    rand_init(&shard->rand, seed);
}

static const struct fanout_ops fanout_ops = {
    .gone = room_on_gone,
    .ask = ask_answer,
    .finish = acks_finish,
};

struct fanout *shard_open_nsp(struct shard *shard, struct bytes nsp)
{
    struct fanout *fanout = fanout_start(shard, nsp);
    fanout->ops = &fanout_ops;
    recovery_watch(fanout);
    struct sequencer_attach *attach = sequencer_attach_new();
    attach->nsp = buf_new_name(nsp);
    attach->fanout = fanout->actor.self;
    msg_send_home(shard->sched, attach);
    return fanout;
}

void shard_finish(struct shard *shard)
{
    map_finish(&shard->sockets);
}

void shard_flush(struct shard *shard)
{
    if (shard->audience != NULL) {
        audience_flush(shard->audience);
    }
    if (shard->positions != NULL) {
        positions_flush(shard->positions);
    }
    for (struct list *link; (link = list_pop(&shard->unread_dirty)) != NULL;) {
        feed_tell_unread(container_of(link, struct inbox, unread_link));
    }
    list_for_each (link, &shard->fanouts) {
        struct fanout *fanout = container_of(link, struct fanout, shard_link);
        fanout_flush(fanout);
        recovery_flush(fanout);
    }
    outbox_flush_all(&shard->dirty_outboxes);
}
