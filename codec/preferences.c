/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads, writes and asks preferences.
 *
 * Order of this file: durations, reading one type, reading the rest, writing, what holds.
 */
#include "codec/preferences.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "codec/zone.h"

enum { TEXT_MAX = 128, DAYS = 7, ALL_DAYS = 0x7f, DAY_MINUTES = 1440 };

/* What a digest or a limit may span. */
static const uint64_t span_least_ms = 60000;
static const uint64_t span_most_ms = 30 * 86400000ULL;

static const char span_allowed[] = "A time from 1m to 30d, such as 1h, or null";
static const char switch_allowed[] = "true, false, or null for what is usual";
static const char limit_allowed[] = "An object {count: 1 to 1000, per: 1m to 30d}, or null";
static const char clock_allowed[] = "A time of day from 00:00 to 23:59";

/* One reading. */
struct reading {
    const struct preferences_zones *zones;
    struct preferences *preferences;
    char *texts; /* where the next text goes */
    bool stored;
    struct preferences_fault *fault;
};

/* The parts of a name are joined by dots; `part` NULL: only `whole`. */
static int refuse(struct reading *reading, const char *whole, struct bytes part, const char *last,
    const char *why)
{
    struct preferences_fault *fault = reading->fault;
    (void)snprintf(fault->field, sizeof(fault->field), "%s%s%.*s%s%s", whole,
        part.len > 0 ? "." : "", (int)part.len, part.len > 0 ? part.at : "",
        last[0] != '\0' ? "." : "", last);
    fault->message = why;
    return STATUS_INVALID;
}

static int refuse_member(struct reading *reading, const char *name, const char *why)
{
    return refuse(reading, name, bytes_of(NULL, 0), "", why);
}

/* Durations: 90s, 30m, 1h, 7d; in a store, ms. */

static const struct unit {
    char name;
    uint64_t ms;
} units[] = {{'d', 86400000}, {'h', 3600000}, {'m', 60000}, {'s', 1000}};

static int read_span_text(struct bytes text, uint64_t *ret_ms)
{
    uint64_t number;
    if (text.len < 2 || bytes_to_u64(bytes_of(text.at, text.len - 1), 10000000, &number) != 0) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (text.at[text.len - 1] == units[i].name) {
            *ret_ms = number * units[i].ms;
            return 0;
        }
    }
    return STATUS_INVALID;
}

static bool read_span(const struct reading *reading, struct bytes value, uint64_t *ret_ms)
{
    char at[TEXT_MAX];
    struct bytes text;
    int status = STATUS_INVALID;
    if (reading->stored) {
        status = json_scan_u64(value, ret_ms);
    } else if (json_scan_string(value, at, sizeof(at), &text) == 0) {
        status = read_span_text(text, ret_ms);
    }
    return status == 0 && *ret_ms >= span_least_ms && *ret_ms <= span_most_ms;
}

static void write_span(struct builder *out, const char *key, uint64_t ms, bool stored)
{
    json_write_key(out, key);
    if (stored || ms == 0) {
        builder_printf(out, ms > 0 ? "%llu" : "null", (unsigned long long)ms);
        return;
    }
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(units) && ms % units[i].ms != 0) {
        i++;
    }
    builder_printf(out, "\"%llu%c\"", (unsigned long long)(ms / units[i].ms), units[i].name);
}

/* One type. */

static bool read_switch(struct bytes value, uint8_t *ret_switch)
{
    bool on = false;
    if (json_scan_kind(value) == JSON_SCAN_NULL) {
        *ret_switch = PREFERENCES_UNSAID;
        return true;
    }
    if (json_scan_bool(value, &on) != 0) {
        return false;
    }
    *ret_switch = on ? PREFERENCES_ON : PREFERENCES_OFF;
    return true;
}

static int read_limit(struct reading *reading, struct bytes value, struct preferences_type *type)
{
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes member;
    uint64_t count = 0;
    type->has_limit = true;
    if (json_scan_kind(value) == JSON_SCAN_NULL) {
        return 0;
    }
    if (!json_scan_iter_init(&iter, value) || json_scan_kind(value) != JSON_SCAN_OBJECT) {
        return refuse(reading, "types", type->name, "limit", limit_allowed);
    }
    while (json_scan_member(&iter, &key, &member)) {
        if (json_scan_string_eq(key, BYTES("count"))) {
            if (json_scan_u64(member, &count) != 0 || count < 1 || count > PREFERENCES_COUNT_MAX) {
                return refuse(reading, "types", type->name, "limit.count", "A number, 1 to 1000");
            }
        } else if (!json_scan_string_eq(key, BYTES("per"))) {
            return refuse(reading, "types", type->name, "limit", limit_allowed);
        } else if (!read_span(reading, member, &type->limit_ms)) {
            return refuse(reading, "types", type->name, "limit.per", "A time, 1m to 30d");
        }
    }
    type->limit_count = (uint32_t)count;
    return count > 0 && type->limit_ms > 0
               ? 0
               : refuse(reading, "types", type->name, "limit", limit_allowed);
}

static int read_type_member(
    struct reading *reading, struct bytes key, struct bytes value, struct preferences_type *type)
{
    if (json_scan_string_eq(key, BYTES("inbox"))) {
        return read_switch(value, &type->inbox)
                   ? 0
                   : refuse(reading, "types", type->name, "inbox", switch_allowed);
    }
    if (json_scan_string_eq(key, BYTES("push"))) {
        return read_switch(value, &type->push)
                   ? 0
                   : refuse(reading, "types", type->name, "push", switch_allowed);
    }
    if (json_scan_string_eq(key, BYTES("limit"))) {
        return read_limit(reading, value, type);
    }
    if (json_scan_string_eq(key, BYTES("digest"))) {
        type->has_digest = true;
        bool good =
            json_scan_kind(value) == JSON_SCAN_NULL || read_span(reading, value, &type->digest_ms);
        return good ? 0 : refuse(reading, "types", type->name, "digest", span_allowed);
    }
    return refuse(reading, "types", type->name, "", "Known of a type: inbox, push, digest, limit");
}

/* A name as in a post: its text, kept with the preferences. */
static bool read_type_name(struct reading *reading, struct bytes key, struct bytes *ret_name)
{
    struct bytes name;
    if (json_scan_string(key, reading->texts, PREFERENCES_NAME_MAX, &name) != 0 || name.len == 0 ||
        name.len > PREFERENCES_NAME_MAX || memchr(name.at, '\0', name.len) != NULL) {
        return false;
    }
    memmove(reading->texts, name.at, name.len);
    *ret_name = bytes_of(reading->texts, name.len);
    reading->texts += name.len;
    return true;
}

static struct preferences_type *find_type(const struct preferences *preferences, struct bytes name)
{
    for (size_t i = 0; preferences != NULL && i < preferences->type_count; i++) {
        const struct preferences_type *type = &preferences->types[i];
        if (bytes_eq(type->name, name)) {
            return (struct preferences_type *)(uintptr_t)type;
        }
    }
    return NULL;
}

static int read_type(struct reading *reading, struct bytes key, struct bytes value)
{
    struct preferences *preferences = reading->preferences;
    struct preferences_type type = {0};
    struct json_scan_iter iter;
    struct bytes member;
    if (!read_type_name(reading, key, &type.name)) {
        names_write_field(key, reading->fault->field, sizeof(reading->fault->field));
        reading->fault->message = "The name of a type: 1 to 64 bytes";
        return STATUS_INVALID;
    }
    if (find_type(preferences, type.name) != NULL) {
        return refuse(reading, "types", type.name, "", "A type is named once");
    }
    if (!json_scan_iter_init(&iter, value) || json_scan_kind(value) != JSON_SCAN_OBJECT) {
        return refuse(reading, "types", type.name, "", "An object: inbox, push, digest, limit");
    }
    while (json_scan_member(&iter, &key, &member)) {
        int status = read_type_member(reading, key, member, &type);
        if (status != 0) {
            return status;
        }
    }
    preferences->types[preferences->type_count++] = type;
    return 0;
}

static int read_types(struct reading *reading, struct bytes value)
{
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes member;
    if (json_scan_kind(value) == JSON_SCAN_NULL) {
        return 0;
    }
    if (!json_scan_iter_init(&iter, value) || json_scan_kind(value) != JSON_SCAN_OBJECT) {
        return refuse_member(reading, "types", "An object: a member for each type");
    }
    while (json_scan_member(&iter, &key, &member)) {
        if (reading->preferences->type_count == PREFERENCES_TYPES_MAX) {
            return refuse_member(reading, "types", "At most 100 types");
        }
        int status = read_type(reading, key, member);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

/* The rest. */

static int read_timezone(struct reading *reading, struct bytes value)
{
    struct preferences *preferences = reading->preferences;
    struct bytes name;
    if (json_scan_kind(value) == JSON_SCAN_NULL || reading->zones == NULL) {
        return 0;
    }
    if (json_scan_string(value, reading->texts, ZONE_NAME_MAX, &name) != 0 || name.len == 0 ||
        name.len > ZONE_NAME_MAX ||
        !reading->zones->find(reading->zones->context, name, &preferences->zone)) {
        return reading->stored ? 0
                               : refuse_member(reading, "timezone",
                                     "The name of an IANA time zone, such as Europe/Berlin");
    }
    memmove(reading->texts, name.at, name.len);
    preferences->timezone = bytes_of(reading->texts, name.len);
    reading->texts += name.len;
    return 0;
}

static int read_mute(struct reading *reading, struct bytes value)
{
    char at[TEXT_MAX];
    struct bytes text;
    uint64_t ms = 0;
    if (json_scan_kind(value) == JSON_SCAN_NULL) {
        return 0;
    }
    bool good =
        json_scan_u64(value, &ms) == 0 ||
        (json_scan_string(value, at, sizeof(at), &text) == 0 && iso_time_parse(text, &ms) == 0);
    if (!good || !iso_time_may_be_stored(ms, 0)) {
        return refuse_member(
            reading, "muteUntil", "A time: ISO 8601, or milliseconds since 1970; or null");
    }
    reading->preferences->mute_until = ms;
    return 0;
}

/* hh:mm */
static bool read_clock(struct bytes value, uint16_t *ret_minutes)
{
    char at[TEXT_MAX];
    struct bytes text;
    if (json_scan_string(value, at, sizeof(at), &text) != 0 || text.len != 5) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (i == 2 ? text.at[i] != ':' : text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
    }
    int hours = 10 * (text.at[0] - '0') + (text.at[1] - '0');
    int minutes = 10 * (text.at[3] - '0') + (text.at[4] - '0');
    *ret_minutes = (uint16_t)(60 * hours + minutes);
    return hours < 24 && minutes < 60;
}

static bool read_days(struct bytes value, uint8_t *ret_days)
{
    struct json_scan_iter iter;
    struct bytes element;
    uint64_t day;
    *ret_days = 0;
    if (!json_scan_iter_init(&iter, value) || json_scan_kind(value) != JSON_SCAN_ARRAY) {
        return false;
    }
    while (json_scan_element(&iter, &element)) {
        if (json_scan_u64(element, &day) != 0 || day < 1 || day > DAYS) {
            return false;
        }
        *ret_days |= (uint8_t)(1U << (day - 1));
    }
    return true;
}

static int read_quiet(struct reading *reading, struct bytes value)
{
    struct preferences *preferences = reading->preferences;
    struct json_scan_wanted wanted[] = {{"from"}, {"to"}, {"days"}};
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes member;
    if (json_scan_kind(value) == JSON_SCAN_NULL) {
        return 0;
    }
    if (json_scan_kind(value) != JSON_SCAN_OBJECT) {
        return refuse_member(reading, "quiet", "An object {from, to, days?}, or null");
    }
    json_scan_iter_init(&iter, value);
    while (json_scan_member(&iter, &key, &member)) {
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
            known = known || json_scan_string_eq(key, bytes_str(wanted[i].key));
        }
        if (!known) {
            return refuse_member(reading, "quiet", "Known of quiet hours: from, to, days");
        }
    }
    json_scan_get_all(value, wanted, ARRAY_LEN(wanted));
    if (wanted[0].status != 0 || !read_clock(wanted[0].value, &preferences->quiet_from)) {
        return refuse_member(reading, "quiet.from", clock_allowed);
    }
    if (wanted[1].status != 0 || !read_clock(wanted[1].value, &preferences->quiet_to)) {
        return refuse_member(reading, "quiet.to", clock_allowed);
    }
    preferences->quiet_days = ALL_DAYS;
    if (wanted[2].status != STATUS_NOT_FOUND &&
        (wanted[2].status != 0 || !read_days(wanted[2].value, &preferences->quiet_days))) {
        return refuse_member(reading, "quiet.days", "A list of numbers, 1 (Monday) to 7");
    }
    preferences->has_quiet = true;
    return 0;
}

static int pass_over(struct reading *reading, struct bytes value)
{
    return 0;
}

static const struct member {
    const char *name;
    int (*read)(struct reading *reading, struct bytes value);
} members[] = {
    {"timezone", read_timezone},
    {"muteUntil", read_mute},
    {"quiet", read_quiet},
    {"types", read_types},
    {"effective", pass_over},
    {"rev", pass_over},
    {"ok", pass_over},
};

static int read_member(
    struct reading *reading, struct bytes key, struct bytes value, unsigned *seen)
{
    for (unsigned i = 0; i < ARRAY_LEN(members); i++) {
        if (!json_scan_string_eq(key, bytes_str(members[i].name))) {
            continue;
        }
        if ((*seen & (1U << i)) != 0) {
            return refuse_member(reading, members[i].name, "A member is named once");
        }
        *seen |= 1U << i;
        return members[i].read(reading, value);
    }
    names_write_field(key, reading->fault->field, sizeof(reading->fault->field));
    reading->fault->message = "Unknown field; known here: timezone, muteUntil, quiet, types";
    return STATUS_INVALID;
}

/* So many types there may be: of a member that is named twice, only the first one is read. */
static size_t count_types(struct bytes object)
{
    struct json_scan_iter iter;
    struct json_scan_iter types;
    struct bytes key;
    struct bytes value;
    size_t count = 0;
    json_scan_iter_init(&iter, object);
    while (json_scan_member(&iter, &key, &value)) {
        if (json_scan_string_eq(key, BYTES("types")) && json_scan_kind(value) == JSON_SCAN_OBJECT) {
            json_scan_iter_init(&types, value);
            while (count < PREFERENCES_TYPES_MAX && json_scan_member(&types, &key, &value)) {
                count++;
            }
        }
    }
    return count;
}

static int parse(struct reading *reading, struct bytes json)
{
    struct json_scan_iter iter;
    struct bytes object;
    struct bytes key;
    struct bytes value;
    unsigned seen = 0;
    reading->fault->field[0] = '\0';
    reading->fault->message = "Expected an object: timezone, muteUntil, quiet, types";
    if (json.len > PREFERENCES_BYTES_MAX) {
        reading->fault->message = "Preferences have at most 64 KiB";
        return STATUS_TOO_LARGE;
    }
    if (json_scan_text(json, PREFERENCES_DEPTH, &object, NULL) != 0 ||
        json_scan_kind(object) != JSON_SCAN_OBJECT) {
        return STATUS_INVALID;
    }
    size_t count = count_types(object);
    size_t texts = count * PREFERENCES_NAME_MAX + ZONE_NAME_MAX;
    texts = texts < json.len ? texts : json.len;
    size_t room = texts + PREFERENCES_NAME_MAX; /* where one that is too long is looked at */
    struct preferences *preferences =
        mem_try_calloc(1, sizeof(*preferences) + count * sizeof(preferences->types[0]) + room);
    if (preferences == NULL) {
        reading->fault->message = "Out of memory, try again";
        return STATUS_NOMEM;
    }
    reading->preferences = preferences;
    reading->texts = (char *)&preferences->types[count];
    int status = 0;
    json_scan_iter_init(&iter, object);
    while (status == 0 && json_scan_member(&iter, &key, &value)) {
        status = read_member(reading, key, value, &seen);
    }
    return status;
}

static int finish(struct reading *reading, int status, struct preferences **ret_preferences)
{
    if (status == 0) {
        *ret_preferences = reading->preferences;
    } else {
        preferences_destroy(reading->preferences);
    }
    return status;
}

int preferences_parse(struct bytes json, const struct preferences_zones *zones,
    struct preferences **ret_preferences, struct preferences_fault *ret_fault)
{
    struct reading reading = {.zones = zones, .fault = ret_fault};
    return finish(&reading, parse(&reading, json), ret_preferences);
}

int preferences_load(struct bytes stored, const struct preferences_zones *zones,
    struct preferences **ret_preferences)
{
    struct preferences_fault fault;
    struct reading reading = {.zones = zones, .fault = &fault, .stored = true};
    return finish(&reading, parse(&reading, stored), ret_preferences);
}

void preferences_destroy(struct preferences *preferences)
{
    mem_free(preferences);
}

size_t preferences_size(const struct preferences *preferences)
{
    if (preferences == NULL) {
        return 0;
    }
    return sizeof(*preferences) +
           preferences->type_count * (sizeof(preferences->types[0]) + PREFERENCES_NAME_MAX);
}

/* Writing. */

static void write_switch(struct builder *out, const char *key, uint8_t value)
{
    if (value != PREFERENCES_UNSAID) {
        json_write_bool(out, key, value == PREFERENCES_ON);
    }
}

static void write_type(
    struct builder *out, const struct preferences_type *type, bool first, bool stored)
{
    builder_str(out, first ? "" : ",");
    json_scan_write_string(out, type->name);
    builder_byte(out, ':');
    json_write_open(out, '{');
    write_switch(out, "inbox", type->inbox);
    write_switch(out, "push", type->push);
    if (type->has_digest) {
        write_span(out, "digest", type->digest_ms, stored);
    }
    if (type->has_limit && type->limit_count == 0) {
        json_write_json(out, "limit", bytes_of(NULL, 0));
    } else if (type->has_limit) {
        json_write_key(out, "limit");
        json_write_open(out, '{');
        json_write_u64(out, "count", type->limit_count);
        write_span(out, "per", type->limit_ms, stored);
        json_write_close(out, '}');
    }
    json_write_close(out, '}');
}

static void write_quiet(struct builder *out, const struct preferences *own)
{
    builder_printf(out, "{\"from\":\"%02u:%02u\",\"to\":\"%02u:%02u\",\"days\":[",
        own->quiet_from / 60U, own->quiet_from % 60U, own->quiet_to / 60U, own->quiet_to % 60U);
    const char *comma = "";
    for (unsigned day = 0; day < DAYS; day++) {
        if ((own->quiet_days & (1U << day)) != 0) {
            builder_printf(out, "%s%u", comma, day + 1);
            comma = ",";
        }
    }
    builder_str(out, "]}");
}

/* The user's own members, in an object that is open. */
static void write_own(struct builder *out, const struct preferences *own, bool stored)
{
    if (own->timezone.len > 0) {
        json_write_text(out, "timezone", own->timezone);
    } else {
        json_write_json(out, "timezone", bytes_of(NULL, 0));
    }
    json_write_time(out, "muteUntil", own->mute_until);
    json_write_key(out, "quiet");
    if (own->has_quiet) {
        write_quiet(out, own);
    } else {
        builder_str(out, "null");
    }
    json_write_key(out, "types");
    json_write_open(out, '{');
    for (size_t i = 0; i < own->type_count; i++) {
        write_type(out, &own->types[i], i == 0, stored);
    }
    json_write_close(out, '}');
}

void preferences_store(const struct preferences *preferences, struct builder *out)
{
    json_write_open(out, '{');
    write_own(out, preferences, true);
    json_write_close(out, '}');
}

void preferences_answer(const struct preferences *own, const struct preferences *defaults,
    uint64_t rev, struct builder *out)
{
    static const struct preferences nothing = {0};
    const struct preferences *both[] = {own != NULL ? own : &nothing, defaults};
    bool first = true;
    write_own(out, both[0], false);
    json_write_key(out, "effective");
    json_write_open(out, '{');
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        for (size_t j = 0; both[i] != NULL && j < both[i]->type_count; j++) {
            struct bytes name = both[i]->types[j].name;
            struct preferences_type type;
            if (i == 0 || find_type(own, name) == NULL) {
                preferences_of_type(own, defaults, name, &type);
                write_type(out, &type, first, false);
                first = false;
            }
        }
    }
    json_write_close(out, '}');
    json_write_u64(out, "rev", rev);
}

/* What holds. */

void preferences_of_type(const struct preferences *own, const struct preferences *defaults,
    struct bytes type, struct preferences_type *ret_type)
{
    static const struct preferences_type unsaid = {0};
    const struct preferences_type *mine = find_type(own, type);
    const struct preferences_type *usual = find_type(defaults, type);
    mine = mine != NULL ? mine : &unsaid;
    usual = usual != NULL ? usual : &unsaid;
    const struct preferences_type *digest = mine->has_digest ? mine : usual;
    const struct preferences_type *limit = mine->has_limit ? mine : usual;
    uint8_t inbox = mine->inbox != PREFERENCES_UNSAID ? mine->inbox : usual->inbox;
    uint8_t push = mine->push != PREFERENCES_UNSAID ? mine->push : usual->push;
    *ret_type = (struct preferences_type){
        .name = type,
        .inbox = inbox == PREFERENCES_OFF ? PREFERENCES_OFF : PREFERENCES_ON,
        .push = push == PREFERENCES_OFF ? PREFERENCES_OFF : PREFERENCES_ON,
        .has_digest = true,
        .has_limit = true,
        .digest_ms = digest->digest_ms,
        .limit_ms = limit->limit_ms,
        .limit_count = limit->limit_count,
    };
}

bool preferences_want(const struct preferences *own, struct bytes type, bool usual)
{
    const struct preferences_type *mine = find_type(own, type);
    return mine != NULL && mine->inbox != PREFERENCES_UNSAID ? mine->inbox == PREFERENCES_ON
                                                             : usual;
}

uint64_t preferences_digest(const struct preferences *own, struct bytes type, uint64_t usual)
{
    const struct preferences_type *mine = find_type(own, type);
    return mine != NULL && mine->has_digest ? mine->digest_ms : usual;
}

/* Local time as minutes since the Monday before 1970. */
static int64_t local_minutes(const struct zone *zone, uint64_t now_ms)
{
    int64_t at = (int64_t)(now_ms / 1000);
    int64_t local = at + (zone != NULL ? zone_offset(zone, at) : 0);
    return local / 60 + 3 * DAY_MINUTES; /* 1970-01-01 was a Thursday */
}

static bool is_quiet_hour(const struct preferences *own, int64_t local)
{
    unsigned minute = (unsigned)(local % DAY_MINUTES);
    unsigned day = (unsigned)(local / DAY_MINUTES % DAYS);
    unsigned yesterday = (day + DAYS - 1) % DAYS;
    bool today = (own->quiet_days & (1U << day)) != 0;
    if (own->quiet_from <= own->quiet_to) {
        return today && minute >= own->quiet_from && minute < own->quiet_to;
    }
    return (today && minute >= own->quiet_from) ||
           ((own->quiet_days & (1U << yesterday)) != 0 && minute < own->quiet_to);
}

bool preferences_are_quiet(
    const struct preferences *own, const struct preferences *defaults, uint64_t now_ms)
{
    if (own == NULL) {
        return false;
    }
    if (own->mute_until > now_ms) {
        return true;
    }
    if (!own->has_quiet) {
        return false;
    }
    const struct zone *usual = defaults != NULL ? defaults->zone : NULL;
    return is_quiet_hour(own, local_minutes(own->timezone.len > 0 ? own->zone : usual, now_ms));
}
