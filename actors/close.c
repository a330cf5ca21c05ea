/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the table of reasons (close.def): codes, names, texts, and which ends are final.
 */
#include "actors/close.h"

#include "codec/base/check.h"

enum {
    CLOSE_OWN_CODES = 4000, /* lower ones are of the WebSocket protocol: what the peer did wrong */
};

struct row {
    uint16_t code;
    bool final;
    const char *name;
    const char *text;
};

static const struct row rows[CLOSE_REASON_COUNT] = {
#define X(reason, metric, number, is_final, words)                                                 \
    [CLOSE_##reason] = {.code = (number), .final = (is_final), .name = (metric), .text = (words)},
#include "actors/close.def"
#undef X
};

static const struct row *find_row(enum close_reason reason)
{
    CHECK((unsigned)reason < CLOSE_REASON_COUNT);
    return &rows[reason];
}

uint16_t close_code(enum close_reason reason)
{
    return find_row(reason)->code;
}

bool close_is_final(enum close_reason reason)
{
    return find_row(reason)->final;
}

bool close_is_temporary(enum close_reason reason)
{
    const struct row *row = find_row(reason);
    return reason == CLOSE_IDLE || (!row->final && row->code >= CLOSE_OWN_CODES);
}

const char *close_text(enum close_reason reason)
{
    return find_row(reason)->text;
}

const char *close_name(enum close_reason reason)
{
    return find_row(reason)->name;
}
