/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gathers what the links of a bus have to send or to answer, and does it when the turn is over.
 */
#include "hub/redis/redis_work.h"

#include "codec/base/status.h"
#include "hub/redis/redis_link_state.h"

void redis_work_answer(struct bus_link *link, struct redis_fifo *fifo, size_t most, int status)
{
    struct redis_request request;
    while (most-- > 0 && redis_fifo_pop(fifo, &request)) {
        if (request.fn != NULL) {
            request.fn(request.context, status, NULL);
        }
        if (link->state == LINK_CLOSED && status != STATUS_CANCELLED) {
            return; /* closed in the callback, which answered the rest */
        }
    }
}

static void work(struct bus_link *link)
{
    /* Those that are refused meanwhile wait. */
    redis_work_answer(link, &link->refused, redis_fifo_count(&link->refused), STATUS_UNAVAILABLE);
    if (link->conn != NULL) {
        redis_conn_flush(link->conn);
    }
}

/* An idle handle rather than a prepare one: while it is active, the loop does not block. */
static void on_idle(uv_idle_t *idle)
{
    struct redis_bus *bus = idle->data;
    uv_idle_stop(idle);
    struct list now;
    list_init(&now);
    list_splice(&now, &bus->work);
    for (struct list *each = list_pop(&now); each != NULL; each = list_pop(&now)) {
        work(container_of(each, struct bus_link, work));
    }
}

void redis_work_mark(struct bus_link *link)
{
    if (list_empty(&link->work)) {
        list_append(&link->bus->work, &link->work);
        uv_idle_start(&link->bus->idle, on_idle); /* nothing when it is active */
    }
}
