/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_ask - what loaded settings are asked, beside their values; and their end.
 */
#ifndef HUB_CONFIG_CONFIG_ASK_H
#define HUB_CONFIG_CONFIG_ASK_H

#include "codec/base/bytes.h"
#include "hub/config/config.h"

/* Free `config` and every text in it; NULL is allowed. */
void config_destroy(struct config *config);

/* Where the value at `place` came from: "default", "peal.conf:12", "PORT", "--port". */
const char *config_source(const struct config *config, enum config_place place);

/*
 * Find a setting that differs between both and that SIGHUP may not change. Returns its key, or
 * NULL when `next` may replace `current`.
 */
const char *config_fixed_change(const struct config *current, const struct config *next);

/* The type of the room with the wire name `room`: never NULL, at least the type "*". */
const struct config_room_type *config_room_type(const struct config *config, struct bytes room);

/* The type of a topic: what stands before its first colon; else the type "*", or NULL. */
const struct config_topic_type *config_topic_type(const struct config *config, struct bytes topic);

/* Whether `queue` is one of ours, by its name: that of a webhook, or of hand-offs to devices. */
bool config_queue_is_own(const struct config_queue *queue);

#endif
