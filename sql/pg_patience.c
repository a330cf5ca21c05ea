/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a port of the Postgres engine is looked at, though nothing has come from the database.
 */
#include "sql/pg_port.h"

#include "sql/pg_watch.h"

bool pg_patience_busy(const struct pg_port *port)
{
    return port->writer.flight_count > 0 || port->last.asked || !list_empty(&port->reads) ||
           !list_empty(&port->writes);
}

void pg_patience_arm(struct pg_port *port)
{
    bool soon = pg_patience_busy(port);
    if (port->released || (port->waiting && (port->waiting_short || !soon))) {
        return;
    }
    port->waiting = true;
    port->waiting_short = soon;
    pg_watch_timer(port->patience, soon ? PG_PATIENCE_MS : PG_TICK_MS);
}
