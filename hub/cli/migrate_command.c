/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate_command - `peal migrate`: bring the schema up to date without starting a node.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base/status.h"
#include "hub/cli/cli.h"
#include "hub/cli/cli_refuse.h"
#include "hub/config/config.h"
#include "hub/config/config_outboxes.h"
#include "hub/config/store_options.h"
#include "sql/store.h"

enum { ERROR_MAX = 512 };

/* No port is opened, so nothing is ever posted. */
static void no_post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg)
{
    (void)context;
    (void)port;
    fn(arg, true);
}

/* Make the outbox of the settings with that name in its database. */
static int make_outbox(const struct config *config, const char *name)
{
    char error[ERROR_MAX] = "";
    const struct config_outbox *outbox = NULL;
    for (size_t i = 0; i < config->outbox_count; i++) {
        outbox = strcmp(config->outboxes[i].name, name) == 0 ? &config->outboxes[i] : outbox;
    }
    if (outbox == NULL) {
        fprintf(
            stderr, "peal migrate: --outbox: no outbox of the settings is called %.64s\n", name);
        return 1;
    }
    struct bytes url = bytes_str(config_outbox_url(config, outbox));
    if (store_install_outbox(url, error, sizeof(error)) != 0) {
        fprintf(stderr, "peal: outbox \"%s\": %s\n", name, error);
        return 1;
    }
    printf("outbox %s: peal.post and peal.publish are there\n", name);
    return 0;
}

int command_migrate(const struct config *config, int argc, char **argv)
{
    bool new_epoch = argc > 0 && strcmp(argv[0], "--new-epoch") == 0;
    bool set_bus = argc > 0 && strcmp(argv[0], "--set-bus") == 0;
    if (argc == 2 && strcmp(argv[0], "--outbox") == 0) {
        return make_outbox(config, argv[1]);
    }
    int used = new_epoch || set_bus;
    if (argc > used) {
        return cli_refuse_argument("migrate", argv + used);
    }
    char error[ERROR_MAX] = "";
    struct store *store;
    struct store_options options;
    store_options_init(&options, config);
    options.config.port_count = 1;
    options.config.post = no_post;
    options.config.replace_shared = set_bus;
    int status = store_open(&options.config, &store, error, sizeof(error));
    store_options_finish(&options);
    if (status != 0) {
        fprintf(stderr, "peal: %s\n", error);
        return 1;
    }
    if (new_epoch) {
        status = store_new_epoch(store);
    }
    if (status == 0) {
        printf("%s: schema is up to date, store %s, epoch %s\n", store_engine(store),
            store_identity(store), store_epoch(store));
    } else {
        fprintf(stderr, "peal migrate: the epoch was not replaced: %s\n", status_text(status));
    }
    store_close(store);
    return status == 0 ? 0 : 1;
}
