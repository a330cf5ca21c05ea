/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that the store has of an inbox, as lines of JSON, read a page at a time as the peer takes it.
 *
 * A step asks the store for a page and writes what it has; the next one begins when the peer has
 * taken that. So an export holds a page, whatever the inbox holds and however slowly it is read.
 *
 * Order of this file: who may have one, lines, steps, answers of the store, the end.
 */
#include "actors/history/history_json.h"
#include "actors/inbox/inbox_devices.h"
#include "actors/inbox/inbox_preferences.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "codec/notification_json.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"
#include "hub/net/http_stream.h"
#include "hub/net/name_counts.h"
#include "sql/store.h"

enum { PAGE_ROWS = 100, PAGE_TOPICS = 100, PAGE_BYTES = 64 << 10 };

enum step {
    STEP_INBOX,
    STEP_PREFERENCES,
    STEP_DEVICES,
    STEP_TOPICS,
    STEP_SAID,
    STEP_ROWS,
    STEP_END
};

/* An export under way. It outlives its request while the store works for it. */
struct export_call {
    struct api_call api; /* first */
    struct shard *shard;
    const struct api_node *node;
    struct api_who who;
    struct store_user user; /* as the store sees `who` */
    struct http_stream stream; /* once `begun` */
    uint64_t name; /* its place in api_node.exports; 0: none */
    enum step step;
    bool begun; /* the head was sent */
    bool asking; /* the store works for it */
    bool over; /* nobody waits for what the store answers */
    bool tenants;
    struct store_position position; /* when it began: rows up to its seq are in it */
    uint64_t seq; /* of the last row that was read */
    uint64_t rows; /* that were written */
    uint64_t said; /* number of the last message that was read */
    union {
        struct store_request base;
        struct store_positions positions;
        struct store_preference preference;
        struct store_devices devices;
        struct store_topics topics;
        struct store_history_list said;
        struct store_list rows;
    } op;
    size_t after_len;
    char after[NAMES_ROOM_MAX]; /* the last topic */
};

/* Who may have one. */

/* The name of a user's exports; never 0. */
static uint64_t name_of(const struct api_who *who)
{
    uint64_t parts[] = {hash_bytes(who->tenant), hash_bytes(who->user)};
    uint64_t name = hash_bytes(bytes_of((const char *)parts, sizeof(parts)));
    return name != 0 ? name : 1;
}

/* Take the places that the export needs; false: the request was refused. */
static bool take_places(struct http_request *request, struct export_call *call)
{
    struct shard_stats *stats = &call->shard->stats;
    uint64_t name = name_of(&call->who);
    if (stats->exports.under_way >= api_shard(request)->settings->config->limits_exports) {
        stats->exports.refused++;
        api_refuse(request, &(struct api_error){.code = ERROR_UNAVAILABLE,
                                .message = "Too many exports at once, try again",
                                .retry_s = 1});
        return false;
    }
    if (!name_counts_take(call->node->exports, name, 1)) {
        stats->exports.refused++;
        api_refuse(request, &(struct api_error){.code = ERROR_RATE_LIMITED,
                                .message = "An export of this user is under way",
                                .retry_s = 1});
        return false;
    }
    call->name = name;
    stats->exports.under_way++;
    return true;
}

static void free_call(struct export_call *call)
{
    if (call->name != 0) {
        name_counts_release(call->node->exports, call->name);
        call->shard->stats.exports.under_way--;
    }
    api_call_end(&call->api);
    mem_free(call);
}

/* It is over: free it, now or when the store has answered. */
static void end_call(struct export_call *call)
{
    call->api.request = NULL;
    call->over = true;
    if (!call->asking) {
        free_call(call);
    }
}

/* Its peer is left with less than there is. */
static void break_off(struct export_call *call, int status)
{
    call->shard->stats.exports.broken++;
    log_warn("EXPORT-BROKEN", "an export was not completed: its client sees no end, and asks again",
        "tenant=%s user=%s rows=%llu why=%s", log_quote(call->who.tenant),
        log_quote(call->who.user), (unsigned long long)call->rows, status_name(status));
    http_stream_abort(&call->stream);
    end_call(call);
}

/* Lines. */

static void open_line(struct builder *out, const char *type)
{
    json_write_open(out, '{');
    json_write_text(out, "type", bytes_str(type));
}

static void close_line(struct builder *out)
{
    json_write_close(out, '}');
    builder_byte(out, '\n');
}

static void write_inbox(const struct export_call *call, struct builder *out)
{
    open_line(out, "inbox");
    json_write_text(out, "user", call->who.user);
    if (call->tenants) {
        json_write_text(out, "tenant", call->who.tenant);
    }
    json_write_u64(out, "seq", call->position.seq);
    json_write_u64(out, "rev", call->position.rev);
    json_write_u64(out, "unread", call->position.unread);
    json_write_u64(out, "unseen", call->position.unseen);
    json_write_time(out, "exportedAt", sched_wall(call->shard->sched));
    close_line(out);
}

/* Returns what makes it impossible. */
static int write_preferences(const struct export_call *call, struct builder *out)
{
    open_line(out, "preferences");
    json_write_key(out, "preferences");
    json_write_open(out, '{');
    int status = inbox_preferences_write(call->shard, &call->op.preference, out);
    json_write_close(out, '}');
    if (call->op.preference.hidden) {
        json_write_bool(out, "hidden", true);
    }
    close_line(out);
    return status;
}

static void write_devices(const struct store_devices *devices, struct builder *out)
{
    for (size_t i = 0; i < devices->count; i++) {
        open_line(out, "device");
        json_write_key(out, "device");
        inbox_devices_write(devices, i, out);
        close_line(out);
    }
}

static void write_topics(const struct store_topics *topics, struct builder *out)
{
    for (size_t i = 0; i < topics->count; i++) {
        open_line(out, "topic");
        json_write_text(out, "topic", topics->names[i]);
        close_line(out);
    }
}

/* What the user has said in rooms with a history. */
static void write_said(const struct store_history_list *said, struct builder *out)
{
    for (size_t i = 0; i < said->count; i++) {
        open_line(out, "message");
        json_write_text(out, "roomId", said->messages[i].room);
        history_json_message(&said->messages[i], out);
        close_line(out);
    }
}

/* Those that were there when it began; returns how many. */
static size_t write_rows(const struct export_call *call, struct builder *out)
{
    const struct store_list *list = &call->op.rows;
    size_t count = 0;
    while (count < list->count && list->items[count].seq <= call->position.seq) {
        const struct notification_item *item = &list->items[count++];
        open_line(out, "notification");
        json_write_text(out, "state", notification_state_name(item->state));
        json_write_key(out, "notification");
        notification_json_item(item, out);
        close_line(out);
    }
    return count;
}

static void write_end(const struct export_call *call, struct builder *out)
{
    open_line(out, "end");
    json_write_u64(out, "notifications", call->rows);
    close_line(out);
}

/* Steps. */

static void on_answered(struct store_request *request);

static struct store_list page_of_rows(const struct export_call *call)
{
    uint32_t most = call->shard->config->outbound_bytes;
    return (struct store_list){
        .base.op = STORE_ROWS,
        .who = call->user,
        .before.seq = call->seq,
        .limit = PAGE_ROWS,
        .max_bytes = most > 0 && most < PAGE_BYTES ? most : PAGE_BYTES,
    };
}

static struct store_topics page_of_topics(const struct export_call *call)
{
    return (struct store_topics){
        .base.op = STORE_TOPICS,
        .tenant = call->user.tenant,
        .of_user = true,
        .user = call->user.user,
        .after = bytes_of(call->after, call->after_len),
        .limit = PAGE_TOPICS,
    };
}

static struct store_history_list page_of_said(const struct export_call *call)
{
    return (struct store_history_list){
        .base.op = STORE_HISTORY_LIST,
        .tenant = call->user.tenant,
        .user = call->user.user,
        .after = call->said,
        .limit = PAGE_ROWS,
        .max_bytes = PAGE_BYTES,
    };
}

/* Ask the store for what the step is about. */
static void ask(struct export_call *call)
{
    memset(&call->op, 0, sizeof(call->op));
    if (call->shard->store == NULL) { /* the node ends */
        break_off(call, STATUS_CLOSED);
        return;
    }
    if (call->step == STEP_PREFERENCES) {
        call->op.preference =
            (struct store_preference){.base.op = STORE_PREFERENCE_READ, .who = call->user};
    } else if (call->step == STEP_DEVICES) {
        call->op.devices = (struct store_devices){.base.op = STORE_DEVICE_LIST, .who = call->user};
    } else if (call->step == STEP_TOPICS) {
        call->op.topics = page_of_topics(call);
    } else if (call->step == STEP_SAID) {
        call->op.said = page_of_said(call);
    } else {
        call->op.rows = page_of_rows(call);
    }
    call->op.base.done = on_answered;
    call->asking = true;
    api_call_renew(&call->api);
    store_submit(call->shard->store, &call->op.base);
}

static void on_more(struct http_stream *stream)
{
    struct export_call *call = container_of(stream, struct export_call, stream);
    struct builder out = {0};
    if (call->asking) {
        return;
    }
    switch (call->step) {
    case STEP_INBOX:
        write_inbox(call, &out);
        call->step = STEP_PREFERENCES;
        http_stream_write(stream, &out);
        break;
    case STEP_PREFERENCES:
    case STEP_DEVICES:
    case STEP_TOPICS:
    case STEP_SAID:
    case STEP_ROWS:
        ask(call);
        break;
    case STEP_END:
        call->shard->stats.exports.done++;
        http_stream_end(stream);
        end_call(call);
        break;
    }
}

/* Answers of the store. */

/* Keep where the next page of topics begins; false: there is none. */
static bool keep_topic(struct export_call *call)
{
    const struct store_topics *topics = &call->op.topics;
    if (!topics->more || topics->count == 0) {
        return false;
    }
    struct bytes last = topics->names[topics->count - 1];
    CHECK(last.len <= sizeof(call->after));
    memcpy(call->after, last.at, last.len);
    call->after_len = last.len;
    return true;
}

/* Write what was read, and choose the next step. */
static int take_page(struct export_call *call, struct builder *out)
{
    const struct store_list *list = &call->op.rows;
    size_t written;
    switch (call->step) {
    case STEP_PREFERENCES:
        call->step = STEP_DEVICES;
        return write_preferences(call, out);
    case STEP_DEVICES:
        call->step = STEP_TOPICS;
        write_devices(&call->op.devices, out);
        return 0;
    case STEP_TOPICS:
        write_topics(&call->op.topics, out);
        call->step = keep_topic(call) ? STEP_TOPICS : STEP_SAID;
        return 0;
    case STEP_SAID:
        write_said(&call->op.said, out);
        call->said = call->op.said.last;
        call->step = call->op.said.more ? STEP_SAID : STEP_ROWS;
        return 0;
    case STEP_ROWS:
        written = write_rows(call, out);
        call->rows += written;
        call->seq = list->next.seq;
        if (written < list->count || call->seq == 0 || call->seq >= call->position.seq) {
            write_end(call, out);
            call->step = STEP_END;
        }
        return 0;
    case STEP_INBOX:
    case STEP_END:
        break;
    }
    return STATUS_INVALID;
}

static void on_answered(struct store_request *request)
{
    struct export_call *call = container_of(request, struct export_call, op.base);
    struct builder out = {0};
    call->asking = false;
    api_call_pause(&call->api);
    if (call->over) {
        store_request_finish(request);
        free_call(call);
        return;
    }
    int status = request->status == 0 ? take_page(call, &out) : request->status;
    store_request_finish(request);
    if (status == 0 && builder_failed(&out)) {
        status = STATUS_NOMEM;
    }
    if (status != 0) {
        builder_reset(&out);
        break_off(call, status);
    } else if (builder_bytes(&out).len == 0) { /* nobody asks for more behind nothing */
        ask(call);
    } else {
        http_stream_write(&call->stream, &out);
    }
}

/* Its beginning and its end. */

/* The peer went or did not read, or the node ends. */
static void on_gone(struct http_stream *stream)
{
    struct export_call *call = container_of(stream, struct export_call, stream);
    call->shard->stats.exports.broken++;
    end_call(call);
}

static const struct http_stream_ops ops = {.more = on_more, .gone = on_gone};

static void on_overdue(struct api_call *api)
{
    struct export_call *call = container_of(api, struct export_call, api);
    if (call->begun) {
        break_off(call, STATUS_TIMEOUT);
    } else {
        api_refuse_unavailable(api->request);
    }
}

static void begin(struct export_call *call)
{
    struct http_request *request = call->api.request;
    const struct http_stream_head head = {
        .content_type = "application/x-ndjson",
        .headers = BYTES("Cache-Control: private, no-store\r\nVary: Accept-Encoding\r\n"),
        .coding = api_coding(request),
    };
    call->begun = http_stream_begin(&call->stream, request, &head, &ops);
    if (!call->begun) {
        free_call(call);
    }
}

static void on_positioned(struct store_request *request)
{
    struct export_call *call = container_of(request, struct export_call, op.base);
    int status = request->status;
    if (status == 0) {
        call->position = call->op.positions.positions[0];
    }
    store_request_finish(request);
    call->asking = false;
    api_call_pause(&call->api);
    if (call->api.request != NULL && status == 0) {
        begin(call);
        return;
    }
    if (call->api.request != NULL) {
        api_refuse_status(call->api.request, status);
    }
    free_call(call);
}

void api_export(struct http_request *request, void *context)
{
    const struct api_shard *shard = api_shard(request);
    (void)context;
    struct export_call *call = mem_alloc(sizeof(*call));
    call->shard = shard->shard;
    call->node = shard->node;
    call->tenants = shard->settings->config->auth_tenants;
    if (!api_auth_user(request, APIKEY_READ, true, &call->who)) {
        free_call(call);
        return;
    }
    if (call->shard->store == NULL) {
        api_refuse_unavailable(request);
        free_call(call);
        return;
    }
    if (!take_places(request, call)) {
        free_call(call);
        return;
    }
    call->user = (struct store_user){.tenant = call->who.tenant, .user = call->who.user};
    call->op.positions = (struct store_positions){
        .base = {.op = STORE_POSITIONS, .done = on_positioned}, .users = &call->user, .count = 1};
    call->asking = true;
    api_call_hold_store(&call->api, request, on_overdue);
    store_submit(call->shard->store, &call->op.base);
}
