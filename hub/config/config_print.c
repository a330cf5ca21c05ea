/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `peal check-config` shows. The output is itself a file that config_file_read takes, masked
 * secrets aside.
 */
#include "hub/config/config_print.h"

#include <ctype.h>
#include <string.h>

#include "codec/base/buf.h"
#include "hub/config/config_ask.h"
#include "hub/config/config_draft.h"
#include "hub/config/config_value.h"

static struct bytes section_of(const char *key)
{
    const char *dot = strchr(key, '.');
    return bytes_of(key, dot == NULL ? 0 : (size_t)(dot - key));
}

static const char *option_of(const char *key)
{
    const char *dot = strchr(key, '.');
    return dot == NULL ? key : dot + 1;
}

/* Close the section of the row before `row`, and open its own, where they differ. */
static void print_section(const struct config_setting *row, struct builder *builder)
{
    struct bytes before = row == config_settings ? bytes_of(NULL, 0) : section_of(row[-1].key);
    struct bytes section = section_of(row->key);
    if (bytes_eq(before, section)) {
        return;
    }
    builder_str(builder, before.len > 0 ? "}\n" : "");
    if (section.len > 0) {
        builder_add(builder, section);
        builder_str(builder, " {\n");
    }
}

static void print_end(struct builder *builder)
{
    bool open = section_of(config_settings[CONFIG_COUNT - 1].key).len > 0;
    builder_str(builder, open ? "}\n" : "");
}

static void print_indent(const struct config_setting *row, struct builder *builder)
{
    builder_str(builder, section_of(row->key).len > 0 ? "    " : "");
}

static void print_block(
    const struct config *config, enum config_block kind, size_t place, struct builder *builder)
{
    const struct config_block_kind *row = &config_block_kinds[kind];
    const struct config_api_key *head = config_draft_block_at(config, kind, place);
    builder_printf(builder, "%s \"%s\" { # %s\n", row->name, head->name, head->where);
    for (size_t i = 0; i < row->row_count; i++) {
        builder_printf(builder, "    %s = ", row->rows[i].key);
        config_value_print(&row->rows[i], head, builder);
        builder_byte(builder, '\n');
    }
    builder_str(builder, "}\n");
}

void config_print(const struct config *config, struct builder *builder)
{
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        const struct config_setting *row = &config_settings[i];
        print_section(row, builder);
        print_indent(row, builder);
        builder_printf(builder, "%s = ", option_of(row->key));
        config_value_print(row, config, builder);
        builder_printf(builder, " # %s\n", config_source(config, (enum config_place)i));
    }
    print_end(builder);
    for (int kind = 0; kind < CONFIG_BLOCK_COUNT; kind++) {
        size_t count = config_draft_block_count(config, (enum config_block)kind);
        for (size_t i = 0; i < count; i++) {
            print_block(config, (enum config_block)kind, i, builder);
        }
    }
}

static void print_upper(const char *key, struct builder *builder)
{
    for (; *key != 0; key++) {
        builder_byte(builder, *key == '.' ? '_' : (char)toupper((unsigned char)*key));
    }
}

/* Prose, range and names of one row as comments, then the default as a comment. */
static void print_sample_row(
    const struct config_setting *row, const void *defaults, bool is_block, struct builder *builder)
{
    const char *indent = is_block || section_of(row->key).len > 0 ? "    " : "";
    builder_printf(builder, "%s# %s\n%s# ", indent, row->prose, indent);
    config_value_print_range(row, builder);
    if (!is_block) {
        builder_str(builder, row->reload ? "; SIGHUP; PEAL_" : "; PEAL_");
        print_upper(row->key, builder);
    }
    builder_printf(builder, "\n%s#%s = ", indent, option_of(row->key));
    config_value_print(row, defaults, builder);
    builder_byte(builder, '\n');
}

static void print_sample_block(
    struct config *defaults, enum config_block kind, struct builder *builder)
{
    const struct config_block_kind *row = &config_block_kinds[kind];
    const void *block = config_draft_block(defaults, kind, "name", "default");
    builder_printf(builder, "\n#%s \"name\" {\n", row->name);
    for (size_t i = 0; i < row->row_count; i++) {
        print_sample_row(&row->rows[i], block, true, builder);
    }
    builder_str(builder, "#}\n");
}

void config_print_sample(struct builder *builder)
{
    struct config *defaults = config_draft_create();
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        print_section(&config_settings[i], builder);
        print_sample_row(&config_settings[i], defaults, false, builder);
    }
    print_end(builder);
    for (int kind = 0; kind < CONFIG_BLOCK_COUNT; kind++) {
        print_sample_block(defaults, (enum config_block)kind, builder);
    }
    config_destroy(defaults);
}
