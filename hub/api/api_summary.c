/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much a tenant's users were sent, and have read, by day and type.
 */
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/query.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"
#include "sql/store.h"

enum { DAYS_DEFAULT = 30, TYPES = 20, DAY_MS = 86400000, DATE_LEN = 10 };

/* A call under way. It outlives its request when the peer goes. */
struct summary_call {
    struct api_call api; /* first */
    struct api_who who;
    struct store_summary op;
};

static void free_call(struct summary_call *call)
{
    api_call_end(&call->api);
    mem_free(call);
}

/* The answer. */

static void write_date(struct builder *out, const char *key, uint64_t day)
{
    struct builder time = {0};
    int status = iso_time_write((int64_t)(day * DAY_MS), &time);
    if (status == 0 && !builder_failed(&time)) {
        json_write_text(out, key, bytes_of(builder_bytes(&time).at, DATE_LEN));
    }
    builder_reset(&time);
}

static void write_counts(struct builder *out, uint64_t posted, uint64_t read)
{
    json_write_u64(out, "posted", posted);
    json_write_u64(out, "read", read);
}

/* "name":{"posted","read"}: a type is any text. */
static void write_type(struct builder *out, const struct store_summary_row *row, bool first)
{
    builder_str(out, first ? "" : ",");
    json_scan_write_string(out, row->type);
    builder_byte(out, ':');
    json_write_open(out, '{');
    write_counts(out, row->posted, row->read);
    json_write_close(out, '}');
}

/* The rows of a day, of which those of all other types are the last. */
static void write_day(
    struct builder *out, uint64_t day, const struct store_summary_row *rows, size_t count)
{
    uint64_t posted = 0;
    uint64_t read = 0;
    for (size_t i = 0; i < count; i++) {
        posted += rows[i].posted;
        read += rows[i].read;
    }
    bool others = count > 0 && rows[count - 1].type.len == 0;
    json_write_next(out);
    json_write_open(out, '{');
    write_date(out, "day", day);
    write_counts(out, posted, read);
    json_write_key(out, "types");
    json_write_open(out, '{');
    for (size_t i = 0; i + others < count; i++) {
        write_type(out, &rows[i], i == 0);
    }
    json_write_close(out, '}');
    if (others) {
        json_write_key(out, "others");
        json_write_open(out, '{');
        write_counts(out, rows[count - 1].posted, rows[count - 1].read);
        json_write_close(out, '}');
    }
    json_write_close(out, '}');
}

static void write_days(struct builder *out, const struct store_summary *summary)
{
    size_t at = 0;
    json_write_key(out, "days");
    json_write_open(out, '[');
    for (uint64_t day = summary->from; day <= summary->to; day++) {
        size_t count = 0;
        while (at + count < summary->count && summary->rows[at + count].day == day) {
            count++;
        }
        write_day(out, day, &summary->rows[at], count);
        at += count;
    }
    json_write_close(out, ']');
}

static void answer(struct summary_call *call)
{
    const struct store_summary *summary = &call->op;
    struct builder out = {0};
    uint64_t posted = 0;
    uint64_t read = 0;
    for (size_t i = 0; i < summary->count; i++) {
        posted += summary->rows[i].posted;
        read += summary->rows[i].read;
    }
    json_write_open(&out, '{');
    write_date(&out, "from", summary->from);
    write_date(&out, "to", summary->to);
    write_counts(&out, posted, read);
    write_days(&out, summary);
    json_write_close(&out, '}');
    api_answer(call->api.request, 200, BYTES("Cache-Control: private, no-store\r\n"), &out);
}

/* Asking. */

static void on_overdue(struct api_call *api)
{
    api_refuse_unavailable(api->request);
}

static void on_done(struct store_request *request)
{
    struct summary_call *call = container_of(request, struct summary_call, op.base);
    if (call->api.request != NULL && request->status == 0) {
        answer(call);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, request->status);
    }
    store_request_finish(request);
    free_call(call);
}

/* The days that are asked for; false: the request was answered. */
static bool read_days(struct http_request *request, uint64_t *ret_days)
{
    char at[8];
    struct bytes text;
    uint64_t days = DAYS_DEFAULT;
    int status = query_get(request->query, "days", at, sizeof(at), &text);
    if (status != STATUS_NOT_FOUND &&
        (status != 0 || bytes_to_u64(text, STORE_SUMMARY_DAYS_MAX, &days) != 0 || days == 0)) {
        api_refuse_field(request, "days", "A number from 1 to 366");
        return false;
    }
    *ret_days = days;
    return true;
}

void api_summary_show(struct http_request *request, void *context)
{
    const struct shard *shard = api_shard(request)->shard;
    uint64_t days;
    (void)context;
    struct summary_call *call = mem_alloc(sizeof(*call));
    if (!api_auth_backend(request, APIKEY_READ, &call->who) || !read_days(request, &days)) {
        free_call(call);
        return;
    }
    if (shard->store == NULL) {
        api_refuse_unavailable(request);
        free_call(call);
        return;
    }
    uint64_t today = sched_wall(shard->sched) / DAY_MS;
    call->op = (struct store_summary){
        .base = {.op = STORE_SUMMARY, .done = on_done},
        .tenant = call->who.tenant,
        .from = today >= days ? today - days + 1 : 0,
        .to = today,
        .types = TYPES,
    };
    api_call_hold_store(&call->api, request, on_overdue);
    store_submit(shard->store, &call->op.base);
}
