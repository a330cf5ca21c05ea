/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker comes first, then the readers of checked text, then strings and numbers.
 *
 * The checker is one loop over values with one bit per open container: object or array. The
 * readers rely on the check for meaning but never for safety: each looks for the end before
 * it looks at a byte.
 */
#include "codec/json_scan.h"

#include <endian.h>

#include "codec/base/status.h"
#include "codec/utf8.h"

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

struct scan {
    const char *at;
    const char *end;
    unsigned depth;
    unsigned max_depth;
    unsigned flags;
    uint64_t objects[JSON_SCAN_DEPTH_MAX / 64]; /* one bit per depth: the container is an object */
};

/* In each byte of `word`, the high bit where the byte is zero; exact for the lowest such byte. */
static uint64_t zero_bytes(uint64_t word)
{
    return (word - ONES) & ~word & HIGHS;
}

/* Past the characters that stand for themselves in a string; `stop_high` ends at non-ASCII too. */
static const char *skip_plain(const char *at, const char *end, bool stop_high)
{
    uint64_t high = stop_high ? HIGHS : 0;
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        word = le64toh(word);
        uint64_t special = zero_bytes(word ^ ONES * '"') | zero_bytes(word ^ ONES * '\\') |
                           ((word - ONES * 0x20) & ~word & HIGHS) | (word & high);
        if (special != 0) {
            return at + __builtin_ctzll(special) / 8;
        }
        at += 8;
    }
    while (at < end && (unsigned char)*at >= 0x20 && *at != '"' && *at != '\\' &&
           !(stop_high && (unsigned char)*at >= 0x80)) {
        at++;
    }
    return at;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    return at;
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    return at;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The code unit of "\uXXXX" at `at`, or -1 when there is none. */
static int32_t escaped_unit(const char *at, const char *end)
{
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') {
        return -1;
    }
    int32_t unit = 0;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit << 4 | digit;
    }
    return unit;
}

static bool is_high_surrogate(int32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low_surrogate(int32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* ---- check ---- */

/* An escape; scan->at is at the backslash. */
static int check_escape(struct scan *scan)
{
    if (scan->end - scan->at >= 2 && scan->at[1] != '\0' && strchr("\"\\/bfnrt", scan->at[1])) {
        scan->at += 2;
        return 0;
    }
    int32_t unit = escaped_unit(scan->at, scan->end);
    if (unit < 0) {
        return STATUS_INVALID;
    }
    scan->at += 6;
    if (unit == 0) {
        scan->flags |= JSON_SCAN_NUL;
    } else if (is_high_surrogate(unit) && is_low_surrogate(escaped_unit(scan->at, scan->end))) {
        scan->at += 6;
    } else if (is_high_surrogate(unit) || is_low_surrogate(unit)) {
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
        scan->at = skip_plain(scan->at, scan->end, true);
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
    scan->at = skip_blanks(scan->at, scan->end);
    int status = check_string(scan);
    if (status < 0) {
        return status;
    }
    scan->at = skip_blanks(scan->at, scan->end);
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
    scan->at = skip_blanks(scan->at, scan->end);
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
        scan->at = skip_blanks(scan->at, scan->end);
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
        scan->at = skip_blanks(scan->at, scan->end);
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
    scan.at = skip_blanks(text.at, scan.end);
    scan.depth = 0;
    scan.max_depth = max_depth;
    scan.flags = 0;
    const char *from = scan.at;
    int status = check_value(&scan);
    if (status < 0) {
        return status;
    }
    struct bytes value = bytes_of(from, (size_t)(scan.at - from));
    if (skip_blanks(scan.at, scan.end) != scan.end) {
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
    while ((at = skip_plain(at, end, false)) < end) {
        if (*at == '"') {
            return at + 1;
        }
        at += *at == '\\' && end - at > 1 ? 2 : 1;
    }
    return end;
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
            while (at < end && strchr(",:]} \t\r\n\"{[", *at) == NULL) {
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
    iter->at = skip_blanks(iter->at, iter->end);
    if (iter->at == iter->end) {
        return false;
    }
    if (iter->started) {
        if (*iter->at != ',') {
            iter->at = iter->end;
            return false;
        }
        iter->at = skip_blanks(iter->at + 1, iter->end);
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
    iter->at = skip_blanks(iter->at, iter->end);
    if (iter->at == iter->end || *iter->at != ':') {
        return false;
    }
    iter->at = skip_blanks(iter->at + 1, iter->end);
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
    while (end > after.at && skip_blanks(end - 1, end) == end) {
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

int json_scan_get(struct bytes object, const char *key, struct bytes *ret_value)
{
    struct json_scan_iter iter;
    if (json_scan_kind(object) != JSON_SCAN_OBJECT || !json_scan_iter_init(&iter, object)) {
        return STATUS_INVALID;
    }
    struct bytes wanted = bytes_str(key);
    struct bytes member;
    struct bytes value;
    struct bytes found = {0};
    while (json_scan_member(&iter, &member, &value)) {
        if (!json_scan_string_eq(member, wanted)) {
            continue;
        }
        if (found.at != NULL) {
            return STATUS_INVALID;
        }
        found = value;
    }
    if (found.at == NULL) {
        return STATUS_NOT_FOUND;
    }
    *ret_value = found;
    return 0;
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
            const char *next = skip_blanks(walk->at, walk->end);
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

/* ---- strings and numbers ---- */

/* The characters between the quotes. */
static bool unquote(struct bytes string, struct bytes *ret_inside)
{
    if (string.len < 2 || string.at[0] != '"' || string.at[string.len - 1] != '"') {
        return false;
    }
    *ret_inside = bytes_of(string.at + 1, string.len - 2);
    return true;
}

/* Unescape what is at the backslash `*at`, and step over it. Returns the length in `out`. */
static int unescape(const char **at, const char *end, char out[UTF8_MAX_LEN])
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    const char *name = end - *at >= 2 ? memchr(names, (*at)[1], sizeof(names) - 1) : NULL;
    if (name != NULL) {
        *at += 2;
        out[0] = values[name - names];
        return 1;
    }
    int32_t unit = escaped_unit(*at, end);
    if (unit < 0) {
        return STATUS_INVALID;
    }
    *at += 6;
    uint32_t code_point = (uint32_t)unit;
    if (is_high_surrogate(unit)) {
        int32_t low = escaped_unit(*at, end);
        if (!is_low_surrogate(low)) {
            return STATUS_UTF8;
        }
        *at += 6;
        code_point = 0x10000 + (((uint32_t)unit & 0x3ff) << 10 | ((uint32_t)low & 0x3ff));
    } else if (is_low_surrogate(unit)) {
        return STATUS_UTF8;
    }
    return (int)utf8_put(code_point, out);
}

/* A string as a sequence of pieces: runs without escapes, and single escapes. */
struct pieces {
    const char *at;
    const char *end;
    char escape[UTF8_MAX_LEN];
};

/* The next piece, valid until the one after it. Returns 1, 0 at the end, or a status. */
static int next_piece(struct pieces *pieces, struct bytes *ret_piece)
{
    size_t left = (size_t)(pieces->end - pieces->at);
    if (left == 0) {
        return 0;
    }
    if (*pieces->at == '\\') {
        int len = unescape(&pieces->at, pieces->end, pieces->escape);
        if (len < 0) {
            return len;
        }
        *ret_piece = bytes_of(pieces->escape, (size_t)len);
        return 1;
    }
    const char *backslash = memchr(pieces->at, '\\', left);
    const char *end = backslash != NULL ? backslash : pieces->end;
    *ret_piece = bytes_of(pieces->at, (size_t)(end - pieces->at));
    pieces->at = end;
    return 1;
}

bool json_scan_string_eq(struct bytes string, struct bytes text)
{
    struct bytes inside;
    if (!unquote(string, &inside) || inside.len < text.len) {
        return false;
    }
    struct pieces pieces = {.at = inside.at, .end = inside.at + inside.len};
    struct bytes piece;
    int status;
    while ((status = next_piece(&pieces, &piece)) > 0) {
        if (!bytes_starts(text, piece)) {
            return false;
        }
        text = bytes_skip(text, piece.len);
    }
    return status == 0 && text.len == 0;
}

int json_scan_string(struct bytes string, char *at, size_t cap, struct bytes *ret_text)
{
    struct bytes inside;
    if (!unquote(string, &inside)) {
        return STATUS_INVALID;
    }
    if (inside.len == 0 || memchr(inside.at, '\\', inside.len) == NULL) {
        if (inside.len > cap) {
            return STATUS_TOO_LARGE;
        }
        *ret_text = inside;
        return 0;
    }
    struct pieces pieces = {.at = inside.at, .end = inside.at + inside.len};
    struct bytes piece;
    size_t len = 0;
    int status;
    while ((status = next_piece(&pieces, &piece)) > 0) {
        if (piece.len > cap - len) {
            return STATUS_TOO_LARGE;
        }
        memcpy(at + len, piece.at, piece.len);
        len += piece.len;
    }
    if (status < 0) {
        return status;
    }
    *ret_text = bytes_of(at, len);
    return 0;
}

int json_scan_string_add(struct bytes string, struct builder *out)
{
    struct bytes inside;
    if (!unquote(string, &inside)) {
        return STATUS_INVALID;
    }
    struct pieces pieces = {.at = inside.at, .end = inside.at + inside.len};
    struct bytes piece;
    int status;
    while ((status = next_piece(&pieces, &piece)) > 0) {
        builder_add(out, piece);
    }
    if (status < 0) {
        return status;
    }
    return builder_failed(out) ? STATUS_TOO_LARGE : 0;
}

int json_scan_u64(struct bytes number, uint64_t *ret_value)
{
    return bytes_to_u64(number, UINT64_MAX, ret_value);
}

int json_scan_i64(struct bytes number, int64_t *ret_value)
{
    bool negative = number.len > 0 && number.at[0] == '-';
    uint64_t value;
    uint64_t max = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    int status = bytes_to_u64(negative ? bytes_skip(number, 1) : number, max, &value);
    if (status < 0) {
        return status;
    }
    *ret_value = (int64_t)(negative ? -value : value);
    return 0;
}

int json_scan_bool(struct bytes value, bool *ret_value)
{
    bool yes = bytes_eq(value, BYTES("true"));
    if (!yes && !bytes_eq(value, BYTES("false"))) {
        return STATUS_INVALID;
    }
    *ret_value = yes;
    return 0;
}

/* Append the escape of one character that cannot stand for itself. */
static void write_escape(struct builder *out, char c)
{
    static const char names[] = "btnvfr"; /* of the characters 8 to 13; 11 has no name in JSON */
    if (c == '"' || c == '\\') {
        builder_byte(out, '\\');
        builder_byte(out, c);
    } else if (c >= '\b' && c <= '\r' && c != '\v') {
        builder_byte(out, '\\');
        builder_byte(out, names[c - '\b']);
    } else {
        static const char digits[] = "0123456789abcdef";
        char escape[] = {'\\', 'u', '0', '0', digits[c >> 4 & 0xf], digits[c & 0xf]};
        builder_add(out, bytes_of(escape, sizeof(escape)));
    }
}

void json_scan_write_string(struct builder *out, struct bytes text)
{
    builder_byte(out, '"');
    const char *at = text.at;
    const char *end = text.len > 0 ? at + text.len : at;
    while (at < end) {
        const char *special = skip_plain(at, end, false);
        builder_add(out, bytes_of(at, (size_t)(special - at)));
        at = special;
        if (at < end) {
            write_escape(out, *at++);
        }
    }
    builder_byte(out, '"');
}
