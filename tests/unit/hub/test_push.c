/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What answers of push services mean, and what is not sent at all.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/status.h"
#include "codec/base64.h"
#include "hub/net/crypto_p256.h"
#include "hub/net/outgoing_guard.h"
#include "hub/push/push.h"
#include "hub/push/web_push.h"
#include "tests/support/http_backend.h"
#include "tests/support/net_rig.h"

TestSuite(push, .timeout = 120);

struct world {
    atomic_bool refused;
    struct rig rig;
    uint16_t port;
    struct push *push;
    struct outgoing_guard *guard;
    struct push_settings settings;
    struct push_stats stats;
    struct device device;
    char address[64];
    struct push_call call;
    int began;
    unsigned done;
};

static void on_pushed(struct push_call *call)
{
    struct world *world = container_of(call, struct world, call);
    world->done++;
}

static void begin_call(void *arg)
{
    struct world *world = arg;
    world->call = (struct push_call){.device = &world->device,
        .plain = BYTES("{}"),
        .topic = "abc-_9",
        .urgency = "high",
        .ttl_s = 7,
        .done = on_pushed};
    world->done = 0;
    world->began = push_begin(world->push, &world->call);
}

static bool is_done(void *arg)
{
    return ((struct world *)arg)->done == 1;
}

static void copy_stats(void *arg)
{
    struct world *world = arg;
    world->stats = *push_get_stats(world->push);
}

static enum push_outcome push_to(struct world *world, const char *path)
{
    snprintf(world->address, sizeof(world->address), "http://127.0.0.1:%u%s", world->port, path);
    world->device.address = bytes_str(world->address);
    rig_call(&world->rig, 0, begin_call, world);
    if (world->began == 0) {
        cr_assert(rig_wait(&world->rig, 0, is_done, world));
    } else {
        cr_assert_eq(world->began, STATUS_INVALID);
    }
    rig_call(&world->rig, 0, copy_stats, world);
    cr_expect_eq(world->stats.under_way, 0);
    return world->call.outcome;
}

static void open_push(void *arg)
{
    struct world *world = arg;
    world->push = push_open(world->rig.loops[0], &world->settings, &world->refused);
}

static struct world *begin(void)
{
    static struct world world;
    const struct bytes allowed = BYTES("127.0.0.1");
    struct builder error = {0};
    struct crypto_p256 *key = crypto_p256_generate();
    world.port = http_backend_start();
    cr_assert_eq(outgoing_guard_create(&allowed, 1, &error, &world.guard), 0);
    world.settings = (struct push_settings){.key_count = 1,
        .subject = "mailto:a@b",
        .timeout_ms = 30000,
        .guard = world.guard,
        .ca = ""};
    crypto_p256_get_scalar(key, world.settings.keys[0]);
    web_push_write_key(key, world.settings.public_keys[0]);
    crypto_p256_get_point(key, world.device.point); /* any point is a browser's */
    crypto_p256_destroy(key);
    world.device.platform = DEVICE_WEB;
    rig_start(&world.rig, 1, NULL, NULL);
    rig_call(&world.rig, 0, open_push, &world);
    return &world;
}

static void close_push(void *arg)
{
    push_close(((struct world *)arg)->push);
}

static bool is_closed(void *arg)
{
    return push_count_open(((struct world *)arg)->push) == 0;
}

static void end(struct world *world)
{
    rig_call(&world->rig, 0, close_push, world);
    cr_assert(rig_wait(&world->rig, 0, is_closed, world));
    rig_call(&world->rig, 0, begin_call, world);
    cr_expect_eq(world->began, STATUS_CLOSED);
    rig_stop(&world->rig);
    push_destroy(world->push);
    outgoing_guard_destroy(world->guard);
    http_backend_stop();
}

Test(push, an_answer_is_of_the_device_the_key_the_message_or_the_service)
{
    static const struct {
        const char *path;
        enum push_outcome outcome;
    } rows[] = {
        {"/status/201", PUSH_SENT},
        {"/status/202", PUSH_SENT},
        {"/status/404", PUSH_GONE},
        {"/status/410", PUSH_GONE},
        {"/status/401", PUSH_CREDENTIAL},
        {"/status/403", PUSH_CREDENTIAL},
        {"/status/413", PUSH_TOO_LARGE},
        {"/status/429", PUSH_LIMITED},
        {"/status/400", PUSH_REFUSED},
        {"/redirect", PUSH_REFUSED},
        {"/status/500", PUSH_AWAY},
        {"/status/503", PUSH_AWAY},
        {"/noise", PUSH_AWAY},
        {"/hang-up", PUSH_AWAY},
    };
    struct world *world = begin();
    uint64_t counted[PUSH_OUTCOME_COUNT] = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect_eq(push_to(world, rows[i].path), rows[i].outcome, "%s: %s", rows[i].path,
            push_outcome_name(world->call.outcome));
        counted[rows[i].outcome]++;
    }
    for (unsigned i = 0; i < PUSH_OUTCOME_COUNT; i++) {
        cr_expect_eq(world->stats.outcomes[i], counted[i], "%s", push_outcome_name(i));
    }
    end(world);
}

Test(push, a_key_that_is_refused_is_an_alarm_until_it_is_taken)
{
    struct world *world = begin();
    static const struct {
        const char *path;
        uint64_t alarm;
    } rows[] = {{"/status/403", 1}, {"/status/503", 1}, {"/status/410", 1}, {"/status/201", 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)push_to(world, rows[i].path);
        cr_expect_eq(atomic_load(&world->refused), rows[i].alarm, "%s", rows[i].path);
    }
    end(world);
}

Test(push, the_head_says_how_long_how_urgent_and_what_it_takes_the_place_of)
{
    struct world *world = begin();
    cr_expect_eq(push_to(world, "/answer"), PUSH_SENT);
    char *last = http_backend_last();
    static const char *const lines[] = {"\r\nTTL: 7\r\n", "\r\nUrgency: high\r\n",
        "\r\nTopic: abc-_9\r\n", "\r\nContent-Encoding: aes128gcm\r\n",
        "\r\nAuthorization: vapid t="};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        cr_expect_not_null(strstr(last, lines[i]), "%s", lines[i]);
    }
    free(last);
    end(world);
}

Test(push, what_cannot_be_sent_is_told_at_once)
{
    struct world *world = begin();
    struct device good = world->device;
    world->device.platform = DEVICE_ANDROID;
    cr_expect_eq(push_to(world, "/answer"), PUSH_UNCONFIGURED);
    world->device.platform = DEVICE_WEB;
    world->device.server_key = BYTES("another");
    cr_expect_eq(push_to(world, "/answer"), PUSH_UNCONFIGURED);
    world->device.server_key = bytes_str(world->settings.public_keys[0]);
    cr_expect_eq(push_to(world, "/answer"), PUSH_SENT);
    world->device = good;
    world->device.point[64] ^= 1;
    cr_expect_eq(push_to(world, "/answer"), PUSH_REFUSED);
    cr_expect_eq(http_backend_requests(), 1);
    end(world);
}
