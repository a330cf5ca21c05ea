/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hook_text - what a hook is sent, and what its answer says. Pure functions: any thread.
 */
#ifndef HUB_HOOKS_HOOK_TEXT_H
#define HUB_HOOKS_HOOK_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/hook_call.h"
#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { HOOK_TTL_MAX_S = 86400 };

/* Append what is asked, the `data` of the body: the same question is the same text. */
void hook_text_write_question(const struct hook_question *question, struct builder *out);

/* Append the body: type, time (milliseconds since the epoch) and `data`. */
void hook_text_write_body(
    enum hook_kind kind, uint64_t at_ms, struct bytes data, struct builder *out);

/* What an answer says. */
struct hook_answer {
    bool allow;
    bool has_ttl;
    uint32_t ttl_s; /* how long it may be kept */
    struct bytes result; /* JSON, or empty; borrowed from the answer */
};

/*
 * Read the body of an answer: a JSON object whose `allow` is true or false, and whose `ttl`, where
 * it is there, is a whole number of seconds from 0 to HOOK_TTL_MAX_S. Returns what is wrong with
 * it; NULL: nothing.
 */
const char *hook_text_read(struct bytes body, struct hook_answer *ret_answer);

#endif
