/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes names under the configured prefix, those of Peal's own with the slot of what they are
 * about.
 */
#include "codec/bus_name.h"

#include <stdio.h>
#include <string.h>

#include "codec/slot.h"

/* The slot of an actor's key; neither tenants nor users have a '/' in their names. */
static uint32_t slot_of_key(const struct bus_names *names, struct bytes key)
{
    const char *slash = key.len > 0 ? memchr(key.at, '/', key.len) : NULL;
    size_t tenant = slash != NULL ? (size_t)(slash - key.at) : 0;
    struct bytes user = slash != NULL ? bytes_skip(key, tenant + 1) : key;
    return slot_part(slot_of(bytes_of(key.at, tenant), user), names->slots);
}

/* Fixed names. */

void bus_name_in(const struct bus_names *names, uint32_t number, char ret_name[BUS_NAME_MAX])
{
    if (number == 0) {
        snprintf(ret_name, BUS_NAME_MAX, "%s:in", names->prefix);
    } else {
        snprintf(ret_name, BUS_NAME_MAX, "%s:in:%u", names->prefix, (unsigned)number - 1);
    }
}

void bus_name_dead(const struct bus_names *names, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:dead", names->prefix);
}

void bus_name_lease(const struct bus_names *names, uint32_t number, char ret_name[BUS_NAME_MAX])
{
    unsigned slot = (number > 0 ? number - 1 : 0) % names->slots;
    snprintf(ret_name, BUS_NAME_MAX, "%s:lease:{%u}:%u", names->prefix, slot, (unsigned)number);
}

void bus_name_node(const struct bus_names *names, uint16_t tag, char ret_name[BUS_NAME_MAX])
{
    unsigned slot = tag % names->slots;
    snprintf(ret_name, BUS_NAME_MAX, "%s:node:{%u}:%04x", names->prefix, slot, (unsigned)tag);
}

void bus_name_roster(const struct bus_names *names, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:nodes:{0}", names->prefix);
}

void bus_name_secret(const struct bus_names *names, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:secret:{0}", names->prefix);
}

void bus_name_sqlite(const struct bus_names *names, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:sqlite:{0}", names->prefix);
}

void bus_name_schedule(const struct bus_names *names, unsigned part, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:schedule:{%u}", names->prefix, part);
}

void bus_name_schedule_nodes(const struct bus_names *names, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:schedulers:{0}", names->prefix);
}

void bus_name_alerts(const struct bus_names *names, const char *what, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:alerts:{0}:%.16s", names->prefix, what);
}

void bus_name_outbox(const struct bus_names *names, const char *outbox, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:outbox:{0}:%.48s", names->prefix, outbox);
}

void bus_name_probe(
    const struct bus_names *names, const char *node, unsigned shard, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:%u:probe:{0}:%.64s:%u", names->prefix, (unsigned)names->db,
        node, shard);
}

void bus_name_all(const struct bus_names *names, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:%u:all:{0}", names->prefix, (unsigned)names->db);
}

void bus_name_audience(const struct bus_names *names, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:%u:audience:{0}", names->prefix, (unsigned)names->db);
}

void bus_name_jobs(const struct bus_names *names, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:%u:jobs:{0}", names->prefix, (unsigned)names->db);
}

/* Names of what somebody chose. */

/* `<prefix>:<kind>:{<slot>}:` */
static void begin_key(
    const struct bus_names *names, const char *kind, uint32_t slot, struct builder *out)
{
    builder_str(out, names->prefix);
    builder_byte(out, ':');
    builder_str(out, kind);
    builder_str(out, ":{");
    builder_u64(out, slot);
    builder_str(out, "}:");
}

/* `<prefix>:<db>:<kind>:{<slot>}:` */
static void begin_channel(
    const struct bus_names *names, const char *kind, uint32_t slot, struct builder *out)
{
    builder_str(out, names->prefix);
    builder_byte(out, ':');
    builder_u64(out, names->db);
    builder_byte(out, ':');
    builder_str(out, kind);
    builder_str(out, ":{");
    builder_u64(out, slot);
    builder_str(out, "}:");
}

void bus_name_recovery(const struct bus_names *names, struct bytes home, struct builder *out)
{
    begin_channel(names, "recovery", 0, out);
    builder_add(out, home);
}

void bus_name_user(const struct bus_names *names, struct bytes key, struct builder *out)
{
    begin_channel(names, "u", slot_of_key(names, key), out);
    builder_add(out, key);
}

struct bytes bus_name_user_key(const struct bus_names *names, struct bytes channel)
{
    char head[BUS_NAME_MAX];
    int len = snprintf(head, sizeof(head), "%s:%u:u:{", names->prefix, (unsigned)names->db);
    if (!bytes_starts(channel, bytes_of(head, (size_t)len))) {
        return bytes_of(NULL, 0);
    }
    struct bytes rest = bytes_skip(channel, (size_t)len);
    const char *end = rest.len > 0 ? memchr(rest.at, '}', rest.len) : NULL;
    size_t used = end != NULL ? (size_t)(end - rest.at) + 2 : rest.len;
    return used < rest.len ? bytes_skip(rest, used) : bytes_of(NULL, 0);
}

void bus_name_session(const struct bus_names *names, struct bytes nsp, struct bytes owner,
    struct bytes pid, struct builder *out)
{
    begin_key(names, "session", slot_of_key(names, owner), out);
    builder_add(out, nsp);
    builder_byte(out, ':');
    builder_add(out, owner);
    builder_byte(out, ':');
    builder_add(out, pid);
}

/* `<prefix>:<kind>:{<slot>}:<name>`, the slot that of `name`. */
static void write_named(
    const struct bus_names *names, const char *kind, struct bytes name, struct builder *out)
{
    begin_key(names, kind, slot_part(slot_of(bytes_of(NULL, 0), name), names->slots), out);
    builder_add(out, name);
}

void bus_name_record_lease(const struct bus_names *names, struct bytes lease, struct builder *out)
{
    write_named(names, "records", lease, out);
}

void bus_name_record_list(const struct bus_names *names, struct bytes lease, struct builder *out)
{
    write_named(names, "recordlist", lease, out);
}

void bus_name_record_leases(const struct bus_names *names, char ret_name[BUS_NAME_MAX])
{
    snprintf(ret_name, BUS_NAME_MAX, "%s:recordleases:{0}", names->prefix);
}

void bus_name_hook(
    const struct bus_names *names, struct bytes tenant, struct bytes user, struct builder *out)
{
    begin_key(names, "hook", slot_part(slot_of(tenant, user), names->slots), out);
}

void bus_name_replay(const struct bus_names *names, struct bytes nsp, struct builder *out)
{
    write_named(names, "replay", nsp, out);
}

void bus_name_presence(
    const struct bus_names *names, uint32_t part, struct bytes epoch, struct builder *out)
{
    begin_key(names, "presence", part, out);
    builder_add(out, epoch);
}

void bus_name_presence_channel(
    const struct bus_names *names, uint32_t part, struct bytes epoch, struct builder *out)
{
    begin_channel(names, "presence", part, out);
    builder_add(out, epoch);
}

void bus_name_retained(const struct bus_names *names, struct bytes nsp, struct builder *out)
{
    write_named(names, "retained", nsp, out);
}

void bus_name_series(
    const struct bus_names *names, struct bytes epoch, struct bytes tenant, struct builder *out)
{
    begin_key(names, "series", slot_part(slot_of(tenant, bytes_of(NULL, 0)), names->slots), out);
    builder_add(out, epoch);
    builder_byte(out, '/');
    builder_add(out, tenant);
}
