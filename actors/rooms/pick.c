/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets are picked in one walk without allocation per socket; a mark on each keeps one that
 * several names mean from being picked twice.
 */
#include "actors/rooms/pick.h"

#include "actors/deliver/leaf.h"
#include "codec/base/mem.h"

static void pick_one(struct fanout *fanout, struct socket *socket, void *context)
{
    struct pick *pick = context;
    (void)fanout;
    if (!socket->picked && !socket->closing && socket->user != NULL) {
        socket->picked = true;
        pick->sockets[pick->count++] = socket;
    }
}

static void unpick_one(struct fanout *fanout, struct socket *socket, void *context)
{
    (void)fanout;
    (void)context;
    socket->picked = false;
}

static void visit_leaf(
    struct fanout *fanout, const struct leaf *leaf, fanout_visit_fn visit, void *context)
{
    for (uint32_t i = 0; leaf != NULL && i < leaf->count; i++) {
        visit(fanout, leaf->members[i], context);
    }
}

static void visit_names(
    struct fanout *fanout, struct adapter_names names, fanout_visit_fn visit, void *context)
{
    struct bytes name;
    while (adapter_names_next(&names, &name)) {
        fanout_visit_name(fanout, name, visit, context);
        visit_leaf(fanout, map_get(&fanout->leaves.map, name), visit, context);
    }
}

/* Keep those that were not taken out again; their marks go. */
static void drop_taken_out(struct pick *pick)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < pick->count; i++) {
        struct socket *socket = pick->sockets[i];
        if (socket->picked) {
            socket->picked = false;
            pick->sockets[kept++] = socket;
        }
    }
    pick->count = kept;
}

struct pick pick_sockets(struct fanout *fanout, const struct adapter_request *request)
{
    struct pick pick = {
        .sockets = mem_try_calloc(fanout->leaves.everyone->count + 1u, sizeof(struct socket *))};
    if (pick.sockets == NULL) {
        return pick;
    }
    if (request->sid.len > 0) {
        struct socket *socket = map_get(&fanout->shard->sockets, request->sid);
        if (socket != NULL && socket->fanout == fanout) {
            pick_one(fanout, socket, &pick);
        }
    } else if (request->options.rooms.count == 0) {
        visit_leaf(fanout, fanout->leaves.everyone, pick_one, &pick);
    } else {
        visit_names(fanout, request->options.rooms, pick_one, &pick);
    }
    visit_names(fanout, request->options.except, unpick_one, NULL);
    drop_taken_out(&pick);
    return pick;
}

void pick_visit(struct fanout *fanout, const struct adapter_request *request, fanout_visit_fn visit,
    void *context)
{
    struct pick pick = pick_sockets(fanout, request);
    for (uint32_t i = 0; i < pick.count; i++) {
        visit(fanout, pick.sockets[i], context);
    }
    mem_free(pick.sockets);
}
