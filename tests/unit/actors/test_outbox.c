/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outboxes and chunks: shared bytes, segments, the two marks, and the order in which outboxes
 * leave.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "actors/deliver/outbox.h"
#include "codec/base/check.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"

TestSuite(outbox, .timeout = 120);

struct peer {
    struct outbox outbox;
    size_t takes; /* bytes the next flush takes */
    unsigned flushes;
    unsigned fills;
    unsigned reliefs;
    unsigned overflows;
    struct list *append_to; /* overflowed appends `last` here */
    struct chunk *last;
};

static struct peer *peer_of(struct outbox *outbox)
{
    return container_of(outbox, struct peer, outbox);
}

static void on_flush(struct outbox *outbox)
{
    struct peer *peer = peer_of(outbox);
    peer->flushes++;
    outbox_consume(outbox, peer->takes < outbox->bytes ? peer->takes : outbox->bytes);
}

static void on_filled(struct outbox *outbox)
{
    peer_of(outbox)->fills++;
}

static void on_relieved(struct outbox *outbox)
{
    peer_of(outbox)->reliefs++;
}

static void on_overflowed(struct outbox *outbox)
{
    struct peer *peer = peer_of(outbox);
    peer->overflows++;
    if (peer->last != NULL) {
        outbox_append_last(outbox, peer->append_to, peer->last);
    }
}

static unsigned deflates;

/* A chunk of "worth it" is deflated as "p", others are not worth it. */
static struct chunk *on_deflate(struct outbox *outbox, struct chunk *chunk)
{
    if (chunk->deflated == NULL) {
        deflates++;
        struct builder text = {0};
        builder_str(&text, "p");
        bool worth = bytes_eq(bytes_of(chunk->at, chunk->len), BYTES("worth it"));
        chunk->deflated = worth ? chunk_take(&text) : chunk;
        builder_reset(&text);
    }
    return chunk->deflated;
}

static const struct outbox_ops ops = {.flush = on_flush,
    .filled = on_filled,
    .relieved = on_relieved,
    .overflowed = on_overflowed,
    .deflate = on_deflate};

static void open_outbox(struct peer *peer, uint32_t high, uint32_t max)
{
    const struct outbox_limits limits = {.high = high, .max = max};
    outbox_init(&peer->outbox, &ops, &limits);
}

static struct chunk *make_chunk(const char *text, size_t len)
{
    struct builder builder = {0};
    builder_add(&builder, bytes_of(text, len));
    struct chunk *chunk = chunk_take(&builder);
    cr_assert_not_null(chunk);
    cr_assert_eq(builder_bytes(&builder).len, 0);
    return chunk;
}

static size_t peek_text(const struct outbox *outbox, char *at, size_t max_iov, size_t max_bytes)
{
    struct iovec *iov = calloc(max_iov, sizeof(*iov));
    size_t count = outbox_peek(outbox, iov, max_iov, max_bytes);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(at + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    free(iov);
    return len;
}

Test(outbox, a_borrowed_chunk_leaves_its_bytes_alone)
{
    static const char text[] = "not on the heap";
    struct list dirty;
    struct peer peer;
    char at[64];
    list_init(&dirty);
    open_outbox(&peer, 100, 100);
    struct chunk *chunk = chunk_borrow(bytes_str(text));
    cr_assert(outbox_append(&peer.outbox, &dirty, chunk, 0, chunk->len));
    chunk_unref(chunk);
    cr_expect_eq(outbox_first(&peer.outbox).iov_base, text);
    cr_expect_eq(peek_text(&peer.outbox, at, 4, 64), sizeof(text) - 1);
    outbox_finish(&peer.outbox);
    cr_expect_str_eq(text, "not on the heap");
}

Test(outbox, what_is_shared_counts_by_parts)
{
    static const char text[] = "twelve bytes";
    struct list dirty;
    struct peer peers[3];
    list_init(&dirty);
    struct chunk *shared = make_chunk(text, sizeof(text) - 1);
    struct chunk *own = make_chunk(text, sizeof(text) - 1);
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        open_outbox(&peers[i], 1000, 1000);
        cr_assert(outbox_append(&peers[i].outbox, &dirty, shared, 0, shared->len));
    }
    cr_assert(outbox_append(&peers[0].outbox, &dirty, own, 0, own->len));
    chunk_unref(shared);
    chunk_unref(own);
    cr_expect_eq(outbox_share(&peers[0].outbox), 4 + 12);
    cr_expect_eq(outbox_share(&peers[1].outbox), 4);
    outbox_finish(&peers[0].outbox);
    outbox_finish(&peers[1].outbox);
    cr_expect_eq(outbox_share(&peers[2].outbox), 12, "the last one holds it all");
    outbox_finish(&peers[2].outbox);
}

Test(outbox, a_chunk_holds_what_the_builder_held)
{
    for (size_t len = 0; len < 10000; len = len * 3 + 1) {
        char *text = calloc(1, len + 1);
        memset(text, 'a', len);
        struct chunk *chunk = make_chunk(text, len);
        cr_expect_eq(chunk->len, len);
        cr_expect(len == 0 || memcmp(chunk->at, text, len) == 0);
        cr_expect_eq(chunk->refs, 1);
        chunk_unref(chunk);
        free(text);
    }
    struct builder failed = {.max = 3};
    builder_str(&failed, "1234");
    cr_expect_null(chunk_take(&failed));
    cr_expect_not(builder_failed(&failed), "the builder is usable again");
}

Test(outbox, a_chunk_is_packed_once_for_all_who_take_it_so)
{
    enum { PEERS = 4 };
    struct list dirty;
    list_init(&dirty);
    struct peer peers[PEERS] = {0};
    struct chunk *worth = make_chunk("worth it", 8);
    struct chunk *other = make_chunk("other", 5);
    deflates = 0;
    for (unsigned i = 0; i < PEERS; i++) {
        open_outbox(&peers[i], 20, 100000);
        peers[i].outbox.deflates = i % 2;
        cr_expect(outbox_append(&peers[i].outbox, &dirty, worth, 0, worth->len));
        cr_expect(outbox_append(&peers[i].outbox, &dirty, other, 0, other->len));
        cr_expect(outbox_append(&peers[i].outbox, &dirty, worth, 1, 2), "a part stays as it is");
    }
    cr_expect_eq(deflates, 2);
    chunk_unref(worth);
    chunk_unref(other);
    for (unsigned i = 0; i < PEERS; i++) {
        char text[32];
        size_t len = peek_text(&peers[i].outbox, text, 8, SIZE_MAX);
        struct bytes expected = i % 2 ? BYTES("potheror") : BYTES("worth itotheror");
        cr_expect(bytes_eq(bytes_of(text, len), expected), "%.*s", (int)len, text);
        outbox_finish(&peers[i].outbox);
    }
}

Test(outbox, inline_segments_need_no_memory_and_neighbours_merge)
{
    struct list dirty;
    list_init(&dirty);
    struct peer peer = {.takes = SIZE_MAX};
    open_outbox(&peer, 1000, 100000);
    struct chunk *one = make_chunk("abcdefgh", 8);
    struct chunk *two = make_chunk("01234567", 8);
    cr_expect(outbox_append(&peer.outbox, &dirty, one, 0, 3));
    cr_expect(outbox_append(&peer.outbox, &dirty, one, 3, 2), "behind it: merged");
    cr_expect_eq(peer.outbox.count, 1);
    cr_expect_eq(one->refs, 2, "one reference for the merged range");
    cr_expect(outbox_append(&peer.outbox, &dirty, one, 6, 1), "a hole: not merged");
    cr_expect(outbox_append(&peer.outbox, &dirty, one, 7, 0), "nothing: nothing");
    cr_expect_eq(peer.outbox.count, 2);
    cr_expect_eq(peer.outbox.ring, 0, "%d segments fit inline", OUTBOX_INLINE);
    cr_expect(outbox_append(&peer.outbox, &dirty, two, 0, 8));
    cr_expect_neq(peer.outbox.ring, 0);
    char text[32];
    cr_expect_eq(peek_text(&peer.outbox, text, 10, 100), 14);
    cr_expect_eq(memcmp(text, "abcdeg01234567", 14), 0);
    cr_expect_eq(peek_text(&peer.outbox, text, 2, 100), 6, "two ranges");
    cr_expect_eq(peek_text(&peer.outbox, text, 10, 3), 3, "a range is cut at max_bytes");
    cr_expect(outbox_writable(&peer.outbox), "it leaves with the turn");
    outbox_flush_all(&dirty);
    cr_expect(list_empty(&dirty));
    cr_expect_eq(peer.flushes, 1);
    cr_expect_eq(peer.outbox.ring, 0, "an empty outbox holds no memory");
    cr_expect(outbox_writable(&peer.outbox));
    cr_expect_eq(one->refs, 1);
    outbox_finish(&peer.outbox);
    chunk_unref(one);
    chunk_unref(two);
}

Test(outbox, is_full_above_high_until_half_of_that_waits)
{
    struct list dirty;
    list_init(&dirty);
    struct peer peer = {0};
    open_outbox(&peer, 10, 1000);
    struct chunk *chunk = make_chunk("0123456789abcdef", 16);
    for (unsigned round = 1; round <= 2; round++) {
        cr_expect(outbox_append(&peer.outbox, &dirty, chunk, 0, 10));
        cr_expect_not(peer.outbox.full, "high itself is not above it");
        cr_expect(outbox_append(&peer.outbox, &dirty, chunk, 0, 1));
        cr_expect(outbox_append(&peer.outbox, &dirty, chunk, 2, 1), "nothing is refused");
        cr_expect(peer.outbox.full);
        cr_expect_eq(peer.fills, round, "told once");
        outbox_consume(&peer.outbox, 6);
        cr_expect(peer.outbox.full, "6 wait");
        cr_expect_eq(peer.reliefs, round - 1);
        outbox_consume(&peer.outbox, 1);
        cr_expect_not(peer.outbox.full, "5 wait");
        cr_expect_eq(peer.reliefs, round);
        outbox_consume(&peer.outbox, 5);
        cr_expect(outbox_append(&peer.outbox, &dirty, chunk, 0, 16), "all at once: full as well");
        cr_expect_eq(peer.fills, round + 1);
        outbox_consume(&peer.outbox, 16);
        peer.fills = round;
        peer.reliefs = round;
    }
    cr_expect_eq(peer.overflows, 0);
    outbox_finish(&peer.outbox);
    cr_expect_eq(chunk->refs, 1);
    chunk_unref(chunk);
}

Test(outbox, refuses_at_the_maximum_for_ever)
{
    struct list dirty;
    list_init(&dirty);
    struct peer peer = {.takes = 5, .append_to = &dirty};
    struct chunk *big = make_chunk("0123456789abcdef", 16);
    struct chunk *end = make_chunk("end", 3);
    peer.last = end;
    open_outbox(&peer, 10, 10);
    cr_expect(outbox_append(&peer.outbox, &dirty, big, 0, 16), "always taken when empty");
    cr_expect_not(outbox_append(&peer.outbox, &dirty, big, 0, 1));
    cr_expect_eq(peer.overflows, 1);
    cr_expect_eq(peer.outbox.bytes, 19, "what ends the connection is taken");
    cr_expect_not(outbox_append(&peer.outbox, &dirty, big, 0, 1));
    cr_expect_eq(peer.overflows, 1, "told once");
    outbox_flush_all(&dirty);
    outbox_consume(&peer.outbox, 14);
    cr_expect_eq(peer.outbox.bytes, 0);
    cr_expect_not(outbox_append(&peer.outbox, &dirty, big, 0, 1), "there is room, but no order");
    outbox_finish(&peer.outbox);
    cr_expect(list_empty(&dirty), "an outbox that ends leaves the list");
    cr_expect_eq(big->refs, 1);
    cr_expect_eq(end->refs, 1);
    chunk_unref(big);
    chunk_unref(end);
}

Test(outbox, segments_count_against_the_maximum)
{
    struct list dirty;
    list_init(&dirty);
    struct peer peer = {0};
    open_outbox(&peer, 100, 1000 * (OUTBOX_SEGMENT_COST + 1));
    struct chunk *chunk = make_chunk("ab", 2);
    for (unsigned i = 0; i < 1000; i++) {
        cr_assert(outbox_append(&peer.outbox, &dirty, chunk, 0, 1));
    }
    while (peer.overflows == 0) {
        cr_assert_lt(peer.outbox.count, 1010);
        (void)outbox_append(&peer.outbox, &dirty, chunk, 0, 1);
    }
    outbox_finish(&peer.outbox);
    cr_expect_eq(chunk->refs, 1);
    chunk_unref(chunk);
}

Test(outbox, all_that_waits_can_be_given_to_another)
{
    struct list dirty;
    list_init(&dirty);
    struct peer from = {0};
    struct peer to = {0};
    open_outbox(&from, 7, 10000);
    open_outbox(&to, 100, 100000);
    struct chunk *one = make_chunk("abcdef", 6);
    struct chunk *two = make_chunk("12345", 5);
    cr_assert(outbox_append(&to.outbox, &dirty, two, 0, 2));
    cr_assert(outbox_append(&from.outbox, &dirty, one, 0, 3));
    cr_assert(outbox_append(&from.outbox, &dirty, two, 2, 3));
    cr_assert(outbox_append(&from.outbox, &dirty, one, 3, 3));
    outbox_consume(&from.outbox, 1);
    cr_assert(from.outbox.full);
    outbox_move(&from.outbox, &to.outbox, &dirty);
    cr_assert_eq(from.outbox.bytes, 0);
    cr_assert_eq(from.reliefs, 0, "what waits for room waits on");
    char text[32];
    size_t len = peek_text(&to.outbox, text, 8, SIZE_MAX);
    cr_assert_eq(len, 10);
    cr_assert_eq(memcmp(text, "12bc345def", 10), 0);
    cr_assert(to.outbox.full, "as the other one was");
    cr_assert_eq(to.fills, 1);
    outbox_consume(&to.outbox, 10);
    cr_assert_eq(to.reliefs, 1);
    outbox_finish(&from.outbox);
    outbox_finish(&to.outbox);
    cr_assert_eq(one->refs, 1);
    cr_assert_eq(two->refs, 1);
    chunk_unref(one);
    chunk_unref(two);
}

Test(outbox, busy_ones_are_not_flushed_and_flushes_do_not_recurse)
{
    struct list dirty;
    list_init(&dirty);
    struct chunk *chunk = make_chunk("0123456789", 10);
    struct peer busy = {.takes = SIZE_MAX};
    struct peer idle = {.takes = 5};
    open_outbox(&busy, 100, 100000);
    open_outbox(&idle, 10, 10);
    cr_assert(outbox_append(&busy.outbox, &dirty, chunk, 0, 10));
    cr_assert(outbox_append(&idle.outbox, &dirty, chunk, 0, 10));
    busy.outbox.busy = true;
    cr_expect_not(outbox_writable(&busy.outbox));
    cr_expect_not(outbox_writable(&idle.outbox), "half of its place is for others");
    outbox_flush_all(&dirty);
    cr_expect_eq(busy.flushes, 0);
    cr_expect_eq(idle.flushes, 1);
    cr_expect(list_empty(&dirty));
    busy.outbox.busy = false;
    outbox_flush_all(&dirty);
    cr_expect_eq(idle.flushes, 1, "what is left is for the owner to flush");
    outbox_finish(&busy.outbox);
    outbox_finish(&idle.outbox);
    cr_expect_eq(chunk->refs, 1);
    chunk_unref(chunk);
}

Test(outbox, what_is_deferred_leaves_with_what_follows)
{
    struct list dirty;
    struct list later;
    list_init(&dirty);
    list_init(&later);
    struct chunk *chunk = make_chunk("0123456789", 10);
    struct peer followed = {.takes = SIZE_MAX};
    struct peer alone = {.takes = SIZE_MAX};
    struct peer gone = {.takes = SIZE_MAX};
    struct peer *peers[] = {&followed, &alone, &gone};
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        open_outbox(peers[i], 100, 100000);
        outbox_defer(&peers[i]->outbox, &later);
        cr_expect(list_empty(&later), "there is nothing to defer");
        cr_assert(outbox_append(&peers[i]->outbox, &dirty, chunk, 0, 5));
    }
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        outbox_defer(&peers[i]->outbox, &later);
        outbox_defer(&peers[i]->outbox, &later); /* once more changes nothing */
    }
    cr_expect(list_empty(&dirty));
    cr_assert(outbox_append(&followed.outbox, &dirty, chunk, 5, 5));
    outbox_finish(&gone.outbox);
    outbox_flush_all(&dirty);
    cr_expect_eq(followed.flushes, 1, "both in one write");
    cr_expect_eq(followed.outbox.bytes, 0);
    cr_expect_eq(alone.flushes, 0);
    list_splice(&dirty, &later);
    outbox_flush_all(&dirty);
    cr_expect_eq(alone.flushes, 1);
    cr_expect_eq(followed.flushes, 1);
    cr_assert(outbox_append(&alone.outbox, &dirty, chunk, 0, 5));
    cr_expect_not(list_empty(&dirty), "it is as any other again");
    outbox_flush_all(&dirty);
    cr_expect_eq(alone.flushes, 2);
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        outbox_finish(&peers[i]->outbox);
    }
    cr_expect_eq(chunk->refs, 1);
    chunk_unref(chunk);
}

enum { CHUNKS = 12, MODEL_MAX = 1 << 20 };

/* The model: one byte string of what was taken, and how far it was consumed. */
struct model {
    char *text;
    size_t begin;
    size_t end;
    bool full;
    bool overflow;
};

static void append_randomly(struct peer *peer, struct model *model, struct chunk **chunks,
    struct list *dirty, struct rand *rand)
{
    struct chunk *chunk = chunks[rand_below(rand, CHUNKS)];
    uint32_t offset = (uint32_t)rand_below(rand, chunk->len);
    uint32_t len = 1 + (uint32_t)rand_below(rand, chunk->len - offset);
    size_t waiting = model->end - model->begin;
    size_t taken = waiting + (size_t)peer->outbox.count * OUTBOX_SEGMENT_COST;
    bool expected = !model->overflow && (waiting == 0 || taken + len <= peer->outbox.limits.max);
    cr_assert_eq(outbox_append(&peer->outbox, dirty, chunk, offset, len), expected);
    if (!expected) {
        model->overflow = true;
        return;
    }
    memcpy(model->text + model->end, chunk->at + offset, len);
    model->end += len;
    model->full = model->full || model->end - model->begin > peer->outbox.limits.high;
    cr_assert_eq(peer->outbox.full, model->full);
}

static void consume_randomly(struct peer *peer, struct model *model, struct rand *rand)
{
    static char seen[1 << 16];
    size_t waiting = model->end - model->begin;
    size_t max_iov = 1 + rand_below(rand, 20);
    size_t len = peek_text(&peer->outbox, seen, max_iov, 1 + rand_below(rand, 3000));
    cr_assert_eq(memcmp(seen, model->text + model->begin, len), 0);
    cr_assert(waiting == 0 || len > 0);
    size_t take = len ? rand_below(rand, len + 1) : 0;
    unsigned reliefs = peer->reliefs;
    outbox_consume(&peer->outbox, take);
    model->begin += take;
    bool relieved = model->full && model->end - model->begin <= peer->outbox.limits.high / 2;
    cr_assert_eq(peer->reliefs, reliefs + relieved);
    model->full = model->full && !relieved;
}

static void run_against_model(uint64_t seed)
{
    struct rand rand;
    rand_init(&rand, seed);
    struct chunk *chunks[CHUNKS];
    for (unsigned i = 0; i < CHUNKS; i++) {
        char text[4000];
        size_t len = 1 + rand_below(&rand, i % 2 ? 30 : sizeof(text));
        for (size_t at = 0; at < len; at++) {
            text[at] = (char)rand_u64(&rand);
        }
        chunks[i] = make_chunk(text, len);
    }
    struct list dirty;
    list_init(&dirty);
    struct peer peer = {0};
    uint32_t high = 1 + (uint32_t)rand_below(&rand, 20000);
    open_outbox(&peer, high, high + (uint32_t)rand_below(&rand, 100000));
    struct model model = {.text = malloc(MODEL_MAX)};
    while (model.end < MODEL_MAX - 5000 && rand_below(&rand, 3000) > 0) {
        if (rand_below(&rand, 2)) {
            append_randomly(&peer, &model, chunks, &dirty, &rand);
        } else {
            consume_randomly(&peer, &model, &rand);
        }
        cr_assert_eq(peer.outbox.bytes, model.end - model.begin, "seed %lu", (unsigned long)seed);
        cr_assert_eq(list_empty(&dirty), model.end == 0);
    }
    outbox_finish(&peer.outbox);
    for (unsigned i = 0; i < CHUNKS; i++) {
        cr_assert_eq(chunks[i]->refs, 1, "seed %lu: a reference is left", (unsigned long)seed);
        chunk_unref(chunks[i]);
    }
    free(model.text);
}

Test(outbox, behaves_as_a_byte_string)
{
    uint64_t base = (uint64_t)time(NULL);
    for (uint64_t seed = base; seed < base + 100; seed++) {
        run_against_model(seed);
    }
}
