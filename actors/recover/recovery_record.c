/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a socket: what another node needs to continue it, as JSON in Redis.
 *
 * Places are those of the replay stream, which mean the same on every node; numbers are of the log
 * whose name the record has.
 */
#include "actors/order/bus_origin.h"
#include "actors/recover/recovery_state.h"
#include "actors/rooms/room.h"
#include "actors/shard.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"

enum { EPOCH_MAX = 64, SPANS_MAX = 4096, SPAN_PRESENCE = 1, SPAN_GRANTED = 2, SPAN_FLAGS_MAX = 3 };

/* Writing. */

static void write_place(struct stream_id place, struct builder *out)
{
    builder_byte(out, '"');
    stream_id_write(place, out);
    builder_byte(out, '"');
}

static void write_named_place(const char *key, struct stream_id place, struct builder *out)
{
    json_write_key(out, key);
    write_place(place, out);
}

/* ["name","from","to" or null,flags] */
static void write_span(const struct room_span *span, struct builder *out)
{
    unsigned flags = (span->presence ? SPAN_PRESENCE : 0u) | (span->granted ? SPAN_GRANTED : 0u);
    json_write_next(out);
    json_write_open(out, '[');
    json_scan_write_string(out, span->name);
    json_write_next(out);
    write_place(span->from.stream, out);
    json_write_next(out);
    if (span->over) {
        write_place(span->to.stream, out);
    } else {
        builder_str(out, "null");
    }
    json_write_next(out);
    builder_u64(out, flags);
    json_write_close(out, ']');
}

void recovery_record_write_home(const struct shard *shard, struct builder *out)
{
    builder_printf(out, "%s:%u", shard->config->node, sched_shard(shard->sched));
}

void recovery_record_write(const struct recoverable *recoverable, struct builder *out)
{
    const struct recovery *recovery = recoverable->recovery;
    const struct shard *shard = recovery->fanout->shard;
    json_write_open(out, '{');
    json_write_key(out, "home");
    builder_byte(out, '"');
    recovery_record_write_home(shard, out);
    builder_byte(out, '"');
    json_write_u64(out, "version", bus_origin_version(shard));
    json_write_text(out, "epoch", bytes_str(shard->config->epoch));
    json_write_text(out, "lease", recovery_lease_name(recovery->lease));
    bool connected = recoverable->socket != NULL && !recoverable->one_way;
    json_write_u64(out, "round", connected ? recovery_lease_round(recovery->lease) : 0);
    json_write_text(out, "sid", bytes_of(recoverable->sid, SOCKET_SID_LEN));
    json_write_text(out, "owner", buf_bytes(recoverable->owner));
    json_write_text(out, "log", replay_name(recovery->replay));
    json_write_u64(out, "number", recoverable->member.acked.number);
    json_write_u64(out, "direct", recoverable->last_direct);
    if (recoverable->one_way) {
        json_write_bool(out, "listens", true);
    }
    write_named_place("had", recoverable->member.acked.stream, out);
    write_named_place("floor", recoverable->forgotten_to.stream, out);
    json_write_key(out, "stays");
    json_write_open(out, '[');
    for (uint32_t i = 0; i < recoverable->span_count; i++) {
        write_span(&recoverable->spans[i], out);
    }
    json_write_close(out, ']');
    json_write_close(out, '}');
}

/* Reading. */

struct record {
    uint64_t version;
    struct bytes epoch;
    struct bytes sid;
    struct bytes owner; /* decoded into `owner_at` */
    struct bytes log;
    uint64_t round; /* 0: the lease says nothing about where its client stands */
    uint64_t number;
    uint64_t last_direct;
    bool one_way;
    struct stream_id acked;
    struct stream_id forgotten_to;
    struct bytes spans; /* JSON array */
    char epoch_at[EPOCH_MAX];
    char sid_at[SOCKET_SID_LEN];
    char owner_at[WIRE_KEY_MAX];
    char log_at[REPLAY_NAME_LEN];
};

static int read_text(
    struct bytes object, const char *key, char *at, size_t size, struct bytes *ret_text)
{
    struct bytes value;
    int status = json_scan_get(object, key, &value);
    return status == 0 ? json_scan_string(value, at, size, ret_text) : status;
}

static int read_number(struct bytes object, const char *key, uint64_t *ret_number)
{
    struct bytes value;
    int status = json_scan_get(object, key, &value);
    return status == 0 ? json_scan_u64(value, ret_number) : status;
}

static int read_place(struct bytes value, struct stream_id *ret_place)
{
    char at[48];
    struct bytes text;
    int status = json_scan_string(value, at, sizeof(at), &text);
    return status == 0 ? stream_id_read(text, ret_place) : status;
}

static int get_place(struct bytes object, const char *key, struct stream_id *ret_place)
{
    struct bytes value;
    int status = json_scan_get(object, key, &value);
    return status == 0 ? read_place(value, ret_place) : status;
}

/* Whether a member is there and true. */
static bool is_set(struct bytes object, const char *key)
{
    struct bytes value;
    return json_scan_get(object, key, &value) == 0 && json_scan_kind(value) == JSON_SCAN_TRUE;
}

/* What a record says in words. */
static int read_texts(struct bytes object, struct record *record)
{
    const struct {
        const char *key;
        char *at;
        size_t size;
        struct bytes *text;
    } texts[] = {
        {"epoch", record->epoch_at, sizeof(record->epoch_at), &record->epoch},
        {"sid", record->sid_at, sizeof(record->sid_at), &record->sid},
        {"owner", record->owner_at, sizeof(record->owner_at), &record->owner},
        {"log", record->log_at, sizeof(record->log_at), &record->log},
    };
    int status = 0;
    for (size_t i = 0; i < ARRAY_LEN(texts) && status == 0; i++) {
        status = read_text(object, texts[i].key, texts[i].at, texts[i].size, texts[i].text);
    }
    return status;
}

/* Read a record into zeroed memory. */
static int read_record(struct bytes text, struct record *ret_record)
{
    struct record *record = ret_record;
    struct bytes object;
    int status = json_scan_text(text, 8, &object, NULL);
    if (status == 0 && json_scan_kind(object) != JSON_SCAN_OBJECT) {
        status = STATUS_INVALID;
    }
    status = status ? status : read_texts(object, record);
    status = status ? status : read_number(object, "version", &record->version);
    status = status ? status : read_number(object, "round", &record->round);
    status = status ? status : read_number(object, "number", &record->number);
    status = status ? status : read_number(object, "direct", &record->last_direct);
    status = status ? status : get_place(object, "had", &record->acked);
    status = status ? status : get_place(object, "floor", &record->forgotten_to);
    status = status ? status : json_scan_get(object, "stays", &record->spans);
    record->one_way = status == 0 && is_set(object, "listens");
    if (status == 0 &&
        (record->sid.len != SOCKET_SID_LEN || json_scan_kind(record->spans) != JSON_SCAN_ARRAY)) {
        status = STATUS_INVALID;
    }
    return status;
}

/* A text that needs no escapes, as it stands. */
static bool peek_text(struct bytes object, const char *key, struct bytes *ret_text)
{
    struct bytes value;
    if (json_scan_get(object, key, &value) != 0 || json_scan_kind(value) != JSON_SCAN_STRING) {
        return false;
    }
    *ret_text = bytes_of(value.at + 1, value.len - 2);
    return true;
}

int recovery_record_origin(struct bytes record, struct record_origin *ret_origin)
{
    bool good = json_scan_text(record, 8, &record, NULL) == 0 &&
                json_scan_kind(record) == JSON_SCAN_OBJECT &&
                peek_text(record, "home", &ret_origin->home) &&
                peek_text(record, "lease", &ret_origin->lease);
    return good ? 0 : STATUS_INVALID;
}

/* One span; its name is in `at` (WIRE_NAME_MAX bytes). */
static int read_span(struct bytes text, char *at, struct room_span *ret_stay)
{
    struct json_scan_iter iter;
    struct bytes part[4];
    uint64_t flags;
    struct room_span span = {0};
    if (json_scan_kind(text) != JSON_SCAN_ARRAY || !json_scan_iter_init(&iter, text)) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < ARRAY_LEN(part); i++) {
        if (!json_scan_element(&iter, &part[i])) {
            return STATUS_INVALID;
        }
    }
    span.over = json_scan_kind(part[2]) == JSON_SCAN_STRING;
    int status = json_scan_string(part[0], at, WIRE_NAME_MAX, &span.name);
    status = status ? status : read_place(part[1], &span.from.stream);
    status = status || !span.over ? status : read_place(part[2], &span.to.stream);
    status = status ? status : json_scan_u64(part[3], &flags);
    if (status != 0 || flags > SPAN_FLAGS_MAX) {
        return STATUS_INVALID;
    }
    span.presence = flags & SPAN_PRESENCE;
    span.granted = flags & SPAN_GRANTED;
    *ret_stay = span;
    return 0;
}

static int read_spans(struct bytes text, struct recoverable *recoverable)
{
    struct json_scan_iter iter;
    struct bytes each;
    bool good = json_scan_iter_init(&iter, text);
    while (good && json_scan_element(&iter, &each)) {
        char at[WIRE_NAME_MAX];
        struct room_span span;
        if (recoverable->span_count >= SPANS_MAX || read_span(each, at, &span) != 0) {
            return STATUS_INVALID;
        }
        if (!recovery_add_span(recoverable, &span)) {
            return STATUS_NOMEM;
        }
    }
    return 0;
}

/* Adopting. */

/* Where the client stands in the stream; false: an event to it alone was sent behind that. */
static bool find_place(
    const struct record *record, struct bytes offset_text, struct stream_id *ret_place)
{
    struct replay_offset offset;
    uint64_t number = record->number;
    *ret_place = record->acked;
    if (replay_read_offset(offset_text, &offset) == 0) {
        if (stream_id_cmp(offset.at.stream, record->acked) > 0) {
            *ret_place = offset.at.stream;
        }
        if (bytes_eq(offset.name, record->log) && offset.at.number > number) {
            number = offset.at.number;
        }
    }
    return record->last_direct <= number;
}

/* The number here of a place in the stream that has to do with events behind `after`. */
static int number_of(const struct replay *replay, struct stream_id place, struct stream_id after,
    uint64_t *ret_number)
{
    if (stream_id_cmp(place, after) <= 0) {
        *ret_number = 0; /* whatever was before counts for nothing any more */
        return 0;
    }
    return replay_find(replay, place, ret_number);
}

static int place_spans(struct recoverable *recoverable, struct stream_id after)
{
    const struct replay *replay = recoverable->recovery->replay;
    int status = 0;
    for (uint32_t i = 0; i < recoverable->span_count && status == 0; i++) {
        struct room_span *span = &recoverable->spans[i];
        status = number_of(replay, span->from.stream, after, &span->from.number);
        if (status == 0 && span->over) {
            status = number_of(replay, span->to.stream, after, &span->to.number);
        }
    }
    return status;
}

/* Put what was read where it belongs in this node's log. */
static int place_record(
    struct recoverable *recoverable, const struct record *record, struct stream_id place)
{
    struct replay *replay = recoverable->recovery->replay;
    char at[WIRE_NAME_MAX];
    struct replay_reader reader = recovery_reader(recoverable, at);
    if (stream_id_cmp(record->forgotten_to, place) > 0) {
        return STATUS_NOT_FOUND;
    }
    int status = replay_find(replay, place, &recoverable->member.acked.number);
    if (status != 0) {
        return status;
    }
    if (replay_lacks(replay, &reader, place)) {
        return STATUS_NOT_FOUND;
    }
    recoverable->member.acked.stream = place;
    recoverable->pinged = recoverable->member.acked;
    recoverable->forgotten_to = (struct replay_at){.stream = record->forgotten_to};
    recoverable->adopted_at = replay_last(replay).number;
    return place_spans(recoverable, place);
}

static void free_unplaced(struct recoverable *recoverable)
{
    for (uint32_t i = 0; i < recoverable->span_count; i++) {
        mem_free((char *)(uintptr_t)recoverable->spans[i].name.at);
    }
    mem_free(recoverable->spans);
    buf_unref(recoverable->owner);
    mem_free(recoverable);
}

static void recount(const struct recoverable *recoverable)
{
    struct fanout *fanout = recoverable->recovery->fanout;
    for (uint32_t i = 0; i < recoverable->span_count; i++) {
        if (!recoverable->spans[i].over) {
            room_recount(fanout->shard, fanout_nsp(fanout), recoverable->spans[i].name);
        }
    }
}

/* The client has come farther than it had when the record was written, as the lease says. */
static void move_on(struct record *record, struct bytes lease)
{
    struct replay_at at;
    if (recovery_lease_read(lease, record->round, &at) && at.number > record->number) {
        record->number = at.number;
        record->acked = at.stream;
    }
}

int recovery_record_adopt(struct recovery *recovery, struct bytes text, struct bytes lease,
    struct bytes owner, struct bytes pid, struct bytes offset)
{
    struct record record = {0};
    struct stream_id place;
    int status = read_record(text, &record);
    if (status != 0) {
        return status;
    }
    move_on(&record, lease);
    if (!bus_origin_is_ours(
            recovery->fanout->shard, "recovery record", record.epoch, record.version) ||
        !bytes_eq(record.owner, owner) || pid.len != RECOVERY_PID_LEN ||
        map_get(&recovery->by_pid, pid) != NULL || map_get(&recovery->by_sid, record.sid) != NULL ||
        !find_place(&record, offset, &place)) {
        return STATUS_NOT_FOUND;
    }
    struct recoverable *made = mem_try_calloc(1, sizeof(*made));
    if (made == NULL) {
        return STATUS_NOMEM;
    }
    made->recovery = recovery;
    made->one_way = record.one_way;
    made->owner = buf_new_name(owner);
    memcpy(made->sid, record.sid.at, SOCKET_SID_LEN);
    memcpy(made->pid, pid.at, RECOVERY_PID_LEN);
    status = read_spans(record.spans, made);
    status = status ? status : place_record(made, &record, place);
    if (status == 0 && !recovery_put(recovery, made)) {
        status = STATUS_NOMEM;
    }
    if (status != 0) {
        free_unplaced(made);
        return status;
    }
    recount(made);
    recovery_wait(made, recovery->fanout->shard->config->recovery.age_ms);
    return 0;
}
