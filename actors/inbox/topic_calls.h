/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_calls - what a client asks about topics: subscribing itself, where the topic's type lets it
 * (actor_config.topic_self), and which it is subscribed to.
 */
#ifndef ACTORS_INBOX_TOPIC_CALLS_H
#define ACTORS_INBOX_TOPIC_CALLS_H

#include <stdbool.h>

#include "actors/deliver/call.h"

/* topic:subscribe, or, with `remove`, topic:unsubscribe. */
void topic_calls_subscribe(const struct client_call *call, bool remove);

/* topic:list. */
void topic_calls_list(const struct client_call *call);

#endif
