/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rare part of a user: made when it is first needed, so that an idle user is small.
 */
#include "actors/user/user_actor.h"

#include "codec/base/mem.h"

struct user_busy *user_busy(struct user *user)
{
    if (user->busy == NULL) {
        user->busy = mem_alloc(sizeof(*user->busy));
        shard_of(&user->actor)->stats.busy_users++;
        list_init(&user->busy->joining);
        list_init(&user->busy->kept);
        list_init(&user->busy->typing);
        list_init(&user->busy->following);
    }
    return user->busy;
}
