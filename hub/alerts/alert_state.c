/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `<number>`, then a line for each entry: `<name> <since> <f or r> <told>`.
 */
#include "hub/alerts/alert_state.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/status.h"

struct alert_entry *alert_state_find(struct alert_state *state, const char *name)
{
    for (unsigned i = 0; i < state->count; i++) {
        if (strcmp(state->entries[i].name, name) == 0) {
            return &state->entries[i];
        }
    }
    return NULL;
}

struct alert_entry *alert_state_add(struct alert_state *state, const char *name, uint64_t since_ms)
{
    if (state->count == ALERTS_MAX) {
        return NULL;
    }
    struct alert_entry *entry = &state->entries[state->count++];
    *entry = (struct alert_entry){.since_ms = since_ms};
    (void)snprintf(entry->name, sizeof(entry->name), "%s", name);
    return entry;
}

void alert_state_remove(struct alert_state *state, struct alert_entry *entry)
{
    size_t place = (size_t)(entry - state->entries);
    state->count--;
    memmove(entry, entry + 1, (state->count - place) * sizeof(*entry));
}

void alert_state_write(const struct alert_state *state, struct builder *out)
{
    builder_printf(out, "%llu", (unsigned long long)state->number);
    for (unsigned i = 0; i < state->count; i++) {
        const struct alert_entry *entry = &state->entries[i];
        builder_printf(out, "\n%s %llu %c %u", entry->name, (unsigned long long)entry->since_ms,
            entry->resolved ? 'r' : 'f', (unsigned)entry->told);
    }
}

/* What comes up to `end`, or the rest; `*text` goes behind it. */
static struct bytes take(struct bytes *text, char end)
{
    const char *at = text->len > 0 ? memchr(text->at, end, text->len) : NULL;
    size_t len = at != NULL ? (size_t)(at - text->at) : text->len;
    struct bytes taken = bytes_of(text->at, len);
    *text = bytes_skip(*text, at != NULL ? len + 1 : len);
    return taken;
}

static bool read_entry(struct bytes line, struct alert_entry *ret_entry)
{
    uint64_t told;
    struct bytes name = take(&line, ' ');
    struct bytes since = take(&line, ' ');
    struct bytes phase = take(&line, ' ');
    if (name.len == 0 || name.len > ALERT_NAME_MAX || phase.len != 1 ||
        (phase.at[0] != 'f' && phase.at[0] != 'r') ||
        bytes_to_u64(since, INT64_MAX, &ret_entry->since_ms) != 0 ||
        bytes_to_u64(line, UINT32_MAX, &told) != 0) {
        return false;
    }
    memcpy(ret_entry->name, name.at, name.len);
    ret_entry->name[name.len] = '\0';
    ret_entry->resolved = phase.at[0] == 'r';
    ret_entry->told = (uint32_t)told;
    return true;
}

int alert_state_read(struct bytes text, struct alert_state *ret_state)
{
    struct alert_state state = {0};
    if (bytes_to_u64(take(&text, '\n'), INT64_MAX, &state.number) != 0) {
        return STATUS_INVALID;
    }
    while (text.len > 0) {
        if (state.count == ALERTS_MAX ||
            !read_entry(take(&text, '\n'), &state.entries[state.count])) {
            return STATUS_INVALID;
        }
        state.count++;
    }
    *ret_state = state;
    return 0;
}

bool alert_watch_step(struct alert_watch *watch, bool holds, uint64_t now_ms, uint64_t for_ms)
{
    if (!holds) {
        watch->held_ms = 0;
        return false;
    }
    if (watch->held_ms == 0) {
        watch->held_ms = now_ms > 0 ? now_ms : 1;
    }
    return now_ms >= watch->held_ms && now_ms - watch->held_ms >= for_ms;
}
