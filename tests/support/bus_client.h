/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_client - a loop, a bus over Redis and one link that records what it is told.
 */
#ifndef TESTS_SUPPORT_BUS_CLIENT_H
#define TESTS_SUPPORT_BUS_CLIENT_H

#include <stdbool.h>
#include <uv.h>

#include "actors/bus.h"
#include "hub/redis/redis.h"
#include "hub/redis/redis_target.h"

struct bus_client {
    uv_loop_t loop;
    uv_timer_t deadline;
    struct bus *bus;
    struct bus_link *link;
    unsigned ups;
    unsigned downs;
    unsigned subscribed;
    unsigned messages;
    char last_channel[256];
    char last_payload[256];
    size_t last_payload_len;
    /* of commands sent with bus_client_send */
    unsigned sent;
    unsigned replies; /* all */
    unsigned answered; /* with a reply */
    unsigned errors; /* of these, BUS_ERROR */
    unsigned unavailable;
    unsigned cancelled;
    unsigned out_of_order;
    enum bus_reply_type last_type;
    int64_t last_integer;
    char last_text[512];
    bool timed_out;
};

/* What `url` names, without TLS files; lives until sixteen others were asked for. */
const struct redis_target *bus_client_target(const char *url);

/* Make a bus and open its link. */
void bus_client_open(struct bus_client *client, const struct redis_options *options);

/* Close the link (unless it is NULL) and the bus, run the loop empty and close it. */
void bus_client_close(struct bus_client *client);

/* Run the loop until `*counter` is at least `least`; fails the test after 20 s. */
void bus_client_wait(struct bus_client *client, const unsigned *counter, unsigned least);

/* Run the loop until the link is up (or not). */
void bus_client_wait_up(struct bus_client *client, bool up);

/* Send a command of blank-separated words; the reply is recorded. 0 = default timeout. */
void bus_client_send(struct bus_client *client, const char *words, uint32_t timeout_ms);

/* Send it, wait for its reply, and return its text (last_text). */
const char *bus_client_ask(struct bus_client *client, const char *words);

#endif
