/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_table - the rows of config.def and config_blocks.def as data that code can walk.
 */
#ifndef HUB_CONFIG_CONFIG_TABLE_H
#define HUB_CONFIG_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hub/config/config.h"

enum config_type {
    CONFIG_BOOL,
    CONFIG_INT,
    CONFIG_SIZE,
    CONFIG_DURATION,
    CONFIG_CHOICE,
    CONFIG_STRING,
    CONFIG_SECRET,
    CONFIG_URL,
    CONFIG_LIST
};

struct config_setting {
    const char *key; /* "listen.port"; an option of a block has no section */
    enum config_type type;
    size_t offset; /* in struct config, or in the block's struct */
    const char *fallback;
    uint64_t least; /* of the value; of a text in bytes; of a list in items */
    uint64_t most;
    const char *words; /* "a|b" what a CHOICE or the items of a LIST may be; "": anything */
    bool reload; /* whether SIGHUP may change it */
    const char *prose;
};

enum config_block {
    CONFIG_API_KEY,
    CONFIG_JWT_KEY,
    CONFIG_NAMESPACE,
    CONFIG_ROOM_TYPE,
    CONFIG_TOPIC_TYPE,
    CONFIG_VALUE_TYPE,
    CONFIG_HOOK,
    CONFIG_WEBHOOK,
    CONFIG_TENANT,
    CONFIG_NOTIFICATION_TYPE,
    CONFIG_QUEUE,
    CONFIG_ALERT,
    CONFIG_OUTBOX,
    CONFIG_BLOCK_COUNT
};

/* A block that a file may repeat; its struct begins with name and where. */
struct config_block_kind {
    const char *name;
    const struct config_setting *rows;
    size_t row_count;
    size_t size; /* of one struct */
    size_t array_offset; /* in struct config: the pointer to the first */
    size_t count_offset; /* in struct config: a size_t */
};

extern const struct config_setting config_settings[CONFIG_COUNT];
extern const struct config_block_kind config_block_kinds[CONFIG_BLOCK_COUNT];

/* The row with `key`, or NULL. */
const struct config_setting *config_table_find(const char *key);

#endif
