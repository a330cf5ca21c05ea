/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_stats - what a shard counts.
 */
#ifndef ACTORS_SHARD_STATS_H
#define ACTORS_SHARD_STATS_H

#include <stdint.h>

#include "actors/close.h"
#include "actors/device_settings.h"
#include "actors/export_stats.h"
#include "actors/history_stats.h"
#include "actors/retain_settings.h"

/* Counters of a shard: its thread only; others read what the hub publishes of them. */
struct shard_stats {
    uint64_t connections; /* open now */
    uint64_t accepted; /* connections */
    uint64_t connections_refused; /* for whatever reason; those for the next one too */
    uint64_t address_refused; /* their address had too many that are not authenticated */
    uint64_t prefaces_refused; /* trusted proxies have not begun with their header */
    uint64_t half_open; /* connections that have sent no whole request, now */
    uint64_t half_open_dropped; /* of these, ended at limits.half_open or for want of memory */
    uint64_t sockets; /* now */
    uint64_t streams; /* of server-sent events, now */
    uint64_t streams_resumed; /* of clients that said where they had been */
    uint64_t users; /* now */
    uint64_t rooms; /* room actors now */
    uint64_t events_in; /* client events */
    uint64_t broadcasts; /* numbered events seen by this shard */
    uint64_t deliveries; /* events put into outboxes */
    uint64_t flushes; /* windows flushed */
    uint64_t windowed; /* flushes that waited for the tick */
    uint64_t refused; /* appends refused at an outbox's maximum */
    uint64_t unjoined_dropped; /* polling sessions, at the bound of those that join nothing */
    uint64_t lags; /* sockets whose inbox is read for them alone: no room, or back */
    uint64_t bus_refused; /* broadcasts of other nodes and emitters that cannot be taken */
    uint64_t unencoded; /* events and answers that a format could not carry, or without memory */
    uint64_t volatile_dropped;
    uint64_t unmatched; /* emits that matched no socket of the node */
    uint64_t requests; /* of other nodes, carried out */
    uint64_t requests_refused; /* not understood, too many, or the answer too large */
    uint64_t joins_refused; /* of sockets, asked for by backends: bad names, too many rooms */
    uint64_t rate_limited;
    uint64_t recovered; /* sockets that came back as who they were */
    uint64_t replayed; /* events sent to them again or late */
    uint64_t memory_rooms; /* that remember something; of shard 0, as the next three */
    uint64_t memory_events; /* in them */
    uint64_t memory_bytes;
    uint64_t memory_evicted; /* events forgotten at the bound of all rooms */
    uint64_t rejoined; /* joins that said since when, and were told all that they missed */
    uint64_t rejoins_lost; /* that were told that something is missing */
    uint64_t rejoin_events; /* sent to those that missed them */
    struct retain_stats retain;
    struct history_stats history;
    uint64_t searches; /* under way now */
    uint64_t searches_refused; /* more than config->searches */
    struct export_stats exports; /* of inboxes */
    uint64_t http_refused; /* requests that no handler saw: bad heads, routes, bodies, deadlines */
    uint64_t stored; /* notifications */
    uint64_t duplicates;
    uint64_t audience_posts; /* stored once, for many */
    uint64_t audience_found; /* of which no node told, found by their numbers */
    uint64_t audience_walks; /* over the users of a tenant */
    uint64_t audience_users; /* online, whose position was asked for because of one */
    uint64_t audience_waiting; /* users that wait for that, now */
    uint64_t audience_waiting_ms; /* since when the first of them does; 0: none does */
    uint64_t audience_places; /* of users in topics, known here */
    uint64_t audience_bytes; /* what these take */
    uint64_t audience_unplaced; /* users asked for with each topic, for want of room */
    uint64_t expired; /* rows */
    uint64_t woken; /* rows that were snoozed until now */
    uint64_t retained; /* rows that went because no more, or none so old, are kept */
    uint64_t retention_looked; /* inboxes that were looked at for that */
    uint64_t retention_late_ms; /* for how long the walk over them was late, at its last step */
    uint64_t retention_walk_ms; /* what the last whole one took */
    uint64_t expiry_late_ms; /* for how long the first of what was due last had been */
    uint64_t audience_held_ms; /* how long posts to many waited for others' transactions, last */
    uint64_t suppressed; /* posts that their users do not want */
    uint64_t scheduled; /* posts that were kept for later */
    uint64_t delivered; /* of these, what was due and is stored, here */
    uint64_t lapsed; /* and what had expired by then */
    uint64_t cancelled; /* and what was cancelled before */
    uint64_t schedule_late_ms; /* since when the first that is due has been, now */
    struct device_stats devices;
    uint64_t dead; /* stream entries that could not be stored */
    uint64_t announced;
    uint64_t announced_late; /* users announced again, when Redis was back */
    uint64_t announce_waiting; /* announcements that wait for their turn, now */
    uint64_t announce_waiting_bytes; /* what these take */
    uint64_t announce_hurried; /* announcements that found no room to wait, and left at once */
    uint64_t gaps; /* rev jumped: the store was read */
    uint64_t rechecks; /* users whose position was stale at a recheck */
    uint64_t strange_store; /* messages of nodes with another store, dropped */
    uint64_t strange_version; /* messages of nodes of a version too far from ours, dropped */
    uint64_t deaf; /* 1: messages do not come back over the bus, which answers */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t busy_users; /* that have a busy part */
    uint64_t waiting_bytes; /* of calls behind JOINs, and of what inboxes wait for */
    uint64_t interest_bytes; /* of the sequencers here: who wants which channel */
    uint64_t closed[CLOSE_REASON_COUNT];
};

#endif
