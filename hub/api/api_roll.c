/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists that every node has a part of: rooms with somebody in them, and connections; and the end
 * of one.
 *
 * This node's own part is walked first, then the other nodes are asked, all at once. What a node
 * does not answer in time is not in it, and `complete` says so.
 *
 * Order of this file: answers, other nodes, this node, parameters, requests.
 */
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "codec/query.h"
#include "hub/api/api.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"
#include "hub/api/roll_walk.h"
#include "hub/cluster/node_poll.h"

#define PATH "/peal/roll"
#define NO_STORE BYTES("Cache-Control: no-store\r\n")

enum { LIMIT_DEFAULT = 20, LIMIT_DIGITS = 8, QUESTION_MAX = 8192 };

struct roll_call {
    struct api_call api; /* first */
    struct api_shard *shard;
    struct roll_walk walk;
    bool complete;
};

static void free_call(struct roll_call *call)
{
    roll_finish(&call->walk.roll);
    mem_free(call);
}

/* Answers. */

static void write_row(
    const struct roll_question *question, const struct roll_row *row, struct builder *out)
{
    bool rooms = question->kind == ROLL_ROOMS;
    json_write_next(out);
    json_write_open(out, '{');
    json_write_text(out, rooms ? "roomId" : "sid", roll_name(row));
    if (rooms) {
        json_write_u64(out, "connections", row->sockets);
        json_write_u64(out, "nodes", row->nodes);
    } else {
        builder_byte(out, ',');
        builder_add(out, roll_text(row));
    }
    json_write_close(out, '}');
}

static void answer_list(const struct roll_call *call)
{
    const struct roll *roll = &call->walk.roll;
    struct builder out = {0};
    json_write_open(&out, '{');
    json_write_key(&out, "items");
    json_write_open(&out, '[');
    for (size_t i = 0; i < roll->count; i++) {
        write_row(&call->walk.question, roll->rows[i], &out);
    }
    json_write_close(&out, ']');
    if (roll->more && roll->count > 0) {
        json_write_text(&out, "next", roll_name(roll->rows[roll->count - 1]));
    } else {
        json_write_json(&out, "next", bytes_of(NULL, 0));
    }
    json_write_bool(&out, "complete", call->complete);
    json_write_close(&out, '}');
    api_answer(call->api.request, 200, NO_STORE, &out);
}

/* It was ended, there is none, or nobody knows. */
static void answer_end(const struct roll_call *call)
{
    const struct roll *roll = &call->walk.roll;
    struct builder out = {0};
    if (roll->count == 0 && !call->complete) {
        api_refuse(call->api.request,
            &(struct api_error){.code = ERROR_UNAVAILABLE,
                .message = "Not all nodes have answered, and none of the others has it",
                .retry_s = 1});
        return;
    }
    if (roll->count == 0) {
        api_refuse(call->api.request,
            &(struct api_error){
                .code = ERROR_NOT_FOUND, .message = "No such connection", .field = "sid"});
        return;
    }
    json_write_open(&out, '{');
    json_write_bool(&out, "accepted", true);
    json_write_u64(&out, "connections", roll->rows[0]->sockets);
    json_write_key(&out, "connection");
    builder_byte(&out, '{');
    builder_add(&out, roll_text(roll->rows[0]));
    builder_byte(&out, '}');
    json_write_close(&out, '}');
    api_answer(call->api.request, 202, bytes_of(NULL, 0), &out);
}

/* All was asked; frees the call. */
static void finish(struct roll_call *call)
{
    if (call->api.request != NULL && call->walk.roll.starved) {
        api_refuse_memory(call->api.request);
    } else if (call->api.request != NULL) {
        (call->walk.question.kind == ROLL_END ? answer_end : answer_list)(call);
    }
    free_call(call);
}

/* Other nodes. */

static void on_answered(void *context, struct bytes body)
{
    struct roll_call *call = context;
    if (!roll_read(&call->walk.roll, body)) {
        call->complete = false;
    }
}

static void on_done(void *context, bool complete)
{
    struct roll_call *call = context;
    call->complete = call->complete && complete;
    finish(call);
}

/* Whether answers will come. */
static bool ask_nodes(struct roll_call *call)
{
    static const struct node_poll_ops ops = {.answered = on_answered, .done = on_done};
    struct builder question = {0};
    int status = STATUS_NOMEM;
    roll_question_write(&call->walk.question, call->shard->shard->config->epoch, &question);
    if (!builder_failed(&question)) {
        status = node_poll_begin(call->shard->polls, PATH, builder_bytes(&question), &ops, call);
    }
    builder_reset(&question);
    return status == 0;
}

static void on_walked(struct roll_walk *walk, bool cancelled)
{
    struct roll_call *call = container_of(walk, struct roll_call, walk);
    if (cancelled) {
        free_call(call);
        return;
    }
    bool alone = call->shard->shard->bus == NULL;
    bool ended = walk->question.kind == ROLL_END && walk->roll.count > 0;
    call->complete = alone || ended || call->shard->polls != NULL;
    if (alone || ended || call->shard->polls == NULL) {
        finish(call);
    } else if (!ask_nodes(call)) {
        call->complete = false;
        finish(call);
    }
}

/* This node, asked by another one. */

struct here_call {
    struct api_call api; /* first */
    struct roll_walk walk;
};

static void on_walked_here(struct roll_walk *walk, bool cancelled)
{
    struct here_call *call = container_of(walk, struct here_call, walk);
    if (!cancelled && call->api.request != NULL) {
        struct builder out = {0};
        roll_write(&walk->roll, &out);
        api_answer(call->api.request, 200, NO_STORE, &out);
    }
    roll_finish(&walk->roll);
    mem_free(call);
}

static void on_asked(struct http_request *request, void *context)
{
    (void)context;
    struct shard *shard = api_shard(request)->shard;
    struct here_call *call = mem_try_calloc(1, sizeof(*call));
    if (call == NULL) {
        api_refuse_memory(request);
        return;
    }
    if (!roll_question_read(request->body, shard->config->epoch, &call->walk.question)) {
        mem_free(call);
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "No question of a node with this store"});
        return;
    }
    api_call_hold(&call->api, request);
    roll_walk_begin(&call->walk, shard, on_walked_here);
}

const struct http_route api_roll_route = {
    .method = "POST", .path = PATH, .handler = on_asked, .max_body = QUESTION_MAX};

/* Parameters. */

/* A text parameter; `check` (NULL: any text). False: the request was answered. */
static bool read_text(struct http_request *request, const char *name,
    int (*check)(struct bytes text), char *at, size_t size, struct bytes *ret_text)
{
    struct bytes text;
    int status = query_get(request->query, name, at, size, &text);
    if (status == STATUS_NOT_FOUND) {
        *ret_text = bytes_of(at, 0);
        return true;
    }
    if (status != 0 || (check != NULL && check(text) != 0)) {
        api_refuse_field(request, name, "Not a name of one, or too long");
        return false;
    }
    *ret_text = text;
    return true;
}

static bool read_limit(struct http_request *request, uint32_t *ret_limit)
{
    char at[LIMIT_DIGITS];
    struct bytes text;
    uint64_t limit = LIMIT_DEFAULT;
    int status = query_get(request->query, "limit", at, sizeof(at), &text);
    if (status != STATUS_NOT_FOUND &&
        (status != 0 || bytes_to_u64(text, ROLL_MAX, &limit) != 0 || limit == 0)) {
        api_refuse_field(request, "limit", "limit must be 1 to 100");
        return false;
    }
    *ret_limit = (uint32_t)limit;
    return true;
}

/* What all have in common; NULL: the request was answered. */
static struct roll_call *begin(struct http_request *request, unsigned scope, enum roll_kind kind)
{
    struct api_who who;
    if (!api_auth_backend(request, scope, &who)) {
        return NULL;
    }
    struct roll_call *call = mem_try_calloc(1, sizeof(*call));
    if (call == NULL) {
        api_refuse_memory(request);
        return NULL;
    }
    struct roll_question *question = &call->walk.question;
    question->kind = kind;
    question->limit = 1;
    roll_question_set(&question->tenant, question->tenant_at, who.tenant);
    call->shard = api_shard(request);
    return call;
}

static void go(struct roll_call *call, struct http_request *request)
{
    api_call_hold(&call->api, request);
    roll_walk_begin(&call->walk, call->shard->shard, on_walked);
}

/* Requests. */

void api_roll_rooms(struct http_request *request, void *context)
{
    (void)context;
    struct roll_call *call = begin(request, APIKEY_READ, ROLL_ROOMS);
    if (call == NULL) {
        return;
    }
    struct roll_question *question = &call->walk.question;
    if (read_limit(request, &question->limit) &&
        read_text(request, "after", names_check_room, question->after_at, NAMES_ROOM_MAX,
            &question->after) &&
        read_text(request, "prefix", names_check_room, question->prefix_at, NAMES_ROOM_MAX,
            &question->prefix)) {
        go(call, request);
    } else {
        free_call(call);
    }
}

void api_roll_connections(struct http_request *request, void *context)
{
    (void)context;
    struct roll_call *call = begin(request, APIKEY_READ, ROLL_CONNECTIONS);
    if (call == NULL) {
        return;
    }
    struct roll_question *question = &call->walk.question;
    if (read_limit(request, &question->limit) &&
        read_text(request, "after", NULL, question->after_at, NAMES_ROOM_MAX, &question->after) &&
        read_text(request, "user", names_check_user, question->user_at, NAMES_USER_MAX,
            &question->user) &&
        read_text(request, "room", names_check_room, question->room_at, NAMES_ROOM_MAX,
            &question->room) &&
        read_text(request, "node", NULL, question->node_at, NAMES_USER_MAX, &question->node)) {
        go(call, request);
    } else {
        free_call(call);
    }
}

void api_roll_end(struct http_request *request, void *context)
{
    (void)context;
    struct bytes sid;
    unsigned shard;
    struct roll_call *call = begin(request, APIKEY_ADMIN, ROLL_END);
    if (call == NULL) {
        return;
    }
    struct roll_question *question = &call->walk.question;
    if (!api_fields_check_none(request)) {
        free_call(call);
    } else if (http_param(request, 0, question->prefix_at, NAMES_ROOM_MAX, &sid) != 0 ||
               !wire_sid_shard(sid, &shard)) {
        api_refuse_field(request, "sid", "The sid of a connection, as lists have it");
        free_call(call);
    } else {
        question->prefix = sid;
        go(call, request);
    }
}
