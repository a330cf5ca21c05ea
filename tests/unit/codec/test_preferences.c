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

enum { FILE_MAX = 65536, KNOWN_MAX = 40, MINUTE = 60, HOUR = 3600, DAY = 86400 };

/* The zones of this process, by name: they outlive what was parsed with them, as in the hub. */
static struct known {
    char name[64];
    struct zone *zone;
} known[KNOWN_MAX];

static struct zone *load_zone(struct bytes name)
{
    static char content[FILE_MAX];
    char path[128];
    struct zone *zone = NULL;
    (void)snprintf(path, sizeof(path), "/usr/share/zoneinfo/%.*s", (int)name.len, name.at);
    FILE *file = memchr(name.at, '.', name.len) == NULL ? fopen(path, "rb") : NULL;
    if (file == NULL) {
        return NULL;
    }
    size_t len = fread(content, 1, sizeof(content), file);
    (void)fclose(file);
    return zone_parse(bytes_of(content, len), &zone) == 0 ? zone : NULL;
}

/* The system's zones, as the hub has them. */
static bool find_zone(void *context, struct bytes name, const struct zone **ret_zone)
{
    size_t at = 0;
    while (at < KNOWN_MAX && known[at].zone != NULL && !bytes_eq_str(name, known[at].name)) {
        at++;
    }
    cr_assert_lt(at, KNOWN_MAX);
    if (known[at].zone == NULL) {
        known[at].zone = load_zone(name);
        (void)snprintf(known[at].name, sizeof(known[at].name), "%.*s", (int)name.len, name.at);
    }
    *ret_zone = known[at].zone;
    return *ret_zone != NULL;
}

static void forget_zones(void)
{
    for (size_t at = 0; at < KNOWN_MAX; at++) {
        zone_destroy(known[at].zone);
        known[at].zone = NULL;
    }
}

TestSuite(preferences, .fini = forget_zones);

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

static void use_library(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

static struct tm local_time(int64_t at)
{
    time_t time = (time_t)at;
    struct tm local;
    localtime_r(&time, &local);
    return local;
}

/* What the C library says of quiet hours, in the zone of the environment. */
static bool says_quiet(int64_t at, int from, int to, unsigned days)
{
    struct tm local = local_time(at);
    int minute = local.tm_hour * 60 + local.tm_min;
    unsigned today = (unsigned)(local.tm_wday + 6) % 7;
    unsigned yesterday = (today + 6) % 7;
    if (from <= to) {
        return (days & 1U << today) && minute >= from && minute < to;
    }
    return ((days & 1U << today) && minute >= from) || ((days & 1U << yesterday) && minute < to);
}

/*
 * Both hemispheres; shifts of half an hour (Lord Howe), at midnight in both directions (Santiago,
 * Havana, Beirut, Asuncion until its last), of a whole day (Apia and Fakaofo, which crossed the
 * date line in 2011) and of two hours (Troll); winter time that counts as summer (Dublin); Ramadan
 * (Casablanca, El_Aaiun); zones that ended changing (Moscow, Sao_Paulo, Tehran), and that never do.
 */
static const char *const changing_zones[] = {"UTC", "Europe/Berlin", "Europe/London",
    "Europe/Dublin", "Europe/Moscow", "America/New_York", "America/Los_Angeles", "America/St_Johns",
    "America/Santiago", "America/Asuncion", "America/Sao_Paulo", "America/Havana", "America/Nuuk",
    "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran", "Asia/Beirut", "Asia/Tokyo",
    "Australia/Lord_Howe", "Australia/Adelaide", "Pacific/Auckland", "Pacific/Chatham",
    "Pacific/Apia", "Pacific/Fakaofo", "Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun",
    "Antarctica/Troll"};

/* Hours of a day, over midnight, of a minute at midnight, within and around what is left out. */
static const struct quiet {
    int from;
    int to;
    unsigned days;
} quiet_hours[] = {{22 * 60, 7 * 60, 0x7f}, {22 * 60, 7 * 60, 0x1f}, {0, 60, 0x40}, {90, 150, 0x7f},
    {23 * 60 + 30, 1, 0x20}, {0, 1, 0x7f}};

static struct preferences *parse_quiet(const char *zone, const struct quiet *quiet)
{
    char json[256];
    int len = snprintf(json, sizeof(json),
        "{\"timezone\":\"%s\",\"quiet\":{\"from\":\"%02d:%02d\",\"to\":\"%02d:%02d\",\"days\":[",
        zone, quiet->from / 60, quiet->from % 60, quiet->to / 60, quiet->to % 60);
    for (unsigned day = 0; day < 7; day++) {
        if (quiet->days & 1U << day) {
            len += snprintf(json + len, sizeof(json) - (size_t)len, "%s%u",
                json[len - 1] == '[' ? "" : ",", day + 1);
        }
    }
    (void)snprintf(json + len, sizeof(json) - (size_t)len, "]}}");
    return parse(json);
}

/* Each `step` seconds of [from, to); the zone is that of the environment. */
static void compare_quiet(const char *zone, int64_t from, int64_t to, int64_t step)
{
    for (size_t i = 0; i < ARRAY_LEN(quiet_hours); i++) {
        const struct quiet *quiet = &quiet_hours[i];
        struct preferences *own = parse_quiet(zone, quiet);
        for (int64_t at = from; at < to; at += step) {
            bool wanted = says_quiet(at, quiet->from, quiet->to, quiet->days);
            cr_assert_eq(preferences_are_quiet(own, NULL, (uint64_t)at * 1000), wanted,
                "%s, quiet %zu, at %lld", zone, i, (long long)at);
        }
        preferences_destroy(own);
    }
}

/* The second at which clocks change between `low` and `high`. */
static int64_t find_change(int64_t low, int64_t high)
{
    long before = local_time(low).tm_gmtoff;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        bool changed = local_time(middle).tm_gmtoff != before;
        low = changed ? low : middle;
        high = changed ? middle : high;
    }
    return high;
}

/* The kinds of changes that must have been among those that were tested. */
enum kind {
    SPRING_NORTH,
    SPRING_SOUTH,
    AUTUMN,
    HALF_HOUR,
    WHOLE_DAY,
    GAP_AT_MIDNIGHT,
    OVERLAP_AT_MIDNIGHT,
    BEHIND_2037,
    KINDS
};

static void count_kinds(int64_t change, unsigned counts[KINDS])
{
    struct tm before = local_time(change - 1);
    struct tm now = local_time(change);
    long shift = now.tm_gmtoff - before.tm_gmtoff;
    bool at_midnight = before.tm_hour == 23 && before.tm_min == 59;
    bool early = now.tm_mon >= 1 && now.tm_mon <= 5;
    counts[SPRING_NORTH] += shift > 0 && early;
    counts[SPRING_SOUTH] += shift > 0 && !early;
    counts[AUTUMN] += shift < 0;
    counts[HALF_HOUR] += shift == HOUR / 2 || shift == -HOUR / 2;
    counts[WHOLE_DAY] += shift == DAY;
    counts[GAP_AT_MIDNIGHT] += shift > 0 && at_midnight;
    counts[OVERLAP_AT_MIDNIGHT] += shift < 0 && at_midnight;
    counts[BEHIND_2037] += now.tm_year + 1900 > 2037;
}

/* Each minute of the days around each change of clocks in some years, the last ones by the rule at
 * the end of the files; and all of a year in steps. */
Test(preferences, quiet_hours_go_by_the_clocks_of_the_zone, .timeout = 120)
{
    enum { YEAR = 366 * DAY, AROUND = 30 * HOUR };
    static const int64_t years[] = {
        1293840000 /* 2011 */, 1798761600 /* 2027 */, 2208988800 /* 2040 */, 4102444800 /* 2100 */};
    unsigned counts[KINDS] = {0};
    for (size_t i = 0; i < ARRAY_LEN(changing_zones); i++) {
        const char *zone = changing_zones[i];
        use_library(zone);
        compare_quiet(zone, years[1], years[1] + YEAR, 7 * MINUTE);
        for (int64_t at = years[0]; at < years[ARRAY_LEN(years) - 1] + YEAR; at += DAY) {
            bool tested = false;
            for (size_t j = 0; j < ARRAY_LEN(years); j++) {
                tested |= at >= years[j] && at < years[j] + YEAR;
            }
            if (tested && local_time(at).tm_gmtoff != local_time(at + DAY).tm_gmtoff) {
                int64_t change = find_change(at, at + DAY);
                count_kinds(change, counts);
                compare_quiet(zone, change - AROUND, change + AROUND, MINUTE);
                compare_quiet(zone, change - 2, change + 2, 1);
            }
        }
    }
    for (unsigned kind = 0; kind < KINDS; kind++) {
        cr_expect_gt(counts[kind], 0, "the system's zones have none of kind %u", kind);
    }
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
