/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox_link - one connection to a hub that asks and waits: HTTP with keep-alive, or `/ws`. What
 * fails ends the program: a bench has nothing to do without its hub.
 */
#ifndef TESTS_BENCH_INBOX_LINK_H
#define TESTS_BENCH_INBOX_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"

enum { INBOX_LINK_BYTES = 1 << 20 };

struct inbox_link {
    int fd;
    size_t len; /* bytes read and not used */
    char bytes[INBOX_LINK_BYTES];
};

struct inbox_answer {
    int status;
    bool hit; /* X-Cache */
    struct bytes body; /* until the next call */
};

/* Connect to 127.0.0.1. Close with inbox_link_close. */
void inbox_link_open(struct inbox_link *link, const char *port);
void inbox_link_close(struct inbox_link *link);

/* GET `path` with an API key. */
struct inbox_answer inbox_link_get(struct inbox_link *link, const char *path, const char *key);

/* Make it a WebSocket of the user with `token`, and wait for hub:ready. */
void inbox_link_upgrade(struct inbox_link *link, const char *token);

/* Send a message of less than 126 bytes and wait for the one that begins with `answer`. */
void inbox_link_ask(struct inbox_link *link, const char *message, const char *answer);

#endif
