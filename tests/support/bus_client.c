/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the loop until what the test waits for has been recorded, or a deadline is over.
 */
#include "tests/support/bus_client.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/status.h"
#include "hub/config/config.h"

enum { WAIT_MS = 20000, WORDS_MAX = 16 };

static void copy_text(struct bytes text, char *ret_text, size_t size)
{
    size_t len = text.len < size ? text.len : size - 1;
    memcpy(ret_text, text.len > 0 ? text.at : "", len);
    ret_text[len] = '\0';
}

static void on_up(void *context)
{
    struct bus_client *client = context;
    cr_assert(client->bus->ops->is_up(client->link));
    client->ups++;
}

static void on_down(void *context)
{
    struct bus_client *client = context;
    cr_assert_not(client->bus->ops->is_up(client->link));
    client->downs++;
}

static void on_subscribed(void *context, struct bytes channel)
{
    struct bus_client *client = context;
    copy_text(channel, client->last_channel, sizeof(client->last_channel));
    client->subscribed++;
}

static void on_message(void *context, struct bytes channel, struct bytes payload)
{
    struct bus_client *client = context;
    copy_text(channel, client->last_channel, sizeof(client->last_channel));
    copy_text(payload, client->last_payload, sizeof(client->last_payload));
    client->last_payload_len = payload.len;
    client->messages++;
}

const struct redis_target *bus_client_target(const char *url)
{
    static struct redis_target targets[16];
    static unsigned next;
    struct redis_target *target = &targets[next++ % ARRAY_LEN(targets)];
    const struct config config = {
        .bus_url = url,
        .bus_user = "",
        .bus_password = "",
        .bus_tls_ca = "",
        .bus_tls_cert = "",
        .bus_tls_key = "",
        .bus_tls_name = "",
        .bus_sentinel_user = "",
        .bus_sentinel_password = "",
    };
    struct builder error = {.max = 1024};
    redis_target_finish(target);
    int status = redis_target_init(&config, NULL, &error, target);
    cr_assert_eq(status, 0, "%.*s", (int)builder_bytes(&error).len, builder_bytes(&error).at);
    builder_reset(&error);
    return target;
}

void bus_client_open(struct bus_client *client, const struct redis_options *options)
{
    static const struct bus_events events = {
        .on_up = on_up,
        .on_down = on_down,
        .on_subscribed = on_subscribed,
        .on_message = on_message,
    };
    *client = (struct bus_client){0};
    cr_assert_eq(uv_loop_init(&client->loop), 0);
    uv_timer_init(&client->loop, &client->deadline);
    client->deadline.data = client;
    client->bus = redis_create(&client->loop, options);
    client->link = client->bus->ops->open(client->bus, "client", &events, client);
}

static void on_bus_closed(void *context)
{
    unsigned *closed = context;
    *closed = 1;
}

void bus_client_close(struct bus_client *client)
{
    unsigned closed = 0;
    if (client->link != NULL) {
        client->bus->ops->close(client->link);
        client->link = NULL;
    }
    cr_assert_eq(
        client->replies, client->sent, "%u commands, %u answers", client->sent, client->replies);
    redis_close(client->bus, on_bus_closed, &closed);
    bus_client_wait(client, &closed, 1);
    uv_close((uv_handle_t *)&client->deadline, NULL);
    uv_run(&client->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&client->loop), 0);
}

static void on_deadline(uv_timer_t *timer)
{
    struct bus_client *client = timer->data;
    client->timed_out = true;
}

void bus_client_wait(struct bus_client *client, const unsigned *counter, unsigned least)
{
    uv_update_time(&client->loop);
    uv_timer_start(&client->deadline, on_deadline, WAIT_MS, 0);
    while (*counter < least && !client->timed_out) {
        uv_run(&client->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&client->deadline);
    cr_assert_geq(*counter, least, "waited in vain for %u, got %u", least, *counter);
}

void bus_client_wait_up(struct bus_client *client, bool up)
{
    uv_update_time(&client->loop);
    uv_timer_start(&client->deadline, on_deadline, WAIT_MS, 0);
    while (client->bus->ops->is_up(client->link) != up && !client->timed_out) {
        uv_run(&client->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&client->deadline);
    cr_assert_eq(client->bus->ops->is_up(client->link), up);
}

struct expectation {
    struct bus_client *client;
    unsigned number;
};

static void on_reply(void *context, int status, const struct bus_reply *reply)
{
    struct expectation *expectation = context;
    struct bus_client *client = expectation->client;
    cr_assert_eq(status == 0, reply != NULL);
    if (status == 0) {
        client->out_of_order += expectation->number != client->replies + 1 ? 1 : 0;
        client->answered++;
        client->errors += reply->type == BUS_ERROR ? 1 : 0;
        client->last_type = reply->type;
        client->last_integer = reply->integer;
        copy_text(reply->text, client->last_text, sizeof(client->last_text));
    } else {
        client->unavailable += status == STATUS_UNAVAILABLE ? 1 : 0;
        client->cancelled += status == STATUS_CANCELLED ? 1 : 0;
    }
    client->replies++;
    free(expectation);
}

void bus_client_send(struct bus_client *client, const char *words, uint32_t timeout_ms)
{
    struct bytes argv[WORDS_MAX];
    size_t argc = 0;
    while (*words != '\0' && argc < WORDS_MAX) {
        size_t len = strcspn(words, " ");
        argv[argc++] = bytes_of(words, len);
        words += len;
        words += strspn(words, " ");
    }
    struct expectation *expectation = malloc(sizeof(*expectation));
    *expectation = (struct expectation){.client = client, .number = ++client->sent};
    unsigned before = client->replies;
    client->bus->ops->command(client->link, argv, argc, timeout_ms, on_reply, expectation);
    cr_assert_eq(client->replies, before, "answered before the call returned");
}

const char *bus_client_ask(struct bus_client *client, const char *words)
{
    bus_client_send(client, words, 0);
    bus_client_wait(client, &client->replies, client->sent);
    return client->last_text;
}
