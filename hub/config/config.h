/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config - every setting of the hub, as typed values that never change once loaded.
 *
 * A value comes from the last of: default, file, environment, flag. A struct config is made on
 * the main thread, passed down explicitly and only read after that, by any thread; SIGHUP makes
 * a new one. Texts are never NULL: what is not set is "".
 */
#ifndef HUB_CONFIG_CONFIG_H
#define HUB_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct builder;
struct config_arena;

/* In the order of the words of their rows in config.def. */
enum config_on_expiry { ON_EXPIRY_CLOSE, ON_EXPIRY_KEEP };
enum config_batching {
    CONFIG_BATCHING_ADAPTIVE,
    CONFIG_BATCHING_ALWAYS,
    CONFIG_BATCHING_OFF,
};
enum config_parser { CONFIG_PARSER_JSON, CONFIG_PARSER_MSGPACK };
enum config_unknown { UNKNOWN_REFUSE, UNKNOWN_RELAY };
enum config_log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };
enum config_algorithm { ALGORITHM_HS256, ALGORITHM_RS256, ALGORITHM_PS256, ALGORITHM_ES256 };

struct config_list {
    size_t count;
    const char **items;
};

/* The C type of each type of setting. */
#define CONFIG_C_BOOL bool
#define CONFIG_C_INT unsigned
#define CONFIG_C_SIZE size_t
#define CONFIG_C_DURATION uint64_t
#define CONFIG_C_CHOICE int
#define CONFIG_C_STRING const char *
#define CONFIG_C_SECRET const char *
#define CONFIG_C_URL const char *
#define CONFIG_C_LIST struct config_list

/* A key of a backend. */
struct config_api_key {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define API_KEY(type, option, member, ...) CONFIG_C_##type member;
#include "hub/config/config_blocks.def"
};

/* A key that tokens are verified with; its name is the kid. */
struct config_jwt_key {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define JWT_KEY(type, option, member, ...) CONFIG_C_##type member;
#include "hub/config/config_blocks.def"
};

/* A Socket.IO namespace; "/" is there without a block, too. */
struct config_namespace {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define NAMESPACE(type, option, member, ...) CONFIG_C_##type member;
#include "hub/config/config_blocks.def"
};

/* What holds for every room of a type; the type "*" is for rooms of no other type. */
struct config_room_type {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define ROOM_TYPE(type, option, member, ...) CONFIG_C_##type member;
#include "hub/config/config_blocks.def"
};

/* A setting's place in the table: CONFIG_AT_listen_port. */
enum config_place {
#define X(type, member, ...) CONFIG_AT_##member,
#include "hub/config/config.def"
#undef X
    CONFIG_COUNT
};

/* Where values may come from. */
struct config_input {
    size_t argc;
    char *const *argv; /* flags; the program's name is not among them */
    char *const *environment; /* "NAME=value", ended by NULL; NULL: none */
};

struct config {
#define X(type, member, ...) CONFIG_C_##type member;
#include "hub/config/config.def"
#undef X
    struct config_api_key *api_keys;
    size_t api_key_count;
    struct config_jwt_key *jwt_keys;
    size_t jwt_key_count;
    struct config_namespace *namespaces;
    size_t namespace_count;
    struct config_room_type *room_types; /* the built-in ones included, "*" among them */
    size_t room_type_count;
    struct config_list warnings; /* sentences to log once at start */
    /* private */
    const char *came_from[CONFIG_COUNT];
    struct config_input input; /* borrowed */
    struct config_arena *arena; /* every text and array above */
};

struct config_error {
    char text[1024]; /* where (file:line, variable or flag), key, value and what is allowed */
};

/*
 * Load the settings. Arguments that are no settings are stored in order in `ret_rest` (room for
 * argc + 1 pointers; ended by NULL). STATUS_INVALID: `error` says what is wrong and where, and
 * nothing is returned. Main thread only: the file parser keeps state of its own.
 */
MUST_CHECK int config_load(const struct config_input *input, struct config_error *error,
    char **ret_rest, struct config **ret_config);

/*
 * Load the settings once more from the same file, environment and flags as `current`, whose input
 * must still be there. As config_load; arguments that are no settings are passed over.
 */
MUST_CHECK int config_load_again(
    const struct config *current, struct config_error *error, struct config **ret_config);

/*
 * Overwrite the values of secrets among the program's own arguments, so that lists of processes do
 * not show them. What was read of them must be a copy.
 */
void config_hide_secrets(int argc, char **argv);

/* Free `config` and every text in it; NULL is allowed. */
void config_destroy(struct config *config);

/* Where the value at `place` came from: "default", "peal.conf:12", "PORT", "--port". */
const char *config_origin(const struct config *config, enum config_place place);

/*
 * Find a setting that differs between both and that SIGHUP may not change. Returns its key, or
 * NULL when `next` may replace `current`.
 */
const char *config_fixed_change(const struct config *current, const struct config *next);

/* The type of the room with the wire name `room`: never NULL, at least the type "*". */
const struct config_room_type *config_room_type(const struct config *config, struct bytes room);

/* Append the effective settings in the file's syntax, each with its origin, secrets masked. */
void config_print(const struct config *config, struct builder *builder);

/* Append a sample file: every setting with its prose, type, range and default. */
void config_print_sample(struct builder *builder);

#endif
