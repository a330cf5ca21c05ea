/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What preferences may say, how they are kept and answered, and what holds at which time.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/preferences.h"
#include "codec/zone.h"

enum { FILE_MAX = 65536, MINUTE = 60, HOUR = 3600 };

/* The system's zones, as the hub has them. */
static bool find_zone(void *context, struct bytes name, const struct zone **ret_zone)
{
    static char content[FILE_MAX];
    char path[128];
    struct zone *zone = NULL;
    (void)snprintf(path, sizeof(path), "/usr/share/zoneinfo/%.*s", (int)name.len, name.at);
    FILE *file = memchr(name.at, '.', name.len) == NULL ? fopen(path, "rb") : NULL;
    if (file == NULL) {
        return false;
    }
    size_t len = fread(content, 1, sizeof(content), file);
    (void)fclose(file);
    bool good = zone_parse(bytes_of(content, len), &zone) == 0;
    *ret_zone = zone;
    return good;
}

static const struct preferences_zones zones = {.find = find_zone};

static struct preferences *parse(const char *json)
{
    struct preferences *preferences = NULL;
    struct preferences_fault fault;
    cr_assert_eq(preferences_parse(bytes_str(json), &zones, &preferences, &fault), 0, "%s: %s %s",
        json, fault.field, fault.message);
    return preferences;
}

static void expect_text(struct builder *out, const char *text)
{
    struct bytes bytes = builder_bytes(out);
    cr_expect(bytes_eq_str(bytes, text), "%.*s, not %s", (int)bytes.len, bytes.at, text);
    builder_reset(out);
}

Test(preferences, what_is_kept_is_loaded_as_it_was)
{
    struct builder out = {0};
    struct preferences *own = parse(
        "{\"timezone\":\"Europe/Berlin\",\"muteUntil\":\"2030-01-02T03:04:05Z\",\"quiet\":{\"to\":"
        "\"07:05\",\"from\":\"22:00\",\"days\":[7,1,1]},\"types\":{\"a "
        "\\\"b\\\"\":{\"inbox\":false,"
        "\"push\":null,\"digest\":\"90m\",\"limit\":{\"per\":\"2d\",\"count\":3}},\"c\":{"
        "\"digest\":null,"
        "\"limit\":null},\"d\":{}}}");
    preferences_store(own, &out);
    struct preferences *again = NULL;
    cr_assert_eq(preferences_load(builder_bytes(&out), &zones, &again), 0);
    expect_text(&out,
        "{\"timezone\":\"Europe/"
        "Berlin\",\"muteUntil\":\"2030-01-02T03:04:05.000Z\",\"quiet\":{\"from\":"
        "\"22:00\",\"to\":\"07:05\",\"days\":[1,7]},\"types\":{\"a "
        "\\\"b\\\"\":{\"inbox\":false,\"digest\":"
        "5400000,\"limit\":{\"count\":3,\"per\":172800000}},\"c\":{\"digest\":null,\"limit\":null},"
        "\"d\":{}}}");
    preferences_store(again, &out);
    struct builder first = {0};
    preferences_store(own, &first);
    cr_expect(bytes_eq(builder_bytes(&out), builder_bytes(&first)));
    builder_reset(&first);
    builder_reset(&out);
    preferences_destroy(own);
    preferences_destroy(again);
}

Test(preferences, a_zone_that_is_no_longer_known_is_none)
{
    struct preferences *own = NULL;
    cr_assert_eq(
        preferences_load(BYTES("{\"timezone\":\"Mars/Base\",\"types\":{\"a\":{\"inbox\":false}}}"),
            &zones, &own),
        0);
    cr_expect_eq(own->timezone.len, 0);
    cr_expect_not(preferences_want(own, BYTES("a"), true));
    preferences_destroy(own);
    cr_assert_eq(preferences_load(BYTES("{\"timezone\":\"Europe/Berlin\"}"), NULL, &own), 0);
    cr_expect_eq(own->timezone.len, 0);
    preferences_destroy(own);
}

Test(preferences, what_a_user_does_not_say_is_what_is_usual)
{
    struct builder out = {0};
    struct preferences *own = parse("{\"types\":{\"a\":{\"push\":false},\"b\":{\"limit\":null}}}");
    struct preferences *usual = parse(
        "{\"types\":{\"a\":{\"inbox\":false,\"push\":true,\"digest\":\"1h\"},\"b\":{\"limit\":"
        "{\"count\":1,\"per\":\"1m\"}},\"c\":{\"inbox\":false}}}");
    builder_byte(&out, '{');
    preferences_answer(own, usual, 7, &out);
    expect_text(&out,
        "{\"timezone\":null,\"muteUntil\":null,\"quiet\":null,\"types\":{\"a\":{\"push\":false},"
        "\"b\":"
        "{\"limit\":null}},\"effective\":{\"a\":{\"inbox\":false,\"push\":false,\"digest\":\"1h\","
        "\"limit\":null},\"b\":{\"inbox\":true,\"push\":true,\"digest\":null,\"limit\":null},\"c\":"
        "{\"inbox\":false,\"push\":true,\"digest\":null,\"limit\":null}},\"rev\":7");
    builder_byte(&out, '{');
    preferences_answer(NULL, NULL, 0, &out);
    expect_text(&out, "{\"timezone\":null,\"muteUntil\":null,\"quiet\":null,\"types\":{},"
                      "\"effective\":{},\"rev\":0");
    preferences_destroy(own);
    preferences_destroy(usual);
}

/* Seconds since 1970 of a time that the C library knows in the zone of the environment. */
static uint64_t local_ms(int year, int month, int day, int hour, int minute)
{
    struct tm local = {.tm_year = year - 1900,
        .tm_mon = month - 1,
        .tm_mday = day,
        .tm_hour = hour,
        .tm_min = minute,
        .tm_isdst = -1};
    return (uint64_t)mktime(&local) * 1000;
}

static bool says_quiet(uint64_t ms, int from, int to, unsigned days)
{
    time_t at = (time_t)(ms / 1000);
    struct tm local;
    localtime_r(&at, &local);
    int minute = local.tm_hour * 60 + local.tm_min;
    unsigned today = (unsigned)(local.tm_wday + 6) % 7;
    unsigned yesterday = (today + 6) % 7;
    if (from <= to) {
        return (days & 1U << today) && minute >= from && minute < to;
    }
    return ((days & 1U << today) && minute >= from) || ((days & 1U << yesterday) && minute < to);
}

/* Each minute around the days on which clocks change, both ways, in zones of all kinds. */
Test(preferences, quiet_hours_go_by_the_clocks_of_the_zone)
{
    static const char *const names[] = {"UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York",
        "America/Santiago", "America/St_Johns", "America/Havana", "America/Nuuk", "Asia/Kolkata",
        "Asia/Kathmandu", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia",
        "Africa/Cairo", "Africa/Casablanca"};
    static const struct {
        int from;
        int to;
        unsigned days;
    } quiet[] = {{22 * 60, 7 * 60, 0x7f}, {22 * 60, 7 * 60, 0x1f}, {0, 60, 0x40}, {90, 150, 0x7f},
        {23 * 60 + 30, 1, 0x20}};
    unsigned both[2] = {0, 0};
    for (size_t i = 0; i < ARRAY_LEN(names) * ARRAY_LEN(quiet); i++) {
        const char *name = names[i / ARRAY_LEN(quiet)];
        int from = quiet[i % ARRAY_LEN(quiet)].from;
        int to = quiet[i % ARRAY_LEN(quiet)].to;
        unsigned days = quiet[i % ARRAY_LEN(quiet)].days;
        char json[256];
        int len = snprintf(json, sizeof(json),
            "{\"timezone\":\"%s\",\"quiet\":{\"from\":\"%02d:%02d\",\"to\":\"%02d:%02d\",\"days\":"
            "[",
            name, from / 60, from % 60, to / 60, to % 60);
        for (unsigned day = 0; day < 7; day++) {
            if (days & 1U << day) {
                len += snprintf(json + len, sizeof(json) - (size_t)len, "%s%u",
                    json[len - 1] == '[' ? "" : ",", day + 1);
            }
        }
        (void)snprintf(json + len, sizeof(json) - (size_t)len, "]}}");
        struct preferences *own = parse(json);
        setenv("TZ", name, 1);
        tzset();
        for (uint64_t ms = local_ms(2027, 1, 1, 0, 0); ms < local_ms(2028, 1, 3, 0, 0);
             ms += 7 * MINUTE * 1000) {
            bool wanted = says_quiet(ms, from, to, days);
            both[wanted]++;
            cr_assert_eq(preferences_are_quiet(own, NULL, ms), wanted, "%s at %llu", json,
                (unsigned long long)ms);
        }
        preferences_destroy(own);
    }
    cr_expect(both[0] > 0 && both[1] > 0);
}

Test(preferences, the_usual_zone_is_that_of_who_names_none)
{
    struct preferences *own = parse("{\"quiet\":{\"from\":\"10:00\",\"to\":\"11:00\"}}");
    struct preferences *usual = parse("{\"timezone\":\"Asia/Kolkata\"}");
    uint64_t ten_there = (4 * HOUR + 30 * MINUTE) * 1000ULL;
    cr_expect(preferences_are_quiet(own, usual, ten_there));
    cr_expect_not(preferences_are_quiet(own, usual, 10 * HOUR * 1000ULL));
    cr_expect(preferences_are_quiet(own, NULL, 10 * HOUR * 1000ULL));
    cr_expect_not(preferences_are_quiet(NULL, usual, ten_there));
    preferences_destroy(own);
    preferences_destroy(usual);
}

Test(preferences, from_and_to_that_are_one_are_never)
{
    struct preferences *own = parse("{\"quiet\":{\"from\":\"10:00\",\"to\":\"10:00\"}}");
    for (uint64_t ms = 0; ms < 48 * HOUR * 1000ULL; ms += MINUTE * 1000) {
        cr_assert_not(preferences_are_quiet(own, NULL, ms));
    }
    preferences_destroy(own);
}

Test(preferences, muted_is_until_the_time)
{
    struct preferences *own = parse("{\"muteUntil\":1900000000000}");
    cr_expect(preferences_are_quiet(own, NULL, 1899999999999));
    cr_expect_not(preferences_are_quiet(own, NULL, 1900000000000));
    preferences_destroy(own);
}

static void expect_fault(const char *json, const char *field)
{
    struct preferences *preferences = NULL;
    struct preferences_fault fault;
    cr_expect_eq(preferences_parse(bytes_str(json), &zones, &preferences, &fault), STATUS_INVALID,
        "%s", json);
    cr_expect_str_eq(fault.field, field, "%s: %s", json, fault.field);
    cr_expect_not_null(fault.message);
}

Test(preferences, a_fault_is_named)
{
    expect_fault("", "");
    expect_fault("[]", "");
    expect_fault("{\"zone\":1}", "zone");
    expect_fault("{\"timezone\":\"Mars/Base\"}", "timezone");
    expect_fault("{\"timezone\":\"UTC\",\"timezone\":\"UTC\"}", "timezone");
    expect_fault("{\"quiet\":{\"from\":\"1:00\",\"to\":\"02:00\"}}", "quiet.from");
    expect_fault("{\"quiet\":{\"from\":\"01:00\",\"to\":\"02:60\"}}", "quiet.to");
    expect_fault("{\"quiet\":{\"from\":\"01:00\",\"to\":\"02:00\",\"days\":[8]}}", "quiet.days");
    expect_fault("{\"types\":{\"a\":{\"digest\":\"59s\"}}}", "types.a.digest");
    expect_fault("{\"types\":{\"a\":{\"digest\":\"1h \"}}}", "types.a.digest");
    expect_fault("{\"types\":{\"a\":{\"digest\":3600000}}}", "types.a.digest");
    expect_fault("{\"types\":{\"a\":{},\"\\u0061\":{}}}", "types.a");
    expect_fault("{\"types\":{\"a\\u0000b\":{}}}", "a");
}

/* Two members of a name must not have room for one. */
Test(preferences, types_that_are_named_twice_are_refused)
{
    expect_fault("{\"types\":{\"a\":{}},\"types\":{\"b\":{},\"c\":{},\"d\":{}}}", "types");
    expect_fault("{\"types\":null,\"types\":{\"b\":{},\"c\":{},\"d\":{}}}", "types");
}

Test(preferences, a_hundred_types_with_the_longest_names_fit)
{
    struct builder json = {0};
    builder_str(&json, "{\"timezone\":\"Europe/Berlin\",\"types\":{");
    for (unsigned i = 0; i < PREFERENCES_TYPES_MAX; i++) {
        builder_printf(&json, "%s\"%064u\":{\"inbox\":false}", i > 0 ? "," : "", i);
    }
    builder_str(&json, "}}");
    struct preferences *own = NULL;
    struct preferences_fault fault;
    cr_assert_eq(preferences_parse(builder_bytes(&json), &zones, &own, &fault), 0);
    cr_expect_eq(own->type_count, PREFERENCES_TYPES_MAX);
    for (unsigned i = 0; i < PREFERENCES_TYPES_MAX; i++) {
        char name[80];
        (void)snprintf(name, sizeof(name), "%064u", i);
        cr_expect_not(preferences_want(own, bytes_str(name), true), "%u", i);
    }
    cr_expect(preferences_want(own, BYTES("other"), true));
    preferences_destroy(own);
    builder_truncate(&json, builder_bytes(&json).len - 2);
    builder_str(&json, ",\"one more\":{}}}");
    cr_assert_eq(preferences_parse(builder_bytes(&json), &zones, &own, &fault), STATUS_INVALID);
    cr_expect_str_eq(fault.field, "types");
    builder_reset(&json);
}

Test(preferences, a_text_that_is_too_large_is_refused)
{
    struct builder json = {0};
    struct preferences *own = NULL;
    struct preferences_fault fault;
    builder_str(&json, "{}");
    for (unsigned i = 0; i < PREFERENCES_BYTES_MAX; i++) {
        builder_byte(&json, ' ');
    }
    cr_expect_eq(preferences_parse(builder_bytes(&json), &zones, &own, &fault), STATUS_TOO_LARGE);
    builder_reset(&json);
}
