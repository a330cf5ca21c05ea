/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formats a record into one line of text or JSON, and gives it to whoever takes the lines.
 */
#include "codec/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "codec/base/clock.h"
#include "codec/base/log_json.h"

enum {
    LINE_MAX_LEN = 2048,
    JSON_MAX_LEN = 8 * LINE_MAX_LEN, /* a byte of text is at most six of JSON */
    QUOTE_LEN = 256,
    QUOTE_COUNT = 8,
    TIME_LEN = 32,
    WINDOW_MS = 10000,
    PER_WINDOW = 10,
};

static void write_stderr(enum log_level level, const char *line, size_t len)
{
    /* A full pipe or a closed descriptor must not end the program: the record is lost. */
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written;
}

static atomic_int threshold = LOG_INFO; /* relaxed: a late reader writes one record more */
static atomic_int format = LOG_AS_TEXT; /* relaxed, as above */
static log_sink_fn current = write_stderr; /* set before threads start */

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

void log_set_format(enum log_format wanted)
{
    atomic_store_explicit(&format, (int)wanted, memory_order_relaxed);
}

void log_set_sink(log_sink_fn sink)
{
    current = sink ? sink : write_stderr;
}

static bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static void format_time(char *text, size_t size)
{
    uint64_t now = clock_wall_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t len = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + len, size - len, ".%03uZ", (unsigned)(now % 1000));
}

/* A record that is to be written. */
struct record {
    enum log_level level;
    const char *id;
    const char *sentence;
    const char *context; /* formatted */
};

static size_t write_text(const struct record *record, char *line, size_t size)
{
    char when[TIME_LEN];
    format_time(when, sizeof(when));
    int len = snprintf(line, size, "%s %s %s %s%s%s", when, level_names[record->level], record->id,
        record->sentence, record->context[0] != '\0' ? " " : "", record->context);
    return len < 0 ? 0 : (size_t)len >= size ? size - 1 : (size_t)len;
}

static size_t write_json(const struct record *record, char *line, size_t size)
{
    char when[TIME_LEN];
    format_time(when, sizeof(when));
    int head =
        snprintf(line, size, "{\"time\":\"%s\",\"level\":\"%s\",\"id\":\"%s\",\"message\":", when,
            level_names[record->level], record->id);
    size_t len = (size_t)head;
    len += log_json_string(record->sentence, strlen(record->sentence), line + len, size - len - 1);
    len += log_json_write(record->context, line + len, size - len - 1);
    line[len++] = '}';
    return len;
}

void log_write(enum log_level level, const char *id, const char *sentence, const char *context, ...)
{
    if (!log_enabled(level)) {
        return;
    }
    char pairs[LINE_MAX_LEN];
    va_list args;
    va_start(args, context);
    int formatted = vsnprintf(pairs, sizeof(pairs), context, args);
    va_end(args);
    if (formatted < 0) {
        pairs[0] = '\0';
    }
    struct record record = {.level = level, .id = id, .sentence = sentence, .context = pairs};
    char line[JSON_MAX_LEN];
    bool json = atomic_load_explicit(&format, memory_order_relaxed) == LOG_AS_JSON;
    size_t len = json ? write_json(&record, line, sizeof(line) - 1)
                      : write_text(&record, line, LINE_MAX_LEN - 1);
    line[len++] = '\n';
    current(level, line, len);
}

static size_t escape_byte(char *out, unsigned char c)
{
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = (char)c;
        return 2;
    }
    if (c < 0x20 || c >= 0x7f) {
        static const char digits[] = "0123456789abcdef";
        out[0] = '\\';
        out[1] = 'x';
        out[2] = digits[c >> 4];
        out[3] = digits[c & 15];
        return 4;
    }
    out[0] = (char)c;
    return 1;
}

const char *log_quote(struct bytes text)
{
    static _Thread_local char buffers[QUOTE_COUNT][QUOTE_LEN];
    static _Thread_local unsigned turn;
    char *out = buffers[turn++ % QUOTE_COUNT];
    size_t len = 0;
    out[len++] = '"';
    for (size_t i = 0; i < text.len; i++) {
        if (len + 8 > QUOTE_LEN) {
            memcpy(out + len, "...", 3);
            len += 3;
            break;
        }
        len += escape_byte(out + len, (unsigned char)text.at[i]);
    }
    out[len++] = '"';
    out[len] = '\0';
    return out;
}

bool log_allow(struct log_limit *limit, unsigned *ret_suppressed)
{
    unsigned long long window = clock_mono_ms() / WINDOW_MS + 1;
    if (window != limit->window) {
        limit->window = window;
        limit->used = 0;
    }
    if (limit->used >= PER_WINDOW) {
        limit->suppressed++;
        return false;
    }
    limit->used++;
    *ret_suppressed = limit->suppressed;
    limit->suppressed = 0;
    return true;
}
