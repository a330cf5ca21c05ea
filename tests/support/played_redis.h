/* SPDX-License-Identifier: Apache-2.0 */
/*
 * played_redis - values of a shard with a Redis that the test plays: it sees each command, answers
 * when and what it likes, and announces what others change. One at a time; Criterion runs each test
 * in a process of its own.
 */
#ifndef TESTS_SUPPORT_PLAYED_REDIS_H
#define TESTS_SUPPORT_PLAYED_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/bus.h"
#include "actors/shard.h"
#include "actors/values/value_call.h"
#include "actors/values/value_op.h"

enum {
    PLAYED_START_MS = 5000, /* the time at first; Redis is 2,250 ms ahead */
    PLAYED_REDIS_MS = 7250,
    PLAYED_SLOTS = 4,
    PLAYED_WORDS_MAX = 16,
    PLAYED_COMMANDS_MAX = 64,
    PLAYED_STALE_MS = 500,
    PLAYED_FILL_MS = 200,
    PLAYED_TTL_MS = 10000,
};

/* A command that the test has not answered. */
struct played_command {
    size_t argc;
    char *words[PLAYED_WORDS_MAX];
    bus_reply_fn fn;
    void *context;
};

struct bus_link {
    struct played *played;
    const struct bus_events *events;
    void *context;
    bool subscribes;
};

struct played {
    struct bus bus; /* first */
    struct bus_link links[2];
    unsigned opened;
    bool up;
    struct played_command commands[PLAYED_COMMANDS_MAX];
    size_t count;
    char probe_channel[128];
    unsigned channels; /* that were asked for and not confirmed */
    struct actor_system *system;
    struct actor_config config;
    struct shard shard;
    uint64_t now_ms;
};

/* The one there is, between played_set_up and played_tear_down. */
extern struct played *played_redis;

/* Whether the bus has no memory for channels; set it before played_set_up. */
extern bool played_refuses_channels;

/* A shard whose Redis is not there yet; its end, with which all that is under way is answered. */
void played_set_up(void);
void played_tear_down(void);

/* Redis is there, its channels are confirmed, and the probes have come back. */
void played_come_up(void);

/* The channels that were asked for are confirmed, and the probes have come back. */
void played_confirm(void);

/* Some turns; the same `ms` later. */
void played_turn(void);
void played_move(uint64_t ms);

/* The connection that listens. */
struct bus_link *played_listener(void);

/*
 * The index of the first command that has `text` as one of its first two words, or the text of the
 * script as its second; the first read. -1: none.
 */
int played_find(const char *text);
int played_find_read(void);

/* Answer the command at `index`; with an array of texts; with a number. */
void played_answer(int index, int status, const struct bus_reply *reply);
void played_answer_texts(int index, size_t count, const char *const *texts);
void played_answer_number(int index, int64_t number);

#define PLAYED_ANSWER(index, ...)                                                                  \
    played_answer_texts(index, sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),       \
        (const char *[]){__VA_ARGS__})

/* A text as an answer; it points to it. */
struct bus_reply played_text(const char *text);

/* Announce a change; let the probes that were sent come back. */
void played_announce(const char *payload);
void played_bring_probes(void);

/* What is asked of the value "a", by this shard. */
struct played_ask {
    struct value_call call; /* first */
    struct value_op op;
    bool done;
};

struct played_ask *played_ask(
    enum value_verb verb, const char *tags, const char *token, uint64_t wait_ms);
struct played_ask *played_get(void);

/* What came of it; it is gone then. */
enum value_outcome played_end(struct played_ask *ask);

/* Read it from Redis, which has that version of it. */
void played_read(const char *version);

/* Whether a read of it is answered without Redis. */
bool played_is_here(void);

#endif
