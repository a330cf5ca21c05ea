/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_rules - room access and auto_join as the configuration states them, for struct actor_config.
 */
#ifndef HUB_NODE_HUB_RULES_H
#define HUB_NODE_HUB_RULES_H

#include <stdbool.h>

#include "actors/identity.h"
#include "actors/shard.h"

struct access;
struct builder;
struct config;

/* Make the table of room types. STATUS_INVALID with a sentence appended to `error`. */
MUST_CHECK int hub_make_rules(
    const struct config *config, struct builder *error, struct access **ret_access);

/* The same of which values clients may read. */
MUST_CHECK int hub_make_value_rules(
    const struct config *config, struct builder *error, struct access **ret_access);

/* See actor_config.room_access; `context` is the struct hub_settings. Any shard's thread. */
int hub_room_access(
    void *context, const struct identity *who, struct bytes room, struct room_rules *ret_rules);

/* See actor_config.room_windows; `context` is the struct hub_settings. Any shard's thread. */
void hub_room_windows(void *context, struct bytes room, struct room_window_rules *ret_rules);

/* See actor_config.room_memory; `context` is the struct hub_settings. Any shard's thread. */
void hub_room_memory(void *context, struct bytes room, struct room_memory_rules *ret_rules);

/* See retain_settings.keeps; `context` is the struct hub_settings. Any shard's thread. */
bool hub_room_retains(void *context, struct bytes room);

/* See actor_config.may_send; `context` is the struct hub_settings. Any shard's thread. */
bool hub_room_may_send(void *context, const struct identity *who, struct bytes room);

/* See actor_config.room_type; `context` is the struct hub_settings. Any shard's thread. */
struct bytes hub_room_type(void *context, struct bytes room);

/* See actor_config.value_access; `context` is the struct hub_settings. Any shard's thread. */
int hub_value_access(void *context, const struct identity *who, struct bytes key);

/* See actor_config.event_hook; `context` is the struct hub_settings. Any shard's thread. */
int hub_event_hook(void *context, struct bytes name);

/* See actor_config.topic_self; `context` is the struct hub_settings. Any shard's thread. */
bool hub_topic_self(void *context, struct bytes topic);

/* actor_config.is_queue. */
bool hub_is_queue(void *context, struct bytes name);

/* See actor_config.auto_join; `context` is the struct hub_settings. */
bool hub_auto_join(
    void *context, const struct identity *who, unsigned n, char *at, struct bytes *ret_room);

/* Whether `who` may connect to the namespace `nsp`: any of its rules lets in, "/" everyone. */
bool hub_namespace_access(const struct config *config, struct bytes nsp, const struct claims *who);

/* The same for actor_config.may_connect; `context` is the struct hub_settings. */
bool hub_may_connect(void *context, const struct identity *who, struct bytes nsp);

/* Whether sockets of `nsp` are recovered after a drop; `context` are the settings. */
bool hub_recovers(void *context, struct bytes nsp);

/* See session_config.origin_allowed; `context` is the struct hub_settings. */
bool hub_origin_allowed(void *context, const struct bytes *origins, size_t count, bool has_token);

/* See session_config.cors_value; `context` is the settings. */
struct bytes hub_cors_value(void *context, struct bytes origin, bool *ret_credentials);

#endif
