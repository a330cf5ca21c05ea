/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of marks, each where the position stood at a time: what is older than is to be kept is
 * trimmed.
 */
#include "actors/ingest/ingest_keep.h"

/* Two fewer than there are marks, so that the oldest is due before a new one needs its place. */
enum { STEPS = INGEST_MARKS - 2 };

static void mark(struct ingest_keep *keep, uint64_t now_ms, struct stream_id position)
{
    unsigned at = (keep->first + keep->count) % INGEST_MARKS;
    keep->marks[at].at_ms = now_ms;
    keep->marks[at].id = position;
    keep->count++;
}

static struct stream_id take_oldest(struct ingest_keep *keep)
{
    struct stream_id id = keep->marks[keep->first].id;
    keep->first = (keep->first + 1) % INGEST_MARKS;
    keep->count--;
    return id;
}

static bool wants_mark(const struct ingest_keep *keep, uint64_t now_ms, uint64_t keep_ms)
{
    unsigned newest = (keep->first + keep->count + INGEST_MARKS - 1) % INGEST_MARKS;
    return keep->count == 0 || now_ms >= keep->marks[newest].at_ms + keep_ms / STEPS;
}

bool ingest_keep_note(struct ingest_keep *keep, uint64_t now_ms, uint64_t keep_ms,
    struct stream_id position, uint64_t length, struct stream_id *ret_id)
{
    struct stream_id id = {0};
    if (wants_mark(keep, now_ms, keep_ms)) {
        if (keep->count == INGEST_MARKS) {
            id = take_oldest(keep);
        }
        mark(keep, now_ms, position);
    }
    while (keep->count > 0 && now_ms >= keep->marks[keep->first].at_ms + keep_ms) {
        id = take_oldest(keep);
    }
    if (length > INGEST_KEEP_MAX && stream_id_cmp(id, keep->trimmed) <= 0) {
        id = keep->count > 0 ? take_oldest(keep) : position;
    }
    if (stream_id_cmp(id, keep->trimmed) <= 0) {
        return false;
    }
    keep->trimmed = id;
    *ret_id = id;
    return true;
}

void ingest_keep_forget(struct ingest_keep *keep)
{
    *keep = (struct ingest_keep){0};
}
