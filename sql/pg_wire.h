/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_wire - parameters of a statement in Postgres' binary format, and values read from a result.
 */
#ifndef SQL_PG_WIRE_H
#define SQL_PG_WIRE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { PG_PARAMS_MAX = 20, PG_PARAMS_BYTES = 512 << 20 };

/* What an array holds; the values are the types' object ids. */
enum pg_type { PG_BYTEA = 17, PG_INT8 = 20, PG_INT2 = 21, PG_TEXT = 25, PG_UUID = 2950 };

/* The parameters of one execution, all in one piece of memory. */
struct pg_params {
    struct builder bytes;
    size_t count;
    size_t at[PG_PARAMS_MAX];
};

/* Start anew, keeping the memory. */
void pg_params_clear(struct pg_params *params);

/* Free the memory. */
void pg_params_finish(struct pg_params *params);

/* Append a parameter. */
void pg_add_text(struct pg_params *params, struct bytes value);
void pg_add_uuid(struct pg_params *params, const uint8_t value[16]);
void pg_add_i64(struct pg_params *params, int64_t value);
void pg_add_u64(struct pg_params *params, uint64_t value); /* clamped to INT64_MAX */
void pg_add_i32(struct pg_params *params, int32_t value);
void pg_add_i16(struct pg_params *params, int16_t value);

/* Append the three parameters that begin a statement about one user: slot, tenant, user. */
void pg_add_user(struct pg_params *params, struct bytes tenant, struct bytes user);

/* Append an array parameter: its head, then `count` elements by the functions below. */
void pg_add_array(struct pg_params *params, enum pg_type type, size_t count);
void pg_add_element(struct pg_params *params, struct bytes value);
void pg_add_element_i64(struct pg_params *params, uint64_t value);
void pg_add_element_i16(struct pg_params *params, int16_t value);

/* Send a prepared statement with the parameters; false: too large, or the connection failed. */
MUST_CHECK bool pg_params_send(const struct pg_params *params, PGconn *pg, const char *statement);

/* Read a column of a binary result; 0, false or empty for NULL or a value of another size. */
struct bytes pg_bytes(const PGresult *result, int row, int column);
uint64_t pg_u64(const PGresult *result, int row, int column);
uint32_t pg_u32(const PGresult *result, int row, int column);
int16_t pg_i16(const PGresult *result, int row, int column);
bool pg_bool(const PGresult *result, int row, int column);
void pg_uuid(const PGresult *result, int row, int column, uint8_t ret_uuid[16]);

#endif
