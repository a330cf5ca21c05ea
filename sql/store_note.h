/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_note - short texts that the nodes of a store share, by name.
 */
#ifndef SQL_STORE_NOTE_H
#define SQL_STORE_NOTE_H

#include "codec/base/bytes.h"
#include "sql/store_request.h"

enum { STORE_NOTE_NAME_MAX = 32, STORE_NOTE_MAX = 8192 }; /* bytes */

/*
 * A text that the nodes of a store share, by its name. With `to`, that takes the place of `from`
 * (empty: of nothing) first, unless another text is there: of several nodes that replace the same
 * one, one does, and all are told the same.
 */
struct store_note {
    struct store_request base; /* STORE_NOTE */
    struct bytes name; /* 1 to STORE_NOTE_NAME_MAX bytes of ASCII */
    struct bytes from;
    struct bytes to; /* at most STORE_NOTE_MAX bytes of UTF-8; empty: only read */
    char text[STORE_NOTE_MAX + 1]; /* out; empty: there is none */
};

#endif
