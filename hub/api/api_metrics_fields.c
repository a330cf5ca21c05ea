/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A value of an application's metrics, member by member.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/status.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"
#include "hub/api/api_metrics.h"
#include "hub/series/series_key.h"
#include "hub/series/series_window.h"

enum { NUMBER_MAX = 64, TIME_MAX = 40, WORD_MAX = 16 };

/* Beyond it, whole numbers are not told apart. */
#define VALUE_MAX 9007199254740991.0

enum member { NAME, TYPE, VALUE, UNIT, TAGS, TIMESTAMP, MEMBER_COUNT };

static const char *const names[MEMBER_COUNT] = {
    "name", "type", "value", "unit", "tags", "timestamp"};

/* Texts of a value, unescaped. */
struct texts {
    char name[SERIES_NAME_MAX];
    char type[WORD_MAX];
    char unit[SERIES_UNIT_MAX];
    char time[TIME_MAX];
    char tags[SERIES_TAGS_MAX][SERIES_TAG_MAX];
    char values[SERIES_TAGS_MAX][SERIES_VALUE_MAX];
};

static struct api_error fail(enum member member, const char *message)
{
    return (struct api_error){
        .code = ERROR_INVALID_FIELD, .message = message, .field = names[member]};
}

static struct api_error read_type(
    const struct json_scan_wanted *wanted, char *at, struct series_parts *parts)
{
    struct bytes text;
    bool good = wanted->status == 0 && json_scan_string(wanted->value, at, WORD_MAX, &text) == 0 &&
                series_type_read(text, &parts->type) == 0;
    return good ? (struct api_error){0} : fail(TYPE, "One of counter, gauge, timer");
}

static bool read_number(struct bytes value, double *ret_value)
{
    char text[NUMBER_MAX];
    if (json_scan_kind(value) != JSON_SCAN_NUMBER || value.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, value.at, value.len);
    text[value.len] = '\0';
    *ret_value = strtod(text, NULL);
    return isfinite(*ret_value) && fabs(*ret_value) <= VALUE_MAX;
}

static struct api_error read_value(const struct json_scan_wanted *wanted,
    const struct series_parts *parts, struct series_sample *sample)
{
    if (wanted->status != 0 || !read_number(wanted->value, &sample->value)) {
        return fail(VALUE, "A number between -2^53 and 2^53");
    }
    if (parts->type != SERIES_GAUGE && sample->value < 0) {
        return fail(VALUE, "What a counter grows by, or a time: 0 or more");
    }
    return (struct api_error){0};
}

/* The unit of a timer goes into its value, which is in ms. */
static struct api_error read_unit(const struct json_scan_wanted *wanted, char *at,
    struct series_parts *parts, struct series_sample *sample)
{
    static const struct {
        const char *unit;
        double ms;
    } times[] = {{"ms", 1}, {"s", 1000}, {"us", 0.001}};
    if (wanted->status == STATUS_NOT_FOUND) {
        return (struct api_error){0};
    }
    struct bytes unit;
    if (wanted->status != 0 || json_scan_string(wanted->value, at, SERIES_UNIT_MAX, &unit) != 0) {
        return fail(UNIT, "A text of at most 16 bytes, without control characters");
    }
    if (parts->type != SERIES_TIMER) {
        parts->unit = unit;
        return (struct api_error){0};
    }
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        if (bytes_eq_str(unit, times[i].unit)) {
            sample->value *= times[i].ms;
            return (struct api_error){0};
        }
    }
    return fail(UNIT, "Of a timer: ms, s or us");
}

/* The text of a tag's value: a text, or a number, true or false as it stands. */
static bool read_tag(
    struct bytes key, struct bytes value, struct texts *texts, struct series_parts *parts)
{
    struct series_tag *tag = &parts->tags[parts->tag_count];
    if (json_scan_string(key, texts->tags[parts->tag_count], SERIES_TAG_MAX, &tag->name) != 0) {
        return false;
    }
    switch (json_scan_kind(value)) {
    case JSON_SCAN_STRING:
        if (json_scan_string(
                value, texts->values[parts->tag_count], SERIES_VALUE_MAX, &tag->value) != 0) {
            return false;
        }
        break;
    case JSON_SCAN_NUMBER:
    case JSON_SCAN_TRUE:
    case JSON_SCAN_FALSE:
        tag->value = value;
        break;
    case JSON_SCAN_INVALID:
    case JSON_SCAN_NULL:
    case JSON_SCAN_ARRAY:
    case JSON_SCAN_OBJECT:
        return false;
    }
    parts->tag_count++;
    return true;
}

static struct api_error read_tags(
    const struct json_scan_wanted *wanted, struct texts *texts, struct series_parts *parts)
{
    static const char message[] = "An object of at most 8 texts, numbers or booleans: names of at "
                                  "most 32 bytes, values of at most 128";
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    if (wanted->status == STATUS_NOT_FOUND) {
        return (struct api_error){0};
    }
    if (wanted->status != 0 || json_scan_kind(wanted->value) != JSON_SCAN_OBJECT) {
        return fail(TAGS, message);
    }
    json_scan_iter_init(&iter, wanted->value);
    while (json_scan_member(&iter, &key, &value)) {
        if (parts->tag_count == SERIES_TAGS_MAX || !read_tag(key, value, texts, parts)) {
            return fail(TAGS, message);
        }
    }
    return (struct api_error){0};
}

static struct api_error read_time(
    const struct json_scan_wanted *wanted, uint64_t now_ms, char *at, struct series_sample *sample)
{
    sample->at_ms = now_ms;
    if (wanted->status == STATUS_NOT_FOUND) {
        return (struct api_error){0};
    }
    struct bytes text = wanted->value;
    bool good = wanted->status == 0;
    if (good && json_scan_kind(text) == JSON_SCAN_STRING) {
        good = json_scan_string(wanted->value, at, TIME_MAX, &text) == 0;
    }
    good = good && (bytes_to_u64(text, (uint64_t)ISO_TIME_MAX, &sample->at_ms) == 0 ||
                       iso_time_parse(text, &sample->at_ms) == 0);
    return good && sample->at_ms + SERIES_LATE_MS >= now_ms &&
                   sample->at_ms <= now_ms + SERIES_EARLY_MS
               ? (struct api_error){0}
               : fail(TIMESTAMP, "A time in ISO 8601 or in ms since 1970, at most 5 minutes ago "
                                 "and a minute ahead");
}

static struct api_error make_key(
    struct series_parts *parts, char *at, struct series_sample *ret_sample)
{
    struct series_key key;
    const char *field;
    const char *why = series_key_make(parts, &key, &field);
    if (why != NULL) {
        return (struct api_error){.code = ERROR_INVALID_FIELD, .message = why, .field = field};
    }
    memcpy(at, key.at, key.len);
    ret_sample->key = bytes_of(at, key.len);
    return (struct api_error){0};
}

struct api_error api_metrics_read(
    struct bytes object, uint64_t now_ms, char *at, struct series_sample *ret_sample)
{
    struct json_scan_wanted wanted[MEMBER_COUNT];
    struct texts texts;
    struct series_parts parts = {.tag_count = 0};
    for (unsigned i = 0; i < MEMBER_COUNT; i++) {
        wanted[i] = (struct json_scan_wanted){.key = names[i]};
    }
    json_scan_get_all(object, wanted, MEMBER_COUNT);
    if (wanted[NAME].status != 0 ||
        json_scan_string(wanted[NAME].value, texts.name, SERIES_NAME_MAX, &parts.name) != 0) {
        return fail(NAME, "1 to 64 letters, digits, '_', '.' and '-', a letter first");
    }
    struct api_error error = read_type(&wanted[TYPE], texts.type, &parts);
    error = error.code == ERROR_NONE ? read_value(&wanted[VALUE], &parts, ret_sample) : error;
    error =
        error.code == ERROR_NONE ? read_unit(&wanted[UNIT], texts.unit, &parts, ret_sample) : error;
    error = error.code == ERROR_NONE ? read_tags(&wanted[TAGS], &texts, &parts) : error;
    error = error.code == ERROR_NONE ? read_time(&wanted[TIMESTAMP], now_ms, texts.time, ret_sample)
                                     : error;
    return error.code == ERROR_NONE ? make_key(&parts, at, ret_sample) : error;
}
