/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "codec/base/clock.h"

enum { LINE_MAX_LEN = 2048, QUOTE_LEN = 256, QUOTE_COUNT = 8, WINDOW_MS = 10000, PER_WINDOW = 10 };

static void write_stderr(enum log_level level, const char *line, size_t len)
{
    /* A full pipe or a closed descriptor must not end the program: the record is lost. */
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written;
}

static atomic_int threshold = LOG_INFO; /* relaxed: a late reader writes one record more */
static log_sink_fn current = write_stderr; /* set before threads start */

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

void log_set_sink(log_sink_fn sink)
{
    current = sink ? sink : write_stderr;
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

static size_t format_head(
    char *line, size_t size, enum log_level level, const char *id, const char *sentence)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    uint64_t now = clock_wall_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char when[32];
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &utc);
    int len = snprintf(
        line, size, "%s.%03uZ %s %s %s", when, (unsigned)(now % 1000), names[level], id, sentence);
    return len < 0 ? 0 : (size_t)len >= size ? size - 1 : (size_t)len;
}

void log_write(enum log_level level, const char *id, const char *sentence, const char *context, ...)
{
    if (!log_enabled(level)) {
        return;
    }
    char line[LINE_MAX_LEN];
    size_t len = format_head(line, sizeof(line) - 2, level, id, sentence);
    if (context[0] != '\0') {
        line[len++] = ' ';
        va_list args;
        va_start(args, context);
        int more = vsnprintf(line + len, sizeof(line) - 1 - len, context, args);
        va_end(args);
        size_t room = sizeof(line) - 2 - len;
        len += more < 0 ? 0 : (size_t)more > room ? room : (size_t)more;
    }
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
