/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks names, units and tags, and joins them. Order of this file: types, making, taking apart.
 */
#include "hub/series/series_key.h"

#include <string.h>

#include "codec/base/status.h"
#include "codec/utf8.h"

static const char letters[SERIES_TYPE_COUNT] = {'c', 'g', 't'};

/* --- types --- */

static const char *const words[SERIES_TYPE_COUNT] = {"counter", "gauge", "timer"};

const char *series_type_name(enum series_type type)
{
    return words[type];
}

int series_type_read(struct bytes word, enum series_type *ret_type)
{
    for (unsigned i = 0; i < SERIES_TYPE_COUNT; i++) {
        if (bytes_eq_str(word, words[i])) {
            *ret_type = (enum series_type)i;
            return 0;
        }
    }
    return STATUS_INVALID;
}

/* --- making --- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_word(struct bytes text, size_t max, const char *others)
{
    if (text.len == 0 || text.len > max || !is_letter(text.at[0])) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (!is_letter(c) && (c < '0' || c > '9') && (c == '\0' || strchr(others, c) == NULL)) {
            return false;
        }
    }
    return true;
}

static bool is_text(struct bytes text, size_t max)
{
    if (text.len > max || !utf8_valid(text)) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c < 0x20 || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool ends_with(struct bytes text, const char *ending)
{
    size_t len = strlen(ending);
    return text.len > len && memcmp(text.at + text.len - len, ending, len) == 0;
}

/* What the type gets in /metrics is taken off; what another type gets there may not be its end. */
static bool trim_name(struct series_parts *parts)
{
    static const char *const own[SERIES_TYPE_COUNT] = {"_total", "", "_seconds"};
    static const char *const foreign[] = {"_total", "_seconds", "_bucket", "_sum", "_count"};
    const char *ending = own[parts->type];
    if (ending[0] != '\0' && ends_with(parts->name, ending)) {
        parts->name.len -= strlen(ending);
    }
    for (size_t i = 0; parts->type != SERIES_COUNTER && i < ARRAY_LEN(foreign); i++) {
        if (ends_with(parts->name, foreign[i])) {
            return false;
        }
    }
    return true;
}

/* Names of what there is one of for each person or connection. */
static bool is_personal(struct bytes tag)
{
    static const char *const names[] = {"user", "userId", "user_id", "userid", "email", "session",
        "sessionId", "session_id", "socket", "socketId", "socket_id", "ip"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (bytes_eq_str(tag, names[i])) {
            return true;
        }
    }
    return false;
}

static bool is_reserved(struct bytes tag)
{
    return bytes_starts(tag, BYTES("__")) || bytes_eq_str(tag, "le") ||
           bytes_eq_str(tag, "quantile") || bytes_eq_str(tag, "tenant") ||
           bytes_eq_str(tag, "unit");
}

static const char *check_tag(const struct series_tag *tag)
{
    if (!is_word(tag->name, SERIES_TAG_MAX, "") || is_reserved(tag->name)) {
        return "Names of tags: 1 to 32 letters, digits and _, no digit first; not le, quantile, "
               "tenant, unit, and not with __ in front";
    }
    if (is_personal(tag->name)) {
        return "No tag of which each user has another one: such series have no bound";
    }
    return is_text(tag->value, SERIES_VALUE_MAX)
               ? NULL
               : "Values of tags: texts of at most 128 bytes, without control characters";
}

static int compare(struct bytes a, struct bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.at, b.at, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* By insertion; false: one is there twice. */
static bool sort_tags(struct series_parts *parts)
{
    for (unsigned i = 1; i < parts->tag_count; i++) {
        struct series_tag tag = parts->tags[i];
        unsigned at = i;
        while (at > 0 && compare(parts->tags[at - 1].name, tag.name) > 0) {
            parts->tags[at] = parts->tags[at - 1];
            at--;
        }
        parts->tags[at] = tag;
        if (at > 0 && bytes_eq(parts->tags[at - 1].name, tag.name)) {
            return false;
        }
    }
    return true;
}

static void add(struct series_key *key, struct bytes text)
{
    if (text.len > 0) {
        memcpy(key->at + key->len, text.at, text.len);
        key->len += text.len;
    }
}

static void join(const struct series_parts *parts, struct series_key *key)
{
    key->len = 0;
    key->at[key->len++] = letters[parts->type];
    size_t name = key->len;
    add(key, parts->name);
    for (size_t i = name; i < key->len; i++) {
        key->at[i] = key->at[i] == '.' || key->at[i] == '-' ? '_' : key->at[i];
    }
    key->at[key->len++] = SERIES_KEY_GAP;
    add(key, parts->unit);
    for (unsigned i = 0; i < parts->tag_count; i++) {
        key->at[key->len++] = SERIES_KEY_GAP;
        add(key, parts->tags[i].name);
        key->at[key->len++] = '=';
        add(key, parts->tags[i].value);
    }
}

const char *series_key_make(
    struct series_parts *parts, struct series_key *ret_key, const char **ret_field)
{
    *ret_field = "name";
    if (!is_word(parts->name, SERIES_NAME_MAX, ".-")) {
        return "1 to 64 letters, digits, '_', '.' and '-', a letter first";
    }
    if (!trim_name(parts)) {
        return "No name that ends as those that Prometheus is shown of other types: _total, "
               "_seconds, _bucket, _sum, _count";
    }
    *ret_field = "unit";
    if (!is_text(parts->unit, SERIES_UNIT_MAX)) {
        return "A text of at most 16 bytes, without control characters";
    }
    *ret_field = "tags";
    for (unsigned i = 0; i < parts->tag_count; i++) {
        const char *why = check_tag(&parts->tags[i]);
        if (why != NULL) {
            return why;
        }
    }
    if (!sort_tags(parts)) {
        return "A tag is there twice";
    }
    join(parts, ret_key);
    return NULL;
}

/* --- taking apart --- */

/* What stands before the next gap. */
static struct bytes take(struct bytes *rest)
{
    const char *gap = rest->len > 0 ? memchr(rest->at, SERIES_KEY_GAP, rest->len) : NULL;
    size_t len = gap != NULL ? (size_t)(gap - rest->at) : rest->len;
    struct bytes part = bytes_of(rest->at, len);
    *rest = bytes_skip(*rest, gap != NULL ? len + 1 : len);
    return part;
}

int series_key_split(struct bytes key, struct series_parts *ret_parts)
{
    struct series_parts parts = {.tag_count = 0};
    const char *letter = key.len > 1 ? memchr(letters, key.at[0], sizeof(letters)) : NULL;
    if (letter == NULL || key.len > SERIES_KEY_MAX ||
        memchr(key.at, SERIES_KEY_GAP, key.len) == NULL) {
        return STATUS_INVALID;
    }
    parts.type = (enum series_type)(letter - letters);
    struct bytes rest = bytes_skip(key, 1);
    parts.name = take(&rest);
    parts.unit = take(&rest);
    if (!is_word(parts.name, SERIES_NAME_MAX, "")) {
        return STATUS_INVALID;
    }
    while (rest.len > 0) {
        struct bytes tag = take(&rest);
        const char *equal = tag.len > 0 ? memchr(tag.at, '=', tag.len) : NULL;
        if (equal == NULL || parts.tag_count == SERIES_TAGS_MAX) {
            return STATUS_INVALID;
        }
        size_t name = (size_t)(equal - tag.at);
        parts.tags[parts.tag_count++] =
            (struct series_tag){bytes_of(tag.at, name), bytes_skip(tag, name + 1)};
    }
    *ret_parts = parts;
    return 0;
}

struct bytes series_parts_tag(const struct series_parts *parts, const char *name)
{
    for (unsigned i = 0; i < parts->tag_count; i++) {
        if (bytes_eq_str(parts->tags[i].name, name)) {
            return parts->tags[i].value;
        }
    }
    return bytes_of(NULL, 0);
}
