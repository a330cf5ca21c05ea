/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options - what the load generator is asked to do.
 */
#ifndef TESTS_BENCH_OPTIONS_H
#define TESTS_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/process.h"

enum mode {
    MODE_SIO, /* Engine.IO 4, Socket.IO 5 */
    MODE_WS, /* peal.json.v1 */
    MODE_STREAM, /* GET /api/v1/stream: it only listens */
    MODE_BARE, /* the upgrade and nothing else: bench_floor */
};

/* How a mode is called on the command line and in results. */
extern const char *const mode_names[MODE_BARE + 1];

enum publisher {
    PUBLISHER_HTTP, /* POST /api/v1/events */
    PUBLISHER_REDIS, /* PUBLISH in the format of stock emitters */
    PUBLISHER_MARKS, /* markers alone, to bench_floor */
    PUBLISHER_STORE, /* POST /api/v1/notifications */
};

enum { OPTIONS_PORTS = 8 };

struct options {
    const char *scenario;
    enum mode mode;
    enum publisher publisher;
    uint32_t host; /* network order */
    uint16_t ports[OPTIONS_PORTS];
    uint32_t port_count;
    uint32_t publish_port;
    uint32_t connections;
    uint32_t publishers;
    uint32_t rooms;
    uint32_t size; /* bytes of an event's text, marker included */
    uint32_t ramp; /* connections under way at once */
    uint32_t posts; /* notifications in one request */
    double rate; /* events a second, all rooms together */
    double seconds;
    double drain; /* seconds to wait for what is still to come */
    double timeout; /* seconds for everybody to be ready */
    const char *secret; /* of HS256 tokens */
    const char *key; /* file of a private PEM key: tokens are RS256 */
    const char *api_key;
    const char *emit; /* echo: the array that is sent */
    const char *record; /* file for the first message that carries an event */
    bool inbox; /* ready means hub:ready, not the namespace alone */
    struct process_set server;
};

/* Fill `options` from the command line; false after a message on stderr. */
bool options_parse(struct options *options, int argc, char **argv);

#endif
