/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connects once and says why that fails: what `check-config --connect` asks.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/status.h"
#include "sql/store.h"

enum { URL_MAX = 4097 };

int store_probe(struct bytes url, char *ret_error, size_t error_size)
{
    char text[URL_MAX];
    snprintf(text, sizeof(text), "%.*s", (int)url.len, url.len > 0 ? url.at : "");
    const char *const keys[] = {"connect_timeout", "fallback_application_name", "dbname", NULL};
    const char *const values[] = {"5", "peal", text, NULL};
    PGconn *pg = PQconnectdbParams(keys, values, 1);
    int status = pg != NULL && PQstatus(pg) == CONNECTION_OK ? 0 : STATUS_UNAVAILABLE;
    if (status != 0) {
        const char *message = pg != NULL ? PQerrorMessage(pg) : "out of memory";
        (void)snprintf(
            ret_error, error_size, "Postgres: %.*s", (int)strcspn(message, "\n"), message);
    }
    PQfinish(pg);
    return status;
}
