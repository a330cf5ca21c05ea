/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goes from shard to shard, and over all rooms or sockets of each in one turn.
 *
 * Order of this file: questions, rooms, connections, shards.
 */
#include "hub/api/roll_walk.h"

#include <string.h>

#include "actors/core/sched.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/socket_state.h"
#include "actors/identity.h"
#include "actors/shard.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"

enum { QUESTION_DEPTH = 2, ROOMS_SHOWN = 20 };

/* Questions. */

void roll_question_write(
    const struct roll_question *question, const char *epoch, struct builder *out)
{
    json_write_open(out, '{');
    json_write_text(out, "epoch", bytes_str(epoch));
    json_write_u64(out, "kind", question->kind);
    json_write_u64(out, "limit", question->limit);
    json_write_text(out, "tenant", question->tenant);
    json_write_text(out, "after", question->after);
    json_write_text(out, "prefix", question->prefix);
    json_write_text(out, "user", question->user);
    json_write_text(out, "room", question->room);
    json_write_text(out, "node", question->node);
    json_write_close(out, '}');
}

static bool read_text(
    struct bytes object, const char *key, char *at, size_t size, struct bytes *ret_text)
{
    struct bytes value;
    return json_scan_get(object, key, &value) == 0 &&
           json_scan_string(value, at, size, ret_text) == 0;
}

static bool read_number(struct bytes object, const char *key, uint64_t most, uint64_t *ret_number)
{
    struct bytes value;
    return json_scan_get(object, key, &value) == 0 && json_scan_u64(value, ret_number) == 0 &&
           *ret_number <= most;
}

bool roll_question_read(struct bytes body, const char *epoch, struct roll_question *ret_question)
{
    struct roll_question *question = ret_question;
    uint64_t kind;
    uint64_t limit;
    char at[NAMES_USER_MAX];
    struct bytes theirs;
    if (json_scan_text(body, QUESTION_DEPTH, &body, NULL) != 0 ||
        json_scan_kind(body) != JSON_SCAN_OBJECT ||
        !read_text(body, "epoch", at, sizeof(at), &theirs) || !bytes_eq_str(theirs, epoch) ||
        !read_number(body, "kind", ROLL_END, &kind) ||
        !read_number(body, "limit", ROLL_MAX, &limit) || limit == 0) {
        return false;
    }
    question->kind = (enum roll_kind)kind;
    question->limit = (uint32_t)limit;
    return read_text(body, "tenant", question->tenant_at, NAMES_TENANT_MAX, &question->tenant) &&
           read_text(body, "after", question->after_at, NAMES_ROOM_MAX, &question->after) &&
           read_text(body, "prefix", question->prefix_at, NAMES_ROOM_MAX, &question->prefix) &&
           read_text(body, "user", question->user_at, NAMES_USER_MAX, &question->user) &&
           read_text(body, "room", question->room_at, NAMES_ROOM_MAX, &question->room) &&
           read_text(body, "node", question->node_at, NAMES_USER_MAX, &question->node);
}

/* Rooms. */

static struct bytes space_of(struct bytes wire)
{
    size_t name = wire_name_client(wire).len;
    return bytes_of(wire.at, wire.len > name ? wire.len - name - 1 : 0);
}

/* Rooms of "/" with a socket on the shard; those of users stand for inboxes, and are none. */
static void walk_rooms(struct roll_walk *walk, struct shard *shard)
{
    const struct fanout *fanout = fanout_find(shard, BYTES("/"));
    const struct leaf *leaf;
    size_t cursor = 0;
    while (fanout != NULL && (leaf = map_next(&fanout->leaves.map, &cursor)) != NULL) {
        struct bytes name = wire_name_client(leaf_name(leaf));
        if (leaf->count > 0 && bytes_eq(space_of(leaf_name(leaf)), walk->question.tenant) &&
            !bytes_starts(name, BYTES("user:")) && roll_wants(&walk->roll, name)) {
            roll_add(&walk->roll, name, leaf->count, 0, bytes_of(NULL, 0));
        }
    }
}

/* Connections. */

static bool is_asked_for(
    const struct roll_question *question, const struct fanout *fanout, const struct socket *socket)
{
    char at[WIRE_NAME_MAX];
    const struct identity *identity = socket->identity;
    if (identity == NULL || socket->closing ||
        !bytes_eq(identity_space(identity), question->tenant) ||
        (question->user.len > 0 &&
            !bytes_eq(claims_user(identity_claims(identity)), question->user))) {
        return false;
    }
    return question->room.len == 0 ||
           fanout_membership(
               fanout, socket, wire_name_room(question->tenant, question->room, at)) != NULL;
}

static const char *transport_of(
    const struct socket *socket, const struct socket_handshake *handshake)
{
    if (socket->ops->one_way) {
        return "stream";
    }
    return handshake->transport != NULL ? handshake->transport : "plain";
}

static void write_rooms(const struct socket *socket, struct builder *out)
{
    json_write_u64(out, "roomCount", socket->membership_count);
    json_write_key(out, "rooms");
    json_write_open(out, '[');
    for (unsigned i = 0; i < socket->membership_count && i < ROOMS_SHOWN; i++) {
        json_write_next(out);
        json_scan_write_string(out, wire_name_client(leaf_name(socket->memberships[i].leaf)));
    }
    json_write_close(out, ']');
}

/* The members of a row but its sid. */
static void write_socket(const struct fanout *fanout, struct socket *socket, struct builder *out)
{
    struct socket_handshake handshake = {0};
    if (socket->ops->describe != NULL) {
        socket->ops->describe(socket, &handshake);
    }
    json_write_text(out, "userId", claims_user(identity_claims(socket->identity)));
    json_write_text(out, "node", bytes_str(socket->shard->config->node));
    json_write_text(out, "namespace", fanout_nsp(fanout));
    json_write_text(out, "transport", bytes_str(transport_of(socket, &handshake)));
    json_write_text(out, "address", bytes_str(handshake.address));
    json_write_time(out, "since", handshake.issued_ms);
    json_write_time(out, "lastHeard", handshake.heard_ms);
    write_rooms(socket, out);
}

static void add_socket(struct roll_walk *walk, const struct fanout *fanout, struct socket *socket)
{
    struct builder text = {0};
    json_write_open(&text, '{');
    write_socket(fanout, socket, &text);
    if (builder_failed(&text)) {
        walk->roll.starved = true;
    } else {
        roll_add(&walk->roll, bytes_of(socket->sid, SOCKET_SID_LEN), 1, 1,
            bytes_skip(builder_bytes(&text), 1)); /* the members alone */
    }
    builder_reset(&text);
}

static void walk_sockets(struct roll_walk *walk, struct shard *shard)
{
    const struct roll_question *question = &walk->question;
    if (question->node.len > 0 && !bytes_eq_str(question->node, shard->config->node)) {
        return;
    }
    list_for_each (link, &shard->fanouts) {
        const struct fanout *fanout = container_of(link, struct fanout, shard_link);
        const struct leaf *everyone = fanout->leaves.everyone;
        for (uint32_t i = 0; i < everyone->count; i++) {
            struct socket *socket = everyone->members[i];
            if (is_asked_for(question, fanout, socket) &&
                roll_wants(&walk->roll, bytes_of(socket->sid, SOCKET_SID_LEN))) {
                add_socket(walk, fanout, socket);
            }
        }
    }
}

/* The sid tells on which shard it is; who dropped, and may come back, has no connection. */
static void end_socket(struct roll_walk *walk, struct shard *shard)
{
    struct socket *socket = map_get(&shard->sockets, walk->question.prefix);
    if (socket != NULL && socket->fanout != NULL &&
        is_asked_for(&walk->question, socket->fanout, socket)) {
        add_socket(walk, socket->fanout, socket);
        socket->ops->end(socket, CLOSE_FORBIDDEN);
    }
}

/* Shards. */

static void visit(struct roll_walk *walk, struct shard *shard)
{
    if (walk->question.kind == ROLL_ROOMS) {
        walk_rooms(walk, shard);
    } else if (walk->question.kind == ROLL_CONNECTIONS) {
        walk_sockets(walk, shard);
    } else {
        end_socket(walk, shard);
    }
}

/* The last shard was asked: all that was found is of one node. */
static void finish(struct roll_walk *walk)
{
    for (size_t i = 0; i < walk->roll.count; i++) {
        walk->roll.rows[i]->nodes = 1;
    }
    walk->done(walk, false);
}

static void on_visit(void *arg, bool cancelled)
{
    struct roll_walk *walk = arg;
    unsigned shards = actor_system_shards(walk->system);
    if (cancelled) {
        walk->done(walk, true);
        return;
    }
    if (walk->next == shards) {
        finish(walk);
        return;
    }
    visit(walk, sched_user(actor_system_sched(walk->system, walk->next++)));
    sched_post(walk->system, walk->next == shards ? walk->asker : walk->next, on_visit, walk);
}

void roll_walk_begin(struct roll_walk *walk, struct shard *shard, roll_walk_fn done)
{
    walk->roll.after = walk->question.after;
    walk->roll.prefix = walk->question.prefix;
    walk->roll.most = walk->question.limit;
    walk->done = done;
    walk->system = sched_system(shard->sched);
    walk->asker = sched_shard(shard->sched);
    walk->next = 0;
    sched_post(walk->system, 0, on_visit, walk);
}
