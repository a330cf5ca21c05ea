/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox - where the inbox of a connected user stands, and telling it to the user's sockets.
 *
 * It stands at the head of struct user, and begins with the owner of the sockets.
 */
#ifndef ACTORS_INBOX_INBOX_H
#define ACTORS_INBOX_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/deliver/owner.h"
#include "codec/base/bytes.h"
#include "codec/base/list.h"

struct inbox_devices;
struct inbox_gap;
struct inbox_preferences;
struct inbox_receipts;

enum inbox_phase {
    INBOX_WAITS_FEED, /* for the bus to confirm the channel */
    INBOX_WAITS_POSITION, /* for the store to say where the inbox stands, and what the user wants */
    INBOX_READY,
};

struct inbox {
    struct socket_owner owner; /* first */
    struct list shard_link; /* shard.users */
    struct list unread_link; /* shard.unread_dirty */
    uint64_t seq;
    uint64_t rev;
    uint64_t unread;
    uint64_t unseen;
    uint64_t heard_rev; /* the highest rev heard of */
    struct inbox_preferences *preferences; /* NULL: the user has none */
    struct inbox_devices *devices; /* that its sockets are on; NULL: none was registered */
    struct inbox_receipts *receipts; /* what clients have; NULL: none has said */
    struct inbox_gap *gap; /* what waits (feed.c); NULL: nothing has yet */
    uint8_t phase; /* enum inbox_phase */
    bool reading; /* a read of what changed above rev is under way */
    bool asked; /* in a queue of shard.positions */
    bool unsure; /* of the preferences: they could not be read */
    bool called; /* likewise, because of a post to many */
    bool placing; /* its topics are to be read, or are being (audience.c) */
    bool place_again; /* and once more */
    struct list
        tenant_link; /* of those of the tenant on this shard; in none: no memory (audience.c) */
    struct list places; /* topic_place.inbox_link: the topics it is in (topic_places.c) */
};

/* The inbox of the user that a socket belongs to. */
static inline struct inbox *inbox_of(const struct socket_owner *owner)
{
    return (struct inbox *)(uintptr_t)owner;
}

/* What `only` (NULL: all sockets of the user) was to be told, there is no memory for. */
void inbox_miss(struct inbox *inbox, struct socket *only);

/*
 * Emit to every socket of the user in namespace "/" that is open and may be told of change `rev`
 * of the inbox now (socket_lag_holds; 0: all may); encoded once per format. Takes `event`, which
 * NULL there was no memory for.
 */
void inbox_tell(struct inbox *inbox, struct event *event, uint64_t rev);

#endif
