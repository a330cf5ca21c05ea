/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages in a list, filled at one end and emptied at the other.
 */
#include "hub/redis/redis_fifo.h"

#include "codec/base/mem.h"

enum { PAGE = 100 };

struct redis_page {
    struct redis_page *next;
    struct redis_request items[PAGE];
};

void redis_fifo_push(struct redis_fifo *fifo, struct redis_request request)
{
    size_t end = fifo->begin + fifo->count;
    if (fifo->last == NULL || (end > 0 && end % PAGE == 0)) {
        struct redis_page *page = mem_alloc(sizeof(*page));
        if (fifo->last != NULL) {
            fifo->last->next = page;
        } else {
            fifo->first = page;
        }
        fifo->last = page;
    }
    fifo->last->items[end % PAGE] = request;
    fifo->count++;
}

const struct redis_request *redis_fifo_first(const struct redis_fifo *fifo)
{
    return fifo->count > 0 ? &fifo->first->items[fifo->begin] : NULL;
}

const struct redis_request *redis_fifo_last(const struct redis_fifo *fifo)
{
    return fifo->count > 0 ? &fifo->last->items[(fifo->begin + fifo->count - 1) % PAGE] : NULL;
}

static void drop_first_page(struct redis_fifo *fifo)
{
    struct redis_page *page = fifo->first;
    fifo->first = page->next;
    fifo->begin = 0;
    mem_free(page);
}

bool redis_fifo_pop(struct redis_fifo *fifo, struct redis_request *ret_request)
{
    if (fifo->count == 0) {
        return false;
    }
    *ret_request = fifo->first->items[fifo->begin++];
    fifo->count--;
    if (fifo->count == 0 && fifo->begin < PAGE) {
        fifo->begin = 0; /* the page is kept: most queues are short */
    } else if (fifo->begin == PAGE) {
        drop_first_page(fifo);
    }
    if (fifo->first == NULL) {
        fifo->last = NULL;
    }
    return true;
}

size_t redis_fifo_count(const struct redis_fifo *fifo)
{
    return fifo->count;
}

void redis_fifo_finish(struct redis_fifo *fifo)
{
    while (fifo->first != NULL) {
        drop_first_page(fifo);
    }
    *fifo = (struct redis_fifo){0};
}
