/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients ask about who is online: those whom presence.visibility lets them see.
 *
 * A question outlives its user, as in user_values.c. How many are under way is bounded by the
 * bucket that each is taken from.
 */
#include "actors/presence/presence_call.h"
#include "actors/shard.h"
#include "actors/user/user_actor.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"

enum { RETRY_MS = 1000, FIELD_MAX = 65 };

struct asking {
    struct presence_call call; /* first */
    struct shard *shard;
    struct actor_ref user;
    uint32_t socket_id;
    uint64_t id; /* of the answer */
};

static void free_asking(struct asking *asking)
{
    presence_call_finish(&asking->call);
    mem_free(asking);
}

static void refuse_later(
    struct socket *socket, const struct asking *asking, const struct call_refusal *refusal)
{
    call_refuse_event(socket, &asking->id, BYTES("presence:query"), refusal);
}

static void answer(struct socket *socket, const struct asking *asking)
{
    struct builder text = {0};
    json_write_open(&text, '{');
    json_write_bool(&text, "ok", true);
    presence_call_write(&asking->call, &text);
    json_write_close(&text, '}');
    if (builder_failed(&text) || asking->call.starved) {
        refuse_later(socket, asking,
            &(struct call_refusal){
                .code = ERROR_UNAVAILABLE, .message = "Out of memory, try again"});
    } else if (socket->outbox->bytes + builder_bytes(&text).len >
               socket->shard->config->outbox_max) {
        refuse_later(socket, asking,
            &(struct call_refusal){.code = ERROR_RATE_LIMITED,
                .message = "Too much waits for this client already",
                .retry_ms = RETRY_MS});
    } else {
        socket_ack(socket, asking->id, builder_bytes(&text));
    }
    builder_reset(&text);
}

static void on_done(struct presence_call *call)
{
    struct asking *asking = container_of(call, struct asking, call);
    struct user *user = (struct user *)(void *)actor_get(asking->shard->sched, asking->user);
    struct socket *socket = user != NULL ? owner_socket(&user->owner, asking->socket_id) : NULL;
    if (socket != NULL) {
        answer(socket, asking);
    }
    free_asking(asking);
}

/* Add the users of the array; false: the call was refused. */
static bool add_users(
    const struct client_call *call, struct presence_call *asked, struct bytes array)
{
    const struct socket *socket = call->socket;
    struct bytes viewer = identity_key(socket->identity);
    struct json_scan_iter iter;
    struct bytes element;
    int status = 0;
    json_scan_iter_init(&iter, array);
    while (status == 0 && json_scan_element(&iter, &element)) {
        char at[NAMES_USER_MAX];
        struct bytes user;
        status = json_scan_string(element, at, sizeof(at), &user) != 0
                     ? STATUS_INVALID
                     : presence_call_add(
                           asked, socket->shard, identity_space(socket->identity), user, &viewer);
    }
    if (status == STATUS_NOMEM) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
    } else if (status == STATUS_TOO_LARGE) {
        call_refuse_as(
            call, &(struct call_refusal){
                      .code = ERROR_TOO_LARGE, .message = "At most 1000 users", .field = "users"});
    } else if (status != 0 || list_empty(&asked->asks)) {
        call_refuse_field(call, "users", "1 to 1000 user ids");
        status = STATUS_INVALID;
    }
    return status == 0;
}

/* Whether the object has no other member; else the call was refused. */
static bool check_members(const struct client_call *call, struct bytes object)
{
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    json_scan_iter_init(&iter, object);
    while (json_scan_member(&iter, &key, &value)) {
        if (!json_scan_string_eq(key, BYTES("users"))) {
            char field[FIELD_MAX];
            names_write_field(key, field, sizeof(field));
            call_refuse_field(call, field, "Unknown field; known here: users");
            return false;
        }
    }
    return true;
}

/* The array of users in the argument, which is that or {users}; false: the call was refused. */
static bool read_users(const struct client_call *call, struct bytes *ret_array)
{
    struct bytes argument = call_argument(call->event);
    bool object = json_scan_kind(argument) == JSON_SCAN_OBJECT;
    *ret_array = argument;
    if (object && !check_members(call, argument)) {
        return false;
    }
    if ((object && json_scan_get(argument, "users", ret_array) != 0) ||
        json_scan_kind(*ret_array) != JSON_SCAN_ARRAY) {
        call_refuse_field(call, "users", "1 to 1000 user ids");
        return false;
    }
    return true;
}

void user_presence_query(const struct client_call *call)
{
    struct socket *socket = call->socket;
    struct bytes array;
    if (!read_users(call, &array)) {
        return;
    }
    struct asking *asking = mem_try_calloc(1, sizeof(*asking));
    if (asking == NULL) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
        return;
    }
    presence_call_init(&asking->call, on_done);
    asking->shard = socket->shard;
    asking->user = socket->user->actor.self;
    asking->socket_id = socket->id;
    asking->id = call->id;
    if (!add_users(call, &asking->call, array) || !call->has_id) { /* nobody asks for an answer */
        free_asking(asking);
    } else if (!presence_call_begin(&asking->call, socket->shard)) {
        free_asking(asking);
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
    }
}
