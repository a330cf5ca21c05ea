/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets values and options of blocks one by one, each checked by its row, so that a mistake names
 * its place.
 */
#include "hub/config/config_draft.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/config/config_value.h"

/* What holds before a file says otherwise: public, the tenant's own rooms, and administrators. */
static const struct {
    const char *name;
    const char *access;
    const char *match;
} builtin_room_types[] = {
    {"*", "claim", ""},
    {"admin", "role:admin", "admin"},
    {"company", "tenant", ""},
    {"public", "any", "public"},
    {"tenant", "tenant", ""},
};

/* Queues that are there without a block; a block of the name replaces one. */
static const struct {
    const char *name;
    const char *concurrency;
} builtin_queues[] = {
    {"default", "5"},
    {"email", "10"},
    {"ai-processing", "2"},
    {"file-processing", "3"},
};

/* Defaults stand in our own tables: one that does not parse is a programming error. */
static void set_default(struct config *config, void *owner, const struct config_setting *row)
{
    struct config_error why;
    struct config_setting lenient = *row;
    lenient.least = row->fallback[0] == 0 ? 0 : row->least; /* "" stands for not given */
    CHECK(config_value_parse(&lenient, row->fallback, config->arena, owner, &why) == 0);
}

static const struct config_setting *find_option(enum config_block kind, const char *key)
{
    const struct config_block_kind *block = &config_block_kinds[kind];
    for (size_t i = 0; i < block->row_count; i++) {
        if (strcmp(block->rows[i].key, key) == 0) {
            return &block->rows[i];
        }
    }
    check_failed("known option", __FILE__, __LINE__);
}

static void add_builtin_room_types(struct config *config)
{
    const struct config_setting *access = find_option(CONFIG_ROOM_TYPE, "access");
    const struct config_setting *match = find_option(CONFIG_ROOM_TYPE, "match");
    for (size_t i = 0; i < ARRAY_LEN(builtin_room_types); i++) {
        struct config_error why;
        const char *name = builtin_room_types[i].name;
        void *block = config_draft_block(config, CONFIG_ROOM_TYPE, name, "default");
        const char *names = builtin_room_types[i].match;
        CHECK(config_value_parse(
                  access, builtin_room_types[i].access, config->arena, block, &why) == 0);
        CHECK(config_value_parse(match, names, config->arena, block, &why) == 0);
    }
}

static void add_builtin_queues(struct config *config)
{
    const struct config_setting *concurrency = find_option(CONFIG_QUEUE, "concurrency");
    for (size_t i = 0; i < ARRAY_LEN(builtin_queues); i++) {
        struct config_error why;
        void *block = config_draft_block(config, CONFIG_QUEUE, builtin_queues[i].name, "default");
        CHECK(config_value_parse(
                  concurrency, builtin_queues[i].concurrency, config->arena, block, &why) == 0);
    }
}

/* What one of our queues has where the file has no block of its name. */
struct queue_option {
    const char *option;
    const char *value;
};

static const struct queue_option webhook_queue[] = {/* hours, not seconds */
    {"concurrency", "4"}, {"attempts", "12"}, {"backoff", "5s"}, {"keep_failed", "1000"}};

static bool has_queue(const struct config *config, const char *name)
{
    bool has = false;
    for (size_t i = 0; i < config->queue_count && !has; i++) {
        has = strcmp(config->queues[i].name, name) == 0;
    }
    return has;
}

/* Names of users stand in these: none that is done is kept. */
static const struct queue_option push_queue[] = {
    {"concurrency", "100"}, {"attempts", "3"}, {"backoff", "5s"}, {"keep_completed", "0"}};

static void add_queue(struct config *config, const char *name, const char *where,
    const struct queue_option *options, size_t count)
{
    struct config_error why;
    if (has_queue(config, name)) {
        return;
    }
    void *block = config_draft_block(config, CONFIG_QUEUE, name, where);
    for (size_t i = 0; i < count; i++) {
        CHECK(config_value_parse(find_option(CONFIG_QUEUE, options[i].option), options[i].value,
                  config->arena, block, &why) == 0);
    }
}

void config_draft_add_own_queues(struct config *config)
{
    for (size_t i = 0; i < config->webhook_count; i++) {
        char name[128];
        (void)snprintf(name, sizeof(name), CONFIG_WEBHOOK_QUEUE "%.100s", config->webhooks[i].name);
        add_queue(config, name, config->webhooks[i].where, webhook_queue, ARRAY_LEN(webhook_queue));
    }
    if (config->push_vapid_key[0] != '\0') {
        add_queue(config, CONFIG_PUSH_QUEUE, config->came_from[CONFIG_AT_push_vapid_key],
            push_queue, ARRAY_LEN(push_queue));
    }
}

static void add_builtin_alerts(struct config *config)
{
    static const char *const names[] = {
#define X(name, when) name,
#include "hub/config/alert_builtin.def"
#undef X
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)config_draft_block(config, CONFIG_ALERT, names[i], "default");
    }
}

struct config *config_draft_create(void)
{
    struct config *config = mem_alloc(sizeof(*config));
    config->arena = config_arena_create();
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        set_default(config, config, &config_settings[i]);
        config->came_from[i] = "default";
    }
    add_builtin_room_types(config);
    add_builtin_queues(config);
    add_builtin_alerts(config);
    return config;
}

int config_draft_refuse(struct config_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return STATUS_INVALID;
}

int config_draft_set_option(struct config *config, void *block, const struct config_setting *row,
    const char *text, const char *where, struct config_error *error)
{
    struct config_error why;
    if (config_value_parse(row, text, config->arena, block, &why) < 0) {
        return config_draft_refuse(error, "%s: %s: %.800s", where, row->key, why.text);
    }
    return 0;
}

int config_draft_set(struct config *config, const struct config_setting *row, const char *text,
    const char *where, struct config_error *error)
{
    int status = config_draft_set_option(config, config, row, text, where, error);
    if (status == 0) {
        config->came_from[row - config_settings] =
            config_arena_dup(config->arena, where, strlen(where));
    }
    return status;
}

static void *array_of(const struct config *config, const struct config_block_kind *kind)
{
    void *array;
    memcpy(&array, (const char *)config + kind->array_offset, sizeof(array));
    return array;
}

size_t config_draft_block_count(const struct config *config, enum config_block kind)
{
    size_t count;
    memcpy(&count, (const char *)config + config_block_kinds[kind].count_offset, sizeof(count));
    return count;
}

const void *config_draft_block_at(const struct config *config, enum config_block kind, size_t place)
{
    const struct config_block_kind *row = &config_block_kinds[kind];
    return (const char *)array_of(config, row) + place * row->size;
}

/* What every block's struct begins with. */
struct block_head {
    const char *name;
    const char *where;
};

static const char *name_of(const void *block)
{
    struct block_head head;
    memcpy(&head, block, sizeof(head));
    return head.name;
}

/* Make room for one more block; the old array stays in the arena until the end. */
static void *append_block(struct config *config, enum config_block kind)
{
    const struct config_block_kind *row = &config_block_kinds[kind];
    size_t count = config_draft_block_count(config, kind);
    char *array = config_arena_alloc(config->arena, (count + 1) * row->size);
    if (count > 0) {
        memcpy(array, array_of(config, row), count * row->size);
    }
    memcpy((char *)config + row->array_offset, &array, sizeof(array));
    count++;
    memcpy((char *)config + row->count_offset, &count, sizeof(count));
    return array + (count - 1) * row->size;
}

void *config_draft_block(
    struct config *config, enum config_block kind, const char *title, const char *where)
{
    const struct config_block_kind *row = &config_block_kinds[kind];
    char *block = NULL;
    for (size_t i = 0; i < config_draft_block_count(config, kind); i++) {
        char *existing = (char *)array_of(config, row) + i * row->size;
        if (strcmp(name_of(existing), title) == 0) {
            block = existing;
        }
    }
    block = block != NULL ? block : append_block(config, kind);
    struct block_head head = {
        .name = config_arena_dup(config->arena, title, strlen(title)),
        .where = config_arena_dup(config->arena, where, strlen(where)),
    };
    memcpy(block, &head, sizeof(head));
    for (size_t i = 0; i < row->row_count; i++) {
        set_default(config, block, &row->rows[i]);
    }
    return block;
}

void config_draft_warn(struct config *config, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    config_arena_append(config->arena, &config->warnings, text);
}
