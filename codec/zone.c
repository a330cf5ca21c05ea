/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads TZif files (RFC 9636): a list of changes, and behind the last one a rule for each year.
 *
 * Order of this file: the calendar, the rule (the footer, a POSIX TZ text), the file, asking.
 */
#include "codec/zone.h"

#include <stdbool.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"

enum {
    DAY = 86400,
    HEAD = 44, /* of each of the two blocks */
    VERSION_AT = 4,
    COUNTS_AT = 20,
    TYPE_SIZE = 6,
    CHANGES_MAX = 4096,
    TYPES_MAX = 256,
    OFFSET_MAX = 26 * 3600,
    HOURS_MAX = 167, /* of the time of a rule */
    KEPT_FROM = 978307200, /* 2001-01-01 */
};

/* The kinds of days a rule names: J60 and 60 count days of a year, M3.5.0 a weekday of a month. */
enum day_kind { DAY_JULIAN, DAY_OF_YEAR, DAY_OF_MONTH };

struct rule_day {
    enum day_kind kind;
    int month;
    int week; /* 5: the last one */
    int day; /* of the year, or of the week */
    int32_t time; /* seconds behind midnight, as clocks stood before */
};

struct change {
    int64_t at;
    int32_t offset;
};

struct zone {
    bool has_rule; /* which holds from the last change on */
    bool has_summer;
    int32_t standard;
    int32_t summer;
    struct rule_day begins; /* summer */
    struct rule_day ends;
    int32_t first; /* before the first change */
    uint32_t change_count;
    struct change changes[];
};

/* The calendar. */

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days from 1970-01-01 to the first of January of `year`. */
static int64_t days_to_year(int64_t year)
{
    int64_t before = year - 1;
    return 365 * (year - 1970) + floor_div(before, 4) - floor_div(before, 100) +
           floor_div(before, 400) - 477;
}

static int64_t year_of(int64_t at)
{
    int64_t day = floor_div(at, DAY);
    int64_t year = 1970 + floor_div(day * 400, 146097);
    while (days_to_year(year) > day) {
        year--;
    }
    while (days_to_year(year + 1) <= day) {
        year++;
    }
    return year;
}

static int64_t days_to_month(int64_t year, int month)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    return days_to_year(year) + before[month - 1] + (month > 2 && is_leap(year));
}

/* The instant at which `rule` changes the clocks in `year`, where they stood at `offset` before. */
static int64_t instant_of(const struct rule_day *rule, int64_t year, int32_t offset)
{
    int64_t day = days_to_year(year) + rule->day;
    if (rule->kind == DAY_JULIAN) {
        day += (rule->day > 59 && is_leap(year)) - 1; /* 29 February is never counted */
    } else if (rule->kind == DAY_OF_MONTH) {
        int64_t first = days_to_month(year, rule->month);
        int64_t next =
            rule->month == 12 ? days_to_year(year + 1) : days_to_month(year, rule->month + 1);
        int64_t weekday = (first + 4) % 7; /* 1970-01-01 was a Thursday */
        weekday += weekday < 0 ? 7 : 0;
        day = first + (rule->day - weekday + 7) % 7 + 7 * (rule->week - 1);
        day -= day >= next ? 7 : 0;
    }
    return day * DAY + rule->time - offset;
}

/* The rule. Readers take what they need from the front of `text`; false: it is not there. */

static bool take(struct bytes *text, char what)
{
    if (text->len == 0 || text->at[0] != what) {
        return false;
    }
    *text = bytes_skip(*text, 1);
    return true;
}

static bool read_number(struct bytes *text, int least, int most, int *ret_number)
{
    int number = 0;
    size_t digits = 0;
    while (digits < text->len && digits < 4 && text->at[digits] >= '0' && text->at[digits] <= '9') {
        number = 10 * number + (text->at[digits++] - '0');
    }
    *text = bytes_skip(*text, digits);
    *ret_number = number;
    return digits > 0 && number >= least && number <= most;
}

/* [+-]h[:m[:s]] */
static bool read_time(struct bytes *text, int most_hours, int32_t *ret_seconds)
{
    bool minus = take(text, '-');
    int hours = 0;
    int minutes = 0;
    int seconds = 0;
    if (!minus) {
        (void)take(text, '+');
    }
    bool good = read_number(text, 0, most_hours, &hours);
    if (good && take(text, ':')) {
        good = read_number(text, 0, 59, &minutes);
    }
    if (good && take(text, ':')) {
        good = read_number(text, 0, 59, &seconds);
    }
    int32_t sum = hours * 3600 + minutes * 60 + seconds;
    *ret_seconds = minus ? -sum : sum;
    return good;
}

/* The abbreviation of a zone, which nobody asks for: letters, or anything between < and >. */
static bool skip_name(struct bytes *text)
{
    size_t len = 0;
    if (take(text, '<')) {
        while (len < text->len && text->at[len] != '>') {
            len++;
        }
        *text = bytes_skip(*text, len);
        return take(text, '>');
    }
    while (len < text->len && ((text->at[len] | 0x20) >= 'a' && (text->at[len] | 0x20) <= 'z')) {
        len++;
    }
    *text = bytes_skip(*text, len);
    return len >= 3;
}

/* ,day[/time] */
static bool read_rule_day(struct bytes *text, struct rule_day *ret_rule)
{
    struct rule_day rule = {.kind = DAY_OF_YEAR, .time = 2 * 3600};
    bool good = take(text, ',');
    if (good && take(text, 'J')) {
        rule.kind = DAY_JULIAN;
        good = read_number(text, 1, 365, &rule.day);
    } else if (good && take(text, 'M')) {
        rule.kind = DAY_OF_MONTH;
        good = read_number(text, 1, 12, &rule.month) && take(text, '.') &&
               read_number(text, 1, 5, &rule.week) && take(text, '.') &&
               read_number(text, 0, 6, &rule.day);
    } else if (good) {
        good = read_number(text, 0, 365, &rule.day);
    }
    if (good && take(text, '/')) {
        good = read_time(text, HOURS_MAX, &rule.time);
    }
    *ret_rule = rule;
    return good;
}

/* CET-1CEST,M3.5.0,M10.5.0/3: hours west of Greenwich. Empty: none is known. */
static bool read_rule(struct bytes text, struct zone *zone)
{
    int32_t west = 0;
    if (text.len == 0) {
        return true;
    }
    if (!skip_name(&text) || !read_time(&text, 24, &west)) {
        return false;
    }
    zone->has_rule = true;
    zone->standard = -west;
    if (text.len == 0) {
        return true;
    }
    zone->has_summer = true;
    zone->summer = zone->standard + 3600;
    if (!skip_name(&text)) {
        return false;
    }
    if (text.len > 0 && text.at[0] != ',') {
        if (!read_time(&text, 24, &west)) {
            return false;
        }
        zone->summer = -west;
    }
    return read_rule_day(&text, &zone->begins) && read_rule_day(&text, &zone->ends) &&
           text.len == 0;
}

/* What the rule last said before or at `at`: the changes of three years are looked at, because
 * those of one may lie in its neighbours. */
static int32_t rule_offset(const struct zone *zone, int64_t at)
{
    int64_t year = year_of(at + zone->standard);
    int64_t latest = INT64_MIN;
    int32_t offset = zone->standard;
    for (int64_t y = year - 1; zone->has_summer && y <= year + 1; y++) {
        int64_t ends = instant_of(&zone->ends, y, zone->summer);
        int64_t begins = instant_of(&zone->begins, y, zone->standard);
        if (ends <= at && ends > latest) {
            latest = ends;
            offset = zone->standard;
        }
        if (begins <= at && begins >= latest) { /* both at once: summer goes on */
            latest = begins;
            offset = zone->summer;
        }
    }
    return offset;
}

/* The file. */

static uint32_t read_u32(const char *at)
{
    const uint8_t *bytes = (const uint8_t *)at;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static int64_t read_i64(const char *at)
{
    return (int64_t)((uint64_t)read_u32(at) << 32 | read_u32(at + 4));
}

/* What the head of a block says. */
struct counts {
    uint32_t utc;
    uint32_t standard;
    uint32_t leaps;
    uint32_t changes;
    uint32_t types;
    uint32_t letters;
};

static bool read_head(struct bytes file, struct counts *ret_counts)
{
    if (file.len < HEAD || memcmp(file.at, "TZif", 4) != 0 || file.at[VERSION_AT] < '2') {
        return false;
    }
    const char *at = file.at + COUNTS_AT;
    *ret_counts = (struct counts){
        .utc = read_u32(at),
        .standard = read_u32(at + 4),
        .leaps = read_u32(at + 8),
        .changes = read_u32(at + 12),
        .types = read_u32(at + 16),
        .letters = read_u32(at + 20),
    };
    return ret_counts->leaps == 0 && ret_counts->changes <= CHANGES_MAX &&
           ret_counts->types <= TYPES_MAX && ret_counts->letters <= ZONE_FILE_MAX &&
           ret_counts->utc <= TYPES_MAX && ret_counts->standard <= TYPES_MAX;
}

static size_t size_of(const struct counts *counts, size_t time_size)
{
    return HEAD + (size_t)counts->changes * (time_size + 1) + (size_t)counts->types * TYPE_SIZE +
           counts->letters + counts->standard + counts->utc;
}

/* So many changes are kept. */
static size_t count_kept(struct bytes file, const struct counts *counts)
{
    size_t kept = 0;
    for (uint32_t i = 0; i < counts->changes; i++) {
        kept += read_i64(file.at + HEAD + (size_t)i * 8) > KEPT_FROM;
    }
    return kept;
}

/* The block of `counts` at the front of `file`: its changes from KEPT_FROM on. */
static bool read_changes(struct bytes file, const struct counts *counts, struct zone *zone)
{
    const char *times = file.at + HEAD;
    const char *kinds = times + (size_t)counts->changes * 8;
    const char *types = kinds + counts->changes;
    int64_t before = INT64_MIN;
    zone->first = (int32_t)read_u32(types);
    for (uint32_t i = 0; i < counts->changes; i++) {
        int64_t at = read_i64(times + (size_t)i * 8);
        uint8_t kind = (uint8_t)kinds[i];
        if (kind >= counts->types || (i > 0 && at <= before)) {
            return false;
        }
        before = at;
        int32_t offset = (int32_t)read_u32(types + (size_t)kind * TYPE_SIZE);
        if (offset < -OFFSET_MAX || offset > OFFSET_MAX) {
            return false;
        }
        if (at <= KEPT_FROM) {
            zone->first = offset;
        } else {
            zone->changes[zone->change_count++] = (struct change){.at = at, .offset = offset};
        }
    }
    return zone->first >= -OFFSET_MAX && zone->first <= OFFSET_MAX;
}

/* What stands between two line ends behind the blocks. */
static bool read_footer(struct bytes text, struct zone *zone)
{
    if (text.len < 2 || text.at[0] != '\n' || text.at[text.len - 1] != '\n') {
        return false;
    }
    return read_rule(bytes_of(text.at + 1, text.len - 2), zone);
}

int zone_parse(struct bytes file, struct zone **ret_zone)
{
    struct counts counts;
    if (file.len > ZONE_FILE_MAX || !read_head(file, &counts) || size_of(&counts, 4) > file.len) {
        return STATUS_INVALID;
    }
    file = bytes_skip(file, size_of(&counts, 4)); /* the block of four-byte times says no more */
    if (!read_head(file, &counts) || counts.types == 0 || size_of(&counts, 8) > file.len) {
        return STATUS_INVALID;
    }
    size_t kept = count_kept(file, &counts);
    struct zone *zone = mem_try_calloc(1, sizeof(*zone) + kept * sizeof(zone->changes[0]));
    if (zone == NULL) {
        return STATUS_NOMEM;
    }
    if (!read_changes(file, &counts, zone) ||
        !read_footer(bytes_skip(file, size_of(&counts, 8)), zone)) {
        mem_free(zone);
        return STATUS_INVALID;
    }
    *ret_zone = zone;
    return 0;
}

void zone_destroy(struct zone *zone)
{
    mem_free(zone);
}

/* Asking. */

int32_t zone_offset(const struct zone *zone, int64_t at)
{
    uint32_t low = 0; /* of the changes, so many are at or before `at` */
    uint32_t high = zone->change_count;
    if (zone->has_rule && (high == 0 || at >= zone->changes[high - 1].at)) {
        return rule_offset(zone, at);
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (zone->changes[middle].at <= at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? zone->first : zone->changes[low - 1].offset;
}
