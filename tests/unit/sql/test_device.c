/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices are registered, belong to one user at a time, are bounded, and go.
 */
#include <string.h>

#include "codec/base/status.h"
#include "sql/store_device.h"
#include "tests/unit/sql/both.h"

static const struct store_user other_space = {{"t", 1}, {"alice", 5}};

/* An id, or the hash of an address, that ends with `number`. */
static void set_id(uint8_t at[NOTIFICATION_ID_LEN], unsigned number)
{
    memset(at, 0, NOTIFICATION_ID_LEN);
    at[0] = 1;
    at[NOTIFICATION_ID_LEN - 2] = (uint8_t)(number >> 8);
    at[NOTIFICATION_ID_LEN - 1] = (uint8_t)number;
}

static struct store_devices put_of(struct store_user who, unsigned id, unsigned address)
{
    struct store_devices put = {.base.op = STORE_DEVICE_PUT,
        .who = who,
        .has_id = true,
        .body = BYTES("{\"token\":\"t\"}"),
        .most = 3};
    set_id(put.id, id);
    set_id(put.address_hash, address);
    return put;
}

struct told {
    unsigned id;
    uint64_t moved;
    uint64_t dropped;
};

static struct told put_device(struct harness *harness, struct store_devices put)
{
    cr_assert_eq(harness_run(harness, 1, &put.base), 0);
    cr_assert_eq(put.count, 1);
    cr_expect(bytes_eq_str(put.devices[0].body, "{\"token\":\"t\"}"));
    cr_expect(put.devices[0].created_at > 0);
    cr_expect(put.devices[0].registered_at >= put.devices[0].created_at);
    struct told told = {put.devices[0].id[NOTIFICATION_ID_LEN - 1], put.moved, put.dropped};
    store_request_finish(&put.base);
    return told;
}

static struct told put_plain(
    struct harness *harness, struct store_user who, unsigned id, unsigned address)
{
    return put_device(harness, put_of(who, id, address));
}

/* The last bytes of the ids of a user's devices, in order. */
static void expect_devices(struct harness *harness, struct store_user who, const char *ids)
{
    struct store_devices list = {.base.op = STORE_DEVICE_LIST, .who = who};
    char got[STORE_DEVICES_MAX + 1] = "";
    cr_assert_eq(harness_run(harness, 2, &list.base), 0);
    for (size_t i = 0; i < list.count; i++) {
        got[i] = (char)('0' + list.devices[i].id[NOTIFICATION_ID_LEN - 1]);
    }
    cr_expect_str_eq(got, ids);
    store_request_finish(&list.base);
}

BOTH(devices_are_registered_and_listed)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    expect_devices(&harness, who, "");
    cr_expect_eq(put_plain(&harness, who, 2, 102).id, 2);
    cr_expect_eq(put_plain(&harness, who, 1, 101).id, 1);
    expect_devices(&harness, who, "12");
    expect_devices(&harness, user_of("bob"), "");
    expect_devices(&harness, other_space, "");
    expect_position(&harness, who, 0, 0, 0);
    harness_close(&harness);
}

BOTH(device_without_an_id_keeps_the_one_of_its_address)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_devices put = put_of(who, 1, 101);
    put.has_id = false;
    cr_expect_eq(put_device(&harness, put).id, 1);
    set_id(put.id, 2);
    cr_expect_eq(put_device(&harness, put).id, 1);
    set_id(put.address_hash, 102);
    cr_expect_eq(put_device(&harness, put).id, 2);
    expect_devices(&harness, who, "12");
    harness_close(&harness);
}

BOTH(device_belongs_to_who_registered_it_last)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user alice = user_of("alice");
    struct store_user bob = user_of("bob");
    (void)put_plain(&harness, alice, 1, 101);
    (void)put_plain(&harness, alice, 2, 102);
    (void)put_plain(&harness, other_space, 1, 201);
    struct told told = put_plain(&harness, bob, 5, 101); /* the address */
    cr_expect_eq(told.moved, 1);
    expect_devices(&harness, alice, "2");
    expect_devices(&harness, bob, "5");
    (void)put_plain(&harness, bob, 2, 103);
    expect_devices(&harness, alice, "2"); /* an id is its user's */
    expect_devices(&harness, bob, "25");
    told = put_plain(&harness, bob, 6, 103); /* its own: one address, one device */
    cr_expect_eq(told.moved, 0);
    expect_devices(&harness, bob, "56");
    told = put_plain(&harness, bob, 5, 107); /* a new address of the same device */
    cr_expect_eq(told.moved, 0);
    expect_devices(&harness, bob, "56");
    expect_devices(&harness, other_space, "1");
    harness_close(&harness);
}

BOTH(devices_beyond_the_bound_push_out_the_oldest)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_devices put = put_of(who, 1, 101);
    (void)put_device(&harness, put);
    for (unsigned i = 2; i < 5; i++) {
        struct told told = put_plain(&harness, who, i, 100 + i);
        cr_expect_eq(told.dropped, i == 4 ? 1 : 0, "%u", i);
    }
    struct store_devices list = {.base.op = STORE_DEVICE_LIST, .who = who};
    cr_assert_eq(harness_run(&harness, 2, &list.base), 0);
    cr_expect_eq(list.count, 3);
    cr_expect(list.now >= list.devices[0].registered_at);
    store_request_finish(&list.base);
    put = put_of(who, 4, 104);
    put.most = 1;
    cr_expect_eq(put_device(&harness, put).dropped, 2);
    expect_devices(&harness, who, "4");
    harness_close(&harness);
}

static struct store_device change(
    struct harness *harness, enum store_op op, struct store_user who, unsigned id, bool foreground)
{
    struct store_devices request = {.base.op = op, .who = who, .foreground = foreground};
    struct store_device device = {0};
    set_id(request.id, id);
    cr_assert_eq(harness_run(harness, 3, &request.base), 0);
    if (request.count > 0) {
        device = request.devices[0];
        cr_expect(bytes_eq_str(device.body, "{\"token\":\"t\"}"));
        device.body = bytes_of(NULL, 0);
        cr_expect(device.foreground_at <= request.now);
    }
    store_request_finish(&request.base);
    return device;
}

BOTH(device_comes_to_the_front_and_leaves_it)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    (void)put_plain(&harness, who, 1, 101);
    cr_expect_eq(change(&harness, STORE_DEVICE_STATE, who, 2, true).created_at, 0);
    cr_expect_eq(change(&harness, STORE_DEVICE_STATE, user_of("bob"), 1, true).created_at, 0);
    struct store_device device = change(&harness, STORE_DEVICE_STATE, who, 1, true);
    cr_expect(device.created_at > 0 && device.foreground_at >= device.created_at);
    (void)put_plain(&harness, who, 1, 101); /* which says nothing of it */
    struct store_devices list = {.base.op = STORE_DEVICE_LIST, .who = who};
    cr_assert_eq(harness_run(&harness, 2, &list.base), 0);
    cr_expect_eq(list.devices[0].foreground_at, device.foreground_at);
    store_request_finish(&list.base);
    cr_expect_eq(change(&harness, STORE_DEVICE_STATE, who, 1, false).foreground_at, 0);
    harness_close(&harness);
}

BOTH(device_that_is_removed_is_told_once)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    (void)put_plain(&harness, who, 1, 101);
    (void)put_plain(&harness, who, 2, 102);
    cr_expect_eq(change(&harness, STORE_DEVICE_REMOVE, other_space, 1, false).created_at, 0);
    cr_expect(change(&harness, STORE_DEVICE_REMOVE, who, 1, false).created_at > 0);
    cr_expect_eq(change(&harness, STORE_DEVICE_REMOVE, who, 1, false).created_at, 0);
    expect_devices(&harness, who, "2");
    cr_expect_eq(put_plain(&harness, user_of("bob"), 9, 101).moved, 0);
    harness_close(&harness);
}

BOTH(device_with_another_address_by_now_stays)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    (void)put_plain(&harness, who, 1, 101);
    struct store_devices gone = {.base.op = STORE_DEVICE_REMOVE, .who = who, .has_address = true};
    set_id(gone.id, 1);
    set_id(gone.address_hash, 102);
    cr_assert_eq(harness_run(&harness, 1, &gone.base), 0);
    cr_expect_eq(gone.count, 0);
    store_request_finish(&gone.base);
    struct store_devices list = {.base.op = STORE_DEVICE_LIST, .who = who};
    cr_assert_eq(harness_run(&harness, 1, &list.base), 0);
    memcpy(gone.address_hash, list.devices[0].address_hash, STORE_HASH_LEN);
    cr_expect_eq(gone.address_hash[STORE_HASH_LEN - 1], 101);
    store_request_finish(&list.base);
    cr_assert_eq(harness_run(&harness, 1, &gone.base), 0);
    cr_expect_eq(gone.count, 1);
    store_request_finish(&gone.base);
    expect_devices(&harness, who, "");
    harness_close(&harness);
}

BOTH(devices_of_a_user_that_is_erased_go)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    (void)put_plain(&harness, who, 1, 101);
    (void)put_plain(&harness, user_of("bob"), 2, 102);
    struct store_forget forget = {.base.op = STORE_FORGET, .who = who};
    cr_assert_eq(harness_run(&harness, 0, &forget.base), 0);
    cr_expect_eq(forget.erased[STORE_FORGOTTEN_DEVICES], 1);
    store_request_finish(&forget.base);
    expect_devices(&harness, who, "");
    expect_devices(&harness, user_of("bob"), "2");
    harness_close(&harness);
}

BOTH(devices_that_cannot_be_kept_are_refused)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_devices put = put_of(user_of("alice"), 1, 101);
    put.body = bytes_of(NULL, 0);
    cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_INVALID);
    put = put_of(user_of("alice"), 1, 101);
    put.most = 0;
    cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_INVALID);
    put.most = STORE_DEVICES_MAX + 1;
    cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_INVALID);
    harness_close(&harness);
}

/* The same address by many users at once, on connections of their own: one has it in the end. */
BOTH(device_that_many_register_at_once_is_one_user_s)
{
    enum { USERS = 8, ROUNDS = 10 };
    struct harness harness;
    harness_open(&harness, url);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct store_devices puts[USERS];
        char names[USERS][8];
        uint64_t moved = 0;
        size_t left = 0;
        for (unsigned i = 0; i < USERS; i++) {
            snprintf(names[i], sizeof(names[i]), "u%u", i);
            puts[i] = put_of(user_of(names[i]), 10 + i, 500);
            puts[i].base.done = harness_done;
        }
        for (unsigned i = 0; i < USERS; i++) {
            store_submit(harness.shards[i % HARNESS_SHARDS].port, &puts[i].base);
        }
        for (unsigned i = 0; i < HARNESS_SHARDS; i++) {
            harness_wait_all(&harness, i, USERS / HARNESS_SHARDS);
        }
        for (unsigned i = 0; i < USERS; i++) {
            cr_assert_eq(puts[i].base.status, 0, "%s", status_name(puts[i].base.status));
            moved += puts[i].moved;
            store_request_finish(&puts[i].base);
            struct store_devices list = {.base.op = STORE_DEVICE_LIST, .who = user_of(names[i])};
            cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
            left += list.count;
            store_request_finish(&list.base);
        }
        cr_expect_eq(left, 1);
        cr_expect(moved >= USERS - 1, "%llu", (unsigned long long)moved);
    }
    harness_close(&harness);
}
