/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_device - requests about devices on a SQLite connection; private to the SQLite engine.
 */
#ifndef SQL_SQLITE_DEVICE_H
#define SQL_SQLITE_DEVICE_H

#include "codec/base/check.h"
#include "sql/sqlite_db.h"
#include "sql/store_device.h"

/* Carry out a request that writes, inside a transaction. */
MUST_CHECK int sqlite_device_write(struct sqlite_db *db, struct store_devices *devices);

/* Carry out STORE_DEVICE_LIST. */
MUST_CHECK int sqlite_device_list(struct sqlite_db *db, struct store_devices *devices);

#endif
