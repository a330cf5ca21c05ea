/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_check - look at the server once, before the shards start, on a loop of its own.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base/status.h"
#include "codec/redis_info.h"
#include "hub/redis/redis.h"
#include "hub/redis/redis_bus.h"

enum { CHECK_TIMEOUT_MS = 10000, POLL_MS = 20, VERSION_MIN = 7 };

struct check {
    uv_loop_t loop;
    uv_timer_t timer;
    struct bus *bus;
    struct bus_link *link;
    struct builder *error;
    struct redis_report report;
    uint64_t deadline;
    unsigned waiting; /* for so many answers */
    int status;
    bool done;
};

static void finish(struct check *check, int status)
{
    if (check->done) {
        return;
    }
    check->done = true;
    check->status = status;
    uv_close((uv_handle_t *)&check->timer, NULL);
}

static const struct redis_url *target_of(const struct check *check)
{
    return &container_of(check->bus, struct redis_bus, bus)->target.url;
}

static void copy_text(struct bytes text, char *ret_text, size_t size)
{
    size_t len = text.len < size ? text.len : size - 1;
    if (len > 0) {
        memcpy(ret_text, text.at, len);
    }
    ret_text[len] = '\0';
}

static void read_info(struct bytes info, struct redis_report *report)
{
    copy_text(redis_info_field(info, "redis_version"), report->version, sizeof(report->version));
    copy_text(
        redis_info_field(info, "maxmemory_policy"), report->eviction, sizeof(report->eviction));
    if (sscanf(report->version, "%5u.%5u", &report->version_major, &report->version_minor) < 1) {
        report->version_major = 0;
    }
    bool append_only = bytes_eq(redis_info_field(info, "aof_enabled"), BYTES("1"));
    report->append_only = append_only && (report->masters == 0 || report->append_only);
    report->masters++;
    report->is_replica = bytes_eq(redis_info_field(info, "role"), BYTES("slave"));
    report->is_sentinel = bytes_eq(redis_info_field(info, "redis_mode"), BYTES("sentinel"));
    report->is_cluster = bytes_eq(redis_info_field(info, "redis_mode"), BYTES("cluster"));
}

static int judge(const struct redis_report *report, bool as_cluster, struct builder *error)
{
    if (report->is_sentinel) {
        builder_str(error, "this is a sentinel: its address begins with redis+sentinel://, and "
                           "behind it stands the name of the master");
    } else if (report->version_major < VERSION_MIN) {
        builder_printf(error, "Redis %s is too old: version 7 or newer is needed",
            report->version[0] != '\0' ? report->version : "(version unknown)");
    } else if (report->is_cluster && !as_cluster) {
        builder_str(error, "this is a server of a cluster: its address begins with "
                           "redis+cluster://");
    } else if (report->is_replica && !as_cluster) {
        builder_str(error, "this Redis is a replica: give the address of the primary");
    } else if (strncmp(report->eviction, "allkeys-", 8) == 0) {
        builder_printf(error,
            "Redis evicts keys of its own choice (maxmemory-policy %s), which would lose "
            "accepted notifications: set noeviction or a volatile-* policy",
            report->eviction);
    } else {
        return 0;
    }
    return STATUS_UNSUPPORTED;
}

static void on_info(void *context, int status, const struct bus_reply *reply)
{
    struct check *check = context;
    if (check->done || status != 0) {
        return; /* the link tries again until the deadline */
    }
    if (reply->type == BUS_STRING) {
        read_info(reply->text, &check->report);
        int wrong = judge(&check->report, target_of(check)->kind == REDIS_CLUSTER, check->error);
        if (--check->waiting == 0 || wrong != 0) {
            finish(check, wrong);
        }
    } else if (reply->type == BUS_ERROR) {
        builder_printf(check->error, "Redis refuses INFO, which Peal needs at start: %.*s",
            (int)(reply->text.len < 120 ? reply->text.len : 120), reply->text.at);
        finish(check, STATUS_UNAUTHORIZED);
    } else {
        builder_str(check->error, "Redis gave an odd answer to INFO");
        finish(check, STATUS_UNSUPPORTED);
    }
}

static void on_up(void *context)
{
    struct check *check = context;
    const struct bytes argv[] = {BYTES("INFO")};
    check->waiting =
        bus_command_each(check->bus, check->link, argv, ARRAY_LEN(argv), on_info, check);
    check->report.masters = 0;
}

static void on_poll(uv_timer_t *timer)
{
    struct check *check = timer->data;
    int why = 0;
    const char *text = redis_explain(check->bus, check->link, &why);
    bool refused = why == STATUS_UNAUTHORIZED;
    bool loading = strstr(text, "LOADING") != NULL; /* whoever asked decides how long to wait */
    if (refused || loading || uv_now(timer->loop) >= check->deadline) {
        builder_str(check->error, "Redis cannot be used (");
        redis_url_show(target_of(check), check->error);
        builder_printf(
            check->error, "): %s", text[0] != '\0' ? text : "the server did not answer in time");
        finish(check, refused ? STATUS_UNAUTHORIZED : STATUS_UNAVAILABLE);
    }
}

int redis_check(const struct redis_options *options, uint32_t timeout_ms, struct builder *error,
    struct redis_report *ret_report)
{
    struct check check = {.error = error};
    struct redis_options quiet = *options;
    quiet.quiet = true;
    CHECK(uv_loop_init(&check.loop) == 0);
    check.bus = redis_create(&check.loop, &quiet);
    static const struct bus_events events = {.on_up = on_up};
    check.link = check.bus->ops->open(check.bus, "peal-check", &events, &check);
    uv_timer_init(&check.loop, &check.timer);
    check.timer.data = &check;
    check.deadline = uv_now(&check.loop) + (timeout_ms != 0 ? timeout_ms : CHECK_TIMEOUT_MS);
    uv_timer_start(&check.timer, on_poll, POLL_MS, POLL_MS);
    while (!check.done) {
        uv_run(&check.loop, UV_RUN_ONCE);
    }
    check.bus->ops->close(check.link);
    redis_close(check.bus, NULL, NULL);
    uv_run(&check.loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&check.loop) == 0);
    if (check.status == 0) {
        *ret_report = check.report;
    }
    return check.status;
}
