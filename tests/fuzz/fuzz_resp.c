/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Redis says: replies, and among them announcements, which are MessagePack in a string. The
 * outcome does not depend on how the bytes were cut, and no slice leaves its reply.
 */
#include "actors/bus.h"
#include "codec/announce.h"
#include "hub/redis/redis_reader.h"
#include "tests/fuzz/fuzz.h"

enum { REPLY_MAX = 2048, DEPTH_MAX = 8 };

static void read_announcement(struct bytes payload)
{
    struct announce announce;
    struct notification_change change;
    struct bytes epoch;
    uint64_t version;
    uint32_t count = 0;
    if (announce_origin(payload, &version, &epoch) != 0) {
        CHECK(announce_decode(payload, &announce) != 0);
        return;
    }
    CHECK(fuzz_within(epoch, payload));
    if (announce_decode(payload, &announce) != 0) {
        return;
    }
    CHECK(announce.version == version && bytes_eq(announce.epoch, epoch));
    CHECK(fuzz_within(announce.tenant, payload) && fuzz_within(announce.user, payload));
    CHECK(announce.change_count <= ANNOUNCE_CHANGES_MAX);
    while (announce_next_change(&announce, &change)) {
        count++;
    }
    CHECK(count <= ANNOUNCE_CHANGES_MAX);
}

/* A number that tells one tree of replies from another. */
static uint64_t sum_up(const struct bus_reply *reply, unsigned depth)
{
    uint64_t sum = (uint64_t)reply->type * 31 + (uint64_t)reply->integer;
    CHECK(depth <= DEPTH_MAX);
    for (size_t i = 0; i < reply->text.len; i++) {
        sum = sum * 131 + (uint8_t)reply->text.at[i];
    }
    for (size_t i = 0; i < reply->count; i++) {
        sum = sum * 31 + sum_up(reply->items[i], depth + 1);
    }
    if (reply->type == BUS_STRING) {
        read_announcement(reply->text);
    }
    return sum;
}

static uint64_t read_all(struct bytes input, size_t step)
{
    struct redis_reader *reader = redis_reader_create(REPLY_MAX);
    const struct bus_reply *reply;
    uint64_t sum = 0;
    int status = 0;
    while (input.len > 0 && status >= 0) {
        size_t len = step < input.len ? step : input.len;
        status = redis_reader_feed(reader, bytes_of(input.at, len));
        input = bytes_skip(input, len);
        while (status >= 0 && (status = redis_reader_next(reader, &reply)) == 1) {
            sum = sum * 31 + sum_up(reply, 0);
        }
    }
    redis_reader_destroy(reader);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    uint64_t whole = read_all(input, size + 1);
    CHECK(read_all(input, 1) == whole);
    CHECK(read_all(input, 7) == whole);
    read_announcement(input);
    return 0;
}
