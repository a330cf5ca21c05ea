/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_value - one setting's value: from text, to text, and the memory it stays in.
 */
#ifndef HUB_CONFIG_CONFIG_VALUE_H
#define HUB_CONFIG_CONFIG_VALUE_H

#include <stddef.h>

#include "codec/base/check.h"
#include "hub/config/config_table.h"

struct builder;

/* A new arena: memory that is freed all at once. */
MUST_CHECK struct config_arena *config_arena_create(void);

/* Free the arena and everything allocated from it; NULL is allowed. */
void config_arena_destroy(struct config_arena *arena);

/* Allocate `size` zeroed bytes that live as long as the arena. */
MUST_CHECK void *config_arena_alloc(struct config_arena *arena, size_t size);

/* Copy `len` bytes and a NUL into the arena. */
MUST_CHECK char *config_arena_dup(struct config_arena *arena, const char *text, size_t len);

/* Append `text` to the arena's list `list`. */
void config_arena_append(struct config_arena *arena, struct config_list *list, const char *text);

/*
 * Parse `text` as a value of `row` and store it at row->offset in `owner`, its memory in
 * `arena`. Items of a list are separated by commas. Where the row of an INT or a DURATION has a
 * word, that stands for CONFIG_INHERIT_INT or CONFIG_INHERIT. STATUS_INVALID: `ret_why` says what
 * is wrong and what is allowed, without the value where that is a secret; nothing is stored.
 */
MUST_CHECK int config_value_parse(const struct config_setting *row, const char *text,
    struct config_arena *arena, void *owner, struct config_error *ret_why);

/* Whether the values of `row` in both owners are the same. */
bool config_value_eq(const struct config_setting *row, const void *a, const void *b);

/*
 * Append the value of `row` in `owner` as it stands in a file, quoted where needed. Secrets and
 * the password of a URL are masked.
 */
void config_value_print(
    const struct config_setting *row, const void *owner, struct builder *builder);

/* Append what the values of `row` may be: "1 to 65535", "close or keep". */
void config_value_print_range(const struct config_setting *row, struct builder *builder);

#endif
