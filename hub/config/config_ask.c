/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a setting came from, which may not change while the node runs, which type a room has; and
 * freeing it all.
 */
#include "hub/config/config_ask.h"

#include <string.h>

#include "codec/base/mem.h"
#include "hub/config/config_table.h"
#include "hub/config/config_value.h"

void config_destroy(struct config *config)
{
    if (config != NULL) {
        config_arena_destroy(config->arena);
        mem_free(config);
    }
}

const char *config_source(const struct config *config, enum config_place place)
{
    CHECK(place < CONFIG_COUNT);
    return config->came_from[place];
}

const char *config_fixed_change(const struct config *current, const struct config *next)
{
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        const struct config_setting *row = &config_settings[i];
        if (!row->reload && !config_value_eq(row, current, next)) {
            return row->key;
        }
    }
    return NULL;
}

/* Whether `name` is `pattern`, or begins with what stands before the `*` it ends in. */
static bool matches(const char *pattern, struct bytes name)
{
    size_t len = strlen(pattern);
    if (len > 0 && pattern[len - 1] == '*') {
        return bytes_starts(name, bytes_of(pattern, len - 1));
    }
    return bytes_eq_str(name, pattern);
}

static bool is_of_type(const struct config_room_type *type, struct bytes name, size_t colon)
{
    if (colon < name.len) {
        return bytes_eq_str(bytes_of(name.at, colon), type->name);
    }
    for (size_t i = 0; i < type->match.count; i++) {
        if (matches(type->match.items[i], name)) {
            return true;
        }
    }
    return false;
}

const struct config_room_type *config_room_type(const struct config *config, struct bytes room)
{
    const char *slash = room.at != NULL ? memrchr(room.at, '/', room.len) : NULL;
    struct bytes name = slash != NULL ? bytes_skip(room, (size_t)(slash - room.at) + 1) : room;
    const char *colon = name.at != NULL ? memchr(name.at, ':', name.len) : NULL;
    size_t before_colon = colon != NULL ? (size_t)(colon - name.at) : name.len;
    const struct config_room_type *other = NULL;
    for (size_t i = 0; i < config->room_type_count; i++) {
        const struct config_room_type *type = &config->room_types[i];
        if (strcmp(type->name, "*") == 0) {
            other = type;
        } else if (is_of_type(type, name, before_colon)) {
            return type;
        }
    }
    CHECK(other != NULL);
    return other;
}

const struct config_topic_type *config_topic_type(const struct config *config, struct bytes topic)
{
    const char *colon = topic.len > 0 ? memchr(topic.at, ':', topic.len) : NULL;
    struct bytes name = colon != NULL ? bytes_of(topic.at, (size_t)(colon - topic.at)) : topic;
    const struct config_topic_type *other = NULL;
    for (size_t i = 0; i < config->topic_type_count; i++) {
        const struct config_topic_type *type = &config->topic_types[i];
        if (strcmp(type->name, "*") == 0) {
            other = type;
        } else if (bytes_eq_str(name, type->name)) {
            return type;
        }
    }
    return other;
}

bool config_queue_is_own(const struct config_queue *queue)
{
    struct bytes name = bytes_str(queue->name);
    return bytes_starts(name, BYTES(CONFIG_WEBHOOK_QUEUE)) || bytes_eq_str(name, CONFIG_PUSH_QUEUE);
}
