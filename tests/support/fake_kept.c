/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of fields, in the order in which they came; a scan goes on behind the one it ended with,
 * so that what is there all the time is found whatever comes and goes.
 */
#include "tests/support/fake_kept.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "codec/base/mem.h"
#include "tests/support/fake_data.h"

enum { PAGE = 3, FIRST_FIELD = 14, REMOVED = 11, VALUE = 12, LEFT = 13 };

struct fake_kept_item {
    struct bytes field; /* owned */
    struct bytes value; /* owned */
    uint64_t serial;
};

static void drop(struct fake_kept *kept, size_t i)
{
    mem_free((void *)(uintptr_t)kept->items[i].field.at);
    mem_free((void *)(uintptr_t)kept->items[i].value.at);
    kept->count--;
    memmove(kept->items + i, kept->items + i + 1, (kept->count - i) * sizeof(*kept->items));
}

void fake_kept_lose(struct fake_kept *kept)
{
    while (kept->count > 0) {
        drop(kept, kept->count - 1);
    }
    mem_free(kept->items);
    kept->items = NULL;
}

static void expire(struct fake_kept *kept, uint64_t now_ms)
{
    if (kept->gone_ms <= now_ms) {
        fake_kept_lose(kept);
        kept->gone_ms = 0;
    }
}

static size_t find(const struct fake_kept *kept, struct bytes field)
{
    size_t i = 0;
    while (i < kept->count && !bytes_eq(kept->items[i].field, field)) {
        i++;
    }
    return i;
}

bool fake_kept_adds(const struct bytes *argv, size_t argc)
{
    return argc > FIRST_FIELD && bytes_eq_str(argv[0], "EVAL") && bytes_eq_str(argv[2], "2");
}

bool fake_kept_takes(const struct bytes *argv, size_t argc)
{
    static const char name[] = ":retained:";
    size_t at = bytes_eq_str(argv[0], "EVAL") ? 3 : 1;
    at += fake_kept_adds(argv, argc);
    for (size_t i = 0; at < argc && i + sizeof(name) - 1 <= argv[at].len; i++) {
        if (memcmp(argv[at].at + i, name, sizeof(name) - 1) == 0) {
            return true;
        }
    }
    return false;
}

void fake_kept_put(
    struct fake_kept *kept, const struct bytes *argv, size_t argc, struct bytes id, uint64_t now_ms)
{
    uint64_t left;
    bool removed = bytes_eq_str(argv[REMOVED], "1");
    CHECK(bytes_to_u64(argv[LEFT], UINT64_MAX, &left) == 0);
    expire(kept, now_ms);
    for (size_t i = FIRST_FIELD; i < argc; i++) {
        size_t at = find(kept, argv[i]);
        if (removed) {
            if (at < kept->count) {
                drop(kept, at);
            }
            continue;
        }
        char *value = mem_alloc(id.len + 1 + argv[VALUE].len); /* which no test lets fail */
        memcpy(value, id.at, id.len);
        value[id.len] = ' ';
        memcpy(value + id.len + 1, argv[VALUE].at, argv[VALUE].len);
        if (at == kept->count) {
            kept->items = mem_realloc_array(kept->items, kept->count + 1, sizeof(*kept->items));
            kept->items[kept->count++] =
                (struct fake_kept_item){.field = fake_keep(argv[i]), .serial = ++kept->serial};
        } else {
            mem_free((void *)(uintptr_t)kept->items[at].value.at);
        }
        kept->items[at].value = bytes_of(value, id.len + 1 + argv[VALUE].len);
    }
    if (!removed && kept->gone_ms < now_ms + left) {
        kept->gone_ms = now_ms + left;
    }
}

/* HSCAN key cursor COUNT n: a page of a few. */
static struct bus_reply *do_scan(const struct fake_kept *kept, struct bytes cursor)
{
    char text[24] = "0";
    uint64_t behind;
    size_t found = 0;
    CHECK(bytes_to_u64(cursor, UINT64_MAX, &behind) == 0);
    struct bus_reply *items = fake_reply_array(2 * (size_t)PAGE);
    items->count = 0;
    for (size_t i = 0; i < kept->count; i++) {
        if (kept->items[i].serial <= behind) {
            continue;
        }
        if (found++ == PAGE) {
            break;
        }
        items->items[items->count++] = fake_reply_text(BUS_STRING, kept->items[i].field);
        items->items[items->count++] = fake_reply_text(BUS_STRING, kept->items[i].value);
        snprintf(text, sizeof(text), "%" PRIu64, kept->items[i].serial);
    }
    struct bus_reply *reply = fake_reply_array(2);
    reply->items[0] = fake_reply_text(BUS_STRING, found > PAGE ? bytes_str(text) : BYTES("0"));
    reply->items[1] = items;
    return reply;
}

struct bus_reply *fake_kept_carry_out(
    struct fake_kept *kept, const struct bytes *argv, size_t argc, uint64_t now_ms)
{
    expire(kept, now_ms);
    if (bytes_eq_str(argv[0], "HSCAN")) {
        return do_scan(kept, argv[2]);
    }
    CHECK(bytes_eq_str(argv[0], "EVAL") && argc == 6);
    size_t at = find(kept, argv[4]);
    bool same = at < kept->count && bytes_starts(kept->items[at].value, argv[5]);
    if (same) {
        drop(kept, at);
    }
    return fake_reply_integer(same);
}
