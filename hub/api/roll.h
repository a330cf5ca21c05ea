/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roll - the rows of a list that every node has a part of: the first ones behind a name, in the
 * order of their names (bytes).
 *
 * A row that is offered again, by another shard or node, is one row: what is counted is summed. Of
 * more rows than are asked for the first ones are kept, whatever the order in which they come.
 */
#ifndef HUB_API_ROLL_H
#define HUB_API_ROLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { ROLL_MAX = 100 };

struct roll_row {
    uint64_t sockets;
    uint64_t nodes;
    uint32_t name_len;
    uint32_t text_len;
    char at[]; /* the name, then JSON text of further members, which may be empty */
};

struct roll {
    struct bytes after; /* rows behind this name; borrowed */
    struct bytes prefix; /* that begin so; borrowed */
    size_t most; /* 1 to ROLL_MAX */
    struct roll_row *rows[ROLL_MAX];
    size_t count;
    bool more; /* there are others behind the last one */
    bool starved; /* there was no memory for some */
};

static inline struct bytes roll_name(const struct roll_row *row)
{
    return bytes_of(row->at, row->name_len);
}

static inline struct bytes roll_text(const struct roll_row *row)
{
    return bytes_of(row->at + row->name_len, row->text_len);
}

/* Free the rows of a roll; all zero is one without any. */
void roll_finish(struct roll *roll);

/* Whether a row of this name would be among the first; if not because there are enough before it,
 * `more` is set. */
MUST_CHECK bool roll_wants(struct roll *roll, struct bytes name);

/* Add a row that roll_wants, or what it counts to the one that is there. */
void roll_add(
    struct roll *roll, struct bytes name, uint64_t sockets, uint64_t nodes, struct bytes text);

/* Append it as another node reads it. */
void roll_write(const struct roll *roll, struct builder *out);

/* Add the rows that another node has written; false: it is none of that. */
MUST_CHECK bool roll_read(struct roll *roll, struct bytes body);

#endif
