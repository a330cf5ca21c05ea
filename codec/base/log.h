/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log - one record per handled problem: level, stable id, sentence, key=value context.
 *
 * The id ("WS-PROTO") is what people search for and what tests match; the sentence is for
 * people. Context values that contain blanks, quotes or control characters are quoted and
 * escaped, so peer bytes cannot forge a record. Written whole, with one write, by the caller's
 * thread to the sink. codec/, sql/ and actors/core do not log: they return.
 */
#ifndef CODEC_BASE_LOG_H
#define CODEC_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Receives one complete line with its line feed. May be called from any thread. */
typedef void (*log_sink_fn)(enum log_level level, const char *line, size_t len);

/* Set the most detailed level that is written (default LOG_INFO). Any thread. */
void log_set_level(enum log_level level);

/* How a record is written: a line for people, or one JSON object. */
enum log_format { LOG_AS_TEXT, LOG_AS_JSON };

/*
 * Set the format (default LOG_AS_TEXT). As JSON: `{"time","level","id","message",…}` and the pairs
 * of the context as members. Any thread.
 */
void log_set_format(enum log_format format);

/* Set where lines go (default: standard error); NULL restores the default. Before threads start. */
void log_set_sink(log_sink_fn sink);

/*
 * Write a record. `context` is a printf format of blank-separated key=value pairs, or "" for
 * none; pass peer-chosen text through log_quote. At most 2,000 bytes, longer is cut.
 */
void log_write(enum log_level level, const char *id, const char *sentence, const char *context, ...)
    PRINTF_LIKE(4, 5);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

/*
 * Return `text` quoted and escaped for a context value, cut to about 200 bytes. The result is in
 * one of eight per-thread buffers used in turn: valid for the log call it is an argument of.
 */
const char *log_quote(struct bytes text);

/*
 * A limit for records that peers can cause at will: `{0}` at first; true at most ten times per
 * ten seconds, and then `*ret_suppressed` tells how many were held back since the last one.
 * Not thread-safe: one per thread.
 */
struct log_limit {
    /* private */
    unsigned long long window;
    unsigned used;
    unsigned suppressed;
};
bool log_allow(struct log_limit *limit, unsigned *ret_suppressed);

#endif
