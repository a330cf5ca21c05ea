/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store knows of itself: its identity, its epoch, what its nodes share.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base/status.h"
#include "tests/unit/sql/both.h"

static void no_post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg)
{
}

static int open_with(const char *url, const struct store_shared *shared, bool replace,
    struct store **ret_store, char error[512])
{
    struct store_config config = {.url = bytes_str(url),
        .port_count = 1,
        .post = no_post,
        .shared = shared,
        .shared_count = shared ? 2 : 0,
        .replace_shared = replace};
    error[0] = '\0';
    return store_open(&config, ret_store, error, 512);
}

BOTH(another_epoch_of_the_same_store_keeps_its_identity)
{
    struct store *store;
    char error[512];
    char identity[STORE_IDENTITY_MAX + 1];
    char epoch[STORE_EPOCH_LEN + 1];
    cr_assert_eq(open_with(url, NULL, false, &store, error), 0, "%s", error);
    strcpy(identity, store_identity(store));
    strcpy(epoch, store_epoch(store));
    cr_expect_gt(strlen(identity), 10);
    cr_expect_eq(strlen(epoch), STORE_EPOCH_LEN);
    cr_assert_eq(store_new_epoch(store), 0);
    cr_expect_str_neq(store_epoch(store), epoch);
    strcpy(epoch, store_epoch(store));
    store_close(store);
    cr_assert_eq(open_with(url, NULL, false, &store, error), 0, "%s", error);
    cr_expect_str_eq(store_identity(store), identity);
    cr_expect_str_eq(store_epoch(store), epoch);
    store_close(store);

    char other[URL_MAX];
    harness_url(strncmp(url, "sqlite", 6) == 0 ? "sqlite" : "postgres", other);
    cr_assert_eq(open_with(other, NULL, false, &store, error), 0, "%s", error);
    cr_expect_str_neq(store_identity(store), identity, "another database of the same server");
    cr_expect_str_neq(store_epoch(store), epoch);
    store_close(store);
}

/* All that find the same epoch gone make one new one between them. */
BOTH(of_several_that_renew_an_epoch_one_does)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_renewal read = {.base.op = STORE_EPOCH};
    cr_assert_eq(harness_run(&harness, 0, &read.base), 0);
    cr_expect_str_eq(read.epoch, store_epoch(harness.store));
    struct store_renewal renewals[5];
    for (unsigned i = 0; i < 5; i++) {
        renewals[i] = (struct store_renewal){.base = {.op = STORE_EPOCH, .done = harness_done},
            .from = bytes_of(read.epoch, STORE_EPOCH_LEN)};
        store_submit(harness.shards[i % 2].port, &renewals[i].base);
    }
    harness_wait_all(&harness, 0, 3);
    harness_wait_all(&harness, 1, 2);
    for (unsigned i = 0; i < 5; i++) {
        cr_expect_eq(renewals[i].base.status, 0);
        cr_expect_str_neq(renewals[i].epoch, read.epoch);
        cr_expect_str_eq(renewals[i].epoch, renewals[0].epoch);
    }
    cr_assert_eq(harness_run(&harness, 2, &read.base), 0);
    cr_expect_str_eq(read.epoch, renewals[0].epoch);
    struct store_renewal bad = {.base.op = STORE_EPOCH, .from = BYTES("short")};
    cr_expect_eq(harness_run(&harness, 0, &bad.base), STATUS_INVALID);
    harness_close(&harness);
}

/* All that replace the same text: one does, and all are told which. */
BOTH(of_several_that_replace_a_note_one_does)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_note read = {.base.op = STORE_NOTE, .name = BYTES("alerts")};
    cr_assert_eq(harness_run(&harness, 0, &read.base), 0);
    cr_expect_str_eq(read.text, "", "there is none");
    struct store_note first = read;
    first.to = BYTES("one");
    cr_assert_eq(harness_run(&harness, 1, &first.base), 0);
    cr_expect_str_eq(first.text, "one");
    static const char *const texts[] = {"two", "three", "four", "five", "six"};
    struct store_note notes[ARRAY_LEN(texts)];
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        notes[i] = (struct store_note){.base = {.op = STORE_NOTE, .done = harness_done},
            .name = BYTES("alerts"),
            .from = BYTES("one"),
            .to = bytes_str(texts[i])};
        store_submit(harness.shards[i % 2].port, &notes[i].base);
    }
    harness_wait_all(&harness, 0, 3);
    harness_wait_all(&harness, 1, 2);
    unsigned own = 0;
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        cr_expect_eq(notes[i].base.status, 0);
        cr_expect_str_eq(notes[i].text, notes[0].text, "all are told the same");
        own += strcmp(notes[i].text, texts[i]) == 0;
    }
    cr_expect_eq(own, 1);
    struct store_note other = {.base.op = STORE_NOTE, .name = BYTES("other")};
    cr_assert_eq(harness_run(&harness, 2, &other.base), 0);
    cr_expect_str_eq(other.text, "");
    harness_close(&harness);
}

BOTH(notes_have_bounds_and_stay)
{
    struct harness harness;
    static char large[STORE_NOTE_MAX + 2];
    memset(large, 'x', STORE_NOTE_MAX + 1);
    harness_open(&harness, url);
    struct store_note note = {.base.op = STORE_NOTE, .name = BYTES("n"), .to = bytes_str(large)};
    cr_expect_eq(harness_run(&harness, 0, &note.base), STATUS_INVALID);
    note.to.len--;
    cr_assert_eq(harness_run(&harness, 0, &note.base), 0);
    cr_expect_eq(strlen(note.text), STORE_NOTE_MAX);
    note.name = BYTES("");
    cr_expect_eq(harness_run(&harness, 0, &note.base), STATUS_INVALID);
    harness_close(&harness);
    harness_open(&harness, url);
    note = (struct store_note){.base.op = STORE_NOTE, .name = BYTES("n")};
    cr_assert_eq(harness_run(&harness, 0, &note.base), 0);
    cr_expect_eq(strlen(note.text), STORE_NOTE_MAX, "it is there after a start");
    harness_close(&harness);
}

BOTH(what_nodes_share_is_kept_by_the_first)
{
    const struct store_shared first[] = {{"bus.slots", 1024}, {"bus.partitions", 4}};
    const struct store_shared other[] = {{"bus.slots", 1024}, {"bus.partitions", 8}};
    struct store *store;
    char error[512];
    cr_assert_eq(open_with(url, first, false, &store, error), 0, "%s", error);
    store_close(store);
    cr_assert_eq(open_with(url, first, false, &store, error), 0, "%s", error);
    store_close(store);
    cr_assert_eq(open_with(url, other, false, &store, error), STATUS_CONFLICT);
    cr_expect_not_null(strstr(error, "bus.partitions is 8 here and 4 on the nodes"), "%s", error);
    cr_expect_not_null(strstr(error, "peal migrate --set-bus"), "%s", error);
    cr_expect_null(strchr(error, '\n'));
    cr_assert_eq(open_with(url, NULL, false, &store, error), 0, "without a bus: %s", error);
    store_close(store);
    cr_assert_eq(open_with(url, other, true, &store, error), 0, "%s", error);
    store_close(store);
    cr_assert_eq(open_with(url, other, false, &store, error), 0, "%s", error);
    store_close(store);
    cr_expect_eq(open_with(url, first, false, &store, error), STATUS_CONFLICT);
}
