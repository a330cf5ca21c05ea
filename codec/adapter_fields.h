/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adapter_fields - what the messages of Socket.IO adapters and emitters are made of: maps with text
 * keys, lists of room names, options.
 *
 * Everything is read in place, out of MessagePack that mp_check has accepted, and as emitters in
 * all languages write it: an empty list may be nil, "", [] or missing, a list of one its only
 * element, a name a number; a flag counts only when it is true.
 */
#ifndef CODEC_ADAPTER_FIELDS_H
#define CODEC_ADAPTER_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/mp.h"

/* The event array itself may nest as deep as an event; a message adds two levels. */
enum { ADAPTER_DEPTH_MAX = MP_DEPTH_MAX, ADAPTER_NAME_TEXT_MAX = 24 };

enum adapter_flags {
    ADAPTER_VOLATILE = 1u << 0,
    ADAPTER_LOCAL = 1u << 1, /* not to be published further */
    /* Ours: stock receivers pass over them. */
    ADAPTER_URGENT = 1u << 2,
    ADAPTER_REPLAYED = 1u << 3, /* it is in the replay stream, from which nodes of Peal take it */
};

/* A list of room names inside a message. */
struct adapter_names {
    uint32_t count; /* how many are left; 0 rooms means everyone */
    /* private */
    struct mp_reader reader;
    char text[ADAPTER_NAME_TEXT_MAX];
};

/* Whom a message is for, and how. */
struct adapter_options {
    struct adapter_names rooms;
    struct adapter_names except;
    unsigned flags; /* set of enum adapter_flags */
    uint64_t timeout_ms; /* for acks; 0: not stated */
};

/* An event, as a broadcast carries it. */
struct adapter_packet {
    struct bytes nsp; /* "/" where absent */
    struct bytes data; /* the MessagePack array for event_from_msgpack */
};

/* The next name, numbers as decimal text (valid until the next call), or false after the last. */
bool adapter_names_next(struct adapter_names *names, struct bytes *ret_name);

/* Take the next pair of a map; `*ret_key` is empty for keys that are no text. */
MUST_CHECK int adapter_fields_next(
    struct mp_reader *reader, struct bytes *ret_key, struct bytes *ret_value);

/* Read one value. STATUS_INVALID when it is of another kind. */
MUST_CHECK int adapter_fields_names(struct bytes field, struct adapter_names *ret_names);
MUST_CHECK int adapter_fields_options(struct bytes field, struct adapter_options *ret_options);

/* Read {type, data, nsp}: an event; 5, the binary kind of other wires, is taken for 2. */
MUST_CHECK int adapter_fields_packet(struct bytes field, struct adapter_packet *ret_packet);

/* Whether a value is text: a string, or UTF-8 as bin, as older emitters write strings. */
bool adapter_fields_is_text(const struct mp_value *value);

#endif
