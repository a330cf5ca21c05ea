/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In which rooms a recoverable is and was, each with the numbers between which it was there.
 */
#include "actors/recover/recovery_state.h"

#include "codec/base/mem.h"

enum { ENDED_MAX = 64 /* stays that are remembered after they ended */ };

static void remove_stay(struct recoverable *recoverable, uint32_t index)
{
    mem_free((char *)(uintptr_t)recoverable->stays[index].name.at);
    recoverable->stay_count--;
    memmove(&recoverable->stays[index], &recoverable->stays[index + 1],
        (recoverable->stay_count - index) * sizeof(struct stay));
}

static bool reserve_stay(struct recoverable *recoverable)
{
    if (recoverable->stay_count < recoverable->stay_cap) {
        return true;
    }
    uint32_t cap = recoverable->stay_cap > 0 ? recoverable->stay_cap * 2 : 2;
    struct stay *stays = mem_try_realloc(recoverable->stays, cap * sizeof(*stays));
    if (stays == NULL) {
        return false;
    }
    recoverable->stays = stays;
    recoverable->stay_cap = cap;
    return true;
}

bool recovery_add_stay(struct recoverable *recoverable, const struct stay *stay)
{
    if (!reserve_stay(recoverable)) {
        return false;
    }
    struct stay *added = &recoverable->stays[recoverable->stay_count++];
    *added = *stay;
    added->name = bytes_of(mem_dup(stay->name.at, stay->name.len), stay->name.len);
    return true;
}

struct stay *recovery_stay_in(struct recoverable *recoverable, struct bytes room)
{
    for (uint32_t i = 0; i < recoverable->stay_count; i++) {
        struct stay *stay = &recoverable->stays[i];
        if (!stay->over && bytes_eq(stay->name, room)) {
            return stay;
        }
    }
    return NULL;
}

void recovery_trim_stays(struct recoverable *recoverable)
{
    uint32_t ended = 0;
    uint32_t first = UINT32_MAX;
    for (uint32_t i = 0; i < recoverable->stay_count; i++) {
        if (recoverable->stays[i].over) {
            ended++;
            bool earlier = first == UINT32_MAX ||
                           recoverable->stays[i].to.number < recoverable->stays[first].to.number;
            first = earlier ? i : first;
        }
    }
    if (ended > ENDED_MAX) {
        recoverable->floor = recoverable->stays[first].to;
        remove_stay(recoverable, first);
    }
}
