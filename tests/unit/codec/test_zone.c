/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zones against the C library, which reads the same files with code of its own.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/zone.h"

#define DIRECTORY "/usr/share/zoneinfo/"

enum { DAY = 86400, SCANNED_FROM = 978307200, SCANNED_TO = 2000000000 };

/* Half hours (Lord Howe: also of its summer), quarters, changes at midnight (Santiago, Beirut,
 * Havana), before midnight (Nuuk), with 99 hours in the rule (Fiji once), winter time that counts
 * as summer (Dublin), none of it, a date line that was crossed (Apia), Ramadan (Casablanca), and
 * rules that ended lately. */
static const char *const names[] = {"UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin",
    "Europe/Moscow", "Europe/Istanbul", "America/New_York", "America/Los_Angeles",
    "America/St_Johns", "America/Santiago", "America/Sao_Paulo", "America/Havana", "America/Nuuk",
    "America/Caracas", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran", "Asia/Beirut", "Asia/Gaza",
    "Asia/Tokyo", "Asia/Pyongyang", "Australia/Lord_Howe", "Australia/Sydney", "Pacific/Auckland",
    "Pacific/Chatham", "Pacific/Apia", "Pacific/Fiji", "Africa/Casablanca", "Africa/Cairo",
    "Antarctica/Troll"};

static struct bytes read_file(const char *name, char *at)
{
    char path[128];
    snprintf(path, sizeof(path), DIRECTORY "%s", name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s: the package tzdata is needed", path);
    size_t len = fread(at, 1, ZONE_FILE_MAX, file);
    fclose(file);
    return bytes_of(at, len);
}

static struct zone *load(const char *name)
{
    static char at[ZONE_FILE_MAX];
    struct zone *zone = NULL;
    cr_assert_eq(zone_parse(read_file(name, at), &zone), 0, "%s", name);
    return zone;
}

static void use_library(const char *name)
{
    setenv("TZ", name, 1);
    tzset();
}

static int32_t library_offset(int64_t at)
{
    time_t time = (time_t)at;
    struct tm local;
    localtime_r(&time, &local);
    return (int32_t)local.tm_gmtoff;
}

static void compare(const struct zone *zone, const char *name, int64_t at)
{
    cr_assert_eq(zone_offset(zone, at), library_offset(at), "%s at %lld: %d, not %d", name,
        (long long)at, (int)zone_offset(zone, at), (int)library_offset(at));
}

/* The second at which the library's clocks change between `low` and `high`, and those beside it. */
static void compare_around(const struct zone *zone, const char *name, int64_t low, int64_t high)
{
    int32_t before = library_offset(low);
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (library_offset(middle) == before) {
            low = middle;
        } else {
            high = middle;
        }
    }
    compare(zone, name, low);
    compare(zone, name, high);
    compare(zone, name, high + 1);
}

Test(zone, thirty_zones_agree_with_the_library_at_each_change_of_clocks)
{
    unsigned changes = 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct zone *zone = load(names[i]);
        use_library(names[i]);
        for (int64_t at = SCANNED_FROM; at < SCANNED_TO; at += DAY) {
            compare(zone, names[i], at);
            if (library_offset(at) != library_offset(at + DAY)) {
                compare_around(zone, names[i], at, at + DAY);
                changes++;
            }
        }
        zone_destroy(zone);
    }
    cr_assert_gt(changes, 1000);
}

Test(zone, behind_the_last_change_in_the_file_the_rule_goes_on)
{
    static const char *const going_on[] = {"Europe/Berlin", "Europe/Dublin", "America/Nuuk",
        "America/Santiago", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Chatham", "Asia/Tokyo"};
    const int64_t from = 4070908800; /* 2099 */
    for (size_t i = 0; i < ARRAY_LEN(going_on); i++) {
        struct zone *zone = load(going_on[i]);
        use_library(going_on[i]);
        for (int64_t at = from; at < from + 30LL * 366 * DAY; at += DAY) {
            compare(zone, going_on[i], at);
            if (library_offset(at) != library_offset(at + DAY)) {
                compare_around(zone, going_on[i], at, at + DAY);
            }
        }
        zone_destroy(zone);
    }
}

Test(zone, before_2001_clocks_stand_as_they_did_when_it_began)
{
    struct zone *zone = load("Europe/Moscow");
    cr_assert_eq(zone_offset(zone, SCANNED_FROM), 3 * 3600);
    cr_assert_eq(zone_offset(zone, 0), 3 * 3600);
    cr_assert_eq(zone_offset(zone, INT32_MIN), 3 * 3600);
    zone_destroy(zone);
}

/* A file of version 2 without changes, whose one type is `offset`, with a rule. */
static struct bytes make_file(int32_t offset, const char *rule, char *at)
{
    char *to = at;
    for (unsigned block = 0; block < 2; block++) {
        memcpy(to, "TZif2", 5);
        memset(to + 5, 0, 39);
        to[39] = 1; /* types */
        to[43] = 4; /* letters */
        to += 44;
        for (int shift = 24; shift >= 0; shift -= 8) {
            *to++ = (char)((uint32_t)offset >> shift);
        }
        memcpy(to, "\0\0XYZ", 6);
        to += 6;
    }
    int len = sprintf(to, "\n%s\n", rule);
    return bytes_of(at, (size_t)(to - at) + (size_t)len);
}

Test(zone, rules_of_all_forms_are_those_of_the_library)
{
    static const char *const rules[] = {"UTC0", "<+0530>-5:30", "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT,M3.2.0,M11.1.0", "AEST-10AEDT,M10.1.0,M4.1.0/3", "XXX3YYY2:30,J60/0,J300/24",
        "XXX3YYY,59,299/-1", "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "IST-1GMT0,M10.5.0,M3.5.0/1",
        "<+12>-12<+13>,M11.2.0,M1.2.3/99", "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1"};
    char at[256];
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        struct zone *zone = NULL;
        cr_assert_eq(zone_parse(make_file(0, rules[i], at), &zone), 0, "%s", rules[i]);
        use_library(rules[i]);
        for (int64_t when = SCANNED_FROM; when < SCANNED_TO; when += DAY) {
            compare(zone, rules[i], when);
            if (library_offset(when) != library_offset(when + DAY)) {
                compare_around(zone, rules[i], when, when + DAY);
            }
        }
        zone_destroy(zone);
    }
}

Test(zone, summer_for_the_whole_year_never_ends)
{
    char at[256];
    struct zone *zone = NULL;
    cr_assert_eq(zone_parse(make_file(0, "XXX3EDT4,0/0,J365/23", at), &zone), 0);
    for (int64_t when = SCANNED_FROM; when < SCANNED_FROM + 800 * DAY; when += 1800) {
        cr_assert_eq(zone_offset(zone, when), -4 * 3600);
    }
    zone_destroy(zone);
}

Test(zone, a_bad_rule_is_refused)
{
    static const char *const rules[] = {"C", "CET", "CET-", "CET-25", "CET-1CEST",
        "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0",
        "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,J0,J365", "CET-1CEST,366,1",
        "CET-1CEST,M3.5.0,M10.5.0/3x", "CET-1CEST,M3.5.0/168,M10.5.0", "<CET-1"};
    char at[256];
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        struct zone *zone = NULL;
        cr_assert_eq(zone_parse(make_file(0, rules[i], at), &zone), STATUS_INVALID, "%s", rules[i]);
    }
    struct zone *zone = NULL;
    cr_assert_eq(zone_parse(make_file(30 * 3600, "UTC0", at), &zone), STATUS_INVALID);
}

/* Parse a copy that ends where its memory ends, and ask what comes of it. */
static int parse_exactly(struct bytes file)
{
    char *copy = malloc(file.len > 0 ? file.len : 1);
    memcpy(copy, file.at, file.len);
    struct zone *zone = NULL;
    int status = zone_parse(bytes_of(copy, file.len), &zone);
    if (status == 0) {
        for (int64_t at = -3000000000; at < 9000000000; at += 100000000) {
            (void)zone_offset(zone, at);
        }
        (void)zone_offset(zone, INT32_MAX);
        zone_destroy(zone);
    }
    free(copy);
    return status;
}

Test(zone, what_is_cut_or_changed_is_refused_or_read_and_never_more)
{
    static char at[ZONE_FILE_MAX];
    struct bytes file = read_file("Europe/Berlin", at);
    cr_assert_eq(parse_exactly(file), 0);
    for (size_t len = 0; len < file.len; len++) {
        cr_assert_eq(parse_exactly(bytes_of(at, len)), STATUS_INVALID, "%zu", len);
    }
    for (size_t i = 0; i < file.len; i++) {
        char was = at[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            at[i] = (char)(was ^ (1 << bit));
            int status = parse_exactly(file);
            cr_assert(status == 0 || status == STATUS_INVALID);
        }
        at[i] = was;
    }
}
