/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker comes first, then the readers of checked text. Strings and numbers: json_string.c.
 *
 * The checker is one loop over values with one bit per open container: object or array. The
 * readers rely on the check for meaning but never for safety: each looks for the end before
 * it looks at a byte.
 */
#include "codec/json_scan.h"

#include "codec/base/status.h"
#include "codec/json_lex.h"
#include "codec/utf8.h"

struct scan {
    const char *at;
    const char *end;
    unsigned depth;
    unsigned max_depth;
    unsigned flags;
    uint64_t objects[JSON_SCAN_DEPTH_MAX / 64]; /* one bit per depth: the container is an object */
};

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    return at;
}

/* ---- check ---- */

/* An escape; scan->at is at the backslash. */
static int check_escape(struct scan *scan)
{
    if (scan->end - scan->at >= 2 && scan->at[1] != '\0' && strchr("\"\\/bfnrt", scan->at[1])) {
        scan->at += 2;
        return 0;
    }
    int32_t unit = json_lex_escaped_unit(scan->at, scan->end);
    if (unit < 0) {
        return STATUS_INVALID;
    }
    scan->at += 6;
    if (unit == 0) {
        scan->flags |= JSON_SCAN_NUL;
    } else if (json_lex_is_high_surrogate(unit) &&
               json_lex_is_low_surrogate(json_lex_escaped_unit(scan->at, scan->end))) {
        scan->at += 6;
    } else if (json_lex_is_high_surrogate(unit) || json_lex_is_low_surrogate(unit)) {
        scan->flags |= JSON_SCAN_SURROGATE;
    }
    return 0;
}

/* A run of characters that are not ASCII. */
static int check_high(struct scan *scan)
{
    while (scan->at < scan->end && (unsigned char)*scan->at >= 0x80) {
        size_t len = utf8_char_len(bytes_of(scan->at, (size_t)(scan->end - scan->at)));
        if (len == 0) {
            return STATUS_UTF8;
        }
        scan->at += len;
    }
    return 0;
}

/* A string; scan->at is at what should be its opening quote. */
static int check_string(struct scan *scan)
{
    if (scan->at == scan->end || *scan->at != '"') {
        return STATUS_INVALID;
    }
    scan->at++;
    for (;;) {
        scan->at = json_lex_skip_plain(scan->at, scan->end, true);
        if (scan->at == scan->end) {
            return STATUS_INVALID;
        }
        if (*scan->at == '"') {
            scan->at++;
            return 0;
        }
        int status = STATUS_INVALID;
        if ((unsigned char)*scan->at >= 0x80) {
            status = check_high(scan);
        } else if (*scan->at == '\\') {
            status = check_escape(scan);
        }
        if (status < 0) {
            return status;
        }
    }
}

/* Digits, at least one. */
static bool check_digits(struct scan *scan)
{
    const char *from = scan->at;
    scan->at = skip_digits(scan->at, scan->end);
    return scan->at > from;
}

static int check_number(struct scan *scan)
{
    if (*scan->at == '-') {
        scan->at++;
    }
    if (scan->at < scan->end && *scan->at == '0') {
        scan->at++;
    } else if (!check_digits(scan)) {
        return STATUS_INVALID;
    }
    if (scan->at < scan->end && *scan->at == '.') {
        scan->at++;
        if (!check_digits(scan)) {
            return STATUS_INVALID;
        }
    }
    if (scan->at < scan->end && (*scan->at | 0x20) == 'e') {
        scan->at++;
        if (scan->at < scan->end && (*scan->at == '+' || *scan->at == '-')) {
            scan->at++;
        }
        if (!check_digits(scan)) {
            return STATUS_INVALID;
        }
    }
    return 0;
}

static int check_word(struct scan *scan, struct bytes word)
{
    if (!bytes_starts(bytes_of(scan->at, (size_t)(scan->end - scan->at)), word)) {
        return STATUS_INVALID;
    }
    scan->at += word.len;
    return 0;
}

static int check_scalar(struct scan *scan)
{
    switch (*scan->at) {
    case '"':
        return check_string(scan);
    case 't':
        return check_word(scan, BYTES("true"));
    case 'f':
        return check_word(scan, BYTES("false"));
    case 'n':
        return check_word(scan, BYTES("null"));
    default:
        return check_number(scan);
    }
}

static bool in_object(const struct scan *scan)
{
    unsigned top = scan->depth - 1;
    return (scan->objects[top / 64] >> top % 64 & 1) != 0;
}

/* A key and its colon. */
static int check_key(struct scan *scan)
{
    scan->at = json_lex_skip_blanks(scan->at, scan->end);
    int status = check_string(scan);
    if (status < 0) {
        return status;
    }
    scan->at = json_lex_skip_blanks(scan->at, scan->end);
    if (scan->at == scan->end || *scan->at != ':') {
        return STATUS_INVALID;
    }
    scan->at++;
    return 0;
}

/* Enter a container. Returns 1 when it was empty, and is left again; 0 when a value follows. */
static int check_open(struct scan *scan)
{
    if (scan->depth == scan->max_depth) {
        return STATUS_TOO_LARGE;
    }
    bool object = *scan->at++ == '{';
    uint64_t bit = UINT64_C(1) << scan->depth % 64;
    uint64_t *word = &scan->objects[scan->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    scan->depth++;
    scan->at = json_lex_skip_blanks(scan->at, scan->end);
    if (scan->at < scan->end && *scan->at == (object ? '}' : ']')) {
        scan->at++;
        scan->depth--;
        return 1;
    }
    return object ? check_key(scan) : 0;
}

/* What follows a value: closing brackets, then a comma. Returns 1 when the outermost ended. */
static int check_after(struct scan *scan)
{
    while (scan->depth > 0) {
        scan->at = json_lex_skip_blanks(scan->at, scan->end);
        if (scan->at == scan->end) {
            return STATUS_INVALID;
        }
        bool object = in_object(scan);
        char c = *scan->at++;
        if (c == ',') {
            return object ? check_key(scan) : 0;
        }
        if (c != (object ? '}' : ']')) {
            return STATUS_INVALID;
        }
        scan->depth--;
    }
    return 1;
}

/* One value. Each round handles one scalar or one opening bracket, and what follows it. */
static int check_value(struct scan *scan)
{
    for (;;) {
        scan->at = json_lex_skip_blanks(scan->at, scan->end);
        if (scan->at == scan->end) {
            return STATUS_INVALID;
        }
        bool container = *scan->at == '{' || *scan->at == '[';
        int status = container ? check_open(scan) : check_scalar(scan);
        if (status < 0) {
            return status;
        }
        if (container && status == 0) {
            continue;
        }
        status = check_after(scan);
        if (status != 0) {
            return status < 0 ? status : 0;
        }
    }
}

int json_scan_text(
    struct bytes text, unsigned max_depth, struct bytes *ret_value, unsigned *ret_flags)
{
    CHECK(max_depth > 0 && max_depth <= JSON_SCAN_DEPTH_MAX);
    struct scan scan;
    scan.end = text.len > 0 ? text.at + text.len : text.at;
    scan.at = json_lex_skip_blanks(text.at, scan.end);
    scan.depth = 0;
    scan.max_depth = max_depth;
    scan.flags = 0;
    const char *from = scan.at;
    int status = check_value(&scan);
    if (status < 0) {
        return status;
    }
    struct bytes value = bytes_of(from, (size_t)(scan.at - from));
    if (json_lex_skip_blanks(scan.at, scan.end) != scan.end) {
        return STATUS_INVALID;
    }
    if (ret_value != NULL) {
        *ret_value = value;
    }
    if (ret_flags != NULL) {
        *ret_flags = scan.flags;
    }
    return 0;
}

/* ---- read ---- */

enum json_scan_kind json_scan_kind(struct bytes value)
{
    switch (value.len > 0 ? value.at[0] : '\0') {
    case 'n':
        return JSON_SCAN_NULL;
    case 'f':
        return JSON_SCAN_FALSE;
    case 't':
        return JSON_SCAN_TRUE;
    case '"':
        return JSON_SCAN_STRING;
    case '[':
        return JSON_SCAN_ARRAY;
    case '{':
        return JSON_SCAN_OBJECT;
    case '-':
        return JSON_SCAN_NUMBER;
    default:
        return value.len > 0 && value.at[0] >= '0' && value.at[0] <= '9' ? JSON_SCAN_NUMBER
                                                                         : JSON_SCAN_INVALID;
    }
}

/* Past a string whose opening quote is at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    at++;
    while ((at = json_lex_skip_plain(at, end, false)) < end) {
        if (*at == '"') {
            return at + 1;
        }
        at += *at == '\\' && end - at > 1 ? 2 : 1;
    }
    return end;
}

/* Whether `c` may stand inside a number or a word. */
static bool is_scalar(char c)
{
    switch (c) {
    case ',':
    case ':':
    case ' ':
    case '\t':
    case '\r':
    case '\n':
    case '"':
    case '[':
    case ']':
    case '{':
    case '}':
        return false;
    default:
        return true;
    }
}

/* Past the value at `at`, which is before `end`. */
static const char *skip_value(const char *at, const char *end)
{
    size_t depth = 0;
    do {
        switch (*at) {
        case '"':
            at = skip_string(at, end);
            break;
        case '{':
        case '[':
            depth++;
            at++;
            break;
        case '}':
        case ']':
            depth -= depth > 0;
            at++;
            break;
        default:
            at++;
            while (at < end && is_scalar(*at)) {
                at++;
            }
        }
    } while (depth > 0 && at < end);
    return at;
}

bool json_scan_iter_init(struct json_scan_iter *iter, struct bytes container)
{
    enum json_scan_kind kind = json_scan_kind(container);
    *iter = (struct json_scan_iter){0};
    if (container.len < 2 || (kind != JSON_SCAN_ARRAY && kind != JSON_SCAN_OBJECT)) {
        return false;
    }
    iter->at = container.at + 1;
    iter->end = container.at + container.len - 1;
    return true;
}

/* To the next value or key, over the comma before it. */
static bool advance(struct json_scan_iter *iter)
{
    iter->at = json_lex_skip_blanks(iter->at, iter->end);
    if (iter->at == iter->end) {
        return false;
    }
    if (iter->started) {
        if (*iter->at != ',') {
            iter->at = iter->end;
            return false;
        }
        iter->at = json_lex_skip_blanks(iter->at + 1, iter->end);
    }
    iter->started = true;
    return iter->at < iter->end;
}

static struct bytes take_value(struct json_scan_iter *iter)
{
    const char *from = iter->at;
    iter->at = skip_value(iter->at, iter->end);
    return bytes_of(from, (size_t)(iter->at - from));
}

bool json_scan_element(struct json_scan_iter *iter, struct bytes *ret_value)
{
    if (!advance(iter)) {
        return false;
    }
    *ret_value = take_value(iter);
    return true;
}

bool json_scan_member(struct json_scan_iter *iter, struct bytes *ret_key, struct bytes *ret_value)
{
    if (!advance(iter) || *iter->at != '"') {
        return false;
    }
    struct bytes key = take_value(iter);
    iter->at = json_lex_skip_blanks(iter->at, iter->end);
    if (iter->at == iter->end || *iter->at != ':') {
        return false;
    }
    iter->at = json_lex_skip_blanks(iter->at + 1, iter->end);
    if (iter->at == iter->end) {
        return false;
    }
    *ret_key = key;
    *ret_value = take_value(iter);
    return true;
}

struct bytes json_scan_rest(const struct json_scan_iter *iter)
{
    struct json_scan_iter after = *iter;
    if (after.at == NULL || !advance(&after)) {
        return bytes_of(NULL, 0);
    }
    const char *end = after.end;
    while (end > after.at && json_lex_skip_blanks(end - 1, end) == end) {
        end--;
    }
    return bytes_of(after.at, (size_t)(end - after.at));
}

struct bytes json_scan_inside(struct bytes container)
{
    struct json_scan_iter iter;
    (void)json_scan_iter_init(&iter, container);
    return json_scan_rest(&iter);
}

static void take_member(struct json_scan_wanted *wanted, struct bytes member, struct bytes value)
{
    if (json_scan_string_eq(member, bytes_str(wanted->key))) {
        wanted->status = wanted->status == STATUS_NOT_FOUND ? 0 : STATUS_INVALID;
        wanted->value = value;
    }
}

void json_scan_get_all(struct bytes object, struct json_scan_wanted *wanted, size_t count)
{
    struct json_scan_iter iter;
    struct bytes member;
    struct bytes value;
    bool good = json_scan_kind(object) == JSON_SCAN_OBJECT && json_scan_iter_init(&iter, object);
    for (size_t i = 0; i < count; i++) {
        wanted[i].status = good ? STATUS_NOT_FOUND : STATUS_INVALID;
    }
    while (good && json_scan_member(&iter, &member, &value)) {
        for (size_t i = 0; i < count; i++) {
            take_member(&wanted[i], member, value);
        }
    }
}

int json_scan_get(struct bytes object, const char *key, struct bytes *ret_value)
{
    struct json_scan_wanted wanted = {.key = key};
    json_scan_get_all(object, &wanted, 1);
    if (wanted.status == 0) {
        *ret_value = wanted.value;
    }
    return wanted.status;
}

void json_scan_walk_init(struct json_scan_walk *walk, struct bytes value)
{
    walk->at = value.at;
    walk->end = value.len > 0 ? value.at + value.len : value.at;
    walk->depth = 0;
}

/* A bracket. Returns false when there are more of them than a checked value has. */
static bool walk_bracket(struct json_scan_walk *walk, char c)
{
    if (c == '{' || c == '[') {
        if (walk->depth == ARRAY_LEN(walk->open)) {
            return false;
        }
        walk->open[walk->depth++] = walk->at;
    } else if (walk->depth-- == 0) {
        walk->depth = 0;
        return false;
    }
    walk->at++;
    return true;
}

bool json_scan_walk_key(struct json_scan_walk *walk, struct bytes *ret_key)
{
    while (walk->at < walk->end) {
        char c = *walk->at;
        if (c == '"') {
            const char *from = walk->at;
            walk->at = skip_string(from, walk->end);
            const char *next = json_lex_skip_blanks(walk->at, walk->end);
            if (next < walk->end && *next == ':' && walk->depth > 0) {
                *ret_key = bytes_of(from, (size_t)(walk->at - from));
                return true;
            }
        } else if (strchr("{}[]", c) == NULL || c == '\0') {
            walk->at++;
        } else if (!walk_bracket(walk, c)) {
            return false;
        }
    }
    return false;
}

struct bytes json_scan_walk_object(const struct json_scan_walk *walk)
{
    if (walk->depth == 0) {
        return bytes_of(NULL, 0);
    }
    const char *from = walk->open[walk->depth - 1];
    return bytes_of(from, (size_t)(skip_value(from, walk->end) - from));
}
