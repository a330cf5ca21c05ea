/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the largest outboxes it is offered in order, so that one walk over a shard's sockets is
 * enough.
 */
#include "actors/deliver/shed.h"

#include "actors/deliver/socket.h"
#include "actors/shard.h"

static uint32_t waiting(const struct shed *shed, unsigned place)
{
    return shed->at[place].outbox->bytes;
}

static bool is_wanted(const struct shed *shed, const struct outbox *outbox)
{
    if (outbox->bytes < SHED_LEAST_BYTES) {
        return false;
    }
    for (unsigned i = 0; i < shed->count; i++) {
        if (shed->at[i].outbox == outbox) {
            return false; /* another namespace of the same session */
        }
    }
    return shed->count < SHED_MOST || waiting(shed, SHED_MOST - 1) < outbox->bytes;
}

void shed_offer(struct shed *shed, const struct shed_candidate *candidate)
{
    if (!is_wanted(shed, candidate->outbox)) {
        return;
    }
    unsigned place = shed->count < SHED_MOST ? shed->count++ : SHED_MOST - 1;
    for (; place > 0 && waiting(shed, place - 1) < candidate->outbox->bytes; place--) {
        shed->at[place] = shed->at[place - 1];
    }
    shed->at[place] = *candidate;
}

static void end_socket(void *owner)
{
    struct socket *socket = owner;
    socket->ops->end(socket, CLOSE_SLOW);
}

void shed_offer_sockets(struct shed *shed, struct shard *shard)
{
    size_t cursor = 0;
    for (struct socket *socket; (socket = map_next(&shard->sockets, &cursor)) != NULL;) {
        if (!socket->closing && socket->outbox != NULL) {
            shed_offer(shed, &(struct shed_candidate){
                                 .outbox = socket->outbox, .owner = socket, .end = end_socket});
        }
    }
}

unsigned shed_end(const struct shed *shed, uint64_t bytes)
{
    unsigned ended = 0;
    for (uint64_t sum = 0; ended < shed->count && sum < bytes; ended++) {
        sum += outbox_share(shed->at[ended].outbox);
        shed->at[ended].end(shed->at[ended].owner);
    }
    return ended;
}
