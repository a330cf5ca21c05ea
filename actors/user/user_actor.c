/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/user/user_actor.h"

#include "codec/base/mem.h"

struct user_rare *user_rare(struct user *user)
{
    if (user->rare == NULL) {
        user->rare = mem_alloc(sizeof(*user->rare));
        shard_of(&user->actor)->stats.busy_users++;
        list_init(&user->rare->joining);
        list_init(&user->rare->kept);
        list_init(&user->rare->typing);
    }
    return user->rare;
}
