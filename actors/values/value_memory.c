/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values by name, in two orders: by use within their tenant, and by birth; tenants in classes by
 * what they have, so that one of the largest is found at once. Order of this file: tenants, items,
 * room, getting and putting, walks, life.
 */
#include "actors/values/value_memory.h"

#include <string.h>

#include "codec/base/map.h"
#include "codec/base/mem.h"

enum { CLASSES = 64, TIDY_COUNT = 4096 };

struct value_tenant {
    struct list link; /* value_memory.classes */
    struct list items; /* value_item.use_link */
    size_t bytes;
    size_t len;
    char name[];
};

struct value_memory {
    struct map items;
    struct map tenants;
    struct list classes[CLASSES]; /* class n has 2^n to 2^(n + 1) - 1 bytes */
    struct list births; /* value_item.birth_link */
    struct list walks; /* value_walk.link */
    uint64_t births_count;
    size_t max_bytes;
    size_t bytes; /* without the tables */
    uint64_t asked; /* mem_asked, as last seen */
    bool copies;
    struct value_walk tidying;
    struct value_memory_stats stats;
};

static struct bytes tenant_name(const void *object)
{
    const struct value_tenant *tenant = object;
    return bytes_of(tenant->name, tenant->len);
}

static struct bytes item_name(const void *object)
{
    const struct value_item *item = object;
    return bytes_of(item->name, item->name_len);
}

struct bytes value_item_name(const struct value_item *item)
{
    return item_name(item);
}

size_t value_item_cost(const struct value_item *item)
{
    return item->cost;
}

/* Tenants. */

static unsigned class_of(size_t bytes)
{
    return bytes > 0 ? (unsigned)(CLASSES - 1 - __builtin_clzll(bytes)) : 0;
}

/* The tenant has `more` bytes more and `less` less. */
static void weigh(
    struct value_memory *memory, struct value_tenant *tenant, size_t more, size_t less)
{
    unsigned before = class_of(tenant->bytes);
    tenant->bytes = tenant->bytes + more - less;
    memory->bytes = memory->bytes + more - less;
    if (class_of(tenant->bytes) != before) {
        list_remove(&tenant->link);
        list_append(&memory->classes[class_of(tenant->bytes)], &tenant->link);
    }
}

/* NULL: no memory. */
static struct value_tenant *take_tenant(struct value_memory *memory, struct bytes name)
{
    const char *slash = name.len > 0 ? memchr(name.at, '/', name.len) : NULL;
    struct bytes key = bytes_of(name.at, slash != NULL ? (size_t)(slash - name.at) : 0);
    struct value_tenant *tenant = map_get(&memory->tenants, key);
    if (tenant != NULL) {
        return tenant;
    }
    tenant = mem_try_calloc(1, sizeof(*tenant) + key.len);
    if (tenant == NULL) {
        return NULL;
    }
    tenant->len = key.len;
    if (key.len > 0) {
        memcpy(tenant->name, key.at, key.len);
    }
    if (!map_put(&memory->tenants, tenant)) {
        mem_free(tenant);
        return NULL;
    }
    list_init(&tenant->items);
    list_append(&memory->classes[0], &tenant->link);
    weigh(memory, tenant, mem_cost(sizeof(*tenant) + key.len), 0);
    return tenant;
}

static void release_tenant(struct value_memory *memory, struct value_tenant *tenant)
{
    if (list_empty(&tenant->items)) {
        map_remove(&memory->tenants, tenant_name(tenant));
        list_remove(&tenant->link);
        memory->bytes -= tenant->bytes;
        mem_free(tenant);
    }
}

/* Items. */

static size_t cost_of_buf(const struct buf *buf)
{
    return buf != NULL ? mem_cost(sizeof(*buf) + buf_bytes(buf).len) : 0;
}

static size_t cost_of(const struct value_item *item, size_t name_len)
{
    return mem_cost(sizeof(*item) + name_len) + cost_of_buf(item->body.bytes) +
           cost_of_buf(item->tags);
}

static void drop_item(struct value_memory *memory, struct value_item *item)
{
    struct value_tenant *tenant = item->tenant;
    list_for_each (link, &memory->walks) {
        struct value_walk *walk = container_of(link, struct value_walk, link);
        walk->next = walk->next == &item->birth_link ? item->birth_link.next : walk->next;
    }
    map_remove(&memory->items, item_name(item));
    list_remove(&item->use_link);
    list_remove(&item->birth_link);
    weigh(memory, tenant, 0, item->cost);
    buf_unref(item->body.bytes);
    buf_unref(item->tags);
    mem_free(item);
    release_tenant(memory, tenant);
}

/* A copy in its place; NULL: no memory. */
static struct value_item *add_item(
    struct value_memory *memory, struct bytes name, const struct value_item *from)
{
    struct value_tenant *tenant = take_tenant(memory, name);
    struct value_item *item = tenant != NULL ? mem_try_alloc(sizeof(*item) + name.len) : NULL;
    if (item != NULL) {
        *item = *from;
        item->name_len = name.len;
        memcpy(item->name, name.at, name.len);
    }
    if (item == NULL || !map_put(&memory->items, item)) {
        mem_free(item);
        if (tenant != NULL) {
            release_tenant(memory, tenant);
        }
        return NULL;
    }
    item->tenant = tenant;
    item->body.bytes = from->body.bytes != NULL ? buf_ref(from->body.bytes) : NULL;
    item->tags = from->tags != NULL ? buf_ref(from->tags) : NULL;
    item->born = memory->births_count++;
    item->cost = cost_of(item, name.len);
    list_append(&tenant->items, &item->use_link);
    list_append(&memory->births, &item->birth_link);
    weigh(memory, tenant, item->cost, 0);
    return item;
}

/* Room. */

static size_t all_bytes(const struct value_memory *memory)
{
    return memory->bytes + map_bytes(&memory->items) + map_bytes(&memory->tenants);
}

/* One of the tenants that have most; there is one. The others of its class come before it next. */
static struct value_tenant *largest(struct value_memory *memory)
{
    unsigned class = CLASSES - 1;
    while (list_empty(&memory->classes[class])) {
        class --;
    }
    struct list *link = list_pop(&memory->classes[class]);
    list_append(&memory->classes[class], link);
    return container_of(link, struct value_tenant, link);
}

static void make_room(struct value_memory *memory)
{
    while (all_bytes(memory) > memory->max_bytes && map_count(&memory->items) > 0) {
        struct value_tenant *tenant = largest(memory);
        memory->stats.evicted++;
        drop_item(memory, container_of(tenant->items.next, struct value_item, use_link));
    }
}

void value_memory_set_max(struct value_memory *memory, size_t bytes)
{
    memory->max_bytes = bytes;
    make_room(memory);
}

bool value_memory_fits(const struct value_memory *memory, size_t bytes)
{
    return bytes <= memory->max_bytes / VALUE_MEMORY_PART;
}

/* Getting and putting. */

struct value_item *value_memory_get(struct value_memory *memory, struct bytes name)
{
    struct value_item *item = map_get(&memory->items, name);
    if (item != NULL) {
        list_remove(&item->use_link);
        list_append(&item->tenant->items, &item->use_link);
    }
    return item;
}

struct value_item *value_memory_put(
    struct value_memory *memory, struct bytes name, const struct value_item *item)
{
    struct value_item *before = map_get(&memory->items, name);
    struct value_item copy = *item; /* it may be the one that goes */
    if (copy.body.bytes != NULL) {
        (void)buf_ref(copy.body.bytes);
    }
    if (copy.tags != NULL) {
        (void)buf_ref(copy.tags);
    }
    if (before != NULL) {
        drop_item(memory, before);
    }
    struct value_item *added = NULL;
    if (value_memory_fits(memory, cost_of(&copy, name.len))) {
        added = add_item(memory, name, &copy);
        make_room(memory);
        added = added != NULL ? map_get(&memory->items, name) : NULL;
    }
    buf_unref(copy.body.bytes);
    buf_unref(copy.tags);
    return added;
}

void value_memory_remove(struct value_memory *memory, struct bytes name)
{
    struct value_item *item = map_get(&memory->items, name);
    if (item != NULL) {
        drop_item(memory, item);
    }
}

void value_memory_clear(struct value_memory *memory)
{
    size_t cursor = 0;
    for (struct value_item *item; (item = map_next(&memory->items, &cursor)) != NULL;) {
        drop_item(memory, item);
    }
    map_finish(&memory->items);
    map_finish(&memory->tenants);
    map_init(&memory->items, item_name);
    map_init(&memory->tenants, tenant_name);
}

/* Walks. */

static void end_walk(struct value_walk *walk)
{
    list_remove(&walk->link);
    walk->begun = false;
}

/* The item that the walk comes to next; NULL: it has ended. */
static struct value_item *take_next(struct value_memory *memory, struct value_walk *walk)
{
    if (walk->next == &memory->births) {
        return NULL;
    }
    struct value_item *item = container_of(walk->next, struct value_item, birth_link);
    walk->next = item->birth_link.next;
    return item->born < walk->until ? item : NULL;
}

bool value_walk_some(struct value_memory *memory, struct value_walk *walk, unsigned count,
    bool (*fn)(void *context, const struct value_item *item), void *context)
{
    if (!walk->begun) {
        walk->begun = true;
        walk->next = memory->births.next;
        walk->until = memory->births_count;
        list_append(&memory->walks, &walk->link);
    }
    for (unsigned i = 0; i < count; i++) {
        struct value_item *item = take_next(memory, walk);
        if (item == NULL) {
            end_walk(walk);
            return false;
        }
        if (fn(context, item)) {
            drop_item(memory, item);
        }
    }
    return true;
}

void value_walk_cancel(struct value_walk *walk)
{
    if (walk->begun) {
        end_walk(walk);
    }
}

/* Life. */

static bool has_ended(void *context, const struct value_item *item)
{
    uint64_t now_ms = *(const uint64_t *)context;
    return item->stale_ms <= now_ms && item->lease_ms <= now_ms;
}

void value_memory_tidy(struct value_memory *memory, uint64_t now_ms)
{
    if (memory->asked != mem_asked()) {
        memory->asked = mem_asked();
        if (memory->copies) {
            value_memory_clear(memory);
        }
    }
    (void)value_walk_some(memory, &memory->tidying, TIDY_COUNT, has_ended, &now_ms);
}

const struct value_memory_stats *value_memory_stats(struct value_memory *memory)
{
    memory->stats.items = map_count(&memory->items);
    memory->stats.bytes = all_bytes(memory);
    return &memory->stats;
}

struct value_memory *value_memory_create(bool copies)
{
    struct value_memory *memory = mem_alloc(sizeof(*memory));
    map_init(&memory->items, item_name);
    map_init(&memory->tenants, tenant_name);
    for (unsigned i = 0; i < CLASSES; i++) {
        list_init(&memory->classes[i]);
    }
    list_init(&memory->births);
    list_init(&memory->walks);
    memory->copies = copies;
    memory->asked = mem_asked();
    return memory;
}

void value_memory_destroy(struct value_memory *memory)
{
    if (memory != NULL) {
        value_walk_cancel(&memory->tidying);
        value_memory_clear(memory);
        map_finish(&memory->items);
        map_finish(&memory->tenants);
        mem_free(memory);
    }
}
