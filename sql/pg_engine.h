/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_engine - how the parts of the Postgres engine know each other: pg.c opens the store, blocking;
 * pg_port.c is what a shard has of it.
 */
#ifndef SQL_PG_ENGINE_H
#define SQL_PG_ENGINE_H

#include "sql/engine.h"

/* The port functions of struct engine. */
int pg_port_open(
    struct store *store, unsigned index, struct uv_loop_s *loop, struct store_port **ret_port);
void pg_port_submit(struct store_port *base, struct store_request *request);
void pg_port_close(struct store_port *base);
void pg_port_destroy(struct store_port *base);

#endif
