/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a loop until an answer has come, for commands that have nothing else to do.
 */
#include "hub/redis/redis_sync.h"

#include <uv.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/redis/redis.h"
#include "hub/redis/redis_bus.h"

enum { CONNECT_MS = 5000, POLL_MS = 10, COMMAND_MS = 30000 };

struct redis_sync {
    uv_loop_t loop;
    uv_timer_t timer; /* runs while connecting, so that the deadline is seen */
    struct bus *bus;
    struct bus_link *link;
    size_t pending;
    bool up;
};

/* A command whose answers are awaited. */
struct call {
    struct redis_sync *sync;
    unsigned left; /* of them */
    bus_reply_fn fn;
    void *context;
};

static void on_up(void *context)
{
    struct redis_sync *sync = context;
    sync->up = true;
}

static void on_poll(uv_timer_t *timer)
{
    (void)timer; /* it only wakes the loop */
}

void redis_sync_pause(struct redis_sync *sync, uint32_t ms)
{
    uv_update_time(&sync->loop);
    uint64_t deadline = uv_now(&sync->loop) + ms;
    uv_timer_start(&sync->timer, on_poll, ms, POLL_MS);
    while (uv_now(&sync->loop) < deadline) {
        uv_run(&sync->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&sync->timer);
}

static int wait_up(struct redis_sync *sync, struct builder *error)
{
    uint64_t deadline = uv_now(&sync->loop) + CONNECT_MS;
    uv_timer_start(&sync->timer, on_poll, POLL_MS, POLL_MS);
    int why = 0;
    const char *text = "";
    while (!sync->up && uv_now(&sync->loop) < deadline && why != STATUS_UNAUTHORIZED) {
        uv_run(&sync->loop, UV_RUN_ONCE);
        text = redis_explain(sync->bus, sync->link, &why);
    }
    uv_timer_stop(&sync->timer);
    if (!sync->up) {
        builder_str(error, "Redis cannot be used (");
        redis_url_show(&container_of(sync->bus, struct redis_bus, bus)->target.url, error);
        builder_printf(
            error, "): %s", text[0] != '\0' ? text : "the server did not answer in time");
        return why == STATUS_UNAUTHORIZED ? why : STATUS_UNAVAILABLE;
    }
    return 0;
}

int redis_sync_open(
    const struct redis_target *target, struct builder *error, struct redis_sync **ret_sync)
{
    static const struct bus_events events = {.on_up = on_up};
    struct redis_sync *sync = mem_alloc(sizeof(*sync));
    struct redis_options options = {.target = target, .quiet = true};
    CHECK(uv_loop_init(&sync->loop) == 0);
    sync->bus = redis_create(&sync->loop, &options);
    uv_timer_init(&sync->loop, &sync->timer);
    sync->link = sync->bus->ops->open(sync->bus, "peal-command", &events, sync);
    int status = wait_up(sync, error);
    if (status != 0) {
        redis_sync_close(sync);
        return status;
    }
    *ret_sync = sync;
    return 0;
}

int redis_sync_reach(const struct config *config, const char *url, struct builder *error,
    struct redis_sync **ret_sync)
{
    struct redis_target target;
    int status = redis_target_init(config, url, error, &target);
    if (status == 0) {
        status = redis_sync_open(&target, error, ret_sync);
        redis_target_finish(&target);
    }
    return status;
}

void redis_sync_close(struct redis_sync *sync)
{
    if (sync == NULL) {
        return;
    }
    sync->bus->ops->close(sync->link);
    redis_close(sync->bus, NULL, NULL);
    uv_close((uv_handle_t *)&sync->timer, NULL);
    uv_run(&sync->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&sync->loop) == 0);
    mem_free(sync);
}

static void on_reply(void *context, int status, const struct bus_reply *reply)
{
    struct call *call = context;
    call->sync->pending--;
    call->fn(call->context, status, reply);
    if (--call->left == 0) {
        mem_free(call);
    }
}

void redis_sync_send_each(
    struct redis_sync *sync, const struct bytes *argv, size_t argc, bus_reply_fn fn, void *context)
{
    struct call *call = mem_alloc(sizeof(*call));
    *call = (struct call){.sync = sync, .fn = fn, .context = context};
    call->left = bus_command_each(sync->bus, sync->link, argv, argc, on_reply, call);
    sync->pending += call->left;
}

void redis_sync_send(
    struct redis_sync *sync, const struct bytes *argv, size_t argc, bus_reply_fn fn, void *context)
{
    struct call *call = mem_alloc(sizeof(*call));
    *call = (struct call){.sync = sync, .fn = fn, .context = context, .left = 1};
    sync->pending++;
    sync->bus->ops->command(sync->link, argv, argc, COMMAND_MS, on_reply, call);
}

void redis_sync_write_fault(int status, const struct bus_reply *reply, struct builder *out)
{
    if (status != 0) {
        builder_str(out, "the connection was lost");
    } else if (reply->type == BUS_ERROR) {
        builder_add(out, reply->text);
    }
}

void redis_sync_wait(struct redis_sync *sync, size_t max_pending)
{
    while (sync->pending > max_pending) {
        uv_run(&sync->loop, UV_RUN_ONCE);
    }
}
