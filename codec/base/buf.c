/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counted bytes, and a builder that grows by doubling; both have one function in which memory may
 * fail and one in which it may not.
 */
#include "codec/base/buf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { DEFAULT_MAX = 64 << 20, FIRST_CAP = 256 };

static struct buf *fill(struct buf *buf, struct bytes content)
{
    atomic_init(&buf->refs, 1);
    buf->len = (uint32_t)content.len;
    if (content.len > 0) {
        memcpy(buf->at, content.at, content.len);
    }
    return buf;
}

struct buf *buf_new(struct bytes content)
{
    CHECK(content.len <= UINT32_MAX);
    struct buf *buf = mem_try_alloc(sizeof(*buf) + content.len);
    return buf != NULL ? fill(buf, content) : NULL;
}

struct buf *buf_new_name(struct bytes name)
{
    CHECK(name.len <= UINT32_MAX);
    return fill(mem_alloc(sizeof(struct buf) + name.len), name);
}

struct buf *buf_ref(struct buf *buf)
{
    /* Relaxed: the caller already holds a reference, so nothing needs to be ordered before. */
    atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
    return buf;
}

void buf_unref(struct buf *buf)
{
    if (buf == NULL) {
        return;
    }
    /* Release pairs with the acquire below: every holder's reads happen before the free. */
    if (atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(buf);
    }
}

void builder_reset(struct builder *builder)
{
    mem_free(builder->at);
    *builder = (struct builder){.max = builder->max};
}

void builder_clear(struct builder *builder)
{
    builder->len = 0;
    builder->failed = false;
    builder->starved = false;
}

bool builder_failed(const struct builder *builder)
{
    return builder->failed;
}

int builder_status(const struct builder *builder)
{
    return !builder->failed ? 0 : builder->starved ? STATUS_NOMEM : STATUS_TOO_LARGE;
}

struct bytes builder_bytes(const struct builder *builder)
{
    return bytes_of(builder->at, builder->len);
}

static bool grow(struct builder *builder, size_t need)
{
    size_t max = builder->max ? builder->max : (size_t)DEFAULT_MAX;
    if (builder->failed || need > max) {
        builder->failed = true;
        return false;
    }
    size_t cap = builder->cap ? builder->cap : FIRST_CAP;
    while (cap < need) {
        cap *= 2;
    }
    char *moved = cap <= BUILDER_SMALL ? mem_realloc_array(builder->at, cap, 1)
                                       : mem_try_realloc(builder->at, cap);
    if (moved == NULL) {
        builder->failed = true;
        builder->starved = true;
        return false;
    }
    builder->at = moved;
    builder->cap = cap;
    return true;
}

char *builder_reserve(struct builder *builder, size_t len)
{
    size_t need;
    if (__builtin_add_overflow(builder->len, len, &need)) {
        builder->failed = true;
        return NULL;
    }
    size_t max = builder->max ? builder->max : (size_t)DEFAULT_MAX;
    if (builder->failed || ((need > builder->cap || need > max) && !grow(builder, need))) {
        return NULL;
    }
    return builder->at + builder->len;
}

void builder_commit(struct builder *builder, size_t len)
{
    CHECK(builder->len + len <= builder->cap);
    builder->len += len;
}

void builder_truncate(struct builder *builder, size_t len)
{
    CHECK(len <= builder->len);
    builder->len = len;
}

void builder_rewind(struct builder *builder, size_t len)
{
    builder_truncate(builder, len);
    builder->failed = false;
    builder->starved = false;
}

void builder_add(struct builder *builder, struct bytes content)
{
    if (content.len == 0) {
        return;
    }
    char *at = builder_reserve(builder, content.len);
    if (at != NULL) {
        memcpy(at, content.at, content.len);
        builder->len += content.len;
    }
}

void builder_str(struct builder *builder, const char *str)
{
    builder_add(builder, bytes_str(str));
}

void builder_byte(struct builder *builder, char byte)
{
    char *at = builder_reserve(builder, 1);
    if (at != NULL) {
        *at = byte;
        builder->len++;
    }
}

void builder_u64(struct builder *builder, uint64_t value)
{
    char digits[20];
    size_t n = sizeof(digits);
    do {
        digits[--n] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    builder_add(builder, bytes_of(digits + n, sizeof(digits) - n));
}

void builder_i64(struct builder *builder, int64_t value)
{
    if (value < 0) {
        builder_byte(builder, '-');
        builder_u64(builder, -(uint64_t)value);
        return;
    }
    builder_u64(builder, (uint64_t)value);
}

void builder_printf(struct builder *builder, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(len >= 0);
    char *at = builder_reserve(builder, (size_t)len + 1);
    if (at == NULL) {
        return;
    }
    va_start(args, format);
    vsnprintf(at, (size_t)len + 1, format, args);
    va_end(args);
    builder->len += (size_t)len;
}

char *builder_take(struct builder *builder, size_t *ret_len)
{
    if (builder->failed || builder->len == 0) {
        builder_reset(builder);
        *ret_len = 0;
        return NULL;
    }
    char *at = builder->at;
    *ret_len = builder->len;
    *builder = (struct builder){.max = builder->max};
    return at;
}

struct buf *builder_finish(struct builder *builder)
{
    struct bytes content = builder_bytes(builder);
    struct buf *buf = NULL;
    if (!builder->failed) {
        buf = content.len <= BUILDER_SMALL ? buf_new_name(content) : buf_new(content);
    }
    builder_reset(builder);
    return buf;
}
