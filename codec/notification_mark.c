/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what a caller wants marked out of the argument, and writes what was.
 *
 * Order of this file: the verbs, arguments, answers.
 */
#include "codec/notification_mark.h"

#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"
#include "codec/names.h"

/* The verbs. */

#define UNREAD (1u << NOTIFICATION_UNREAD)
#define SEEN (1u << NOTIFICATION_SEEN)
#define READ (1u << NOTIFICATION_READ)
#define ARCHIVED (1u << NOTIFICATION_ARCHIVED)
#define SNOOZED (1u << NOTIFICATION_SNOOZED)

static const struct {
    uint32_t by_id;
    uint32_t bulk;
    uint32_t lost; /* where a row that was changed elsewhere has lost the verb, besides by_id */
} states_of[NOTIFICATION_VERB_COUNT] = {
    [NOTIFICATION_MARK_SEEN] = {UNREAD, UNREAD, SNOOZED},
    [NOTIFICATION_MARK_READ] = {UNREAD | SEEN, UNREAD | SEEN, SNOOZED},
    [NOTIFICATION_MARK_UNREAD] = {READ, READ, ARCHIVED | SNOOZED},
    [NOTIFICATION_MARK_ARCHIVE] = {UNREAD | SEEN | READ | SNOOZED, UNREAD | SEEN | READ},
    [NOTIFICATION_MARK_UNARCHIVE] = {ARCHIVED, ARCHIVED, SNOOZED},
    [NOTIFICATION_MARK_SNOOZE] = {UNREAD | SEEN | READ | SNOOZED, UNREAD | SEEN | READ, ARCHIVED},
    [NOTIFICATION_MARK_WAKE] = {SNOOZED, SNOOZED, ARCHIVED},
    [NOTIFICATION_MARK_DELETE] = {NOTIFICATION_ALL_STATES, UNREAD | SEEN | READ},
};

uint32_t notification_mark_states(enum notification_verb verb, bool bulk)
{
    return bulk ? states_of[verb].bulk : states_of[verb].by_id;
}

uint32_t notification_mark_late_states(enum notification_verb verb)
{
    return states_of[verb].by_id | states_of[verb].lost;
}

bool notification_mark_tells_up_to(enum notification_verb verb)
{
    return verb == NOTIFICATION_MARK_SEEN || verb == NOTIFICATION_MARK_READ ||
           verb == NOTIFICATION_MARK_ARCHIVE;
}

static enum notification_state state_of(const struct notification_item *item)
{
    return item->snoozed_until > 0 ? NOTIFICATION_SNOOZED
           : item->archived_at > 0 ? NOTIFICATION_ARCHIVED
           : item->read_at > 0     ? NOTIFICATION_READ
           : item->seen_at > 0     ? NOTIFICATION_SEEN
                                   : NOTIFICATION_UNREAD;
}

void notification_mark_apply(
    struct notification_item *item, enum notification_verb verb, uint64_t at, uint64_t until)
{
    switch (verb) {
    case NOTIFICATION_MARK_READ:
        item->read_at = at;
        item->seen_at = item->seen_at > 0 ? item->seen_at : at;
        break;
    case NOTIFICATION_MARK_SEEN:
        item->seen_at = at;
        break;
    case NOTIFICATION_MARK_UNREAD:
        item->read_at = 0;
        break;
    case NOTIFICATION_MARK_ARCHIVE:
        item->archived_at = at;
        item->snoozed_until = 0;
        break;
    case NOTIFICATION_MARK_UNARCHIVE:
        item->archived_at = 0;
        break;
    case NOTIFICATION_MARK_SNOOZE:
        item->snoozed_until = until;
        break;
    case NOTIFICATION_MARK_WAKE:
        item->snoozed_until = item->seen_at = item->read_at = 0;
        item->resurfaced_at = at;
        break;
    case NOTIFICATION_MARK_DELETE:
        item->state = NOTIFICATION_ERASED;
        return;
    case NOTIFICATION_VERB_COUNT:
        break;
    }
    item->state = state_of(item);
}

/* Arguments. */

#define UNTIL_MAX_MS (UINT64_C(400) * 24 * 3600 * 1000)

struct reading {
    struct notification_marking *marking;
    struct notification_marking_fault *fault;
    uint64_t now;
    bool all; /* the verb says so */
    bool ids; /* of which was spoken */
    bool up_to;
    bool until;
};

static int blame(struct reading *reading, const char *field, const char *message, int status)
{
    size_t len = strlen(field);
    memcpy(reading->fault->field, field, len + 1);
    reading->fault->message = message;
    return status;
}

static int read_id(struct bytes value, uint8_t ret_id[NOTIFICATION_ID_LEN])
{
    char at[UUID_TEXT_LEN];
    struct bytes text;
    int status = json_scan_string(value, at, sizeof(at), &text);
    return status != 0 ? STATUS_INVALID : uuid_parse(text.at, text.len, ret_id);
}

/* How many elements a list has; counts no further than one above what is allowed. */
static size_t count_elements(struct bytes list)
{
    struct json_scan_iter iter;
    struct bytes element;
    size_t count = 0;
    bool any = json_scan_iter_init(&iter, list);
    while (any && count <= NOTIFICATION_MARK_IDS_MAX && json_scan_element(&iter, &element)) {
        count++;
    }
    return count;
}

static int make_room(struct notification_marking *marking, size_t count)
{
    marking->ids = mem_try_calloc(count, sizeof(*marking->ids));
    return marking->ids != NULL ? 0 : STATUS_NOMEM;
}

static int read_list(struct notification_marking *marking, struct bytes value)
{
    struct json_scan_iter iter;
    struct bytes element;
    size_t count = count_elements(value);
    if (count == 0 || count > NOTIFICATION_MARK_IDS_MAX) {
        return count == 0 ? STATUS_INVALID : STATUS_TOO_LARGE;
    }
    int status = json_scan_iter_init(&iter, value) ? make_room(marking, count) : STATUS_INVALID;
    while (status == 0 && json_scan_element(&iter, &element)) {
        status = read_id(element, marking->ids[marking->id_count++]);
    }
    return status;
}

static int read_one(struct notification_marking *marking, struct bytes value)
{
    int status = make_room(marking, 1);
    return status != 0 ? status : read_id(value, marking->ids[marking->id_count++]);
}

/* `field` is "id" where one is meant. */
static int read_ids(struct reading *reading, const char *field, struct bytes value)
{
    struct notification_marking *marking = reading->marking;
    if (reading->ids) {
        return blame(reading, field, "One of id and ids", STATUS_INVALID);
    }
    reading->ids = true;
    bool list = json_scan_kind(value) == JSON_SCAN_ARRAY;
    int status = list ? read_list(marking, value) : read_one(marking, value);
    if (status == STATUS_NOMEM) {
        return blame(reading, "", "Out of memory, try again", status);
    }
    if (status == STATUS_TOO_LARGE) {
        return blame(reading, field, "At most 1000 ids in one call", status);
    }
    const char *allowed = strcmp(field, "id") == 0 ? "The id of a notification"
                                                   : "A list of 1 to 1000 ids of notifications";
    return status == 0 ? 0 : blame(reading, field, allowed, STATUS_INVALID);
}

static int read_up_to(struct reading *reading, struct bytes value)
{
    uint64_t *up_to = &reading->marking->up_to;
    reading->up_to = true;
    bool good = json_scan_u64(value, up_to) == 0 && *up_to > 0;
    return good ? 0 : blame(reading, "upTo", "The seq of a notification: a number", STATUS_INVALID);
}

static int read_all(struct reading *reading, struct bytes value)
{
    bool all = false;
    if (json_scan_bool(value, &all) != 0 || !all) {
        return blame(reading, "all", "true", STATUS_INVALID);
    }
    reading->all = true;
    return 0;
}

static int read_type(struct reading *reading, struct bytes value)
{
    struct notification_marking *marking = reading->marking;
    struct bytes text;
    int status = json_scan_string(value, marking->type, sizeof(marking->type), &text);
    if (status != 0 || text.len == 0 || text.len > sizeof(marking->type) ||
        memchr(text.at, '\0', text.len) != NULL) {
        return blame(reading, "type", "A text of 1 to 256 bytes", STATUS_INVALID);
    }
    memmove(marking->type, text.at, text.len);
    marking->type_len = text.len;
    return 0;
}

static int read_if_rev(struct reading *reading, struct bytes value)
{
    uint64_t *rev = &reading->marking->if_rev;
    bool good = json_scan_u64(value, rev) == 0 && *rev <= INT64_MAX;
    return good ? 0 : blame(reading, "ifRev", "A rev: a number", STATUS_INVALID);
}

static bool read_time(struct bytes value, uint64_t *ret_ms)
{
    char at[64];
    struct bytes text;
    if (json_scan_kind(value) == JSON_SCAN_NUMBER) {
        return json_scan_u64(value, ret_ms) == 0;
    }
    return json_scan_string(value, at, sizeof(at), &text) == 0 && iso_time_parse(text, ret_ms) == 0;
}

static int read_until(struct reading *reading, struct bytes value)
{
    struct notification_marking *marking = reading->marking;
    reading->until = true;
    if (json_scan_kind(value) == JSON_SCAN_NULL) {
        marking->verb = NOTIFICATION_MARK_WAKE;
        return 0;
    }
    bool good = read_time(value, &marking->until) && marking->until > reading->now &&
                marking->until - reading->now <= UNTIL_MAX_MS;
    return good ? 0
                : blame(reading, "until",
                      "A time to come, at most 400 days ahead: ISO 8601, or milliseconds since "
                      "1970; null to wake it now",
                      STATUS_INVALID);
}

/* The member is one that nobody knows here. */
static int blame_name(struct reading *reading, struct bytes key)
{
    struct notification_marking_fault *fault = reading->fault;
    names_write_field(key, fault->field, sizeof(fault->field));
    fault->message = reading->all ? "Unknown field; known here: type, ifRev"
                     : reading->marking->verb == NOTIFICATION_MARK_SNOOZE
                         ? "Unknown field; known here: ids, id, upTo, all, type, ifRev, until"
                         : "Unknown field; known here: ids, id, upTo, all, type, ifRev";
    return STATUS_NOT_FOUND;
}

static int read_member(struct reading *reading, bool all, struct bytes key, struct bytes value)
{
    bool snooze = reading->marking->verb == NOTIFICATION_MARK_SNOOZE;
    if (json_scan_string_eq(key, BYTES("type"))) {
        return read_type(reading, value);
    }
    if (json_scan_string_eq(key, BYTES("ifRev"))) {
        return read_if_rev(reading, value);
    }
    if (!all && json_scan_string_eq(key, BYTES("ids"))) {
        return read_ids(reading, "ids", value);
    }
    if (!all && json_scan_string_eq(key, BYTES("id"))) {
        return read_ids(reading, "id", value);
    }
    if (!all && json_scan_string_eq(key, BYTES("upTo"))) {
        return read_up_to(reading, value);
    }
    if (!all && json_scan_string_eq(key, BYTES("all"))) {
        return read_all(reading, value);
    }
    if (snooze && json_scan_string_eq(key, BYTES("until"))) {
        return read_until(reading, value);
    }
    return blame_name(reading, key);
}

/* Whether what was said makes one call. */
static int check_whole(struct reading *reading)
{
    struct notification_marking *marking = reading->marking;
    if (reading->ids + reading->up_to + reading->all != 1) {
        return blame(reading, "ids", "One of ids, id, upTo, all", STATUS_INVALID);
    }
    if (marking->type_len > 0 && reading->ids) {
        return blame(reading, "type", "Not with ids", STATUS_INVALID);
    }
    if (reading->all) {
        marking->up_to = UINT64_MAX;
    }
    return 0;
}

static int read_argument(struct reading *reading, struct bytes argument)
{
    bool all = reading->all;
    enum json_scan_kind kind = argument.len > 0 ? json_scan_kind(argument) : JSON_SCAN_NULL;
    if (kind == JSON_SCAN_STRING) {
        return all ? blame(reading, "", "Expected {type?, ifRev?}, or nothing", STATUS_INVALID)
                   : read_ids(reading, "id", argument);
    }
    if (kind == JSON_SCAN_ARRAY && !all) {
        return read_ids(reading, "ids", argument);
    }
    if (kind == JSON_SCAN_NULL && all) {
        return 0;
    }
    if (kind != JSON_SCAN_OBJECT) {
        return all ? blame(reading, "", "Expected {type?, ifRev?}, or nothing", STATUS_INVALID)
                   : blame(reading, "ids", "One of ids, id, upTo, all", STATUS_INVALID);
    }
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    int status = json_scan_iter_init(&iter, argument) ? 0 : STATUS_INVALID;
    while (status == 0 && json_scan_member(&iter, &key, &value)) {
        status = read_member(reading, all, key, value);
    }
    return status;
}

int notification_marking_parse(enum notification_verb verb, bool all, struct bytes argument,
    uint64_t now, struct notification_marking *ret_marking,
    struct notification_marking_fault *ret_fault)
{
    *ret_marking = (struct notification_marking){.verb = verb, .if_rev = INT64_MAX};
    *ret_fault = (struct notification_marking_fault){.message = ""};
    struct reading reading = {.marking = ret_marking, .fault = ret_fault, .now = now, .all = all};
    int status = read_argument(&reading, argument);
    if (status == 0) {
        status = check_whole(&reading);
    }
    if (status == 0 && verb == NOTIFICATION_MARK_SNOOZE && !reading.until) {
        status = blame(&reading, "until", "A time to come, or null to wake it now", STATUS_INVALID);
    }
    if (status != 0) {
        notification_marking_finish(ret_marking);
    }
    return status;
}

void notification_marking_finish(struct notification_marking *marking)
{
    mem_free(marking->ids);
    marking->ids = NULL;
    marking->id_count = 0;
}

/* Answers. */

static void add_ids(const struct notification_change *changes, size_t count, struct builder *out)
{
    char text[UUID_TEXT_LEN];
    builder_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        uuid_format(changes[i].id, text);
        builder_str(out, i > 0 ? ",\"" : "\"");
        builder_add(out, bytes_of(text, sizeof(text)));
        builder_byte(out, '"');
    }
    builder_byte(out, ']');
}

void notification_json_marked(const struct notification_marked *marked, struct builder *out)
{
    builder_printf(out, "{\"ok\":true,\"rev\":%llu,\"unread\":%llu,\"unseen\":%llu,\"changed\":",
        (unsigned long long)marked->rev, (unsigned long long)marked->unread,
        (unsigned long long)marked->unseen);
    if (marked->bulk) {
        builder_u64(out, marked->change_count);
    } else {
        add_ids(marked->changes, marked->change_count, out);
    }
    if (marked->late_count > 0) {
        size_t most = NOTIFICATION_MARK_IDS_MAX;
        builder_str(out, ",\"conflict\":");
        add_ids(marked->late, marked->late_count < most ? marked->late_count : most, out);
    }
    builder_byte(out, '}');
}
