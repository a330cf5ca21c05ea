/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/deliver/shed.h"

#include "actors/deliver/socket.h"
#include "actors/shard.h"

/* The sockets with the most waiting, most first. */
struct largest {
    struct socket *at[SHED_MOST];
    unsigned count;
};

static bool is_candidate(const struct socket *socket, const struct largest *largest)
{
    if (socket->closing || socket->outbox == NULL || socket->outbox->bytes < SHED_LEAST_BYTES) {
        return false;
    }
    for (unsigned i = 0; i < largest->count; i++) {
        if (largest->at[i]->outbox == socket->outbox) {
            return false; /* another namespace of the same session */
        }
    }
    return largest->count < SHED_MOST ||
           largest->at[SHED_MOST - 1]->outbox->bytes < socket->outbox->bytes;
}

static void add(struct largest *largest, struct socket *socket)
{
    unsigned place = largest->count < SHED_MOST ? largest->count++ : SHED_MOST - 1;
    for (; place > 0 && largest->at[place - 1]->outbox->bytes < socket->outbox->bytes; place--) {
        largest->at[place] = largest->at[place - 1];
    }
    largest->at[place] = socket;
}

unsigned shed_outboxes(struct shard *shard, uint64_t bytes)
{
    struct largest largest = {.count = 0};
    size_t cursor = 0;
    for (struct socket *socket; (socket = map_next(&shard->sockets, &cursor)) != NULL;) {
        if (is_candidate(socket, &largest)) {
            add(&largest, socket);
        }
    }
    unsigned ended = 0;
    for (uint64_t sum = 0; ended < largest.count && sum < bytes; ended++) {
        struct socket *socket = largest.at[ended];
        sum += socket->outbox->bytes;
        socket->ops->end(socket, CLOSE_SLOW);
    }
    return ended;
}
