/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/redis/redis_fifo.h"

#include <string.h>

#include "codec/base/mem.h"

enum { CAP_FIRST = 16, CAP_KEPT = 1024 };

static void resize(struct redis_fifo *fifo, size_t cap)
{
    struct redis_request *items = mem_alloc_array(cap, sizeof(*items));
    for (size_t i = 0; i < fifo->count; i++) {
        items[i] = fifo->items[(fifo->first + i) % fifo->cap];
    }
    mem_free(fifo->items);
    fifo->items = items;
    fifo->first = 0;
    fifo->cap = cap;
}

void redis_fifo_push(struct redis_fifo *fifo, struct redis_request request)
{
    if (fifo->count == fifo->cap) {
        resize(fifo, fifo->cap == 0 ? CAP_FIRST : fifo->cap * 2);
    }
    fifo->items[(fifo->first + fifo->count) % fifo->cap] = request;
    fifo->count++;
}

const struct redis_request *redis_fifo_first(const struct redis_fifo *fifo)
{
    return fifo->count > 0 ? &fifo->items[fifo->first] : NULL;
}

const struct redis_request *redis_fifo_last(const struct redis_fifo *fifo)
{
    return fifo->count > 0 ? &fifo->items[(fifo->first + fifo->count - 1) % fifo->cap] : NULL;
}

bool redis_fifo_pop(struct redis_fifo *fifo, struct redis_request *ret_request)
{
    if (fifo->count == 0) {
        return false;
    }
    *ret_request = fifo->items[fifo->first];
    fifo->first = (fifo->first + 1) % fifo->cap;
    fifo->count--;
    if (fifo->count == 0 && fifo->cap > CAP_KEPT) {
        redis_fifo_finish(fifo);
    }
    return true;
}

size_t redis_fifo_count(const struct redis_fifo *fifo)
{
    return fifo->count;
}

void redis_fifo_finish(struct redis_fifo *fifo)
{
    mem_free(fifo->items);
    *fifo = (struct redis_fifo){0};
}
