/* SPDX-License-Identifier: Apache-2.0 */
/*
 * close - the reasons for which a connection or a socket ends (close.def).
 */
#ifndef ACTORS_CLOSE_H
#define ACTORS_CLOSE_H

#include <stdbool.h>
#include <stdint.h>

enum close_reason {
#define X(name, metric, code, final, text) CLOSE_##name,
#include "actors/close.def"
#undef X
    CLOSE_REASON_COUNT,
};

/* The WebSocket close code, or 0 when the close frame carries none. */
uint16_t close_code(enum close_reason reason);

/* Whether the client must not come back by itself. */
bool close_is_final(enum close_reason reason);

/* Whether the hub ends it for a time only: the client has done nothing wrong and is to come back.
 */
bool close_is_temporary(enum close_reason reason);

/* English text; static storage. */
const char *close_text(enum close_reason reason);

/* Lower-case name for metrics ("slow"); static storage. */
const char *close_name(enum close_reason reason);

#endif
