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

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct builder;
struct config_arena;

/* In the order of the words of their rows in config.def. */
enum config_excess { EXCESS_REFUSE, EXCESS_REPLACE };
enum config_on_expiry { ON_EXPIRY_CLOSE, ON_EXPIRY_KEEP };
enum config_batching {
    CONFIG_BATCHING_ADAPTIVE,
    CONFIG_BATCHING_ALWAYS,
    CONFIG_BATCHING_OFF,
};
enum config_room_batching {
    CONFIG_ROOM_BATCHING_INHERIT,
    CONFIG_ROOM_BATCHING_ADAPTIVE,
    CONFIG_ROOM_BATCHING_ALWAYS,
    CONFIG_ROOM_BATCHING_OFF,
};
enum config_room_history { CONFIG_ROOM_HISTORY_OFF, CONFIG_ROOM_HISTORY_STORE };
enum config_parser { CONFIG_PARSER_JSON, CONFIG_PARSER_MSGPACK };
enum config_unknown { UNKNOWN_REFUSE, UNKNOWN_RELAY };
enum config_tls_min { CONFIG_TLS_1_2, CONFIG_TLS_1_3 };
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

/* A number that an option of a block leaves to others, where its row has a word for it. */
#define CONFIG_INHERIT UINT64_MAX
#define CONFIG_INHERIT_INT UINT_MAX

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

/* What holds for every topic of a type; the type "*" is for topics of no other type. */
struct config_topic_type {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define TOPIC_TYPE(type, option, member, ...) CONFIG_C_##type member;
#include "hub/config/config_blocks.def"
};

/* Which values clients may read; of no type: none. */
struct config_value_type {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define VALUE_TYPE(type, option, member, ...) CONFIG_C_##type member;
#include "hub/config/config_blocks.def"
};

/* A backend that is asked. */
struct config_hook {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define HOOK(type, option, member, ...) CONFIG_C_##type member;
#include "hub/config/config_blocks.def"
};

/* The queue of a webhook has this in front of its name: nobody else adds to it or leases from it.
 */
#define CONFIG_WEBHOOK_QUEUE "webhook."

/* That of hand-offs to devices; likewise. It is there with a key of push. */
#define CONFIG_PUSH_QUEUE "push"

/* A backend that is told. */
struct config_webhook {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define WEBHOOK(type, option, member, ...) CONFIG_C_##type member;
#include "hub/config/config_blocks.def"
};

/* What holds for a tenant instead of what holds for all; CONFIG_INHERIT: nothing is said here. */
struct config_tenant {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define TENANT(type, option, member, ...) CONFIG_C_##type member;
#include "hub/config/config_blocks.def"
};

/* What holds for notifications of a type where users do not say it themselves. */
struct config_notification_type {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define NOTIFICATION_TYPE(type, option, member, ...) CONFIG_C_##type member;
#include "hub/config/config_blocks.def"
};

/* What holds for the jobs of a queue. */
struct config_queue {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define QUEUE(type, option, member, ...) CONFIG_C_##type member;
#include "hub/config/config_blocks.def"
};

/* What operators are to know. */
struct config_alert {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define ALERT(type, option, member, ...) CONFIG_C_##type member;
#include "hub/config/config_blocks.def"
};

/* The outbox of the store's own database, which is there without a block where that is Postgres. */
#define CONFIG_OWN_OUTBOX "store"

/* A database in which applications post within their own transactions. */
struct config_outbox {
    const char *name;
    const char *where; /* "peal.conf:12", or "default" */
#define OUTBOX(type, option, member, ...) CONFIG_C_##type member;
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
    struct config_topic_type *topic_types;
    size_t topic_type_count;
    struct config_value_type *value_types;
    size_t value_type_count;
    struct config_hook *hooks;
    size_t hook_count;
    struct config_webhook *webhooks;
    size_t webhook_count;
    struct config_tenant *tenants;
    size_t tenant_count;
    struct config_notification_type *notification_types;
    size_t notification_type_count;
    struct config_queue *queues; /* the built-in ones where the file has none, and one of
                                    each webhook */
    size_t queue_count;
    struct config_alert *alerts; /* the built-in ones included */
    size_t alert_count;
    struct config_outbox *outboxes;
    size_t outbox_count;
    struct config_list warnings; /* sentences to log once at start */
    /* private */
    const char *came_from[CONFIG_COUNT];
    struct config_input input; /* borrowed */
    struct config_arena *arena; /* every text and array above */
};

struct config_error {
    char text[1024]; /* where (file:line, variable or flag), key, value and what is allowed */
};

#endif
