/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of buckets, the newest last: what is posted is nearly always of that one. Order of this
 * file: buckets, adding, age, text.
 */
#include "hub/series/series_window.h"

#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"

/* --- buckets --- */

static struct bytes key_of(const void *object)
{
    const struct series_entry *entry = object;
    return bytes_of(entry->key, entry->key_len);
}

static void free_entries(struct series_bucket *bucket)
{
    size_t cursor = 0;
    for (struct series_entry *entry; (entry = map_next(&bucket->entries, &cursor)) != NULL;) {
        series_cell_finish(&entry->cell);
        mem_free(entry);
    }
    map_finish(&bucket->entries);
    map_init(&bucket->entries, key_of);
}

static void account(struct series_window *window, struct series_bucket *bucket, size_t bytes)
{
    window->bytes += bytes - bucket->bytes;
    bucket->bytes = bytes;
}

static void remove_bucket(struct series_window *window, struct series_bucket *bucket)
{
    account(window, bucket, 0);
    list_remove(&bucket->link);
    free_entries(bucket);
    map_finish(&bucket->entries);
    buf_unref(bucket->text);
    mem_free(bucket);
}

static struct series_bucket *bucket_of(struct list *link)
{
    return container_of(link, struct series_bucket, link);
}

void series_window_init(struct series_window *window)
{
    window->bytes = 0;
    list_init(&window->buckets);
}

void series_window_finish(struct series_window *window)
{
    while (!list_empty(&window->buckets)) {
        remove_bucket(window, bucket_of(window->buckets.next));
    }
}

uint64_t series_start_of(uint64_t at_ms)
{
    return at_ms - at_ms % SERIES_BUCKET_MS;
}

struct series_bucket *series_window_find(const struct series_window *window, uint64_t start_ms)
{
    for (struct list *link = window->buckets.prev; link != &window->buckets; link = link->prev) {
        struct series_bucket *bucket = bucket_of(link);
        if (bucket->start_ms <= start_ms) {
            return bucket->start_ms == start_ms ? bucket : NULL;
        }
    }
    return NULL;
}

static struct series_bucket *make_bucket(struct series_window *window, uint64_t start_ms)
{
    struct list *after = window->buckets.prev;
    struct series_bucket *bucket = mem_try_calloc(1, sizeof(*bucket));
    if (bucket == NULL) {
        return NULL;
    }
    while (after != &window->buckets && bucket_of(after)->start_ms > start_ms) {
        after = after->prev;
    }
    bucket->start_ms = start_ms;
    map_init(&bucket->entries, key_of);
    list_prepend(after, &bucket->link); /* behind it */
    account(window, bucket, mem_cost(sizeof(*bucket)));
    return bucket;
}

/* --- adding --- */

static struct series_entry *make_entry(
    struct series_window *window, struct series_bucket *bucket, struct bytes key)
{
    size_t size = sizeof(struct series_entry) + key.len;
    struct series_entry *entry = mem_try_calloc(1, size);
    if (entry == NULL) {
        return NULL;
    }
    entry->key_len = (uint32_t)key.len;
    memcpy(entry->key, key.at, key.len);
    size_t slots = map_bytes(&bucket->entries);
    if (!map_put(&bucket->entries, entry)) {
        mem_free(entry);
        return NULL;
    }
    account(window, bucket, bucket->bytes + mem_cost(size) + map_bytes(&bucket->entries) - slots);
    return entry;
}

/* The entry that is changed next, of a bucket that is dirty then. */
static struct series_entry *open_entry(struct series_window *window, struct bytes key,
    uint64_t at_ms, struct series_bucket **ret_bucket)
{
    uint64_t start = series_start_of(at_ms);
    struct series_bucket *bucket = series_window_find(window, start);
    bucket = bucket != NULL ? bucket : make_bucket(window, start);
    if (bucket == NULL || bucket->text != NULL) {
        return NULL;
    }
    struct series_entry *entry = map_get(&bucket->entries, key);
    entry = entry != NULL ? entry : make_entry(window, bucket, key);
    *ret_bucket = bucket;
    return entry;
}

bool series_window_add(struct series_window *window, struct bytes key, double value, uint64_t at_ms)
{
    struct series_parts parts;
    struct series_bucket *bucket;
    if (series_key_split(key, &parts) != 0) {
        return false;
    }
    struct series_entry *entry = open_entry(window, key, at_ms, &bucket);
    if (entry == NULL) {
        return false;
    }
    size_t before = series_cell_bytes(&entry->cell);
    bool good = series_cell_add(&entry->cell, parts.type, value, at_ms);
    account(window, bucket, bucket->bytes + series_cell_bytes(&entry->cell) - before);
    bucket->dirty |= good;
    return good;
}

bool series_window_merge(struct series_window *window, struct bytes key,
    const struct series_cell *cell, uint64_t at_ms, bool set)
{
    struct series_bucket *bucket;
    struct series_entry *entry = open_entry(window, key, at_ms, &bucket);
    if (entry == NULL) {
        return false;
    }
    size_t before = series_cell_bytes(&entry->cell);
    if (set) {
        series_cell_finish(&entry->cell);
    }
    bool good = series_cell_merge(&entry->cell, cell);
    account(window, bucket, bucket->bytes + series_cell_bytes(&entry->cell) - before);
    bucket->dirty = true;
    return good;
}

/* --- age --- */

static void close_bucket(struct series_window *window, struct series_bucket *bucket)
{
    struct builder out = {0};
    series_bucket_write(bucket, &out);
    struct buf *text =
        builder_failed(&out) || builder_bytes(&out).len == 0 ? NULL : buf_new(builder_bytes(&out));
    builder_reset(&out);
    if (text != NULL) { /* else it stays open, and is closed with another look */
        free_entries(bucket);
        bucket->text = text;
        account(window, bucket,
            mem_cost(sizeof(*bucket)) + mem_cost(sizeof(*text) + buf_bytes(text).len));
    }
}

void series_window_age(struct series_window *window, uint64_t now_ms, bool kept)
{
    for (struct list *link = window->buckets.next; link != &window->buckets;) {
        struct series_bucket *bucket = bucket_of(link);
        uint64_t end = bucket->start_ms + SERIES_BUCKET_MS;
        link = link->next;
        if (end + SERIES_LATE_MS + SERIES_BUCKET_MS >= now_ms || bucket->writing) {
            continue;
        }
        if (end + SERIES_KEPT_MS < now_ms || (!kept && !bucket->dirty)) {
            remove_bucket(window, bucket);
        } else if (bucket->text == NULL) {
            close_bucket(window, bucket);
        }
    }
}

size_t series_window_dirty(const struct series_window *window)
{
    size_t count = 0;
    list_for_each (link, &window->buckets) {
        count += bucket_of(link)->dirty;
    }
    return count;
}

bool series_window_drop(struct series_window *window, bool *ret_dirty)
{
    list_for_each (link, &window->buckets) {
        if (!bucket_of(link)->writing) {
            *ret_dirty = bucket_of(link)->dirty;
            remove_bucket(window, bucket_of(link));
            return true;
        }
    }
    return false;
}

/* --- text --- */

void series_bucket_write(const struct series_bucket *bucket, struct builder *out)
{
    size_t cursor = 0;
    if (bucket->text != NULL) {
        builder_add(out, buf_bytes(bucket->text));
        return;
    }
    for (const struct series_entry *entry; (entry = map_next(&bucket->entries, &cursor)) != NULL;) {
        builder_add(out, key_of(entry));
        builder_byte(out, '\t');
        series_cell_write(&entry->cell, out);
        builder_byte(out, '\n');
    }
}

int series_bucket_visit(const struct series_bucket *bucket, series_visit_fn visit, void *context)
{
    size_t cursor = 0;
    if (bucket->text != NULL) {
        return series_text_visit(buf_bytes(bucket->text), bucket->start_ms, visit, context);
    }
    for (const struct series_entry *entry; (entry = map_next(&bucket->entries, &cursor)) != NULL;) {
        visit(context, key_of(entry), &entry->cell, bucket->start_ms);
    }
    return 0;
}

static int visit_line(struct bytes line, uint64_t start_ms, series_visit_fn visit, void *context)
{
    struct series_cell cell;
    struct series_parts parts;
    const char *tab = line.len > 0 ? memchr(line.at, '\t', line.len) : NULL;
    size_t len = tab != NULL ? (size_t)(tab - line.at) : 0;
    if (tab == NULL || series_key_split(bytes_of(line.at, len), &parts) != 0) {
        return STATUS_INVALID;
    }
    int status = series_cell_read(bytes_skip(line, len + 1), &cell);
    if (status == 0) {
        visit(context, bytes_of(line.at, len), &cell, start_ms);
        series_cell_finish(&cell);
    }
    return status;
}

int series_text_visit(struct bytes text, uint64_t start_ms, series_visit_fn visit, void *context)
{
    int status = 0;
    while (text.len > 0) {
        const char *end = memchr(text.at, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.at) : text.len;
        int one = visit_line(bytes_of(text.at, len), start_ms, visit, context);
        status = status != 0 ? status : one;
        text = bytes_skip(text, end != NULL ? len + 1 : len);
    }
    return status;
}
