/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives the bytes of each side to the other, and holds one back while the other is full.
 */
#include "hub/net/splice.h"

#include <stdbool.h>

#include "actors/core/timer.h"
#include "actors/deliver/outbox.h"
#include "actors/shard.h"
#include "codec/base/mem.h"
#include "hub/net/connection.h"
#include "hub/net/loop.h"

/* Never reached while reading stops where it should: a mistake costs the connection, not memory. */
enum { OUTBOX_MAX = 1 << 20 };

struct splice;

struct side {
    struct splice *splice;
    struct connection *connection; /* NULL: closed */
    struct side *other;
    bool held; /* not read, because the other takes no more */
};

struct splice {
    struct side client;
    struct side node;
    struct timer trust;
    struct splice_options options;
};

static struct shard *shard_of_side(const struct side *side)
{
    return loop_shard(connection_loop(side->connection));
}

/* Whether it could be appended. */
static bool give(const struct side *to, struct bytes bytes)
{
    struct builder copy = {0};
    builder_add(&copy, bytes);
    return connection_send(to->connection, &copy);
}

/* The other takes no more: read on when it does. */
static void hold(struct side *from)
{
    from->held = true;
    connection_pause(from->connection);
    connection_expire(from->other->connection, CLOSE_SLOW, from->splice->options.slow_consumer_ms);
}

static size_t on_bytes(struct connection *connection, struct bytes bytes)
{
    struct side *from = connection_owner(connection);
    struct side *to = from->other;
    if (to->connection == NULL) {
        return bytes.len;
    }
    if (!give(to, bytes)) {
        connection_close(connection, CLOSE_SLOW, false);
    } else if (connection_outbox(to->connection)->busy && !from->held) {
        hold(from);
    }
    return bytes.len;
}

static void on_drained(struct connection *connection)
{
    struct side *to = connection_owner(connection);
    struct side *from = to->other;
    if (from->held) {
        from->held = false;
        connection_expire(connection, CLOSE_SLOW, 0);
        if (from->connection != NULL) {
            connection_resume(from->connection);
        }
    }
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
    struct side *side = connection_owner(connection);
    struct splice *splice = side->splice;
    struct connection *other = side->other->connection;
    if (side == &splice->client) {
        timer_cancel(sched_timers(shard_of_side(side)->sched), &splice->trust);
    }
    side->connection = NULL;
    if (other != NULL) {
        connection_close(other, reason, true);
        return;
    }
    if (splice->options.ended != NULL) {
        splice->options.ended(splice->options.context);
    }
    mem_free(splice);
}

static const struct connection_ops splice_ops = {
    .on_bytes = on_bytes,
    .on_closed = on_closed,
    .on_drained = on_drained,
};

static void on_trust(struct timer *timer)
{
    const struct splice *splice = container_of(timer, struct splice, trust);
    connection_authenticated(splice->client.connection);
}

static void own(struct splice *splice, struct side *side, struct connection *connection)
{
    side->splice = splice;
    side->connection = connection;
    static const struct outbox_limits limits = {.high = OUTBOX_MAX, .max = OUTBOX_MAX};
    side->other = side == &splice->client ? &splice->node : &splice->client;
    connection_outbox(connection)->limits = limits;
    connection_own(connection, &splice_ops, side);
}

void splice_begin(
    struct connection *client, struct connection *node, const struct splice_options *options)
{
    struct splice *splice = mem_alloc(sizeof(*splice));
    splice->options = *options;
    own(splice, &splice->client, client);
    own(splice, &splice->node, node);
    struct sched *sched = shard_of_side(&splice->client)->sched;
    timer_init(&splice->trust, on_trust);
    timer_set(sched_timers(sched), &splice->trust, sched_now(sched) + options->trust_ms);
}
