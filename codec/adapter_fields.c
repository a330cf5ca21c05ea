/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adapter_fields - each function takes one level of a message.
 */
#include "codec/adapter_fields.h"

#include <inttypes.h>
#include <stdio.h>

#include "codec/base/status.h"
#include "codec/utf8.h"

/* Above it a number in JavaScript is no exact integer. */
#define EXACT_MAX 9007199254740992.0

bool adapter_fields_is_text(const struct mp_value *value)
{
    return value->type == MP_STR || (value->type == MP_BIN && utf8_valid(value->bytes));
}

static bool adapter_fields_is_nothing(const struct mp_value *value)
{
    return value->type == MP_NIL || (adapter_fields_is_text(value) && value->bytes.len == 0) ||
           (value->type == MP_ARRAY && value->count == 0);
}

int adapter_fields_next(struct mp_reader *reader, struct bytes *ret_key, struct bytes *ret_value)
{
    struct bytes key;
    int status = mp_slice(reader, ADAPTER_DEPTH_MAX, &key);
    status = status < 0 ? status : mp_slice(reader, ADAPTER_DEPTH_MAX, ret_value);
    if (status < 0) {
        return status;
    }
    struct mp_reader inner = {.rest = key};
    struct mp_value value;
    status = mp_next(&inner, &value);
    *ret_key = status == 0 && adapter_fields_is_text(&value) ? value.bytes : bytes_of(NULL, 0);
    return status;
}

/* Names. */

static bool is_name(const struct mp_value *value)
{
    return adapter_fields_is_text(value) || value->type == MP_UINT || value->type == MP_INT;
}

int adapter_fields_names(struct bytes field, struct adapter_names *ret_names)
{
    struct mp_reader reader = {.rest = field};
    struct mp_value value;
    int status = mp_next(&reader, &value);
    if (status < 0) {
        return status;
    }
    if (adapter_fields_is_nothing(&value)) {
        *ret_names = (struct adapter_names){0};
        return 0;
    }
    if (adapter_fields_is_text(&value)) {
        *ret_names = (struct adapter_names){.count = 1, .reader = {.rest = field}};
        return 0;
    }
    if (value.type != MP_ARRAY) {
        return STATUS_INVALID;
    }
    struct adapter_names names = {.count = value.count, .reader = reader};
    /* A name that is none must not make an empty list of the rest: that would mean everyone. */
    for (uint32_t left = value.count; left > 0; left--) {
        struct mp_value name;
        status = mp_next(&reader, &name);
        if (status < 0 || !is_name(&name)) {
            return STATUS_INVALID;
        }
    }
    *ret_names = names;
    return 0;
}

bool adapter_names_next(struct adapter_names *names, struct bytes *ret_name)
{
    struct mp_value value;
    if (names->count == 0 || mp_next(&names->reader, &value) < 0) {
        return false;
    }
    names->count--;
    if (adapter_fields_is_text(&value)) {
        *ret_name = value.bytes;
        return true;
    }
    int len = value.type == MP_UINT
                  ? snprintf(names->text, sizeof(names->text), "%" PRIu64, value.number.u)
                  : snprintf(names->text, sizeof(names->text), "%" PRId64, value.number.i);
    *ret_name = bytes_of(names->text, (size_t)len);
    return true;
}

/* Options. */

/* A time in ms; what is no time is not stated. */
static uint64_t read_timeout(struct bytes field)
{
    struct mp_reader reader = {.rest = field};
    struct mp_value value;
    if (mp_next(&reader, &value) < 0) {
        return 0;
    }
    if (value.type == MP_FLOAT && value.number.f >= 1 && value.number.f < EXACT_MAX) {
        return (uint64_t)value.number.f;
    }
    return value.type == MP_UINT ? value.number.u : 0;
}

/* Flags count only when true; whatever is no map has none. */
static int read_flags(struct bytes field, struct adapter_options *options)
{
    struct mp_reader reader = {.rest = field};
    uint32_t pairs;
    if (mp_map(&reader, &pairs) < 0) {
        return 0;
    }
    for (; pairs > 0; pairs--) {
        struct bytes key;
        struct bytes value;
        int status = adapter_fields_next(&reader, &key, &value);
        if (status < 0) {
            return status;
        }
        bool set = bytes_eq(value, BYTES("\xc3"));
        if (bytes_eq_str(key, "volatile")) {
            options->flags |= set ? (unsigned)ADAPTER_VOLATILE : 0;
        } else if (bytes_eq_str(key, "local")) {
            options->flags |= set ? (unsigned)ADAPTER_LOCAL : 0;
        } else if (bytes_eq_str(key, "urgent")) {
            options->flags |= set ? (unsigned)ADAPTER_URGENT : 0;
        } else if (bytes_eq_str(key, "replayed")) {
            options->flags |= set ? (unsigned)ADAPTER_REPLAYED : 0;
        } else if (bytes_eq_str(key, "timeout")) {
            options->timeout_ms = read_timeout(value);
        }
    }
    return 0;
}

int adapter_fields_options(struct bytes field, struct adapter_options *ret_options)
{
    struct mp_reader reader = {.rest = field};
    struct adapter_options options = {0};
    struct mp_value head;
    int status = mp_next(&reader, &head);
    bool nothing = status == 0 && adapter_fields_is_nothing(&head);
    if (status == 0 && !nothing && head.type != MP_MAP) {
        return STATUS_INVALID;
    }
    for (uint32_t pairs = nothing ? 0 : head.count; pairs > 0 && status == 0; pairs--) {
        struct bytes key;
        struct bytes value;
        status = adapter_fields_next(&reader, &key, &value);
        if (status < 0) {
            break;
        }
        if (bytes_eq_str(key, "rooms")) {
            status = adapter_fields_names(value, &options.rooms);
        } else if (bytes_eq_str(key, "except")) {
            status = adapter_fields_names(value, &options.except);
        } else if (bytes_eq_str(key, "flags")) {
            status = read_flags(value, &options);
        }
    }
    if (status == 0) {
        *ret_options = options;
    }
    return status;
}

/* Packets. */

static int read_nsp(struct bytes field, struct bytes *nsp)
{
    struct mp_reader reader = {.rest = field};
    struct mp_value value;
    int status = mp_next(&reader, &value);
    if (status < 0 || adapter_fields_is_nothing(&value)) {
        return status;
    }
    if (!adapter_fields_is_text(&value)) {
        return STATUS_INVALID;
    }
    *nsp = value.bytes;
    return 0;
}

int adapter_fields_packet(struct bytes field, struct adapter_packet *ret_packet)
{
    struct mp_reader reader = {.rest = field};
    struct adapter_packet packet = {.nsp = BYTES("/")};
    uint32_t pairs;
    int status = mp_map(&reader, &pairs);
    uint64_t type = 0;
    for (; status == 0 && pairs > 0; pairs--) {
        struct bytes key;
        struct bytes value;
        status = adapter_fields_next(&reader, &key, &value);
        if (status < 0) {
            break;
        }
        struct mp_reader inner = {.rest = value};
        if (bytes_eq_str(key, "type")) {
            status = mp_u64(&inner, &type);
        } else if (bytes_eq_str(key, "nsp")) {
            status = read_nsp(value, &packet.nsp);
        } else if (bytes_eq_str(key, "data")) {
            uint32_t count;
            packet.data = value;
            status = mp_array(&inner, &count);
        }
    }
    if (status < 0) {
        return status;
    }
    if ((type != 2 && type != 5) || packet.data.len == 0) {
        return STATUS_INVALID;
    }
    *ret_packet = packet;
    return 0;
}
