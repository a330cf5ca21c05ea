/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of all parts together.
 */
#include "actors/presence/presence_state.h"

#include "actors/presence/presence_redis.h"
#include "actors/presence/presence_view.h"

struct presence_redis *presence_state_redis(const struct presence *presence)
{
    struct presence_redis *redis = presence->parts.redis;
    return redis != NULL && presence_redis_is_up(redis) ? redis : NULL;
}

bool presence_state_sum(
    const struct presence *presence, struct presence_view *ret_sums, bool *ret_complete)
{
    struct presence_view sums = {0};
    if (presence->parts.redis == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < presence->parts.count; i++) {
        const struct presence_part *part = &presence->part[i];
        if (!presence_part_is_fresh(part)) {
            return false;
        }
        sums.users += part->view.users;
        sums.connections += part->view.connections;
        sums.ended += part->view.ended;
        sums.nodes = part->view.nodes > sums.nodes ? part->view.nodes : sums.nodes;
    }
    *ret_sums = sums;
    *ret_complete = sums.ended == 0;
    return true;
}
