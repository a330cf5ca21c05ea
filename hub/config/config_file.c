/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every option is declared to libconfuse as text (or a list of texts), so that one parser, ours,
 * reads values from files, variables and flags alike. libconfuse contributes the syntax: sections,
 * titles, quotes, "${VARIABLE}" inside quotes, include(), and the line of every mistake.
 */
#include "hub/config/config_file.h"

#include <confuse.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/config/config_draft.h"
#include "hub/config/config_secret.h"
#include "hub/net/file.h"

/* libconfuse hands its callbacks no context; set for the time of one call, on the main thread. */
static struct reading {
    struct config *config;
    struct config_error *error;
    cfg_t *top; /* knows the file's name; its sections do not */
    bool failed;
    bool ended;
    bool secrets; /* the file itself holds some */
    bool seen[CONFIG_COUNT];
} * reading;

/* Appended to the text: libconfuse accepts a file that ends within a section, we do not. */
static const char end_mark[] = "peal_end_of_file";

static void describe_place(const cfg_t *cfg, char *ret_where, size_t size)
{
    snprintf(ret_where, size, "%s:%d", reading->top->filename, cfg->line);
}

/* Keep the first complaint: what follows is its consequence. */
PRINTF_LIKE(2, 0) static void on_error(cfg_t *cfg, const char *format, va_list args)
{
    char text[800];
    char where[512];
    if (reading->failed) {
        return;
    }
    reading->failed = true;
    vsnprintf(text, sizeof(text), format, args);
    describe_place(cfg, where, sizeof(where));
    bool open = strstr(text, end_mark) != NULL;
    config_draft_refuse(
        reading->error, "%s: %s", where, open ? "the file ends within a section" : text);
}

static int on_end(cfg_t *cfg, cfg_opt_t *opt)
{
    reading->ended = true;
    return 0;
}

/* The values of an option as one text, items separated by commas. */
static int join_values(cfg_t *cfg, cfg_opt_t *opt, struct builder *ret_text)
{
    for (unsigned i = 0; i < cfg_opt_size(opt); i++) {
        const char *item = cfg_opt_getnstr(opt, i);
        bool is_list = (opt->flags & CFGF_LIST) != 0;
        if (is_list && strchr(item, ',') != NULL) {
            cfg_error(cfg, "%s: an item of a list may not hold a comma", opt->name);
            return STATUS_INVALID;
        }
        builder_str(ret_text, i == 0 ? "" : ",");
        builder_str(ret_text, item);
    }
    builder_byte(ret_text, 0);
    return builder_status(ret_text);
}

/* The row of an option, or that of `secret` for `secret_file`. */
static const struct config_setting *find_setting(cfg_t *cfg, cfg_opt_t *opt, bool *ret_in_file)
{
    char key[128];
    bool top = strcmp(cfg->name, "root") == 0;
    snprintf(key, sizeof(key), "%s%s%s", top ? "" : cfg->name, top ? "" : ".", opt->name);
    const struct config_setting *row = config_table_find(key);
    *ret_in_file = row == NULL;
    if (row == NULL) {
        key[config_secret_base(bytes_str(key), "_file").len] = '\0';
        row = config_table_find(key);
    }
    return row;
}

/* The text of an option; of one that names a file, what that holds. */
static int read_values(
    cfg_t *cfg, cfg_opt_t *opt, bool in_file, const char *where, struct builder *ret_text)
{
    const char *secret;
    int status = join_values(cfg, opt, ret_text);
    if (status == 0 && in_file) {
        status = config_secret_read(
            reading->config, builder_bytes(ret_text).at, where, reading->error, &secret);
    }
    if (status == 0 && in_file) {
        builder_clear(ret_text);
        builder_add(ret_text, bytes_of(secret, strlen(secret) + 1));
        status = builder_status(ret_text);
    }
    return status;
}

/*
 * A plain setting has been read: store it. Called after every item of a list, with those so far.
 * Returns what libconfuse expects, not 0 to stop.
 */
static int on_setting(cfg_t *cfg, cfg_opt_t *opt)
{
    bool in_file;
    const struct config_setting *row = find_setting(cfg, opt, &in_file);
    bool *seen = &reading->seen[row - config_settings];
    struct builder text = {.max = 65536};
    char where[512];
    describe_place(cfg, where, sizeof(where));
    int status = read_values(cfg, opt, in_file, where, &text);
    if (status == 0 && *seen && row->type != CONFIG_LIST) {
        status = config_draft_refuse(reading->error, "%s: %s: set twice", where, row->key);
    } else if (status == 0) {
        status =
            config_draft_set(reading->config, row, builder_bytes(&text).at, where, reading->error);
    }
    *seen = true;
    reading->secrets |= !in_file && config_secret_is(row);
    reading->failed |= status < 0;
    builder_reset(&text);
    return status < 0;
}

static enum config_block kind_named(const char *name)
{
    for (int i = 0; i < CONFIG_BLOCK_COUNT; i++) {
        if (strcmp(config_block_kinds[i].name, name) == 0) {
            return (enum config_block)i;
        }
    }
    check_failed("known block", __FILE__, __LINE__);
}

/* Set one option of a closed block, if the file names it, or a file for it. */
static int store_option(
    cfg_t *section, void *target, const struct config_setting *row, const char *where)
{
    char name[64];
    snprintf(name, sizeof(name), "%s_file", row->key);
    cfg_opt_t *opt = cfg_getopt(section, row->key);
    cfg_opt_t *file = config_secret_is(row) ? cfg_getopt(section, name) : NULL;
    bool in_file = file != NULL && cfg_opt_size(file) > 0;
    if (in_file && cfg_opt_size(opt) > 0) {
        return config_draft_refuse(
            reading->error, "%s: %s and %s are both set; allowed: one", where, row->key, name);
    }
    if (!in_file && cfg_opt_size(opt) == 0) {
        return 0;
    }
    struct builder text = {.max = 65536};
    int status = read_values(section, in_file ? file : opt, in_file, where, &text);
    if (status == 0) {
        status = config_draft_set_option(
            reading->config, target, row, builder_bytes(&text).at, where, reading->error);
    }
    builder_reset(&text);
    reading->secrets |= !in_file && config_secret_is(row);
    return status;
}

/* Set the options of one closed block that the file names. */
static int store_block(cfg_t *section, enum config_block kind, const char *place)
{
    char where[512];
    snprintf(where, sizeof(where), "%s: %s \"%.64s\"", place, config_block_kinds[kind].name,
        cfg_title(section));
    const struct config_block_kind *block = &config_block_kinds[kind];
    void *target = config_draft_block(reading->config, kind, cfg_title(section), place);
    for (size_t i = 0; i < block->row_count; i++) {
        int status = store_option(section, target, &block->rows[i], where);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

/* A block has been closed. */
static int on_block(cfg_t *cfg, cfg_opt_t *opt)
{
    cfg_t *section = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
    enum config_block kind = kind_named(opt->name);
    char place[384];
    describe_place(section, place, sizeof(place));
    int status = store_block(section, kind, place);
    reading->failed |= status < 0;
    return status < 0;
}

static cfg_opt_t declare_option(const struct config_setting *row, const char *name)
{
    cfg_flag_t kind = row->type == CONFIG_LIST ? CFGF_LIST : CFGF_NONE;
    cfg_opt_t option = CFG_STR(name, NULL, CFGF_NODEFAULT | kind);
    return option;
}

/* The part of a key before its dot; "" for a setting outside the sections. */
static size_t section_len(const char *key)
{
    const char *dot = strchr(key, '.');
    return dot == NULL ? 0 : (size_t)(dot - key);
}

enum { FILE_NAMES_MAX = 32 };

/* Everything libconfuse must be told; it copies options, but not names. */
struct declaration {
    cfg_opt_t top[CONFIG_COUNT + CONFIG_BLOCK_COUNT + 2];
    size_t top_count;
    cfg_opt_t nested[CONFIG_COUNT * 2]; /* each section's options, ended by CFG_END */
    size_t nested_count;
    cfg_opt_t options[CONFIG_BLOCK_COUNT][CONFIG_COUNT];
    char file_names[FILE_NAMES_MAX][64]; /* of options that name the file of a secret */
    size_t file_name_count;
    char names[CONFIG_COUNT][32]; /* of the sections */
};

/* Declare `name` at `to` and, where it is a secret, `name`_file behind it. Returns how many. */
static size_t declare_with_file(struct declaration *declaration, const struct config_setting *row,
    const char *name, cfg_opt_t *to)
{
    to[0] = declare_option(row, name);
    if (!config_secret_is(row)) {
        return 1;
    }
    CHECK(declaration->file_name_count < FILE_NAMES_MAX);
    char *file = declaration->file_names[declaration->file_name_count++];
    snprintf(file, sizeof(declaration->file_names[0]), "%s_file", name);
    to[1] = declare_option(row, file);
    return 2;
}

/* Declare the section that begins at `first`; its rows stand together in the table. */
static size_t declare_section(struct declaration *declaration, size_t first)
{
    const char *key = config_settings[first].key;
    size_t len = section_len(key);
    cfg_opt_t *options = &declaration->nested[declaration->nested_count];
    size_t i = first;
    for (; i < CONFIG_COUNT && section_len(config_settings[i].key) == len &&
           memcmp(config_settings[i].key, key, len) == 0;
         i++) {
        cfg_opt_t *to = &declaration->nested[declaration->nested_count];
        size_t count = declare_with_file(
            declaration, &config_settings[i], config_settings[i].key + len + 1, to);
        to[0].validcb = on_setting;
        to[count - 1].validcb = on_setting;
        declaration->nested_count += count;
    }
    cfg_opt_t end = CFG_END();
    declaration->nested[declaration->nested_count++] = end;
    char *name = declaration->names[first];
    snprintf(name, sizeof(declaration->names[first]), "%.*s", (int)len, key);
    cfg_opt_t section = CFG_SEC(name, options, CFGF_NONE);
    declaration->top[declaration->top_count++] = section;
    return i;
}

static void declare_settings(struct declaration *declaration)
{
    for (size_t i = 0; i < CONFIG_COUNT;) {
        const struct config_setting *row = &config_settings[i];
        if (section_len(row->key) > 0) {
            i = declare_section(declaration, i);
            continue;
        }
        cfg_opt_t option = declare_option(row, row->key);
        option.validcb = on_setting;
        declaration->top[declaration->top_count++] = option;
        i++;
    }
}

static void declare_blocks(struct declaration *declaration)
{
    for (size_t i = 0; i < CONFIG_BLOCK_COUNT; i++) {
        const struct config_block_kind *kind = &config_block_kinds[i];
        cfg_opt_t *to = declaration->options[i];
        for (size_t k = 0; k < kind->row_count; k++) {
            to += declare_with_file(declaration, &kind->rows[k], kind->rows[k].key, to);
        }
        cfg_opt_t end = CFG_END();
        *to = end;
        cfg_opt_t block = CFG_SEC(
            kind->name, declaration->options[i], CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
        block.validcb = on_block;
        declaration->top[declaration->top_count++] = block;
    }
}

static cfg_t *declare_all(struct declaration *declaration)
{
    declare_settings(declaration);
    declare_blocks(declaration);
    cfg_opt_t mark = CFG_STR(end_mark, NULL, CFGF_NODEFAULT);
    mark.validcb = on_end;
    declaration->top[declaration->top_count++] = mark;
    cfg_opt_t end = CFG_END();
    declaration->top[declaration->top_count++] = end;
    return cfg_init(declaration->top, CFGF_NONE);
}

/* How a comment that begins at text[at] ends; NULL: none begins there. */
static const char *comment_end(struct bytes text, size_t at)
{
    bool token_start = at == 0 || strchr(" \t\r\n{}()=,", text.at[at - 1]) != NULL;
    struct bytes rest = bytes_skip(text, at);
    if (bytes_starts(rest, BYTES("/*"))) {
        return "*/";
    }
    bool line = bytes_starts(rest, BYTES("#")) || bytes_starts(rest, BYTES("//"));
    return line && token_start ? "\n" : NULL;
}

/* The place behind the quoted text that begins at text[at]. */
static size_t skip_quoted(struct bytes text, size_t at)
{
    char quote = text.at[at];
    for (at++; at < text.len && text.at[at] != quote; at++) {
        at += text.at[at] == '\\';
    }
    return at + 1;
}

/* Turn comments into blanks, keeping every line feed; one that never ends is left to be found. */
static void blank_comments(struct bytes text)
{
    char *bytes = (char *)(uintptr_t)text.at;
    for (size_t at = 0; at < text.len;) {
        const char *end = comment_end(text, at);
        if (end == NULL) {
            bool quoted = bytes[at] == '"' || bytes[at] == '\'';
            at = quoted ? skip_quoted(text, at) : at + 1;
            continue;
        }
        const char *found = memmem(bytes + at, text.len - at, end, strlen(end));
        if (found == NULL) {
            return;
        }
        for (const char *stop = found + (end[0] == '*' ? 2 : 0); bytes + at < stop; at++) {
            bytes[at] = bytes[at] == '\n' ? '\n' : ' ';
        }
    }
}

/* Append the whole file at `path` and the mark to `text`. */
static int read_text(const char *path, struct builder *text, struct config_error *error)
{
    int status = file_read(path, text);
    if (status == STATUS_NOT_FOUND || status == STATUS_IO) {
        return config_draft_refuse(error, "%s: %s", path, strerror(errno));
    }
    builder_printf(text, "\n%s = on\n", end_mark);
    if (builder_failed(text)) {
        return config_draft_refuse(error, "%s: larger than 1 MiB", path);
    }
    return 0;
}

/* Let libconfuse walk `text`; what it says ends up in reading->error. */
static void parse_text(const char *path, struct bytes text)
{
    cfg_t *cfg = reading->top;
    FILE *stream = fmemopen((char *)(uintptr_t)text.at, text.len, "r");
    CHECK(stream != NULL);
    cfg->filename = strdup(path); /* freed by cfg_free */
    cfg_set_error_function(cfg, on_error);
    int code = cfg_parse_fp(cfg, stream);
    fclose(stream);
    if (!reading->failed && (code != CFG_SUCCESS || !reading->ended)) {
        config_draft_refuse(reading->error, "%s: ends within a comment or a quoted text", path);
        reading->failed = true;
    }
}

int config_file_read(const char *path, struct config *config, struct config_error *error)
{
    struct builder text = {.max = 1 << 20};
    int status = read_text(path, &text, error);
    if (status == 0) {
        struct reading state = {.config = config, .error = error};
        struct declaration *declaration = mem_alloc(sizeof(*declaration));
        state.top = declare_all(declaration);
        reading = &state;
        blank_comments(builder_bytes(&text));
        parse_text(path, builder_bytes(&text));
        reading = NULL;
        cfg_free(state.top);
        mem_free(declaration);
        status = state.failed ? STATUS_INVALID : 0;
        config_secret_check_mode(config, path, state.secrets);
    }
    builder_reset(&text);
    return status;
}
