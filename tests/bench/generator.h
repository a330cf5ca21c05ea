/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generator - all receivers and the publisher on one epoll instance, and the scenarios they play.
 */
#ifndef TESTS_BENCH_GENERATOR_H
#define TESTS_BENCH_GENERATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/client.h"
#include "tests/bench/options.h"
#include "tests/bench/publish.h"

struct generator {
    struct options options;
    struct client_world world;
    struct client *clients;
    uint32_t opened;
    uint32_t under_way;
    uint32_t ready;
    uint32_t failed; /* handshakes */
    uint32_t dropped; /* connections that ended while in use */
    uint32_t next_user;
    struct publish *publish;
    uint64_t started_ns; /* of the measurement */
    uint64_t ended_ns;
    uint64_t answers; /* echo */
    struct histogram handshakes;
    /* What was used between generator_begin and generator_end. */
    uint64_t server_ns;
    uint64_t softirq_ns;
    uint64_t own_ns;
    uint64_t user_ns; /* of the server's, in its own code */
};

/* Make the clients, none of them connected. */
void generator_init(struct generator *generator, const struct client_ops *ops);
void generator_finish(struct generator *generator);

/* Wait up to `until_ns` for events and handle them once. */
void generator_turn(struct generator *generator, uint64_t until_ns);

/* Connect everybody; false when somebody was refused, or at the timeout. */
bool generator_connect(struct generator *generator);

/* Turn for `seconds`. */
void generator_hold(struct generator *generator, double seconds);

/* Begin and end the measurement of time and CPU. */
void generator_begin(struct generator *generator);
void generator_end(struct generator *generator);

/* The scenarios; each prints one line of JSON and returns whether nothing was lost. */
bool scenario_idle(struct generator *generator);
bool scenario_fanout(struct generator *generator);
bool scenario_echo(struct generator *generator);
bool scenario_storm(struct generator *generator);
bool scenario_rejoin(struct generator *generator);

#endif
