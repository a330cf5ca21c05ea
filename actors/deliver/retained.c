/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values lie at whom they are for, in the order in which they changed. Order of this file: life,
 * finding, ending, bounds, changing, showing.
 */
#include "actors/deliver/retained.h"

#include "actors/shard.h"
#include "actors/wire_name.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_write.h"

enum {
    LOOK = 4, /* values looked at for their end, whenever another one comes */
    LOOK_FULL = 1024, /* the same where there is no room */
    TENANTS = 4, /* the part of all that one tenant may have */
    SPARE = 8, /* what is posted on several nodes at once may exceed the bound by 1/8 */
};

/* What is kept of a tenant, where there are several. */
struct retained_tenant {
    size_t bytes;
    uint32_t targets;
    uint32_t name_len;
    char name_at[];
};

struct retained_target {
    struct list values; /* retained_value.link */
    struct retained_tenant *tenant; /* NULL: it is of none */
    size_t bytes; /* of what is shown to who joins */
    uint32_t count;
    uint32_t name_len;
    char name_at[];
};

struct retained {
    struct shard *shard;
    struct map targets; /* struct retained_target by wire name; all others */
    struct retained_target *everyone; /* whose name is empty */
    struct map tenants; /* struct retained_tenant by name */
    struct map of_values; /* struct retained_value by of_value */
    struct list all; /* retained_value.all_link: in which they are looked at */
    size_t bytes;
    bool counts;
};

/* Life. */

static struct bytes name_of(const void *object)
{
    const struct retained_target *target = object;
    return bytes_of(target->name_at, target->name_len);
}

static struct bytes tenant_of(const void *object)
{
    const struct retained_tenant *tenant = object;
    return bytes_of(tenant->name_at, tenant->name_len);
}

static struct bytes value_of(const void *object)
{
    return ((const struct retained_value *)object)->of_value;
}

/* NULL: no memory. */
static struct retained_target *make_target(struct bytes name)
{
    struct retained_target *target = mem_try_calloc(1, sizeof(*target) + name.len);
    if (target != NULL) {
        list_init(&target->values);
        target->name_len = (uint32_t)name.len;
        if (name.len > 0) {
            memcpy(target->name_at, name.at, name.len);
        }
    }
    return target;
}

struct retained *retained_create(struct shard *shard, bool counts)
{
    struct retained *retained = mem_alloc(sizeof(*retained));
    retained->shard = shard;
    retained->counts = counts;
    map_init(&retained->targets, name_of);
    map_init(&retained->tenants, tenant_of);
    map_init(&retained->of_values, value_of);
    list_init(&retained->all);
    retained->everyone = make_target(bytes_of(NULL, 0));
    CHECK(retained->everyone != NULL); /* as the node starts */
    return retained;
}

static void count(
    struct retained *retained, struct retained_tenant *tenant, size_t more, size_t less, bool value)
{
    bool comes = value && more > 0;
    bool goes = value && less > 0;
    retained->bytes += more - less;
    if (tenant != NULL) {
        tenant->bytes += more - less;
    }
    if (retained->counts) {
        retained->shard->stats.retain.bytes += (uint64_t)more - less;
        retained->shard->stats.retain.values += (uint64_t)comes - goes;
    }
}

static size_t shown_of(const struct broadcast *broadcast)
{
    return broadcast->event->data.len + broadcast->retain->name_len;
}

/* The tenant whose the target of this name is; empty: it is of none. */
static struct bytes tenant_in(const struct retained *retained, struct bytes target)
{
    const char *slash = retained->shard->config->tenants && target.len > 0
                            ? memchr(target.at, '/', target.len)
                            : NULL;
    return bytes_of(target.at, slash != NULL ? (size_t)(slash - target.at) : 0);
}

/* One target more of the tenant; NULL: no memory. */
static struct retained_tenant *take_tenant(struct retained *retained, struct bytes name)
{
    struct retained_tenant *tenant = map_get(&retained->tenants, name);
    if (tenant == NULL) {
        tenant = mem_try_calloc(1, sizeof(*tenant) + name.len);
        if (tenant == NULL) {
            return NULL;
        }
        tenant->name_len = (uint32_t)name.len;
        memcpy(tenant->name_at, name.at, name.len);
        if (!map_put(&retained->tenants, tenant)) {
            mem_free(tenant);
            return NULL;
        }
    }
    tenant->targets++;
    return tenant;
}

static void leave_tenant(struct retained *retained, struct retained_tenant *tenant)
{
    if (tenant != NULL && --tenant->targets == 0) {
        map_remove(&retained->tenants, tenant_of(tenant));
        mem_free(tenant);
    }
}

/* A target without values goes; that of all stays. */
static void drop_target(struct retained *retained, struct retained_target *target)
{
    if (target->count == 0 && target != retained->everyone) {
        size_t cost = mem_cost(sizeof(*target) + target->name_len);
        count(retained, target->tenant, 0, cost, false);
        leave_tenant(retained, target->tenant);
        map_remove(&retained->targets, name_of(target));
        mem_free(target);
    }
}

static void remove_value(struct retained *retained, struct retained_value *value)
{
    struct retained_target *target = value->target;
    count(retained, target->tenant, 0, value->cost, true);
    if (map_get(&retained->of_values, value->of_value) == value) {
        map_remove(&retained->of_values, value->of_value);
    }
    mem_free((void *)(uintptr_t)value->of_value.at);
    target->bytes -= shown_of(value->broadcast);
    broadcast_unref(value->broadcast);
    list_remove(&value->link);
    list_remove(&value->all_link);
    mem_free(value);
    target->count--;
    drop_target(retained, target);
}

void retained_destroy(struct retained *retained)
{
    if (retained == NULL) {
        return;
    }
    while (!list_empty(&retained->all)) {
        remove_value(retained, container_of(retained->all.next, struct retained_value, all_link));
    }
    map_finish(&retained->targets);
    map_finish(&retained->of_values);
    map_finish(&retained->tenants);
    mem_free(retained->everyone);
    mem_free(retained);
}

/* Finding. */

static struct retained_target *find_target(const struct retained *retained, struct bytes name)
{
    return name.len == 0 ? retained->everyone : map_get(&retained->targets, name);
}

static struct retained_value *find_in(const struct retained_target *target, struct bytes name)
{
    list_for_each (link, &target->values) {
        struct retained_value *value = container_of(link, struct retained_value, link);
        if (bytes_eq(broadcast_kept_name(value->broadcast), name)) {
            return value;
        }
    }
    return NULL;
}

struct retained_value *retained_find(
    const struct retained *retained, struct bytes target, struct bytes name)
{
    const struct retained_target *found = find_target(retained, target);
    return found != NULL ? find_in(found, name) : NULL;
}

bool retained_knows(const struct retained *retained, struct bytes target)
{
    const struct retained_target *found = find_target(retained, target);
    return found != NULL && found->count > 0;
}

const struct retained_value *retained_of_value(const struct retained *retained, struct bytes name)
{
    return map_get(&retained->of_values, name);
}

struct list *retained_all(struct retained *retained)
{
    return &retained->all;
}

struct bytes retained_target_name(const struct retained_value *value)
{
    return name_of(value->target);
}

/* Ending. */

/* Or is a mark. */
static bool has_ended(const struct retained *retained, const struct retained_value *value)
{
    const struct broadcast_retain *retain = value->broadcast->retain;
    return retain->removes || retain->until_ms <= sched_wall(retained->shard->sched);
}

/* Look at some, those first that were not looked at for longest. What is nowhere else stays, for
 * it is still to be told elsewhere. */
static void look(struct retained *retained, unsigned most, retained_ended_fn ended, void *context)
{
    uint64_t now = sched_wall(retained->shard->sched);
    for (unsigned i = 0; i < most && !list_empty(&retained->all); i++) {
        struct retained_value *value =
            container_of(retained->all.next, struct retained_value, all_link);
        if (value->broadcast->retain->until_ms <= now && !value->stray) {
            if (ended != NULL) {
                ended(context, value);
            }
            remove_value(retained, value);
        } else {
            list_remove(&value->all_link);
            list_append(&retained->all, &value->all_link);
        }
    }
}

void retained_look(struct retained *retained, retained_ended_fn ended, void *context)
{
    look(retained, LOOK, ended, context);
}

/* Bounds. */

static size_t most_bytes(const struct retained *retained)
{
    return retained->shard->config->retain.bytes;
}

static size_t most_of_tenant(const struct retained *retained)
{
    return most_bytes(retained) / TENANTS;
}

/* Who joins gets all of a target in one turn: it has to fit between the bound of an outbox and what
 * may wait there already. */
static size_t most_of_target(const struct retained *retained)
{
    return retained->shard->config->outbound_bytes / 8 * 7;
}

/* The names are those of all its targets, and of whom it is not for: they live as long as it. */
static size_t cost_of(const struct broadcast *broadcast)
{
    size_t names = 0;
    for (uint32_t i = 0; i < broadcast->room_count; i++) {
        names += sizeof(struct bytes) + broadcast_rooms(broadcast)[i].len;
    }
    for (uint32_t i = 0; i < broadcast->except_count; i++) {
        names += sizeof(struct bytes) + broadcast_except(broadcast)[i].len;
    }
    return mem_cost(sizeof(struct retained_value)) + mem_cost(sizeof(*broadcast) + names) +
           mem_cost(sizeof(*broadcast->retain) + broadcast->retain->name_len) +
           event_cost(broadcast->event);
}

size_t retained_cost(size_t bytes, size_t name_len, size_t names)
{
    enum { AROUND = 16 /* what an array has around its elements */ };
    return mem_cost(sizeof(struct retained_value)) +
           mem_cost(sizeof(struct broadcast) + names * (sizeof(struct bytes) + WIRE_NAME_MAX)) +
           mem_cost(sizeof(struct broadcast_retain) + name_len) +
           mem_cost(sizeof(struct event) + bytes + AROUND) +
           mem_cost(sizeof(struct retained_target) + WIRE_NAME_MAX);
}

static size_t bytes_of_tenant(const struct retained *retained, struct bytes name)
{
    const struct retained_tenant *tenant = map_get(&retained->tenants, name);
    return tenant != NULL ? tenant->bytes : 0;
}

static size_t value_cost(const struct retained *retained, struct bytes target, struct bytes name)
{
    const struct retained_value *value = retained_find(retained, target, name);
    return value != NULL ? value->cost : 0;
}

int retained_check(struct retained *retained, struct bytes target, struct bytes name,
    const struct retained_demand *demand)
{
    const struct retained_target *found = find_target(retained, target);
    const struct retained_value *value = found != NULL ? find_in(found, name) : NULL;
    size_t less = value != NULL ? value->cost : 0;
    size_t most = most_bytes(retained);
    if (value == NULL && found != NULL && found->count >= retained->shard->config->retain.names) {
        return STATUS_FULL;
    }
    size_t here = found != NULL ? found->bytes : 0;
    here -= value != NULL ? shown_of(value->broadcast) : 0;
    if (here + demand->here > most_of_target(retained)) {
        return STATUS_INVALID;
    }
    struct bytes name_of_tenant = tenant_in(retained, target);
    if (retained->bytes + demand->all > most + less ||
        bytes_of_tenant(retained, name_of_tenant) + demand->all > most_of_tenant(retained) + less) {
        look(retained, LOOK_FULL, NULL, NULL); /* the value may have gone by that */
        less = value_cost(retained, target, name);
    }
    if (name_of_tenant.len > 0 &&
        bytes_of_tenant(retained, name_of_tenant) + demand->all > most_of_tenant(retained) + less) {
        return STATUS_RATE_LIMITED;
    }
    return retained->bytes + demand->all > most + less ? STATUS_TOO_LARGE : 0;
}

/* Changing. */

/* The target of this name, made if need be; NULL: no memory. */
static struct retained_target *take_target(struct retained *retained, struct bytes name)
{
    struct retained_target *target = find_target(retained, name);
    if (target != NULL) {
        return target;
    }
    struct bytes tenant = tenant_in(retained, name);
    target = make_target(name);
    if (target == NULL) {
        return NULL;
    }
    target->tenant = tenant.len > 0 ? take_tenant(retained, tenant) : NULL;
    if ((tenant.len > 0 && target->tenant == NULL) || !map_put(&retained->targets, target)) {
        leave_tenant(retained, target->tenant);
        mem_free(target);
        return NULL;
    }
    count(retained, target->tenant, mem_cost(sizeof(*target) + name.len), 0, false);
    return target;
}

/* One that shows a value is found by that; without memory it is not, and ends by itself. */
static void index_value(struct retained *retained, struct retained_value *value)
{
    struct bytes name = broadcast_kept_name(value->broadcast);
    struct bytes target = name_of(value->target);
    struct bytes prefix = BYTES("value:");
    const char *slash = target.len > 0 ? memchr(target.at, '/', target.len) : NULL;
    size_t tenant = slash != NULL ? (size_t)(slash - target.at) : 0;
    if (!bytes_starts(name, prefix) || target.len == 0) {
        return;
    }
    struct bytes key = bytes_skip(name, prefix.len);
    char *at = mem_try_alloc(tenant + 1 + key.len);
    if (at == NULL) {
        return;
    }
    memcpy(at, target.at, tenant);
    at[tenant] = '/';
    memcpy(at + tenant + 1, key.at, key.len);
    value->of_value = bytes_of(at, tenant + 1 + key.len);
    (void)map_remove(&retained->of_values, value->of_value);
    if (!map_put(&retained->of_values, value)) {
        mem_free(at);
        value->of_value = bytes_of(NULL, 0);
    }
}

/* NULL: there is no memory or no room for it. */
static struct retained_value *add(
    struct retained *retained, struct bytes target_name, struct broadcast *broadcast)
{
    size_t cost = cost_of(broadcast);
    size_t most = most_bytes(retained);
    struct retained_target *target = NULL;
    struct retained_value *value = NULL;
    size_t most_here = most_of_tenant(retained);
    bool fits = retained->bytes + cost <= most + most / SPARE;
    if (fits && tenant_in(retained, target_name).len > 0) {
        fits = bytes_of_tenant(retained, tenant_in(retained, target_name)) + cost <=
               most_here + most_here / SPARE;
    }
    if (fits) {
        target = take_target(retained, target_name);
        value = target != NULL ? mem_try_calloc(1, sizeof(*value)) : NULL;
    }
    if (value == NULL) {
        retained->shard->stats.retain.dropped += retained->counts;
        if (target != NULL) {
            drop_target(retained, target);
        }
        return NULL;
    }
    value->target = target;
    value->broadcast = broadcast_ref(broadcast);
    value->cost = cost;
    list_init(&value->link);
    list_init(&value->all_link);
    list_append(&target->values, &value->link);
    list_append(&retained->all, &value->all_link);
    target->count++;
    target->bytes += shown_of(broadcast);
    count(retained, target->tenant, cost, 0, true);
    index_value(retained, value);
    return value;
}

struct retained_value *retained_put(struct retained *retained, struct bytes target,
    struct broadcast *broadcast, struct stream_id place, bool graves)
{
    struct retained_value *value = retained_find(retained, target, broadcast_kept_name(broadcast));
    if (value != NULL) {
        remove_value(retained, value);
    }
    if (broadcast->retain->removes && !graves) {
        return NULL;
    }
    value = add(retained, target, broadcast);
    if (value != NULL) {
        value->place = place;
    }
    return value;
}

void retained_take(struct retained *retained, struct broadcast *broadcast)
{
    retained_look(retained, NULL, NULL);
    if (broadcast->room_count == 0) {
        (void)retained_put(retained, bytes_of(NULL, 0), broadcast, broadcast->stream, false);
    }
    for (uint32_t i = 0; i < broadcast->room_count; i++) {
        (void)retained_put(
            retained, broadcast_rooms(broadcast)[i], broadcast, broadcast->stream, false);
    }
}

/* Showing. */

const struct retained_value *retained_next(
    const struct retained *retained, struct bytes target, const struct retained_value *after)
{
    const struct retained_target *found = after != NULL ? after->target : NULL;
    const struct list *link = after != NULL ? after->link.next : NULL;
    if (after == NULL) {
        found = find_target(retained, target);
        link = found != NULL ? found->values.next : NULL;
    }
    for (; found != NULL && link != &found->values; link = link->next) {
        const struct retained_value *value = container_of(link, struct retained_value, link);
        if (!has_ended(retained, value)) {
            return value;
        }
    }
    return NULL;
}

struct event *retained_mark(
    const struct event *event, struct bytes client_room, struct bytes offset)
{
    struct builder text = {0};
    struct event *marked;
    json_write_open(&text, '{');
    json_write_key(&text, "_peal");
    json_write_open(&text, '{');
    json_write_bool(&text, "retained", true);
    if (client_room.len > 0) {
        json_write_text(&text, "room", client_room);
    }
    if (offset.len > 0) {
        json_write_text(&text, "offset", offset);
    }
    json_write_close(&text, '}');
    json_write_close(&text, '}');
    int status = builder_failed(&text) ? STATUS_NOMEM
                                       : event_append_json(event, builder_bytes(&text), &marked);
    builder_reset(&text);
    return status == 0 ? marked : NULL;
}
