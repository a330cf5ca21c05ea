/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the text of a setting to its value and back, by the type in its row.
 *
 * Order: the arena; numbers and their units; parsing by type; printing by type.
 */
#include "hub/config/config_value.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

struct piece {
    struct piece *next;
    max_align_t at[];
};

struct config_arena {
    struct piece *pieces;
};

struct config_arena *config_arena_create(void)
{
    return mem_alloc(sizeof(struct config_arena));
}

void config_arena_destroy(struct config_arena *arena)
{
    if (arena == NULL) {
        return;
    }
    while (arena->pieces != NULL) {
        struct piece *piece = arena->pieces;
        arena->pieces = piece->next;
        mem_free(piece);
    }
    mem_free(arena);
}

void *config_arena_alloc(struct config_arena *arena, size_t size)
{
    struct piece *piece = mem_alloc(sizeof(*piece) + size);
    piece->next = arena->pieces;
    arena->pieces = piece;
    return piece->at;
}

char *config_arena_dup(struct config_arena *arena, const char *text, size_t len)
{
    char *copy = config_arena_alloc(arena, len + 1);
    memcpy(copy, text, len);
    return copy;
}

void config_arena_append(struct config_arena *arena, struct config_list *list, const char *text)
{
    const char **items = config_arena_alloc(arena, (list->count + 1) * sizeof(*items));
    if (list->count > 0) {
        memcpy(items, list->items, list->count * sizeof(*items));
    }
    items[list->count] = config_arena_dup(arena, text, strlen(text));
    list->items = items;
    list->count++;
}

/* --- units --- */

struct unit {
    const char *name;
    uint64_t factor;
};

/* The names printed come first among equals; from large to small. */
static const struct unit size_units[] = {
    {"GiB", 1ull << 30},
    {"MiB", 1ull << 20},
    {"KiB", 1ull << 10},
    {"G", 1ull << 30},
    {"M", 1ull << 20},
    {"K", 1ull << 10},
    {"B", 1},
    {"", 1},
};

static const struct unit duration_units[] = {
    {"d", 86400000},
    {"h", 3600000},
    {"m", 60000},
    {"s", 1000},
    {"ms", 1},
    {"", 1},
};

static const struct unit *units_of(enum config_type type, size_t *ret_count)
{
    if (type == CONFIG_SIZE) {
        *ret_count = ARRAY_LEN(size_units);
        return size_units;
    }
    *ret_count = ARRAY_LEN(duration_units);
    return duration_units;
}

/* A whole number with an optional unit; a bare one is in bytes or milliseconds. */
static int parse_quantity(enum config_type type, const char *text, uint64_t *ret_value)
{
    size_t digits = strspn(text, "0123456789");
    size_t count;
    const struct unit *units = units_of(type, &count);
    uint64_t number;
    if (bytes_to_u64(bytes_of(text, digits), UINT32_MAX * 1000ull, &number) < 0) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text + digits, units[i].name) == 0) {
            *ret_value = number * units[i].factor;
            return 0;
        }
    }
    return STATUS_INVALID;
}

static void print_quantity(enum config_type type, uint64_t value, struct builder *builder)
{
    size_t count;
    const struct unit *units = units_of(type, &count);
    size_t i = 0;
    while (value == 0 ? units[i].name[0] != 0 : value % units[i].factor != 0) {
        i++;
    }
    if (type == CONFIG_SIZE && units[i].factor == 1) {
        i = count - 1; /* bytes are bare */
    }
    builder_u64(builder, value / units[i].factor);
    builder_str(builder, units[i].name);
}

/* --- words --- */

/* The place of `text` among words separated by '|'; -1: not one of them. */
static int find_word(const char *words, struct bytes text)
{
    int place = 0;
    for (const char *at = words; *at != 0; place++) {
        size_t len = strcspn(at, "|");
        if (bytes_eq(bytes_of(at, len), text)) {
            return place;
        }
        at += len + (at[len] == '|');
    }
    return -1;
}

static struct bytes word_at(const char *words, int place)
{
    const char *at = words;
    while (place-- > 0) {
        at += strcspn(at, "|") + 1;
    }
    return bytes_of(at, strcspn(at, "|"));
}

static void print_words(const char *words, struct builder *builder)
{
    for (const char *at = words; *at != 0;) {
        size_t len = strcspn(at, "|");
        bool last = at[len] == 0;
        if (at != words) {
            builder_str(builder, last ? " or " : ", ");
        }
        builder_add(builder, bytes_of(at, len));
        at += len + (at[len] == '|');
    }
}

/* --- parsing --- */

/* Fill `ret_why` with "<value> <complaint>; allowed: <range>", and return STATUS_INVALID. */
static int refuse(const struct config_setting *row, const char *text, const char *complaint,
    struct config_error *ret_why)
{
    struct builder range = {.max = 400};
    config_value_print_range(row, &range);
    builder_byte(&range, 0);
    bool hidden = row->type == CONFIG_SECRET || row->type == CONFIG_URL;
    snprintf(ret_why->text, sizeof(ret_why->text), "%s%.100s%s %s; allowed: %s", hidden ? "" : "\"",
        hidden ? "the value" : text, hidden ? "" : "\"", complaint,
        builder_failed(&range) ? "see the manual" : builder_bytes(&range).at);
    builder_reset(&range);
    return STATUS_INVALID;
}

static int parse_bool(const char *text, bool *ret_value)
{
    int place = find_word("off|on|false|true|no|yes|0|1", bytes_str(text));
    if (place < 0) {
        return STATUS_INVALID;
    }
    *ret_value = place % 2 == 1;
    return 0;
}

static bool has_control(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (byte < 0x20 || byte == 0x7f) {
            return true;
        }
    }
    return false;
}

static int parse_text(const struct config_setting *row, const char *text,
    struct config_arena *arena, const char **ret_text, struct config_error *ret_why)
{
    size_t len = strlen(text);
    if (has_control(bytes_of(text, len))) {
        return refuse(row, "the value", "holds a control character", ret_why);
    }
    if (len < row->least || len > row->most) {
        return refuse(row, text, "has the wrong length", ret_why);
    }
    *ret_text = config_arena_dup(arena, text, len);
    return 0;
}

static int parse_list(const struct config_setting *row, const char *text,
    struct config_arena *arena, struct config_list *ret_list, struct config_error *ret_why)
{
    struct config_list list = {0};
    bool done = bytes_trim(bytes_str(text), " \t").len == 0;
    for (const char *at = text; !done; at++) {
        size_t len = strcspn(at, ",");
        struct bytes item = bytes_trim(bytes_of(at, len), " \t");
        if (item.len == 0 || has_control(item)) {
            return refuse(row, text, "has an empty or unprintable item", ret_why);
        }
        if (row->words[0] != 0 && find_word(row->words, item) < 0) {
            return refuse(row, text, "has an unknown item", ret_why);
        }
        config_arena_append(arena, &list, config_arena_dup(arena, item.at, item.len));
        at += len;
        done = *at == 0;
    }
    if (list.count < row->least || list.count > row->most) {
        return refuse(row, text, "has the wrong number of items", ret_why);
    }
    *ret_list = list;
    return 0;
}

/* A number of any type within the row's range, as 64 bits; or the word that stands for none. */
static int parse_number(const struct config_setting *row, const char *text, uint64_t *ret_value,
    struct config_error *ret_why)
{
    if (row->words[0] != 0 && strcmp(text, row->words) == 0) {
        *ret_value = row->type == CONFIG_INT ? CONFIG_INHERIT_INT : CONFIG_INHERIT;
        return 0;
    }
    int status = row->type == CONFIG_INT ? bytes_to_u64(bytes_str(text), UINT64_MAX, ret_value)
                                         : parse_quantity(row->type, text, ret_value);
    if (status < 0 && status != STATUS_TOO_LARGE) {
        return refuse(row, text, "is not a number of this kind", ret_why);
    }
    if (status < 0 || *ret_value < row->least || *ret_value > row->most) {
        return refuse(row, text, "is out of range", ret_why);
    }
    return 0;
}

int config_value_parse(const struct config_setting *row, const char *text,
    struct config_arena *arena, void *owner, struct config_error *ret_why)
{
    void *target = (char *)owner + row->offset;
    uint64_t number = 0;
    int status = 0;
    switch (row->type) {
    case CONFIG_BOOL:
        status = parse_bool(text, target);
        return status < 0 ? refuse(row, text, "is neither on nor off", ret_why) : 0;
    case CONFIG_CHOICE:
        status = find_word(row->words, bytes_str(text));
        if (status < 0) {
            return refuse(row, text, "is unknown", ret_why);
        }
        *(int *)target = status;
        return 0;
    case CONFIG_INT:
        status = parse_number(row, text, &number, ret_why);
        *(unsigned *)target = status < 0 ? *(unsigned *)target : (unsigned)number;
        return status;
    case CONFIG_SIZE:
        status = parse_number(row, text, &number, ret_why);
        *(size_t *)target = status < 0 ? *(size_t *)target : (size_t)number;
        return status;
    case CONFIG_DURATION:
        status = parse_number(row, text, &number, ret_why);
        *(uint64_t *)target = status < 0 ? *(uint64_t *)target : number;
        return status;
    case CONFIG_STRING:
    case CONFIG_SECRET:
    case CONFIG_URL:
        return parse_text(row, text, arena, target, ret_why);
    case CONFIG_LIST:
        return parse_list(row, text, arena, target, ret_why);
    }
    check_failed("known type", __FILE__, __LINE__);
}

static bool lists_eq(const struct config_list *a, const struct config_list *b)
{
    for (size_t i = 0; a->count == b->count && i < a->count; i++) {
        if (strcmp(a->items[i], b->items[i]) != 0) {
            return false;
        }
    }
    return a->count == b->count;
}

bool config_value_eq(const struct config_setting *row, const void *a, const void *b)
{
    const void *x = (const char *)a + row->offset;
    const void *y = (const char *)b + row->offset;
    switch (row->type) {
    case CONFIG_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case CONFIG_INT:
        return *(const unsigned *)x == *(const unsigned *)y;
    case CONFIG_SIZE:
        return *(const size_t *)x == *(const size_t *)y;
    case CONFIG_DURATION:
        return *(const uint64_t *)x == *(const uint64_t *)y;
    case CONFIG_CHOICE:
        return *(const int *)x == *(const int *)y;
    case CONFIG_STRING:
    case CONFIG_SECRET:
    case CONFIG_URL:
        return strcmp(*(const char *const *)x, *(const char *const *)y) == 0;
    case CONFIG_LIST:
        return lists_eq(x, y);
    }
    check_failed("known type", __FILE__, __LINE__);
}

/* --- printing --- */

static void print_quoted(struct bytes text, struct builder *builder)
{
    builder_byte(builder, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("\"\\$", text.at[i]) != NULL) {
            builder_byte(builder, '\\');
        }
        builder_byte(builder, text.at[i]);
    }
    builder_byte(builder, '"');
}

/* scheme://user:password@host loses its password; one given as a parameter hides everything. */
static void print_url(const char *url, struct builder *builder)
{
    const char *at = strrchr(url, '@');
    const char *user = strstr(url, "://");
    if (strstr(url, "password=") != NULL) {
        builder_str(builder, "\"********\"");
        return;
    }
    const char *colon = at != NULL && user != NULL ? strchr(user + 3, ':') : NULL;
    if (colon == NULL || colon > at) {
        print_quoted(bytes_str(url), builder);
        return;
    }
    struct builder masked = {0};
    builder_add(&masked, bytes_of(url, (size_t)(colon - url)));
    builder_str(&masked, ":********");
    builder_str(&masked, at);
    print_quoted(builder_bytes(&masked), builder);
    builder_reset(&masked);
}

static void print_list(const struct config_list *list, struct builder *builder)
{
    builder_byte(builder, '{');
    for (size_t i = 0; i < list->count; i++) {
        builder_str(builder, i == 0 ? "" : ", ");
        print_quoted(bytes_str(list->items[i]), builder);
    }
    builder_byte(builder, '}');
}

/* Whether a number is left to others: it prints as the word for that. */
static bool is_inherited(const struct config_setting *row, const void *value)
{
    return row->words[0] != 0 &&
           ((row->type == CONFIG_INT && *(const unsigned *)value == CONFIG_INHERIT_INT) ||
               (row->type == CONFIG_DURATION && *(const uint64_t *)value == CONFIG_INHERIT));
}

void config_value_print(
    const struct config_setting *row, const void *owner, struct builder *builder)
{
    const void *value = (const char *)owner + row->offset;
    if (is_inherited(row, value)) {
        builder_str(builder, row->words);
        return;
    }
    switch (row->type) {
    case CONFIG_BOOL:
        builder_str(builder, *(const bool *)value ? "on" : "off");
        break;
    case CONFIG_INT:
        builder_u64(builder, *(const unsigned *)value);
        break;
    case CONFIG_SIZE:
        print_quantity(row->type, *(const size_t *)value, builder);
        break;
    case CONFIG_DURATION:
        print_quantity(row->type, *(const uint64_t *)value, builder);
        break;
    case CONFIG_CHOICE:
        builder_add(builder, word_at(row->words, *(const int *)value));
        break;
    case CONFIG_STRING:
        print_quoted(bytes_str(*(const char *const *)value), builder);
        break;
    case CONFIG_SECRET:
        builder_str(builder, (*(const char *const *)value)[0] != 0 ? "\"********\"" : "\"\"");
        break;
    case CONFIG_URL:
        print_url(*(const char *const *)value, builder);
        break;
    case CONFIG_LIST:
        print_list(value, builder);
        break;
    }
}

/* The word that a number may be. */
static void print_other(const struct config_setting *row, struct builder *builder)
{
    builder_str(builder, row->words[0] != 0 ? " or " : "");
    builder_str(builder, row->words);
}

void config_value_print_range(const struct config_setting *row, struct builder *builder)
{
    switch (row->type) {
    case CONFIG_BOOL:
        builder_str(builder, "on or off");
        break;
    case CONFIG_CHOICE:
        print_words(row->words, builder);
        break;
    case CONFIG_INT:
        builder_printf(
            builder, "%llu to %llu", (unsigned long long)row->least, (unsigned long long)row->most);
        print_other(row, builder);
        break;
    case CONFIG_SIZE:
    case CONFIG_DURATION:
        print_quantity(row->type, row->least, builder);
        builder_str(builder, " to ");
        print_quantity(row->type, row->most, builder);
        print_other(row, builder);
        break;
    case CONFIG_STRING:
    case CONFIG_SECRET:
    case CONFIG_URL:
        builder_printf(builder, "%llu to %llu bytes", (unsigned long long)row->least,
            (unsigned long long)row->most);
        break;
    case CONFIG_LIST:
        builder_printf(builder, "%llu to %llu items", (unsigned long long)row->least,
            (unsigned long long)row->most);
        builder_str(builder, row->words[0] != 0 ? ": " : "");
        print_words(row->words, builder);
        break;
    }
}
