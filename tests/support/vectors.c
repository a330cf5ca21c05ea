/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads files of vectors, line by line, and writes inputs so that a failure can be read.
 */
#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>

#include "codec/base/mem.h"

static _Noreturn void fail(const char *path, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s\n", path, line, what);
    abort();
}

/* Append the text of a line with its escapes resolved; false for an unknown escape. */
static bool unescape(struct builder *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned byte;
        if (*text != '\\') {
            builder_byte(out, *text);
            continue;
        }
        switch (*++text) {
        case 'r':
            builder_byte(out, '\r');
            break;
        case 'n':
            builder_byte(out, '\n');
            break;
        case 't':
            builder_byte(out, '\t');
            break;
        case '\\':
            builder_byte(out, '\\');
            break;
        case 'x':
            if (sscanf(text + 1, "%2x", &byte) != 1) {
                return false;
            }
            builder_byte(out, (char)byte);
            text += 2;
            break;
        default:
            return false;
        }
    }
    return true;
}

static struct vector *add(struct vectors *vectors)
{
    vectors->items = mem_realloc_array(vectors->items, vectors->count + 1, sizeof(*vectors->items));
    struct vector *vector = &vectors->items[vectors->count++];
    *vector = (struct vector){0};
    return vector;
}

void vectors_load(struct vectors *vectors, const char *path)
{
    *vectors = (struct vectors){0};
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fail(path, 0, "cannot be opened");
    }
    char *line = NULL;
    size_t cap = 0;
    char title[VECTORS_TITLE_MAX - 16] = "";
    struct builder input = {0};
    bool has_input = false;
    ssize_t len;
    for (int number = 1; (len = getline(&line, &cap, file)) > 0; number++) {
        line[len - 1] = line[len - 1] == '\n' ? '\0' : line[len - 1];
        if (line[0] == '#') {
            snprintf(title, sizeof(title), "%s", line + (line[1] == ' ' ? 2 : 1));
        } else if (line[0] == '<' && line[1] == ' ') {
            has_input = true;
            if (!unescape(&input, line + 2)) {
                fail(path, number, "unknown escape");
            }
        } else if (line[0] == '>' && line[1] == ' ' && has_input) {
            struct vector *vector = add(vectors);
            snprintf(vector->title, sizeof(vector->title), "%d: %s", number, title);
            vector->expected = buf_new(bytes_str(line + 2));
            vector->input = builder_finish(&input);
            has_input = false;
        } else if (line[0] != '\0') {
            fail(path, number, "neither comment, input nor expectation");
        }
    }
    if (has_input || vectors->count == 0) {
        fail(path, 0, "ends without an expectation");
    }
    free(line);
    fclose(file);
}

void vectors_finish(struct vectors *vectors)
{
    for (size_t i = 0; i < vectors->count; i++) {
        buf_unref(vectors->items[i].input);
        buf_unref(vectors->items[i].expected);
    }
    mem_free(vectors->items);
    *vectors = (struct vectors){0};
}

void vectors_quote(struct builder *out, struct bytes content)
{
    for (size_t i = 0; i < content.len; i++) {
        unsigned char c = (unsigned char)content.at[i];
        if (c == '\\') {
            builder_str(out, "\\\\");
        } else if (c >= 0x20 && c < 0x7f) {
            builder_byte(out, (char)c);
        } else {
            builder_printf(out, "\\x%02x", c);
        }
    }
}
