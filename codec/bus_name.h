/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_name - every name that Peal has in Redis: keys, streams and channels.
 *
 * What backends know is public: `<prefix>:in`, `<prefix>:in:<partition>`, `<prefix>:dead`. What is
 * Peal's own carries a slot as hash tag, `<prefix>:<kind>:{<slot>}:…`, so that a cluster can spread
 * it; channels also carry the number of the database, `<prefix>:<db>:<kind>:{<slot>}:…`, because
 * pub/sub knows none. The slot is the user's modulo `slots`, the partition's or node's number
 * modulo `slots`, and 0 for what there is once. No command of Peal's spans two slots.
 */
#ifndef CODEC_BUS_NAME_H
#define CODEC_BUS_NAME_H

#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { BUS_NAME_MAX = 160, BUS_PREFIX_MAX = 64 };

/* What the names of one bus have in common; immutable. */
struct bus_names {
    const char *prefix; /* at most BUS_PREFIX_MAX bytes, without '{' and '}' */
    uint32_t slots; /* as slot_divides accepts it */
    uint32_t db; /* of the URL */
};

/* Public: the stream number `number` (0: the plain one, p + 1: that of partition p). */
void bus_name_in(const struct bus_names *names, uint32_t number, char ret_name[BUS_NAME_MAX]);

/* Public: the stream of entries that could not be stored. */
void bus_name_dead(const struct bus_names *names, char ret_name[BUS_NAME_MAX]);

/* The key whose holder reads stream `number`. */
void bus_name_lease(const struct bus_names *names, uint32_t number, char ret_name[BUS_NAME_MAX]);

/* The key of the node with `tag`. */
void bus_name_node(const struct bus_names *names, uint16_t tag, char ret_name[BUS_NAME_MAX]);

/* The key of the list of all nodes that live. */
void bus_name_roster(const struct bus_names *names, char ret_name[BUS_NAME_MAX]);

/* The key of the secret that a node has made for all of them. */
void bus_name_secret(const struct bus_names *names, char ret_name[BUS_NAME_MAX]);

/* The key of the one node that stores in SQLite. */
void bus_name_sqlite(const struct bus_names *names, char ret_name[BUS_NAME_MAX]);

/* The lease of who delivers what was posted for later of a part (sql/store_schedule.h). */
void bus_name_schedule(const struct bus_names *names, unsigned part, char ret_name[BUS_NAME_MAX]);

/* The set of the nodes that deliver it. */
void bus_name_schedule_nodes(const struct bus_names *names, char ret_name[BUS_NAME_MAX]);

/* The key of what nodes know of alerts: "lease", "figures" or "state". */
void bus_name_alerts(const struct bus_names *names, const char *what, char ret_name[BUS_NAME_MAX]);

/* The lease of who reads the outbox `outbox` (at most 48 bytes). */
void bus_name_outbox(
    const struct bus_names *names, const char *outbox, char ret_name[BUS_NAME_MAX]);

/* The channel on which shard `shard` of `node` (at most 64 bytes) sees that messages come back. */
void bus_name_probe(
    const struct bus_names *names, const char *node, unsigned shard, char ret_name[BUS_NAME_MAX]);

/* The channel on which nodes are told to look at the store for all users. */
void bus_name_all(const struct bus_names *names, char ret_name[BUS_NAME_MAX]);

/* The channel on which nodes hear of posts to many. */
void bus_name_audience(const struct bus_names *names, char ret_name[BUS_NAME_MAX]);

/* The channel on which nodes hear that a queue may have jobs. */
void bus_name_jobs(const struct bus_names *names, char ret_name[BUS_NAME_MAX]);

/* Append the channel of a shard of a node (`home`) for recovered sockets. */
void bus_name_recovery(const struct bus_names *names, struct bytes home, struct builder *out);

/* Append the channel of the user with actor key `key` (`user` or `tenant/user`). */
void bus_name_user(const struct bus_names *names, struct bytes key, struct builder *out);

/* The key of the user whose channel `channel` is; empty: it is none. Points into `channel`. */
struct bytes bus_name_user_key(const struct bus_names *names, struct bytes channel);

/* Append the key of the record of a recoverable socket of the user `owner` (an actor key). */
void bus_name_session(const struct bus_names *names, struct bytes nsp, struct bytes owner,
    struct bytes pid, struct builder *out);

/* Append the key that says that the records under the lease `lease` count. */
void bus_name_record_lease(const struct bus_names *names, struct bytes lease, struct builder *out);

/* Append the key of the set of the keys of the records under the lease `lease`. */
void bus_name_record_list(const struct bus_names *names, struct bytes lease, struct builder *out);

/* The key of all leases of records, by when they end. */
void bus_name_record_leases(const struct bus_names *names, char ret_name[BUS_NAME_MAX]);

/* Append what the keys of the answers of hooks about a user begin with. */
void bus_name_hook(
    const struct bus_names *names, struct bytes tenant, struct bytes user, struct builder *out);

/*
 * Append the key of who is online, of part `part` of the users of the store `epoch`. The parts are
 * fewer than the slots, and the tag is a slot's: that of the part's number.
 */
void bus_name_presence(
    const struct bus_names *names, uint32_t part, struct bytes epoch, struct builder *out);

/* Append the channel on which that part is told what changes. */
void bus_name_presence_channel(
    const struct bus_names *names, uint32_t part, struct bytes epoch, struct builder *out);

/* Append the key of the replay stream of a namespace. */
void bus_name_replay(const struct bus_names *names, struct bytes nsp, struct builder *out);

/* Append the key of a tenant's series, of the store `epoch`; other keys of them begin with it. */
void bus_name_series(
    const struct bus_names *names, struct bytes epoch, struct bytes tenant, struct builder *out);

/* Append the key of what is kept of the events of a namespace: in the slot of its replay stream. */
void bus_name_retained(const struct bus_names *names, struct bytes nsp, struct builder *out);

#endif
