/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_device - requests about devices as statements, and what comes back.
 */
#ifndef SQL_PG_DEVICE_H
#define SQL_PG_DEVICE_H

#include <stdbool.h>

#include "sql/pg_conn.h"
#include "sql/store_device.h"

/* Whether requests of this kind are about devices and change them. */
bool pg_device_writes(enum store_op op);

/* Send the statements of a request that writes: the only one of its flight. */
void pg_device_send(struct pg_conn *conn, struct pg_flight *flight);

/* Add the parameters of a request, and tell its statement. */
MUST_CHECK enum pg_statement pg_device_add(
    struct pg_params *params, const struct store_devices *devices);

/* Take in its rows. */
MUST_CHECK int pg_device_rows(struct store_devices *devices, const PGresult *rows);

#endif
