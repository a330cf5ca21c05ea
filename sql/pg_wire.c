/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes parameters and arrays in the binary format, and reads columns of results.
 */
#include "sql/pg_wire.h"

#include <endian.h>

#include "codec/slot.h"

void pg_params_clear(struct pg_params *params)
{
    params->bytes.max = PG_PARAMS_BYTES;
    builder_clear(&params->bytes);
    params->count = 0;
}

void pg_params_finish(struct pg_params *params)
{
    builder_reset(&params->bytes);
    params->count = 0;
}

/* Where the parameter being appended begins. */
static void begin(struct pg_params *params)
{
    CHECK(params->count < PG_PARAMS_MAX);
    params->at[params->count++] = builder_bytes(&params->bytes).len;
}

static void add_be32(struct pg_params *params, uint32_t value)
{
    uint32_t wire = htobe32(value);
    builder_add(&params->bytes, bytes_of(&wire, sizeof(wire)));
}

static void add_be64(struct pg_params *params, uint64_t value)
{
    uint64_t wire = htobe64(value);
    builder_add(&params->bytes, bytes_of(&wire, sizeof(wire)));
}

static void add_be16(struct pg_params *params, uint16_t value)
{
    uint16_t wire = htobe16(value);
    builder_add(&params->bytes, bytes_of(&wire, sizeof(wire)));
}

void pg_add_text(struct pg_params *params, struct bytes value)
{
    begin(params);
    builder_add(&params->bytes, value);
}

void pg_add_uuid(struct pg_params *params, const uint8_t value[16])
{
    begin(params);
    builder_add(&params->bytes, bytes_of(value, 16));
}

void pg_add_i64(struct pg_params *params, int64_t value)
{
    begin(params);
    add_be64(params, (uint64_t)value);
}

void pg_add_u64(struct pg_params *params, uint64_t value)
{
    pg_add_i64(params, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

void pg_add_i32(struct pg_params *params, int32_t value)
{
    begin(params);
    add_be32(params, (uint32_t)value);
}

void pg_add_i16(struct pg_params *params, int16_t value)
{
    begin(params);
    add_be16(params, (uint16_t)value);
}

void pg_add_user(struct pg_params *params, struct bytes tenant, struct bytes user)
{
    pg_add_i16(params, (int16_t)slot_of(tenant, user));
    pg_add_text(params, tenant);
    pg_add_text(params, user);
}

void pg_add_array(struct pg_params *params, enum pg_type type, size_t count)
{
    begin(params);
    add_be32(params, count > 0); /* dimensions */
    add_be32(params, 0); /* no element is NULL */
    add_be32(params, (uint32_t)type);
    if (count > 0) {
        add_be32(params, (uint32_t)count);
        add_be32(params, 1); /* the first index */
    }
}

void pg_add_element(struct pg_params *params, struct bytes value)
{
    add_be32(params, (uint32_t)value.len);
    builder_add(&params->bytes, value);
}

void pg_add_element_i64(struct pg_params *params, uint64_t value)
{
    add_be32(params, 8);
    add_be64(params, value > INT64_MAX ? INT64_MAX : value);
}

void pg_add_element_i16(struct pg_params *params, int16_t value)
{
    add_be32(params, 2);
    add_be16(params, (uint16_t)value);
}

bool pg_params_send(const struct pg_params *params, PGconn *pg, const char *statement)
{
    if (builder_failed(&params->bytes)) {
        return false;
    }
    struct bytes all = builder_bytes(&params->bytes);
    const char *values[PG_PARAMS_MAX];
    int lengths[PG_PARAMS_MAX];
    int formats[PG_PARAMS_MAX];
    for (size_t i = 0; i < params->count; i++) {
        size_t end = i + 1 < params->count ? params->at[i + 1] : all.len;
        values[i] = all.len > 0 ? all.at + params->at[i] : "";
        lengths[i] = (int)(end - params->at[i]);
        formats[i] = 1;
    }
    return PQsendQueryPrepared(pg, statement, (int)params->count, values, lengths, formats, 1) == 1;
}

struct bytes pg_bytes(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column)) {
        return (struct bytes){0};
    }
    return bytes_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

uint64_t pg_u64(const PGresult *result, int row, int column)
{
    struct bytes value = pg_bytes(result, row, column);
    uint64_t wire = 0;
    if (value.len == sizeof(wire)) {
        memcpy(&wire, value.at, sizeof(wire));
    }
    return be64toh(wire);
}

uint32_t pg_u32(const PGresult *result, int row, int column)
{
    struct bytes value = pg_bytes(result, row, column);
    uint32_t wire = 0;
    if (value.len == sizeof(wire)) {
        memcpy(&wire, value.at, sizeof(wire));
    }
    return be32toh(wire);
}

int16_t pg_i16(const PGresult *result, int row, int column)
{
    struct bytes value = pg_bytes(result, row, column);
    uint16_t wire = 0;
    if (value.len == sizeof(wire)) {
        memcpy(&wire, value.at, sizeof(wire));
    }
    return (int16_t)be16toh(wire);
}

bool pg_bool(const PGresult *result, int row, int column)
{
    struct bytes value = pg_bytes(result, row, column);
    return value.len == 1 && value.at[0] != 0;
}

void pg_uuid(const PGresult *result, int row, int column, uint8_t ret_uuid[16])
{
    struct bytes value = pg_bytes(result, row, column);
    if (value.len == 16) {
        memcpy(ret_uuid, value.at, 16);
    }
}
