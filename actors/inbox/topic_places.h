/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_places - which topics the users of this shard are subscribed to, so that a post to a topic
 * finds those who are online without asking for each of them.
 *
 * The store says it: it is read when a user comes, and again when somebody says that it has
 * changed. Who finds no place here (there is no room, or no memory) is asked for with every topic
 * of the tenant. Room is config.topics_bytes; with tenants, one has at most as much as all of them
 * leave free, so that none takes the room of those that come later. One per shard.
 */
#ifndef ACTORS_INBOX_TOPIC_PLACES_H
#define ACTORS_INBOX_TOPIC_PLACES_H

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct inbox;
struct shard;
struct topic_places;
struct walks;

/* For `shard`; `walks` go through who is in a topic. */
MUST_CHECK struct topic_places *topic_places_create(struct shard *shard, struct walks *walks);

/* Free it, behind walks_finish; an answer under way is dropped. The store port must have been
 * closed before. */
void topic_places_destroy(struct topic_places *places);

/* Read the topics of `inbox`, and ask for its position behind that where a post may have passed. */
void topic_places_read(struct topic_places *places, struct inbox *inbox);

/* `inbox` goes, or its topics are about to be read anew. */
void topic_places_clear(struct topic_places *places, struct inbox *inbox);

/* Ask for the positions of who is in `topic` here, as positions_ask_later. */
void topic_places_ask(struct topic_places *places, struct bytes tenant, struct bytes topic);

/* End of a turn: ask the store for topics. */
void topic_places_flush(struct topic_places *places);

#endif
