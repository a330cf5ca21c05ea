/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the requests of the store do to one inbox, row by row.
 *
 * Order of this file: rows, marks, reads.
 */
#include "tests/support/fake_inbox.h"

#include <stdlib.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/notification_digest.h"

/* Rows. */

static struct bytes keep(struct bytes text)
{
    return text.len > 0 ? bytes_of(mem_dup(text.at, text.len), text.len) : bytes_of(NULL, 0);
}

/* What a key was used for. */
struct first {
    const uint8_t *content_hash; /* NULL: nothing */
    const struct notification_item *item;
};

static struct first find_key(const struct fake_inbox *inbox, const uint8_t *key_hash)
{
    for (size_t i = 0; i < inbox->count; i++) {
        const struct fake_row *row = &inbox->rows[i];
        if (memcmp(row->key_hash, key_hash, STORE_HASH_LEN) == 0) {
            return (struct first){.content_hash = row->content_hash, .item = &row->item};
        }
    }
    for (size_t i = 0; i < inbox->joined_count; i++) {
        const struct fake_joined *joined = &inbox->joined[i];
        if (memcmp(joined->key_hash, key_hash, STORE_HASH_LEN) == 0) {
            return (struct first){
                .content_hash = joined->content_hash, .item = &inbox->rows[joined->row].item};
        }
    }
    return (struct first){0};
}

/* The newest open digest of the row's type; NULL: there is none. */
static struct fake_row *find_digest(struct fake_inbox *inbox, const struct store_row *row)
{
    bool apart = row->digest_ms == 0 || row->priority == NOTIFICATION_URGENT;
    for (size_t i = inbox->count; i > 0 && !apart; i--) {
        struct notification_item *item = &inbox->rows[i - 1].item;
        if (item->digest.len > 0 && bytes_eq(item->type, row->type) &&
            item->state <= NOTIFICATION_SEEN) {
            return &inbox->rows[i - 1];
        }
    }
    return NULL;
}

/* What the row shows, and remembers where it has a digest. */
static void set_content(struct notification_item *item, const struct store_row *row)
{
    struct builder list = {0};
    if (row->digest_ms > 0 && row->priority != NOTIFICATION_URGENT) {
        struct notification_digest_entry entry = {.at = row->created_at,
            .priority = row->priority,
            .title = row->title,
            .message = row->message,
            .data = row->data};
        memcpy(entry.id, row->id, NOTIFICATION_ID_LEN);
        notification_digest_add(item->digest, &entry, &list);
    }
    item->title = keep(row->title);
    item->message = keep(row->message);
    item->data = keep(row->data);
    item->priority = row->priority;
    item->expires_at = row->expires_at;
    item->digest = keep(builder_bytes(&list));
    builder_reset(&list);
}

static struct fake_row *store_row(struct fake_inbox *inbox, const struct store_row *row)
{
    if (inbox->count == inbox->cap) {
        inbox->cap = inbox->cap ? inbox->cap * 2 : 8;
        inbox->rows = mem_realloc_array(inbox->rows, inbox->cap, sizeof(*inbox->rows));
    }
    struct fake_row *stored = &inbox->rows[inbox->count++];
    *stored = (struct fake_row){0};
    memcpy(stored->key_hash, row->key_hash, STORE_HASH_LEN);
    memcpy(stored->content_hash, row->content_hash, STORE_HASH_LEN);
    memcpy(stored->item.id, row->id, NOTIFICATION_ID_LEN);
    stored->item.tenant = keep(row->who.tenant);
    stored->item.user = keep(row->who.user);
    stored->item.type = keep(row->type);
    stored->item.created_at = row->created_at;
    stored->item.seq = ++inbox->position.seq;
    inbox->position.unread++;
    inbox->position.unseen++;
    set_content(&stored->item, row);
    return stored;
}

/* The digest is new again, with other content. */
static void join(struct fake_inbox *inbox, struct fake_row *digest, const struct store_row *row)
{
    struct notification_item *item = &digest->item;
    const struct bytes texts[] = {item->title, item->message, item->data, item->digest};
    inbox->joined =
        mem_realloc_array(inbox->joined, inbox->joined_count + 1, sizeof(*inbox->joined));
    struct fake_joined *joined = &inbox->joined[inbox->joined_count++];
    joined->row = (size_t)(digest - inbox->rows);
    memcpy(joined->key_hash, row->key_hash, STORE_HASH_LEN);
    memcpy(joined->content_hash, row->content_hash, STORE_HASH_LEN);
    inbox->position.unseen += item->state == NOTIFICATION_SEEN;
    item->state = NOTIFICATION_UNREAD;
    item->seen_at = 0;
    item->updated_at = row->created_at;
    set_content(item, row);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        mem_free((void *)(uintptr_t)texts[i].at);
    }
}

bool fake_inbox_put(struct fake_inbox *inbox, struct store_row *row)
{
    const struct first first = find_key(inbox, row->key_hash);
    if (first.item != NULL) {
        bool same = memcmp(first.content_hash, row->content_hash, STORE_HASH_LEN) == 0;
        row->outcome = same ? OUTCOME_DUPLICATE : OUTCOME_CONFLICT;
        memcpy(row->id, first.item->id, NOTIFICATION_ID_LEN);
        row->seq = first.item->seq;
        row->rev = first.item->rev;
        return false;
    }
    struct fake_row *stored = find_digest(inbox, row);
    row->outcome = stored != NULL ? OUTCOME_COLLAPSED : OUTCOME_STORED;
    if (stored != NULL) {
        join(inbox, stored, row);
    } else {
        stored = store_row(inbox, row);
    }
    struct notification_item *item = &stored->item;
    item->rev = item->new_rev = stored->whole_rev = ++inbox->position.rev;
    item->count++;
    memcpy(row->id, item->id, NOTIFICATION_ID_LEN);
    row->seq = item->seq;
    row->rev = item->rev;
    row->head = inbox->position.seq;
    row->count = item->count;
    row->first_at = item->created_at;
    row->digest = item->digest;
    row->unread = inbox->position.unread;
    row->unseen = inbox->position.unseen;
    return true;
}

static void free_row(struct fake_row *row)
{
    const struct bytes texts[] = {row->item.tenant, row->item.user, row->item.type, row->item.title,
        row->item.message, row->item.data, row->item.digest};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        mem_free((void *)(uintptr_t)texts[i].at);
    }
}

void fake_inbox_finish(struct fake_inbox *inbox)
{
    mem_free(inbox->preferences);
    for (size_t i = 0; i < inbox->count; i++) {
        free_row(&inbox->rows[i]);
    }
    mem_free(inbox->rows);
    mem_free(inbox->joined);
}

/* Marks. */

static bool is_meant(const struct store_mark *mark, const struct fake_row *row)
{
    const struct notification_item *item = &row->item;
    bool named = mark->id_count == 0 && item->seq <= mark->up_to;
    for (size_t i = 0; i < mark->id_count; i++) {
        named |= memcmp(mark->ids[i], item->id, NOTIFICATION_ID_LEN) == 0;
    }
    bool late = mark->id_count > 0 && item->rev > mark->if_rev;
    uint32_t states = late ? mark->late_states : mark->states;
    return named && !row->gone && (states >> item->state & 1) != 0 &&
           (mark->type.len == 0 || bytes_eq(mark->type, item->type));
}

/* Change a row, and the counters with it. */
static void change_row(struct fake_inbox *inbox, struct fake_row *row, enum notification_verb verb,
    uint64_t at, uint64_t until)
{
    struct notification_item *item = &row->item;
    inbox->position.unread -= item->state <= NOTIFICATION_SEEN;
    inbox->position.unseen -= item->state == NOTIFICATION_UNREAD;
    notification_mark_apply(item, verb, at, until);
    inbox->position.unread += item->state <= NOTIFICATION_SEEN;
    inbox->position.unseen += item->state == NOTIFICATION_UNREAD;
    item->rev = inbox->position.rev + 1;
    item->new_rev = verb == NOTIFICATION_MARK_WAKE ? item->rev : item->new_rev;
    bool whole = verb == NOTIFICATION_MARK_WAKE || verb == NOTIFICATION_MARK_UNARCHIVE;
    row->whole_rev = whole ? item->rev : row->whole_rev;
    row->gone = item->state == NOTIFICATION_ERASED;
}

static struct notification_change change_of(const struct fake_row *row, uint64_t at)
{
    struct notification_change change = {.seq = row->item.seq,
        .rev = row->item.rev,
        .state = row->item.state,
        .at = at,
        .snoozed_until = row->item.snoozed_until};
    memcpy(change.id, row->item.id, NOTIFICATION_ID_LEN);
    return change;
}

void fake_inbox_mark(struct fake_inbox *inbox, struct store_mark *request)
{
    request->changes = mem_alloc_array(2 * inbox->count + 1, sizeof(*request->changes));
    request->late = request->changes + inbox->count;
    request->base.result = request->changes;
    for (size_t i = 0; i < inbox->count; i++) {
        struct fake_row *row = &inbox->rows[i];
        if (!is_meant(request, row)) {
            continue;
        }
        if (row->item.rev > request->if_rev) {
            request->late[request->late_count++] = change_of(row, request->at);
            continue;
        }
        change_row(inbox, row, request->verb, request->at, request->until);
        request->changes[request->change_count++] = change_of(row, request->at);
    }
    request->changed = request->change_count > 0;
    inbox->position.rev += request->changed;
    request->position = inbox->position;
    request->total = request->change_count;
    request->prefix = request->late_count == 0;
    request->through = request->up_to < inbox->position.seq ? request->up_to : inbox->position.seq;
}

size_t fake_inbox_wake(struct fake_inbox *inbox)
{
    size_t count = 0;
    for (size_t i = 0; i < inbox->count; i++) {
        if (inbox->rows[i].item.state == NOTIFICATION_SNOOZED) {
            change_row(inbox, &inbox->rows[i], NOTIFICATION_MARK_WAKE, FAKE_WALL_MS, 0);
            count++;
        }
    }
    inbox->position.rev += count > 0;
    return count;
}

/* Reads. */

/* A row with where it stands in the order of a sync: as new, or as changed. */
struct keyed {
    const struct fake_row *row;
    uint64_t key;
};

static uint64_t key_of(const struct fake_row *row, uint64_t since)
{
    return row->item.new_rev > since && !row->gone ? row->item.new_rev : row->item.rev;
}

static int compare_rows(const void *a, const void *b)
{
    const struct keyed *left = a;
    const struct keyed *right = b;
    if (left->key != right->key) {
        return left->key < right->key ? -1 : 1;
    }
    return left->row->item.seq < right->row->item.seq ? -1 : 1;
}

static void add_row(struct store_sync *request, const struct fake_row *row)
{
    if (row->whole_rev > request->rev && !row->gone) {
        request->items[request->item_count++] = row->item;
        return;
    }
    request->changes[request->change_count++] = change_of(row, FAKE_WALL_MS);
}

/* Whole revs, as many as fit. */
void fake_inbox_sync(struct fake_inbox *inbox, struct store_sync *request)
{
    request->position = inbox->position;
    request->resync = request->rev > inbox->position.rev;
    request->through_rev = request->rev;
    struct keyed *rows = mem_alloc_array(inbox->count + 1, sizeof(*rows));
    size_t count = 0;
    for (size_t i = 0; i < inbox->count && !request->resync; i++) {
        if (inbox->rows[i].item.rev > request->rev) {
            rows[count++] = (struct keyed){
                .row = &inbox->rows[i], .key = key_of(&inbox->rows[i], request->rev)};
        }
    }
    qsort(rows, count, sizeof(*rows), compare_rows);
    struct fake_sync *result = mem_alloc(sizeof(*result));
    result->items = request->items = mem_alloc_array(count + 1, sizeof(*request->items));
    result->changes = request->changes = mem_alloc_array(count + 1, sizeof(*request->changes));
    request->base.result = result;
    size_t taken = 0;
    while (taken < count) {
        size_t end = taken;
        while (end < count && rows[end].key == rows[taken].key) {
            end++;
        }
        if (taken > 0 && end > request->limit) {
            break;
        }
        request->through_rev = rows[taken].key;
        for (; taken < end; taken++) {
            add_row(request, rows[taken].row);
        }
    }
    request->done = taken == count;
    if (request->done) {
        request->through_rev = request->position.rev;
    }
    mem_free(rows);
}

/* Newest first, of all that the states allow: no other filter is asked of actors' tests. */
static bool is_behind(const struct notification_item *item, const struct store_cursor *cursor)
{
    return cursor->new_rev == 0 || item->new_rev < cursor->new_rev ||
           (item->new_rev == cursor->new_rev && item->seq < cursor->seq);
}

/* The newest row of the list behind `cursor`; NULL: there is none. */
static const struct notification_item *find_listed(const struct fake_inbox *inbox,
    const struct store_list *request, const struct store_cursor *cursor)
{
    const struct notification_item *found = NULL;
    uint32_t states = request->states ? request->states : NOTIFICATION_LISTED_STATES;
    for (size_t i = 0; i < inbox->count; i++) {
        const struct notification_item *item = &inbox->rows[i].item;
        bool wanted = !inbox->rows[i].gone && (states >> item->state & 1) != 0;
        if (wanted && is_behind(item, cursor) &&
            (found == NULL || item->new_rev > found->new_rev ||
                (item->new_rev == found->new_rev && item->seq > found->seq))) {
            found = item;
        }
    }
    return found;
}

void fake_inbox_list(struct fake_inbox *inbox, struct store_list *request)
{
    struct store_cursor cursor = request->before;
    request->position = inbox->position;
    request->items = mem_alloc_array(inbox->count + 1, sizeof(*request->items));
    request->base.result = request->items;
    for (const struct notification_item *item = find_listed(inbox, request, &cursor); item != NULL;
         item = find_listed(inbox, request, &cursor)) {
        if (request->count == request->limit) {
            request->next = cursor;
            break;
        }
        request->items[request->count++] = *item;
        cursor = (struct store_cursor){.new_rev = item->new_rev, .seq = item->seq};
    }
}
