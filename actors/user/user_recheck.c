/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sockets that are there may no longer do, when their token or the rules have changed.
 *
 * After a change of the rules the users of a shard are looked at a few at a time, in the order of
 * shard.users: one that was looked at goes to its end, so those that wait are always in front, and
 * who comes or goes meanwhile needs no care.
 */
#include "actors/deliver/fanout.h"
#include "actors/inbox/walk.h"
#include "actors/user/user.h"
#include "actors/user/user_actor.h"

enum { STEP_COST = 2048 }; /* memberships looked at in a turn, about */

/* Returns how much was looked at. */
static uint32_t look_at(struct socket *socket, struct user_recheck *counts)
{
    const struct actor_config *config = socket->shard->config;
    uint32_t cost = 1u + socket->membership_count;
    if (socket->closing || socket->fanout == NULL) {
        return 1;
    }
    if (config->may_connect != NULL &&
        !config->may_connect(config->context, socket->identity, socket_nsp(socket))) {
        socket->ops->disconnect(socket, CLOSE_FORBIDDEN);
        counts->sockets++;
        return cost;
    }
    for (uint32_t i = socket->membership_count;
         i-- > 0;) { /* the last takes the place of a left one */
        counts->rooms += user_rooms_expel(socket, leaf_name(socket->memberships[i].leaf));
    }
    return cost;
}

void user_recheck_socket(struct socket *socket)
{
    struct user_recheck counts = {0};
    (void)look_at(socket, &counts);
}

void user_recheck_begin(struct shard *shard)
{
    shard->rules++;
}

bool user_recheck_some(struct shard *shard, struct user_recheck *counts)
{
    for (uint32_t cost = 0; cost < STEP_COST;) {
        struct user *user = container_of(shard->users.next, struct user, inbox.shard_link);
        if (list_empty(&shard->users) || user->owner.rules == shard->rules) {
            return false;
        }
        user->owner.rules = shard->rules;
        walk_pass(shard, &user->inbox.shard_link);
        list_remove(&user->inbox.shard_link);
        list_append(&shard->users, &user->inbox.shard_link);
        cost++;
        list_for_each (link, &user->owner.sockets) {
            cost += look_at(container_of(link, struct socket, user_link), counts);
        }
    }
    return true;
}
