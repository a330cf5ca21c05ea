/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_rules - room access and auto_join as the configuration states them, for struct actor_config.
 */
#ifndef HUB_HUB_RULES_H
#define HUB_HUB_RULES_H

#include <stdbool.h>

#include "actors/identity.h"
#include "actors/shard.h"

struct hub;

/* Make hub->access from the configuration; writes one line to standard error on failure. */
MUST_CHECK int hub_make_rules(struct hub *hub);

/* See actor_config.room_access; `context` is the hub. Any shard's thread. */
int hub_room_access(
    void *context, const struct identity *who, struct bytes room, struct room_rules *ret_rules);

/* See actor_config.auto_join; `context` is the hub. */
bool hub_auto_join(
    void *context, const struct identity *who, unsigned n, char *at, struct bytes *ret_room);

#endif
