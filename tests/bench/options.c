/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the command line of the load generator and refuses what does not go together.
 */
#include "tests/bench/options.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/check.h"
#include "tests/bench/marker.h"

enum kind { KIND_TEXT, KIND_UINT, KIND_REAL, KIND_FLAG };

struct row {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *help;
};

static const struct row rows[] = {
    {"scenario", KIND_TEXT, offsetof(struct options, scenario),
        "idle, fanout, echo, storm, rejoin or store"},
    {"publish-port", KIND_UINT, offsetof(struct options, publish_port), "default: --port"},
    {"conns", KIND_UINT, offsetof(struct options, connections), "connections"},
    {"publishers", KIND_UINT, offsetof(struct options, publishers), "connections that post"},
    {"rooms", KIND_UINT, offsetof(struct options, rooms), "rooms they are spread over; 0: none"},
    {"size", KIND_UINT, offsetof(struct options, size), "bytes of an event's text"},
    {"ramp", KIND_UINT, offsetof(struct options, ramp), "handshakes under way at once"},
    {"posts", KIND_UINT, offsetof(struct options, posts), "notifications in one request"},
    {"rate", KIND_REAL, offsetof(struct options, rate), "events a second; 0 with store: no limit"},
    {"seconds", KIND_REAL, offsetof(struct options, seconds), "length of the measurement"},
    {"drain", KIND_REAL, offsetof(struct options, drain), "seconds to wait for the rest"},
    {"timeout", KIND_REAL, offsetof(struct options, timeout), "seconds for all to be ready"},
    {"secret", KIND_TEXT, offsetof(struct options, secret), "HS256 secret of users' tokens"},
    {"key", KIND_TEXT, offsetof(struct options, key), "private PEM key: tokens are RS256"},
    {"api-key", KIND_TEXT, offsetof(struct options, api_key), "key of the API"},
    {"emit", KIND_TEXT, offsetof(struct options, emit), "echo: the event, a JSON array"},
    {"record", KIND_TEXT, offsetof(struct options, record), "file for the first event's bytes"},
    {"inbox", KIND_FLAG, offsetof(struct options, inbox), "wait for hub:ready"},
};

const char *const mode_names[] = {
    [MODE_SIO] = "sio", [MODE_WS] = "ws", [MODE_STREAM] = "stream", [MODE_BARE] = "bare"};

static void print_usage(void)
{
    (void)fputs("usage: peal-bench --scenario NAME --port N[,N…] [OPTION VALUE]…\n"
                "  --host ADDRESS     IPv4 address; 127.0.0.1\n"
                "  --mode MODE        sio, ws, stream or bare\n"
                "  --publisher KIND   http, redis, marks or store\n"
                "  --server-pid N[,N…]  whose CPU time and memory are reported\n",
        stderr);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)fprintf(stderr, "  --%-16s %s\n", rows[i].name, rows[i].help);
    }
}

static bool find_word(const char *word, const char *const *words, size_t count, int *ret_index)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, words[i]) == 0) {
            *ret_index = (int)i;
            return true;
        }
    }
    return false;
}

static bool parse_ports(struct options *options, const char *text)
{
    while (*text != '\0') {
        char *end;
        unsigned long port = strtoul(text, &end, 10);
        if (end == text || port == 0 || port > UINT16_MAX || options->port_count == OPTIONS_PORTS) {
            return false;
        }
        options->ports[options->port_count++] = (uint16_t)port;
        text = *end == ',' ? end + 1 : end;
    }
    return options->port_count > 0;
}

/* Those that are no plain value; `*ret_known` is false when the name is another. */
static bool parse_special(
    struct options *options, const char *name, const char *value, bool *ret_known)
{
    static const char *const publishers[] = {"http", "redis", "marks", "store"};
    int index = 0;
    bool fine = false;
    *ret_known = true;
    if (strcmp(name, "host") == 0) {
        return inet_pton(AF_INET, value, &options->host) == 1;
    }
    if (strcmp(name, "port") == 0) {
        return parse_ports(options, value);
    }
    if (strcmp(name, "server-pid") == 0) {
        return process_parse(value, &options->server);
    }
    if (strcmp(name, "mode") == 0) {
        fine = find_word(value, mode_names, ARRAY_LEN(mode_names), &index);
        options->mode = (enum mode)index;
        return fine;
    }
    if (strcmp(name, "publisher") == 0) {
        fine = find_word(value, publishers, ARRAY_LEN(publishers), &index);
        options->publisher = (enum publisher)index;
        return fine;
    }
    *ret_known = false;
    return false;
}

static bool parse_row(struct options *options, const char *name, const char *value)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(name, rows[i].name) != 0) {
            continue;
        }
        char *at = (char *)options + rows[i].offset;
        char *end = NULL;
        switch (rows[i].kind) {
        case KIND_TEXT:
            *(const char **)(void *)at = value;
            return true;
        case KIND_UINT:
            *(uint32_t *)(void *)at = (uint32_t)strtoul(value, &end, 10);
            return end != value && *end == '\0';
        case KIND_REAL:
            *(double *)(void *)at = strtod(value, &end);
            return end != value && *end == '\0';
        case KIND_FLAG:
            *(bool *)at = strcmp(value, "yes") == 0;
            return true;
        }
    }
    return false;
}

static void set_defaults(struct options *options)
{
    *options = (struct options){
        .host = htonl(INADDR_LOOPBACK),
        .connections = 100,
        .publishers = 1,
        .rooms = 1,
        .size = 128,
        .ramp = 100,
        .posts = 1,
        .rate = 10,
        .seconds = 5,
        .drain = 5,
        .timeout = 60,
        .secret = "",
        .api_key = "",
        .emit = "[\"notification:received\",{\"upTo\":1}]",
    };
}

bool options_parse(struct options *options, int argc, char **argv)
{
    set_defaults(options);
    for (int i = 1; i < argc; i += 2) {
        bool known = false;
        bool fine = strncmp(argv[i], "--", 2) == 0 && i + 1 < argc;
        if (fine) {
            fine = parse_special(options, argv[i] + 2, argv[i + 1], &known) ||
                   (!known && parse_row(options, argv[i] + 2, argv[i + 1]));
        }
        if (!fine) {
            (void)fprintf(stderr, "peal-bench: %s: not an option with a value\n", argv[i]);
            print_usage();
            return false;
        }
    }
    if (options->scenario == NULL || options->port_count == 0 || options->size < MARKER_LEN ||
        options->ramp == 0 || options->seconds <= 0) {
        print_usage();
        return false;
    }
    if (options->publish_port == 0) {
        options->publish_port = options->ports[0];
    }
    return true;
}
