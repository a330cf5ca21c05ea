/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the loop until what the test waits for has been recorded, or a deadline is over.
 */
#include "tests/support/bus_probe.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/status.h"

enum { WAIT_MS = 20000, WORDS_MAX = 16 };

static void copy_text(struct bytes text, char *ret_text, size_t size)
{
    size_t len = text.len < size ? text.len : size - 1;
    memcpy(ret_text, text.len > 0 ? text.at : "", len);
    ret_text[len] = '\0';
}

static void on_up(void *context)
{
    struct bus_probe *probe = context;
    cr_assert(probe->bus->ops->is_up(probe->link));
    probe->ups++;
}

static void on_down(void *context)
{
    struct bus_probe *probe = context;
    cr_assert_not(probe->bus->ops->is_up(probe->link));
    probe->downs++;
}

static void on_subscribed(void *context, struct bytes channel)
{
    struct bus_probe *probe = context;
    copy_text(channel, probe->last_channel, sizeof(probe->last_channel));
    probe->subscribed++;
}

static void on_message(void *context, struct bytes channel, struct bytes payload)
{
    struct bus_probe *probe = context;
    copy_text(channel, probe->last_channel, sizeof(probe->last_channel));
    copy_text(payload, probe->last_payload, sizeof(probe->last_payload));
    probe->last_payload_len = payload.len;
    probe->messages++;
}

void bus_probe_open(struct bus_probe *probe, const struct redis_options *options)
{
    static const struct bus_events events = {
        .on_up = on_up,
        .on_down = on_down,
        .on_subscribed = on_subscribed,
        .on_message = on_message,
    };
    *probe = (struct bus_probe){0};
    struct builder error = {.max = 1024};
    cr_assert_eq(uv_loop_init(&probe->loop), 0);
    uv_timer_init(&probe->loop, &probe->deadline);
    probe->deadline.data = probe;
    int status = redis_create(&probe->loop, options, &error, &probe->bus);
    cr_assert_eq(status, 0, "%.*s", (int)builder_bytes(&error).len, builder_bytes(&error).at);
    builder_reset(&error);
    probe->link = probe->bus->ops->open(probe->bus, "probe", &events, probe);
}

static void on_bus_closed(void *context)
{
    unsigned *closed = context;
    *closed = 1;
}

void bus_probe_close(struct bus_probe *probe)
{
    unsigned closed = 0;
    if (probe->link != NULL) {
        probe->bus->ops->close(probe->link);
        probe->link = NULL;
    }
    cr_assert_eq(
        probe->replies, probe->sent, "%u commands, %u answers", probe->sent, probe->replies);
    redis_close(probe->bus, on_bus_closed, &closed);
    bus_probe_wait(probe, &closed, 1);
    uv_close((uv_handle_t *)&probe->deadline, NULL);
    uv_run(&probe->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&probe->loop), 0);
}

static void on_deadline(uv_timer_t *timer)
{
    struct bus_probe *probe = timer->data;
    probe->timed_out = true;
}

void bus_probe_wait(struct bus_probe *probe, const unsigned *counter, unsigned least)
{
    uv_update_time(&probe->loop);
    uv_timer_start(&probe->deadline, on_deadline, WAIT_MS, 0);
    while (*counter < least && !probe->timed_out) {
        uv_run(&probe->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&probe->deadline);
    cr_assert_geq(*counter, least, "waited in vain for %u, got %u", least, *counter);
}

void bus_probe_wait_up(struct bus_probe *probe, bool up)
{
    uv_update_time(&probe->loop);
    uv_timer_start(&probe->deadline, on_deadline, WAIT_MS, 0);
    while (probe->bus->ops->is_up(probe->link) != up && !probe->timed_out) {
        uv_run(&probe->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&probe->deadline);
    cr_assert_eq(probe->bus->ops->is_up(probe->link), up);
}

struct expectation {
    struct bus_probe *probe;
    unsigned number;
};

static void on_reply(void *context, int status, const struct bus_reply *reply)
{
    struct expectation *expectation = context;
    struct bus_probe *probe = expectation->probe;
    cr_assert_eq(status == 0, reply != NULL);
    if (status == 0) {
        probe->out_of_order += expectation->number != probe->replies + 1 ? 1 : 0;
        probe->answered++;
        probe->errors += reply->type == BUS_ERROR ? 1 : 0;
        probe->last_type = reply->type;
        probe->last_integer = reply->integer;
        copy_text(reply->text, probe->last_text, sizeof(probe->last_text));
    } else {
        probe->unavailable += status == STATUS_UNAVAILABLE ? 1 : 0;
        probe->cancelled += status == STATUS_CANCELLED ? 1 : 0;
    }
    probe->replies++;
    free(expectation);
}

void bus_probe_send(struct bus_probe *probe, const char *words, uint32_t timeout_ms)
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
    *expectation = (struct expectation){.probe = probe, .number = ++probe->sent};
    unsigned before = probe->replies;
    probe->bus->ops->command(probe->link, argv, argc, timeout_ms, on_reply, expectation);
    cr_assert_eq(probe->replies, before, "answered before the call returned");
}

const char *bus_probe_ask(struct bus_probe *probe, const char *words)
{
    bus_probe_send(probe, words, 0);
    bus_probe_wait(probe, &probe->replies, probe->sent);
    return probe->last_text;
}
