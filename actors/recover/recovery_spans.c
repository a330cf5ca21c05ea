/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In which rooms a recoverable is and was, each with the numbers between which it was there.
 */
#include "actors/recover/recovery_state.h"

#include <string.h>

#include "codec/base/mem.h"

enum { ENDED_MAX = 64 /* spans that are remembered after they ended */ };

static void remove_span(struct recoverable *recoverable, uint32_t index)
{
    mem_free((char *)(uintptr_t)recoverable->spans[index].name.at);
    recoverable->span_count--;
    memmove(&recoverable->spans[index], &recoverable->spans[index + 1],
        (recoverable->span_count - index) * sizeof(struct room_span));
}

static bool reserve_span(struct recoverable *recoverable)
{
    if (recoverable->span_count < recoverable->span_cap) {
        return true;
    }
    uint32_t cap = recoverable->span_cap > 0 ? recoverable->span_cap * 2 : 2;
    struct room_span *spans = mem_try_realloc(recoverable->spans, cap * sizeof(*spans));
    if (spans == NULL) {
        return false;
    }
    recoverable->spans = spans;
    recoverable->span_cap = cap;
    return true;
}

bool recovery_add_span(struct recoverable *recoverable, const struct room_span *span)
{
    char *name = reserve_span(recoverable) ? mem_try_alloc(span->name.len + 1) : NULL;
    if (name == NULL) {
        return false;
    }
    memcpy(name, span->name.len > 0 ? span->name.at : "", span->name.len);
    struct room_span *added = &recoverable->spans[recoverable->span_count++];
    *added = *span;
    added->name = bytes_of(name, span->name.len);
    return true;
}

struct room_span *recovery_span_in(struct recoverable *recoverable, struct bytes room)
{
    for (uint32_t i = 0; i < recoverable->span_count; i++) {
        struct room_span *span = &recoverable->spans[i];
        if (!span->over && bytes_eq(span->name, room)) {
            return span;
        }
    }
    return NULL;
}

void recovery_trim_spans(struct recoverable *recoverable)
{
    uint32_t ended = 0;
    uint32_t first = UINT32_MAX;
    for (uint32_t i = 0; i < recoverable->span_count; i++) {
        if (recoverable->spans[i].over) {
            ended++;
            bool earlier = first == UINT32_MAX ||
                           recoverable->spans[i].to.number < recoverable->spans[first].to.number;
            first = earlier ? i : first;
        }
    }
    if (ended > ENDED_MAX) {
        recoverable->forgotten_to = recoverable->spans[first].to;
        remove_span(recoverable, first);
    }
}
