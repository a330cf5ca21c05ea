/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard - the services that the actors of one shard see; the sched's user pointer.
 *
 * One per shard (assembly/shard_floors.h), of its thread only, except where a member says
 * otherwise.
 */
#ifndef ACTORS_SHARD_H
#define ACTORS_SHARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "actors/close.h"
#include "actors/core/sched.h"
#include "actors/device_settings.h"
#include "actors/export_stats.h"
#include "actors/hook_call.h"
#include "actors/presence_settings.h"
#include "actors/recovery_limits.h"
#include "actors/retain_settings.h"
#include "actors/room_rules.h"
#include "actors/shard_stats.h"
#include "actors/value_settings.h"
#include "actors/webhook_event.h"
#include "codec/base/bytes.h"
#include "codec/base/list.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "codec/base/rand.h"
#include "codec/bus_name.h"
#include "codec/event.h"
#include "codec/notification.h"
#include "codec/preferences.h"
#include "codec/wire.h"

struct announce_queue;
struct audience;
struct bus;
struct inbox_bus;
struct fanout;
struct identity;
struct owner_ops;
struct ingest_gauges;
struct hooks;
struct room_history;
struct schedule;
struct store;
struct store_port;
struct values;

enum batching_mode { BATCHING_ADAPTIVE, BATCHING_ALWAYS, BATCHING_OFF };

/* A bucket of tokens: `burst` at most, refilled at `per_minute`. */
struct rate {
    uint32_t burst;
    uint32_t per_minute;
};

/* What actors need to know of the settings; immutable. A shard may get another one between two
 * turns, in which node, epoch, names and sizes of the bus are the same. */
struct actor_config {
    const char *node; /* this node's id: names it in hub:ready and adapter messages */
    const char *holder; /* its name in the leases of streams; NULL: `node` */
    const char *epoch; /* of the store */
    struct bus_names names; /* of what Peal has in Redis */
    const char *adapter_key; /* "socket.io": prefix of the classic adapter's channels */
    bool tenants;
    enum batching_mode batching;
    uint32_t tick_ms; /* 100 */
    uint32_t events_per_tick; /* 8 */
    struct rate messages; /* per user: send_message, relayed and forwarded events */
    struct rate joins;
    struct rate typing;
    struct rate inbox;
    uint32_t rooms;
    uint32_t connections_per_user; /* at most 32,767 */
    bool replaces; /* the oldest of a user that has as many ends, not the newest */
    struct device_settings devices;
    uint32_t message_chars; /* send_message text */
    uint32_t typing_ms; /* after which typing stops by itself */
    uint32_t nonce_ms; /* for which a nonce is remembered */
    uint32_t outbound_bytes; /* outbox_limits.high */
    uint32_t outbox_max;
    uint32_t slow_consumer_ms; /* an outbox that stays full for so long: closed CLOSE_SLOW */
    uint32_t recheck_ms; /* 30,000 */
    uint32_t probe_ms; /* between two messages that must come back over the bus */
    uint32_t partitions; /* of the ingress stream */
    uint32_t lease_ms; /* of a partition */
    uint32_t keep_ms; /* entries stay in a stream, behind the position */
    uint32_t dead_max; /* entries of the dead letters */
    uint32_t searches; /* under way on a shard at a time */
    uint64_t topics_bytes; /* of who is in which topic, on a shard; 0: any number */
    uint32_t read_count; /* stream entries read at once */
    uint32_t message_bytes; /* told in hub:ready */
    uint32_t requests_waiting; /* of other nodes, in a namespace */
    uint32_t request_bytes;
    uint32_t answer_bytes;
    uint32_t asks; /* broadcasts of a namespace that clients of a shard have to acknowledge */
    uint32_t ack_ms; /* the longest time for that */
    bool relay_unknown; /* unknown client events go to the room they name */
    struct notification_limits posts; /* what backends may post */
    struct recovery_limits recovery;
    struct value_settings values;
    struct presence_settings presence;
    struct room_memory_limits memory;
    struct retain_settings retain;
    const struct preferences *preferences; /* everybody's, where users do not say; NULL: nothing */
    struct preferences_zones zones;
    /* What hub/ knows and actors must not include. `context` is passed first. */
    void *context;
    /* Whether `who` may join `room` (as clients name it), and the rules of its type: 0 or
     * STATUS_DENIED, STATUS_INVALID; STATUS_AGAIN: the hook of the rules is to be asked. Pure. */
    int (*room_access)(
        void *context, const struct identity *who, struct bytes room, struct room_rules *ret_rules);
    /* Whether `who`, a member of `room` whoever let them in, may speak there. Pure. */
    bool (*may_send)(void *context, const struct identity *who, struct bytes room);
    /* Whether `who` may be in the namespace `nsp`. NULL: everybody may. Pure. */
    bool (*may_connect)(void *context, const struct identity *who, struct bytes nsp);
    bool (*recovers)(void *context, struct bytes nsp); /* sockets after a drop; NULL: none is */
    /* How `room` (as clients name it) is sent what it gets. NULL: as all. Pure. */
    void (*room_windows)(void *context, struct bytes room, struct room_window_rules *ret_rules);
    /* What `room` (as clients name it) remembers. Pure; asked where `memory` says that any does. */
    void (*room_memory)(void *context, struct bytes room, struct room_memory_rules *ret_rules);
    /* The type of a room without ':' in its name; NULL: it has none. */
    struct bytes (*room_type)(void *context, struct bytes room);
    /* The n-th room that every socket of `who` joins by itself, written to `at` (200 bytes) as
     * clients name it; false after the last. */
    bool (*auto_join)(
        void *context, const struct identity *who, unsigned n, char *at, struct bytes *ret_room);
    /* The hook that is asked about a client's event, none of ours; -1, or NULL: none. Pure. */
    int (*event_hook)(void *context, struct bytes name);
    bool (*topic_self)(
        void *context, struct bytes topic); /* users may subscribe; NULL: no. Pure. */
    /* Whether `who` may read the value of `key` in its own tenant: 0 or STATUS_DENIED,
     * STATUS_INVALID where it can be no key. NULL: nobody may. Pure. */
    int (*value_access)(void *context, const struct identity *who, struct bytes key);
    bool (*is_queue)(void *context, struct bytes name); /* of jobs; NULL: each one is. Pure. */
    void (*hash128)(struct bytes content, uint8_t ret_hash[16]); /* collision-resistant */
};

struct shard {
    struct sched *sched;
    const struct actor_config *config;
    struct store_port *store;
    struct store *store_root;
    struct bus *bus; /* NULL: single node */
    const atomic_uint *peers_version; /* the lowest alive; relaxed; NULL: nobody tells */
    const atomic_bool *strangers; /* nodes with another store live here; relaxed; NULL: none */
    uint64_t strange_logged_ms; /* when messages of other stores were last logged */
    struct ingest_gauges *streams; /* of the node; NULL without a bus */
    struct list dirty_outboxes; /* outbox.dirty_link */
    struct inbox_bus *inbox_bus; /* NULL without a bus */
    struct recovery_bus *recovery_bus; /* NULL without a bus, or without recovery */
    struct positions *positions;
    struct audience *audience; /* who is online of those that posts to many are for */
    struct announce_queue *announcements; /* of the audience; NULL: all leave at once */
    struct teller *teller; /* of the audience; NULL: many are told at once */
    struct walks *walks; /* of the audience; NULL: all are gone through at once */
    struct schedule *schedule; /* who delivers what was posted for later; of shard 0, else NULL */
    void (*schedule_kept)(struct schedule *schedule, uint64_t deliver_at); /* (schedule_hint.h) */
    struct values *values; /* of backends; NULL: they are not started, or have ended */
    struct hooks *hooks; /* of hub/hooks; NULL: there are none yet, or no more */
    struct push *push; /* of hub/push; NULL: there is none yet, or no more */
    hook_ask_fn hook_ask; /* asks them; NULL: nobody can be asked */
    struct webhook_tap webhooks; /* who takes in what they are told */
    struct presence *presence; /* who is online; NULL: it is not started, or has ended */
    struct jobs *jobs; /* workers that wait for some; NULL: not started, or ended */
    struct room_history *history; /* what is said in rooms; NULL: not started, or ended */
    struct gathers *gathers; /* NULL: nobody has asked who is in a room (rooms/gather.c) */
    bool gathers_over; /* nobody is asked any more */
    const struct owner_ops *owners; /* what is done for the owners of sockets (deliver/owner.h) */
    struct list users; /* user.shard_link: those whose rights are to be looked at in front */
    uint16_t rules; /* raised when the rules change */
    uint32_t inbox_reads; /* of what inboxes have above what was told, under way (inbox/feed.c) */
    struct list unread_dirty; /* user.unread_link: told at the end of the turn */
    struct map sockets; /* struct socket by sid: names in the registry */
    struct list fanouts; /* fanout.shard_link: one per namespace */
    uint32_t next_socket_id;
    struct rand rand; /* jitter; not for secrets */
    struct shard_stats stats;
    struct log_limit unencoded_log;
    struct log_limit bus_refused_log;
    struct log_limit preferences_log;
    void *loop; /* what the shard runs on (hub/net/loop.h) */
};

/*
 * Count and log that an event (an empty name: an answer) could not be written in a format,
 * WIRE_FORMAT_COUNT: in none; nobody who has that format gets it.
 */
void shard_count_unencoded(
    struct shard *shard, struct bytes event, enum wire_format format, int status);

/*
 * Count and log that a broadcast of another node or an emitter (`uid`; empty: not even that could
 * be read) was dropped: it is no event, names too many rooms, or has a reserved name.
 */
void shard_count_bus_refused(struct shard *shard, struct bytes uid, int status);

/* Whether nodes with another store are known to live on the same bus. */
static inline bool shard_has_strangers(const struct shard *shard)
{
    return shard->strangers != NULL && atomic_load_explicit(shard->strangers, memory_order_relaxed);
}

/* The shard of an actor. */
static inline struct shard *shard_of(const struct actor *actor)
{
    return sched_user(actor->sched);
}

#endif
