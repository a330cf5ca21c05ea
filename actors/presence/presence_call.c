/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks travel in parcels, one for each shard that would hold some of the users, and back when all
 * of a parcel are answered. Order of this file: asks, back, there, beginning, the answer.
 */
#include "actors/presence/presence_call.h"

#include "actors/deliver/owner.h"
#include "actors/presence/presence_part.h"
#include "actors/presence/presence_redis.h"
#include "actors/presence/presence_state.h"
#include "actors/presence/presence_view.h"
#include "actors/shard.h"
#include "actors/wire_name.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"

struct parcel {
    struct presence_call *call;
    struct shard *origin; /* another thread's: only its sched is asked for */
    unsigned home;
    struct list asks; /* presence_ask.way */
    size_t left; /* questions without an answer */
    bool incomplete;
    bool starved;
    uint64_t users;
    uint64_t connections;
};

/* What is asked of Redis about users of one part. */
struct question {
    struct parcel *parcel;
    struct shard *shard;
    unsigned part;
    struct list asks; /* presence_ask.way */
    size_t count;
    bool again; /* it was asked before: Redis had forgotten the script */
};

/* Asks. */

static struct bytes key_of(const void *object)
{
    const struct presence_ask *ask = object;
    return bytes_of(ask->key, ask->key_len);
}

void presence_call_init(struct presence_call *call, presence_call_fn done)
{
    *call = (struct presence_call){.done = done};
    list_init(&call->asks);
    map_init(&call->by_key, key_of);
}

void presence_call_finish(struct presence_call *call)
{
    for (struct list *link; (link = list_pop(&call->asks)) != NULL;) {
        struct presence_ask *ask = container_of(link, struct presence_ask, link);
        buf_unref(ask->nodes);
        mem_free(ask);
    }
    map_finish(&call->by_key);
}

/* Names are read in the tenant of who asks, so nobody names a user of another one. */
bool presence_call_may_see(const struct shard *shard, struct bytes viewer, struct bytes key)
{
    enum presence_visibility visibility = shard->config->presence.visibility;
    return visibility == PRESENCE_VISIBLE_TENANT || visibility == PRESENCE_VISIBLE_ALL ||
           bytes_eq(viewer, key);
}

int presence_call_add(struct presence_call *call, const struct shard *shard, struct bytes space,
    struct bytes user, const struct bytes *viewer)
{
    char at[WIRE_KEY_MAX];
    if (names_check_user(user) != 0) {
        return STATUS_INVALID;
    }
    struct bytes key = wire_key_user(space, user, at);
    if (map_get(&call->by_key, key) != NULL) {
        return 0;
    }
    if (map_count(&call->by_key) >= PRESENCE_USERS_MAX) {
        return STATUS_TOO_LARGE;
    }
    struct presence_ask *ask = mem_try_calloc(1, sizeof(*ask) + key.len);
    if (ask == NULL) {
        return STATUS_NOMEM;
    }
    ask->key_len = key.len;
    memcpy(ask->key, key.at, key.len);
    ask->open = viewer == NULL || bytes_eq(*viewer, key);
    ask->barred = viewer != NULL && !presence_call_may_see(shard, *viewer, key);
    list_init(&ask->way);
    if (!map_put(&call->by_key, ask)) {
        mem_free(ask);
        return STATUS_NOMEM;
    }
    list_append(&call->asks, &ask->link);
    return 0;
}

/* Back, on the shard that asked. */

/* The sums that nodes have told; where they are not known, those of this node. */
static void fill_sums(struct presence_call *call)
{
    const struct presence *presence = call->shard->presence;
    struct presence_view sums;
    bool complete;
    if (presence != NULL && presence_state_sum(presence, &sums, &complete)) {
        call->users = sums.users;
        call->connections = sums.connections;
        call->nodes = sums.nodes;
        call->complete = complete;
        return;
    }
    call->nodes = 1;
    call->complete = call->shard->bus == NULL && presence != NULL;
}

static void arrive(void *arg, bool cancelled)
{
    struct parcel *parcel = arg;
    struct presence_call *call = parcel->call;
    (void)cancelled; /* whoever asked ends either way */
    call->complete = call->complete && !parcel->incomplete;
    call->starved = call->starved || parcel->starved;
    call->users += parcel->users;
    call->connections += parcel->connections;
    mem_free(parcel);
    if (--call->pending > 0) {
        return;
    }
    if (list_empty(&call->asks)) {
        fill_sums(call);
    }
    if (call->shard->presence != NULL) {
        call->shard->presence->stats.calls--;
    }
    call->done(call);
}

static void send_back(struct parcel *parcel)
{
    struct sched *sched = parcel->origin->sched;
    sched_post(sched_system(sched), sched_shard(sched), arrive, parcel);
}

static void finish_question(struct question *question)
{
    struct parcel *parcel = question->parcel;
    while (list_pop(&question->asks) != NULL) {
    }
    mem_free(question);
    if (--parcel->left == 0) {
        send_back(parcel);
    }
}

/* There, on the shard that holds the users if this node does. */

/* What this node has of it. */
static void look_here(const struct shard *shard, struct parcel *parcel, struct presence_ask *ask)
{
    const struct socket_owner *owner = owner_find(shard, key_of(ask));
    ask->connections = owner != NULL ? owner->socket_count : 0;
    ask->shown = ask->connections > 0 ? owner->shown : OWNER_UNKNOWN;
    if (parcel->call->detailed && ask->connections > 0) {
        struct builder name = {0};
        builder_printf(&name, "%s\n", shard->config->node);
        ask->nodes = builder_finish(&name);
        parcel->starved = parcel->starved || ask->nodes == NULL;
    }
}

/* Add what Redis says of other nodes; false: that cannot be read. */
static bool add_others(
    const struct question *question, struct presence_ask *ask, const struct bus_reply *reply)
{
    struct parcel *parcel = question->parcel;
    bool detailed = parcel->call->detailed;
    struct builder nodes = {0};
    struct presence_others others;
    if (detailed && ask->nodes != NULL) {
        builder_add(&nodes, buf_bytes(ask->nodes));
    }
    int status = presence_view_read_user(
        reply, bytes_str(question->shard->config->node), &others, detailed ? &nodes : NULL);
    if (status == 0 && others.connections > 0) {
        ask->connections += others.connections;
        ask->shown = others.shown > ask->shown ? others.shown : ask->shown;
        if (detailed) {
            buf_unref(ask->nodes);
            ask->nodes = builder_finish(&nodes);
            parcel->starved = parcel->starved || ask->nodes == NULL;
        }
    }
    builder_reset(&nodes);
    return status == 0;
}

static bool take_answer(const struct question *question, int status, const struct bus_reply *reply)
{
    size_t i = 0;
    bool good = status == 0 && reply->type == BUS_ARRAY && reply->count == question->count;
    list_for_each (link, &question->asks) {
        struct presence_ask *ask = container_of(link, struct presence_ask, way);
        good = good && add_others(question, ask, reply->items[i++]);
    }
    return good;
}

/* Redis answered, and it says nothing of them. */
static void log_unread(const struct question *question, int status, const struct bus_reply *reply)
{
    static _Thread_local struct log_limit limit;
    unsigned suppressed;
    if (status == 0 && log_allow(&limit, &suppressed)) {
        log_warn("PRESENCE-UNREAD", "What Redis says of users is not understood",
            "part=%u answer=%s suppressed=%u", question->part,
            log_quote(reply->type == BUS_ERROR ? reply->text : BYTES("not understood")),
            suppressed);
    }
}

static void on_answer(void *context, int status, const struct bus_reply *reply);

/* False: no memory. */
static bool ask_redis(struct question *question, struct presence_redis *redis)
{
    struct bytes argv[PRESENCE_USERS_MAX];
    size_t argc = 0;
    list_for_each (link, &question->asks) {
        argv[argc++] = key_of(container_of(link, struct presence_ask, way));
    }
    const struct presence_command command = {
        .script = PRESENCE_SCRIPT_LOOK, .part = question->part, .argv = argv, .argc = argc};
    return presence_redis_run(redis, &command, on_answer, question);
}

static void on_answer(void *context, int status, const struct bus_reply *reply)
{
    struct question *question = context;
    struct presence *presence = question->shard->presence;
    struct presence_redis *redis = status == 0 ? presence_state_redis(presence) : NULL;
    if (redis != NULL && !question->again && presence_redis_forgot(redis, reply)) {
        question->again = true;
        if (ask_redis(question, redis)) {
            return;
        }
    }
    if (!take_answer(question, status, reply)) {
        question->parcel->incomplete = true;
        presence->stats.looks_failed++;
        log_unread(question, status, reply);
    }
    finish_question(question);
}

/* Ask about those of `asks`, which are of one part. */
static void ask_part(struct parcel *parcel, struct shard *shard, unsigned part, struct list *asks)
{
    struct presence_redis *redis = presence_state_redis(shard->presence);
    struct question *question = redis != NULL ? mem_try_calloc(1, sizeof(*question)) : NULL;
    if (question == NULL) {
        parcel->incomplete = true;
        shard->presence->stats.looks_failed++;
        while (list_pop(asks) != NULL) {
        }
        return;
    }
    *question = (struct question){.parcel = parcel, .shard = shard, .part = part};
    list_init(&question->asks);
    list_for_each (link, asks) {
        question->count++;
    }
    list_splice(&question->asks, asks);
    parcel->left++;
    if (!ask_redis(question, redis)) {
        parcel->incomplete = true;
        shard->presence->stats.looks_failed++;
        finish_question(question);
    }
}

static void look_everywhere(struct parcel *parcel, struct shard *shard)
{
    struct list parts[PRESENCE_PARTS_MAX];
    struct list *link;
    for (unsigned i = 0; i < PRESENCE_PARTS_MAX; i++) {
        list_init(&parts[i]);
    }
    while ((link = list_pop(&parcel->asks)) != NULL) {
        struct presence_ask *ask = container_of(link, struct presence_ask, way);
        look_here(shard, parcel, ask);
        list_append(&parts[presence_part_of(shard, key_of(ask))], link);
    }
    for (unsigned i = 0; i < PRESENCE_PARTS_MAX; i++) {
        if (shard->bus != NULL && shard->presence != NULL && !list_empty(&parts[i])) {
            ask_part(parcel, shard, i, &parts[i]);
        }
        while (list_pop(&parts[i]) != NULL) { /* those of which this node knows all */
        }
    }
}

static void deliver(void *arg, bool cancelled)
{
    struct parcel *parcel = arg;
    if (cancelled) { /* the system is destroyed: nothing can be posted */
        while (list_pop(&parcel->asks) != NULL) {
        }
        arrive(parcel, true);
        return;
    }
    struct actor_system *system = sched_system(parcel->origin->sched);
    struct shard *home = sched_user(actor_system_sched(system, parcel->home));
    parcel->left = 1; /* until all are asked */
    parcel->incomplete = home->presence == NULL;
    if (home->presence != NULL) {
        parcel->users = home->presence->stats.users;
        parcel->connections = home->presence->stats.connections;
    }
    look_everywhere(parcel, home);
    if (--parcel->left == 0) {
        send_back(parcel);
    }
}

/* Beginning. */

/* A parcel for each shard that has some, and where it is about nobody for each; false: no memory.
 */
static bool sort(struct presence_call *call, struct parcel **parcels, unsigned shards)
{
    const struct actor_system *system = sched_system(call->shard->sched);
    bool wanted[SHARD_MAX] = {false};
    list_for_each (link, &call->asks) {
        struct presence_ask *ask = container_of(link, struct presence_ask, link);
        wanted[actor_system_shard_of(system, key_of(ask))] =
            !ask->barred || wanted[actor_system_shard_of(system, key_of(ask))];
    }
    for (unsigned i = 0; i < shards; i++) {
        parcels[i] = NULL;
        if (wanted[i] || list_empty(&call->asks)) {
            parcels[i] = mem_try_calloc(1, sizeof(struct parcel));
            if (parcels[i] == NULL) {
                while (i-- > 0) {
                    mem_free(parcels[i]);
                }
                return false;
            }
            *parcels[i] = (struct parcel){.call = call, .origin = call->shard, .home = i};
            list_init(&parcels[i]->asks);
        }
    }
    return true;
}

static void put_asks(struct presence_call *call, struct parcel **parcels)
{
    const struct actor_system *system = sched_system(call->shard->sched);
    list_for_each (link, &call->asks) {
        struct presence_ask *ask = container_of(link, struct presence_ask, link);
        if (!ask->barred) {
            list_append(&parcels[actor_system_shard_of(system, key_of(ask))]->asks, &ask->way);
        }
    }
}

static void on_nothing(void *arg, bool cancelled)
{
    struct parcel *parcel = arg;
    arrive(parcel, cancelled);
}

/* Nobody is to be asked about: who asks may see none of them. It is answered in a later turn. */
static bool answer_nothing(struct presence_call *call)
{
    struct parcel *parcel = mem_try_calloc(1, sizeof(*parcel));
    if (parcel == NULL) {
        return false;
    }
    struct sched *sched = call->shard->sched;
    parcel->call = call;
    call->pending = 1;
    sched_post(sched_system(sched), sched_shard(sched), on_nothing, parcel);
    return true;
}

bool presence_call_begin(struct presence_call *call, struct shard *shard)
{
    struct parcel *parcels[SHARD_MAX];
    struct actor_system *system = sched_system(shard->sched);
    unsigned shards = actor_system_shards(system);
    call->shard = shard;
    call->complete = true;
    call->pending = 0;
    if (shard->presence == NULL || !sort(call, parcels, shards)) {
        return false;
    }
    put_asks(call, parcels);
    for (unsigned i = 0; i < shards; i++) {
        call->pending += parcels[i] != NULL;
    }
    if (call->pending == 0 && !answer_nothing(call)) {
        return false;
    }
    shard->presence->stats.calls++;
    for (unsigned i = 0; i < shards; i++) {
        if (parcels[i] != NULL) {
            sched_post(system, i, deliver, parcels[i]);
        }
    }
    return true;
}

/* The answer. */

/* The id of its user, without the tenant. */
static struct bytes user_of(const struct presence_ask *ask)
{
    struct bytes key = key_of(ask);
    const char *slash = memchr(key.at, '/', key.len);
    return slash != NULL ? bytes_skip(key, (size_t)(slash - key.at) + 1) : key;
}

static void write_nodes(const struct buf *nodes, struct builder *out)
{
    struct bytes rest = nodes != NULL ? buf_bytes(nodes) : bytes_of(NULL, 0);
    json_write_key(out, "nodes");
    json_write_open(out, '[');
    while (rest.len > 0) {
        const char *end = memchr(rest.at, '\n', rest.len);
        size_t len = end != NULL ? (size_t)(end - rest.at) : rest.len;
        json_write_next(out);
        json_scan_write_string(out, bytes_of(rest.at, len));
        rest = bytes_skip(rest, end != NULL ? len + 1 : len);
    }
    json_write_close(out, ']');
}

void presence_ask_write_where(const struct presence_ask *ask, struct builder *out)
{
    write_nodes(ask->nodes, out);
    json_write_u64(out, "connections", ask->connections);
}

/* As far as who asks may know. */
static bool is_online(const struct presence_ask *ask)
{
    return ask->connections > 0 && (ask->open || ask->shown == OWNER_SHOWN);
}

void presence_ask_write(const struct presence_ask *ask, bool detailed, struct builder *out)
{
    json_write_bool(out, "online", is_online(ask));
    json_write_json(out, "lastSeen", bytes_of(NULL, 0));
    if (ask->open && ask->shown == OWNER_HIDDEN) {
        json_write_bool(out, "visible", false);
    }
    if (detailed) {
        presence_ask_write_where(ask, out);
    }
}

void presence_call_write(const struct presence_call *call, struct builder *out)
{
    const char *comma = "";
    json_write_key(out, "users");
    json_write_open(out, '{');
    list_for_each (link, &call->asks) {
        const struct presence_ask *ask = container_of(link, struct presence_ask, link);
        builder_str(out, comma);
        json_scan_write_string(out, user_of(ask));
        builder_byte(out, ':');
        json_write_open(out, '{');
        presence_ask_write(ask, call->detailed, out);
        json_write_close(out, '}');
        comma = ",";
    }
    json_write_close(out, '}');
    json_write_bool(out, "complete", call->complete);
}
