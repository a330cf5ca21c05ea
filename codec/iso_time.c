/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Days and dates by the civil calendar, with neither the time zone nor the locale of the process.
 */
#include "codec/iso_time.h"

#include <stdbool.h>
#include <stdlib.h>

#include "codec/base/status.h"

enum { MS_PER_DAY = 86400000, MS_PER_MINUTE = 60000 };

/* Days since 1970-01-01 of a date in the Gregorian calendar; March is month 0 of a year here. */
static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

struct date {
    int64_t year;
    unsigned month;
    unsigned day;
};

/* The inverse of days_of. */
static struct date date_of(int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    struct date date = {
        .month = (unsigned)(shifted < 10 ? shifted + 3 : shifted - 9),
        .day = (unsigned)(day_of_year - (153 * shifted + 2) / 5 + 1),
    };
    date.year = year_of_era + era * 400 + (date.month <= 2);
    return date;
}

static void write_digits(struct builder *out, uint64_t value, unsigned width)
{
    char digits[8];
    for (unsigned i = width; i > 0; i--) {
        digits[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    builder_add(out, bytes_of(digits, width));
}

int iso_time_write(int64_t ms, struct builder *out)
{
    if (ms > ISO_TIME_MAX || ms < -ISO_TIME_MAX) {
        return STATUS_INVALID;
    }
    int64_t days = ms / MS_PER_DAY - (ms % MS_PER_DAY < 0);
    uint64_t rest = (uint64_t)(ms - days * MS_PER_DAY);
    struct date date = date_of(days);
    if (date.year >= 0 && date.year <= 9999) {
        write_digits(out, (uint64_t)date.year, 4);
    } else {
        builder_byte(out, date.year < 0 ? '-' : '+');
        write_digits(out, (uint64_t)llabs(date.year), 6);
    }
    builder_byte(out, '-');
    write_digits(out, date.month, 2);
    builder_byte(out, '-');
    write_digits(out, date.day, 2);
    builder_byte(out, 'T');
    write_digits(out, rest / 3600000, 2);
    builder_byte(out, ':');
    write_digits(out, rest / MS_PER_MINUTE % 60, 2);
    builder_byte(out, ':');
    write_digits(out, rest / 1000 % 60, 2);
    builder_byte(out, '.');
    write_digits(out, rest % 1000, 3);
    builder_byte(out, 'Z');
    return 0;
}

bool iso_time_may_be_stored(uint64_t ms, uint64_t now_ms)
{
    const uint64_t first = UINT64_C(978307200000); /* 2001-01-01 */
    const uint64_t most_ahead = UINT64_C(36525) * MS_PER_DAY;
    uint64_t last = now_ms > 0 ? now_ms + most_ahead : (uint64_t)ISO_TIME_MAX;
    return ms >= first && ms <= last;
}

/* Take exactly `width` digits. */
static bool take_digits(struct bytes *text, unsigned width, unsigned *ret_value)
{
    unsigned value = 0;
    if (text->len < width) {
        return false;
    }
    for (unsigned i = 0; i < width; i++) {
        char c = text->at[i];
        if (c < '0' || c > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(c - '0');
    }
    *text = bytes_skip(*text, width);
    *ret_value = value;
    return true;
}

static bool take_char(struct bytes *text, char c)
{
    if (text->len == 0 || text->at[0] != c) {
        return false;
    }
    *text = bytes_skip(*text, 1);
    return true;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* `YYYY-MM-DD` as days since 1970. */
static bool take_date(struct bytes *text, int64_t *ret_days)
{
    unsigned year;
    unsigned month;
    unsigned day;
    if (!take_digits(text, 4, &year) || !take_char(text, '-') || !take_digits(text, 2, &month) ||
        !take_char(text, '-') || !take_digits(text, 2, &day)) {
        return false;
    }
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month)) {
        return false;
    }
    *ret_days = days_of(year, month, day);
    return true;
}

/* `.123…` as milliseconds, further digits cut off. */
static bool take_fraction(struct bytes *text, int64_t *ret_ms)
{
    int64_t ms = 0;
    int64_t unit = 100;
    size_t digits = 0;
    for (; text->len > 0 && text->at[0] >= '0' && text->at[0] <= '9'; digits++) {
        ms += (text->at[0] - '0') * unit;
        unit /= 10;
        *text = bytes_skip(*text, 1);
    }
    *ret_ms = ms;
    return digits > 0 && digits <= 9;
}

/* `hh:mm[:ss[.fraction]]` as milliseconds. */
static bool take_clock(struct bytes *text, int64_t *ret_ms)
{
    unsigned hour;
    unsigned minute;
    unsigned second = 0;
    int64_t fraction = 0;
    if (!take_digits(text, 2, &hour) || !take_char(text, ':') || !take_digits(text, 2, &minute)) {
        return false;
    }
    if (take_char(text, ':')) {
        if (!take_digits(text, 2, &second) ||
            (take_char(text, '.') && !take_fraction(text, &fraction))) {
            return false;
        }
    }
    *ret_ms = (hour * 60 + minute) * INT64_C(60000) + second * INT64_C(1000) + fraction;
    return hour < 24 && minute < 60 && second < 60;
}

/* `Z`, `±hh:mm`, `±hhmm` or nothing, as milliseconds ahead of UTC. */
static bool take_offset(struct bytes *text, int64_t *ret_ms)
{
    *ret_ms = 0;
    if (text->len == 0 || take_char(text, 'Z') || take_char(text, 'z')) {
        return true;
    }
    int sign = text->at[0] == '-' ? -1 : 1;
    unsigned hours;
    unsigned minutes;
    if (!take_char(text, '+') && !take_char(text, '-')) {
        return false;
    }
    if (!take_digits(text, 2, &hours)) {
        return false;
    }
    take_char(text, ':');
    if (!take_digits(text, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *ret_ms = sign * (int64_t)(hours * 60 + minutes) * MS_PER_MINUTE;
    return true;
}

int iso_time_parse(struct bytes text, uint64_t *ret_ms)
{
    int64_t days;
    int64_t clock = 0;
    int64_t offset = 0;
    if (!take_date(&text, &days)) {
        return STATUS_INVALID;
    }
    if (text.len > 0) {
        bool separated = take_char(&text, 'T') || take_char(&text, 't') || take_char(&text, ' ');
        if (!separated || !take_clock(&text, &clock) || !take_offset(&text, &offset)) {
            return STATUS_INVALID;
        }
    }
    int64_t ms = days * MS_PER_DAY + clock - offset;
    if (text.len > 0 || ms < 0) {
        return STATUS_INVALID;
    }
    *ret_ms = (uint64_t)ms;
    return 0;
}
