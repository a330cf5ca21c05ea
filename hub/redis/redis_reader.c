/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives hiredis functions that build replies in an arena, and checks the bounds before each of its
 * steps.
 */
#include "hub/redis/redis_reader.h"

#include <hiredis/read.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { BLOCK_MIN = 16 * 1024, LINE_MAX = 64 * 1024 };

struct block {
    struct block *next;
    size_t size;
    size_t used;
    _Alignas(16) char at[];
};

struct redis_reader {
    redisReader *hiredis;
    size_t reply_max;
    struct block *blocks; /* newest first; the oldest has BLOCK_MIN bytes and is kept */
    size_t tree_bytes; /* of the reply being built */
    size_t tree_max;
    bool over_limit;
    bool delivered; /* the arena holds a reply that was handed out */
    int failed; /* status of the first failure */
};

/* --- arena ------------------------------------------------------------------------------- */

static struct block *make_block(size_t size, struct block *next)
{
    struct block *block = mem_try_alloc(sizeof(*block) + size);
    if (block != NULL) {
        block->next = next;
        block->size = size;
        block->used = 0;
    }
    return block;
}

static void *arena_alloc(struct redis_reader *reader, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > reader->tree_max - reader->tree_bytes) {
        reader->over_limit = true;
        return NULL;
    }
    if (reader->blocks == NULL || reader->blocks->size - reader->blocks->used < size) {
        struct block *block = make_block(size > BLOCK_MIN ? size : BLOCK_MIN, reader->blocks);
        if (block == NULL) {
            return NULL;
        }
        reader->blocks = block;
    }
    void *at = reader->blocks->at + reader->blocks->used;
    reader->blocks->used += size;
    reader->tree_bytes += size;
    return at;
}

static void arena_clear(struct redis_reader *reader)
{
    while (reader->blocks != NULL && reader->blocks->next != NULL) {
        struct block *next = reader->blocks->next;
        mem_free(reader->blocks);
        reader->blocks = next;
    }
    if (reader->blocks != NULL && reader->blocks->size > BLOCK_MIN) {
        mem_free(reader->blocks);
        reader->blocks = NULL;
    }
    if (reader->blocks != NULL) {
        reader->blocks->used = 0;
    }
    reader->tree_bytes = 0;
}

/* --- what hiredis calls to build a reply --------------------------------------------------- */

static struct bus_reply *make_reply(const redisReadTask *task, enum bus_reply_type type)
{
    struct redis_reader *reader = task->privdata;
    struct bus_reply *reply = arena_alloc(reader, sizeof(*reply));
    if (reply == NULL) {
        return NULL;
    }
    *reply = (struct bus_reply){.type = type};
    if (task->parent != NULL) {
        struct bus_reply *parent = task->parent->obj;
        parent->items[task->idx] = reply;
    }
    return reply;
}

static void *make_string(const redisReadTask *task, char *text, size_t len)
{
    enum bus_reply_type type = task->type == REDIS_REPLY_ERROR    ? BUS_ERROR
                               : task->type == REDIS_REPLY_STATUS ? BUS_STATUS
                                                                  : BUS_STRING;
    struct bus_reply *reply = make_reply(task, type);
    char *copy = reply != NULL ? arena_alloc(task->privdata, len + 1) : NULL;
    if (copy == NULL) {
        return NULL;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    reply->text = bytes_of(copy, len);
    return reply;
}

static void *make_array(const redisReadTask *task, int elements)
{
    struct bus_reply *reply = make_reply(task, BUS_ARRAY);
    if (reply == NULL || elements <= 0) {
        return reply;
    }
    size_t count = (size_t)elements;
    struct redis_reader *reader = task->privdata;
    if (count > reader->tree_max / sizeof(struct bus_reply *)) {
        reader->over_limit = true;
        return NULL;
    }
    reply->items = arena_alloc(reader, count * sizeof(struct bus_reply *));
    if (reply->items == NULL) {
        return NULL;
    }
    memset(reply->items, 0, count * sizeof(struct bus_reply *));
    reply->count = count;
    return reply;
}

static void *make_integer(const redisReadTask *task, long long value)
{
    struct bus_reply *reply = make_reply(task, BUS_INTEGER);
    if (reply != NULL) {
        reply->integer = value;
    }
    return reply;
}

static void *make_nil(const redisReadTask *task)
{
    return make_reply(task, BUS_NIL);
}

static void free_nothing(void *object)
{
    (void)object; /* the arena is cleared as a whole */
}

static redisReplyObjectFunctions functions = {
    .createString = make_string,
    .createArray = make_array,
    .createInteger = make_integer,
    .createNil = make_nil,
    .freeObject = free_nothing,
};

/* --- public -------------------------------------------------------------------------------- */

struct redis_reader *redis_reader_create(size_t reply_max)
{
    struct redis_reader *reader = mem_alloc(sizeof(*reader));
    reader->reply_max = reply_max;
    reader->tree_max = reply_max + reply_max / 2 + BLOCK_MIN;
    reader->hiredis = redisReaderCreateWithFunctions(&functions);
    CHECK(reader->hiredis != NULL);
    reader->hiredis->privdata = reader;
    return reader;
}

void redis_reader_destroy(struct redis_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    redisReaderFree(reader->hiredis);
    arena_clear(reader);
    mem_free(reader->blocks);
    mem_free(reader);
}

int redis_reader_feed(struct redis_reader *reader, struct bytes content)
{
    if (reader->failed != 0 || content.len == 0) {
        return reader->failed;
    }
    if (redisReaderFeed(reader->hiredis, content.at, content.len) != REDIS_OK) {
        reader->failed = STATUS_NOMEM;
    }
    return reader->failed;
}

/*
 * Whether what is buffered can still become a reply: hiredis itself would wait for ever. It is
 * either within a line, or behind the `$` of a bulk string whose length is known and whose content
 * is incomplete.
 */
static int check_buffered(const struct redis_reader *reader)
{
    const redisReader *hiredis = reader->hiredis;
    struct bytes rest = bytes_of(hiredis->buf + hiredis->pos, hiredis->len - hiredis->pos);
    size_t look = rest.len < LINE_MAX ? rest.len : LINE_MAX;
    const char *end = look > 0 ? memchr(rest.at, '\n', look) : NULL;
    if (end == NULL) {
        return rest.len < LINE_MAX ? 0 : STATUS_PROTO;
    }
    uint64_t announced = 0;
    bool bulk = hiredis->ridx >= 0 && end > rest.at &&
                hiredis->rstack[hiredis->ridx].type == REDIS_REPLY_STRING;
    if (bulk && bytes_to_u64(bytes_of(rest.at, (size_t)(end - rest.at - 1)), reader->reply_max,
                    &announced) == STATUS_TOO_LARGE) {
        return STATUS_TOO_LARGE;
    }
    return rest.len > reader->reply_max + LINE_MAX ? STATUS_TOO_LARGE : 0;
}

int redis_reader_next(struct redis_reader *reader, const struct bus_reply **ret_reply)
{
    if (reader->failed != 0) {
        return reader->failed;
    }
    if (reader->delivered) {
        arena_clear(reader);
        reader->delivered = false;
    }
    void *reply = NULL;
    if (redisReaderGetReply(reader->hiredis, &reply) != REDIS_OK) {
        bool memory = reader->hiredis->err == REDIS_ERR_OOM;
        reader->failed = reader->over_limit ? STATUS_TOO_LARGE
                         : memory           ? STATUS_NOMEM
                                            : STATUS_PROTO;
        return reader->failed;
    }
    if (reply == NULL) {
        reader->failed = check_buffered(reader);
        return reader->failed;
    }
    reader->delivered = true;
    *ret_reply = reply;
    return 1;
}
