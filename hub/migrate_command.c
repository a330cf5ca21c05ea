/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate_command - `peal migrate`: bring the schema up to date without starting a node.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/status.h"
#include "hub/cli.h"
#include "hub/config.h"
#include "sql/store.h"

enum { ERROR_MAX = 512 };

/* No port is opened, so nothing is ever posted. */
static void no_post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg)
{
    (void)context;
    (void)port;
    fn(arg, true);
}

int command_migrate(const struct config *config, int argc, char **argv)
{
    bool new_epoch = argc > 0 && strcmp(argv[0], "--new-epoch") == 0;
    if (argc > (new_epoch ? 1 : 0)) {
        return cli_refuse_argument("migrate", argv + (new_epoch ? 1 : 0));
    }
    struct builder url = {0};
    char error[ERROR_MAX] = "";
    struct store *store;
    bool remote = config->store_url[0] != '\0';
    builder_str(&url, remote ? "" : "sqlite:");
    builder_str(&url, remote ? config->store_url : config->store_path);
    struct store_config options = {
        .url = builder_bytes(&url),
        .port_count = 1,
        .pool_size = config->store_pool,
        .slow_ms = (uint32_t)config->store_slow_query_ms,
        .post = no_post,
    };
    int status = store_open(&options, &store, error, sizeof(error));
    builder_reset(&url);
    if (status != 0) {
        fprintf(stderr, "peal: %s\n", error);
        return 1;
    }
    if (new_epoch) {
        status = store_new_epoch(store);
    }
    if (status == 0) {
        printf("%s: schema is up to date, epoch %s\n", store_engine(store), store_epoch(store));
    } else {
        fprintf(stderr, "peal migrate: the epoch was not replaced: %s\n", status_text(status));
    }
    store_close(store);
    return status == 0 ? 0 : 1;
}
