/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "actors/outbox.h"
#include "codec/base/check.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"

TestSuite(outbox, .timeout = 120);

struct peer {
    struct outbox outbox;
    size_t takes; /* bytes the next flush takes */
    unsigned flushes;
    unsigned overflows;
    unsigned drains;
    uint32_t refused;
    struct list *append_to; /* drained appends `extra` here */
    struct chunk *extra;
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

static void on_overflowed(struct outbox *outbox)
{
    peer_of(outbox)->overflows++;
}

static void on_drained(struct outbox *outbox, uint32_t refused)
{
    struct peer *peer = peer_of(outbox);
    peer->drains++;
    peer->refused += refused;
    if (peer->extra != NULL) {
        cr_expect(outbox_append(outbox, peer->append_to, peer->extra, 0, peer->extra->len));
    }
}

static unsigned packs;

/* A chunk of "worth it" is packed as "p", others are not worth it. */
static struct chunk *on_pack(struct outbox *outbox, struct chunk *chunk)
{
    if (chunk->packed == NULL) {
        packs++;
        struct builder text = {0};
        builder_str(&text, "p");
        bool worth = bytes_eq(bytes_of(chunk->at, chunk->len), BYTES("worth it"));
        chunk->packed = worth ? chunk_take(&text) : chunk;
        builder_reset(&text);
    }
    return chunk->packed;
}

static const struct outbox_ops ops = {on_flush, on_overflowed, on_drained, on_pack};

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
    packs = 0;
    for (unsigned i = 0; i < PEERS; i++) {
        outbox_init(&peers[i].outbox, &ops, 20);
        peers[i].outbox.packs = i % 2;
        cr_expect(outbox_append(&peers[i].outbox, &dirty, worth, 0, worth->len));
        cr_expect(outbox_append(&peers[i].outbox, &dirty, other, 0, other->len));
        cr_expect(outbox_append(&peers[i].outbox, &dirty, worth, 1, 2), "a part stays as it is");
    }
    cr_expect_eq(packs, 2);
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
    outbox_init(&peer.outbox, &ops, 1000);
    struct chunk *one = make_chunk("abcdefgh", 8);
    struct chunk *two = make_chunk("01234567", 8);
    cr_expect(outbox_append(&peer.outbox, &dirty, one, 0, 3));
    cr_expect(outbox_append(&peer.outbox, &dirty, one, 3, 2), "behind it: merged");
    cr_expect_eq(peer.outbox.count, 1);
    cr_expect_eq(one->refs, 2, "one reference for the merged range");
    cr_expect(outbox_append(&peer.outbox, &dirty, one, 6, 1), "a hole: not merged");
    cr_expect(outbox_append(&peer.outbox, &dirty, one, 7, 0), "nothing: nothing");
    cr_expect_eq(peer.outbox.count, 2);
    cr_expect_eq(peer.outbox.room, 0, "%d segments fit inline", OUTBOX_INLINE);
    cr_expect(outbox_append(&peer.outbox, &dirty, two, 0, 8));
    cr_expect_neq(peer.outbox.room, 0);
    char text[32];
    cr_expect_eq(peek_text(&peer.outbox, text, 10, 100), 14);
    cr_expect_eq(memcmp(text, "abcdeg01234567", 14), 0);
    cr_expect_eq(peek_text(&peer.outbox, text, 2, 100), 6, "two ranges");
    cr_expect_eq(peek_text(&peer.outbox, text, 10, 3), 3, "a range is cut at max_bytes");
    cr_expect(outbox_writable(&peer.outbox), "it leaves with the turn");
    outbox_flush_all(&dirty);
    cr_expect(list_empty(&dirty));
    cr_expect_eq(peer.flushes, 1);
    cr_expect_eq(peer.outbox.room, 0, "an empty outbox holds no memory");
    cr_expect(outbox_writable(&peer.outbox));
    cr_expect_eq(one->refs, 1);
    outbox_finish(&peer.outbox);
    chunk_unref(one);
    chunk_unref(two);
}

Test(outbox, the_cap_refuses_until_empty)
{
    struct list dirty;
    list_init(&dirty);
    struct peer peer = {.takes = 5};
    outbox_init(&peer.outbox, &ops, 10);
    struct chunk *big = make_chunk("0123456789abcdef", 16);
    cr_expect(outbox_append(&peer.outbox, &dirty, big, 0, 16), "always taken when empty");
    cr_expect_not(outbox_append(&peer.outbox, &dirty, big, 0, 1));
    cr_expect_eq(peer.overflows, 1);
    cr_expect_eq(peer.outbox.refused, 1);
    cr_expect_not(outbox_append(&peer.outbox, &dirty, big, 0, 1));
    cr_expect_eq(peer.overflows, 1, "told once");
    outbox_flush_all(&dirty);
    cr_expect_not(outbox_append(&peer.outbox, &dirty, big, 0, 1), "there is room, but no order");
    cr_expect_eq(peer.drains, 0);
    peer.extra = big;
    peer.append_to = &dirty;
    outbox_consume(&peer.outbox, 11);
    cr_expect_eq(peer.drains, 1);
    cr_expect_eq(peer.refused, 3);
    cr_expect_eq(peer.outbox.bytes, 16, "drained may append");
    cr_expect_not(list_empty(&dirty));
    outbox_finish(&peer.outbox);
    cr_expect(list_empty(&dirty), "an outbox that ends leaves the list");
    cr_expect_eq(big->refs, 1);
    chunk_unref(big);
}

Test(outbox, segments_are_bounded_too)
{
    struct list dirty;
    list_init(&dirty);
    struct peer peer = {0};
    outbox_init(&peer.outbox, &ops, UINT32_MAX);
    struct chunk *chunk = make_chunk("ab", 2);
    for (unsigned i = 0; i < OUTBOX_SEGMENTS_MAX; i++) {
        cr_assert(outbox_append(&peer.outbox, &dirty, chunk, 0, 1));
    }
    cr_expect_not(outbox_append(&peer.outbox, &dirty, chunk, 0, 1));
    cr_expect_eq(peer.overflows, 1);
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
    outbox_init(&from.outbox, &ops, 10);
    outbox_init(&to.outbox, &ops, 4);
    struct chunk *one = make_chunk("abcdef", 6);
    struct chunk *two = make_chunk("12345", 5);
    cr_assert(outbox_append(&to.outbox, &dirty, two, 0, 2));
    cr_assert(outbox_append(&from.outbox, &dirty, one, 0, 3));
    cr_assert(outbox_append(&from.outbox, &dirty, two, 2, 3));
    cr_assert(outbox_append(&from.outbox, &dirty, one, 3, 3));
    cr_assert_not(outbox_append(&from.outbox, &dirty, one, 0, 6));
    outbox_consume(&from.outbox, 1);
    unsigned overflows = to.overflows;
    outbox_move(&from.outbox, &to.outbox, &dirty);
    cr_assert_eq(from.outbox.bytes, 0);
    cr_assert_not(from.outbox.overflow);
    char text[32];
    size_t len = peek_text(&to.outbox, text, 8, SIZE_MAX);
    cr_assert_eq(len, 10);
    cr_assert_eq(memcmp(text, "12bc345def", 10), 0);
    cr_assert(to.outbox.overflow);
    cr_assert_eq(to.outbox.refused, 1);
    cr_assert_eq(to.overflows, overflows + 1);
    outbox_consume(&to.outbox, 10);
    cr_assert_eq(to.refused, 1);
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
    struct peer idle = {.takes = SIZE_MAX, .extra = chunk, .append_to = &dirty};
    outbox_init(&busy.outbox, &ops, 100);
    outbox_init(&idle.outbox, &ops, 10);
    cr_assert(outbox_append(&busy.outbox, &dirty, chunk, 0, 10));
    cr_assert(outbox_append(&idle.outbox, &dirty, chunk, 0, 10));
    cr_assert_not(outbox_append(&idle.outbox, &dirty, chunk, 0, 10));
    busy.outbox.busy = true;
    cr_expect_not(outbox_writable(&busy.outbox));
    cr_expect_not(outbox_writable(&idle.outbox), "half of its place is for others");
    outbox_flush_all(&dirty);
    cr_expect_eq(busy.flushes, 0);
    cr_expect_eq(idle.flushes, 1, "what drained appended waits for the next turn");
    cr_expect_not(list_empty(&dirty));
    busy.outbox.busy = false;
    outbox_flush_all(&dirty);
    cr_expect_eq(idle.flushes, 2);
    cr_expect(list_empty(&dirty));
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
        outbox_init(&peers[i]->outbox, &ops, 100);
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
    uint32_t refused;
    bool overflow;
};

static void append_randomly(struct peer *peer, struct model *model, struct chunk **chunks,
    struct list *dirty, struct rand *rand)
{
    struct chunk *chunk = chunks[rand_below(rand, CHUNKS)];
    uint32_t offset = (uint32_t)rand_below(rand, chunk->len);
    uint32_t len = 1 + (uint32_t)rand_below(rand, chunk->len - offset);
    size_t waiting = model->end - model->begin;
    bool expected = !model->overflow && (waiting == 0 || waiting + len <= peer->outbox.cap);
    cr_assert_eq(outbox_append(&peer->outbox, dirty, chunk, offset, len), expected);
    if (!expected) {
        model->overflow = true;
        model->refused++;
        return;
    }
    memcpy(model->text + model->end, chunk->at + offset, len);
    model->end += len;
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
    unsigned drains = peer->drains;
    peer->refused = 0;
    outbox_consume(&peer->outbox, take);
    model->begin += take;
    if (take > 0 && model->begin == model->end && model->overflow) {
        cr_assert_eq(peer->drains, drains + 1);
        cr_assert_eq(peer->refused, model->refused);
        model->overflow = false;
        model->refused = 0;
    }
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
    outbox_init(&peer.outbox, &ops, 1 + (uint32_t)rand_below(&rand, 20000));
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
