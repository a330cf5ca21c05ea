/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_rig - a whole node in this process, over a SQLite file of its own, and callers of its HTTP.
 */
#ifndef TESTS_SUPPORT_NODE_RIG_H
#define TESTS_SUPPORT_NODE_RIG_H

#include <stddef.h>

struct config;
struct hub;

enum { NODE_RIG_HEAD_MAX = 8192, NODE_RIG_BODY_MAX = 64 << 10, NODE_RIG_TOKEN_MAX = 512 };

struct node_rig {
    struct hub *hub;
    struct config *config;
    char folder[64]; /* of settings and store */
    char path[96]; /* the store's file */
    char settings[96];
    char *flags[2]; /* that the settings were loaded with */
};

/* A request; what is NULL is left out. */
struct node_call {
    const char *method;
    const char *target;
    const char *key; /* of the API, or a token */
    const char *headers; /* lines, each with its CR LF */
    const char *body;
};

struct node_answer {
    unsigned status;
    char head[NODE_RIG_HEAD_MAX]; /* all of it, with the status line */
    char body[NODE_RIG_BODY_MAX];
};

/* Start a node on free ports of 127.0.0.1, with `settings` (text of a settings file) besides; it
 * has two shards unless they begin with how many. */
void node_rig_start(struct node_rig *rig, const char *settings);

/* Stop it and take its files away. */
void node_rig_stop(struct node_rig *rig);

/* Ask over a connection of its own, and wait for the whole answer. */
void node_rig_ask(
    const struct node_rig *rig, const struct node_call *call, struct node_answer *ret_answer);

/* The value of a header line of an answer, or NULL; good until the next one. */
const char *node_answer_header(const struct node_answer *answer, const char *name);

/* Write a good token of `user` (and `tenant`, "": none) for the node; it is good for an hour. */
void node_rig_token(const char *user, const char *tenant, char ret_token[NODE_RIG_TOKEN_MAX]);

#endif
