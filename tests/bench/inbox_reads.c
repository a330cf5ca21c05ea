/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reads of an inbox through a hub: one after another, and at a rate that waits for nobody.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "hub/auth/jwt.h"
#include "tests/bench/inbox.h"
#include "tests/bench/inbox_link.h"

enum { PATH_LEN = 128, WARM = 20, THREADS = 16, TOKEN_SECONDS = 3600, ASK_LEN = 100 };

static const char *secret(void)
{
    return getenv("PEAL_BENCH_SECRET");
}

static const char *api_key(void)
{
    return getenv("PEAL_BENCH_API_KEY");
}

/* What is asked by HTTP, and how often of ten offered reads. */
static const struct {
    const char *name;
    const char *path; /* behind the user */
    uint32_t share;
} gets[] = {
    {"unread", "notifications/unread", 5},
    {"latest 20", "notifications?limit=20", 3},
    {"overview", "overview", 2},
};

struct counts {
    struct histogram times;
    uint64_t hits;
    uint64_t failed;
};

static void get(struct inbox_link *link, size_t which, const char *user, struct counts *counts)
{
    char path[PATH_LEN];
    (void)snprintf(path, sizeof(path), "/api/v1/users/%s/%s", user, gets[which].path);
    struct inbox_answer answer = inbox_link_get(link, path, api_key());
    counts->hits += answer.hit;
    counts->failed += answer.status != 200;
}

static void print_counts(const char *name, const struct counts *counts, const char *more)
{
    char rest[2 * PATH_LEN];
    (void)snprintf(rest, sizeof(rest), ",\"hits\":%llu,\"failed\":%llu%s",
        (unsigned long long)counts->hits, (unsigned long long)counts->failed, more);
    inbox_print(name, &counts->times, rest);
}

static bool time_gets(struct inbox_world *world, const char *port, uint32_t count, size_t which)
{
    static struct inbox_link link;
    static struct counts counts;
    memset(&counts, 0, sizeof(counts));
    inbox_link_open(&link, port);
    for (uint32_t n = 0; n < count + WARM; n++) {
        struct inbox_user user = inbox_user_at(world, inbox_random(&world->random, world->users));
        uint64_t from = clock_mono_ns();
        get(&link, which, user.name, &counts);
        histogram_add(&counts.times, (clock_mono_ns() - from) / 1000, n >= WARM);
    }
    inbox_link_close(&link);
    print_counts(gets[which].name, &counts, "");
    return counts.failed == 0;
}

static void make_token(const char *user, struct builder *out)
{
    uint64_t now_s = clock_wall_ms() / 1000;
    struct jwt_key_options key = {
        .kind = JWT_KEY_SECRET, .material = bytes_str(secret()), .alg = JWT_ALG_HS256};
    struct jwt_sign_options options = {
        .claims = {.user = bytes_str(user), .expires_at = now_s + TOKEN_SECONDS},
        .issued_at = now_s,
    };
    struct builder error = {0};
    CHECK(jwt_sign(&key, &options, &error, out) == 0);
    builder_byte(out, '\0');
    builder_reset(&error);
}

/* From connect() to hub:ready, then one page of sync. */
static void time_devices(struct inbox_world *world, const char *port, uint32_t count)
{
    static struct inbox_link link;
    static struct histogram connects;
    static struct histogram syncs;
    for (uint32_t n = 0; n < count + WARM; n++) {
        struct inbox_user user = inbox_user_at(world, inbox_random(&world->random, world->users));
        struct builder token = {0};
        make_token(user.name, &token);
        char ask[ASK_LEN];
        (void)snprintf(ask, sizeof(ask), "[[1,\"notification:sync\",{\"rev\":%llu}]]",
            (unsigned long long)user.sync_rev);
        uint64_t from = clock_mono_ns();
        inbox_link_open(&link, port);
        inbox_link_upgrade(&link, builder_bytes(&token).at);
        uint64_t ready = clock_mono_ns();
        inbox_link_ask(&link, ask, "[[-1,{\"ok\":true");
        histogram_add(&connects, (ready - from) / 1000, n >= WARM);
        histogram_add(&syncs, (clock_mono_ns() - ready) / 1000, n >= WARM);
        inbox_link_close(&link);
        builder_reset(&token);
    }
    inbox_print("connect", &connects, "");
    inbox_print("sync", &syncs, "");
}

bool inbox_time_reads(struct inbox_world *world, const char *port, uint32_t count)
{
    bool good = true;
    for (size_t i = 0; i < ARRAY_LEN(gets); i++) {
        good = time_gets(world, port, count, i) && good;
    }
    time_devices(world, port, count);
    return good;
}

/* One of the connections that share a schedule: each has every THREADSth read. */
struct reader {
    pthread_t thread;
    const struct inbox_world *world;
    const char *port;
    uint64_t start_ns;
    uint64_t step_ns; /* between reads of all */
    uint64_t reads; /* of all */
    uint64_t number; /* of the first one here */
    struct counts counts;
    struct inbox_link link;
};

static size_t choose(uint64_t *random)
{
    uint32_t share = inbox_random(random, 10);
    size_t which = 0;
    while (share >= gets[which].share) {
        share -= gets[which++].share;
    }
    return which;
}

static void *read_by_schedule(void *context)
{
    struct reader *reader = context;
    uint64_t random = reader->number + 1;
    inbox_link_open(&reader->link, reader->port);
    for (uint64_t n = reader->number; n < reader->reads; n += THREADS) {
        uint64_t due = reader->start_ns + n * reader->step_ns;
        struct timespec at = {
            .tv_sec = (time_t)(due / 1000000000), .tv_nsec = (long)(due % 1000000000)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0) {
        }
        struct inbox_user user =
            inbox_user_at(reader->world, inbox_random(&random, reader->world->users));
        get(&reader->link, choose(&random), user.name, &reader->counts);
        histogram_add(&reader->counts.times, (clock_mono_ns() - due) / 1000, 1);
    }
    inbox_link_close(&reader->link);
    return NULL;
}

static void sum(struct counts *counts, const struct counts *more)
{
    counts->hits += more->hits;
    counts->failed += more->failed;
    counts->times.count += more->times.count;
    counts->times.max = more->times.max > counts->times.max ? more->times.max : counts->times.max;
    for (size_t i = 0; i < ARRAY_LEN(counts->times.buckets); i++) {
        counts->times.buckets[i] += more->times.buckets[i];
    }
}

bool inbox_offer_reads(
    const struct inbox_world *world, const char *port, uint32_t rate, double seconds)
{
    static struct reader readers[THREADS];
    static struct counts counts;
    uint64_t start_ns = clock_mono_ns() + 100000000;
    for (size_t i = 0; i < THREADS; i++) {
        readers[i] = (struct reader){.world = world,
            .port = port,
            .start_ns = start_ns,
            .step_ns = 1000000000 / rate,
            .reads = (uint64_t)(rate * seconds),
            .number = i};
        CHECK(pthread_create(&readers[i].thread, NULL, read_by_schedule, &readers[i]) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(readers[i].thread, NULL) == 0);
        sum(&counts, &readers[i].counts);
    }
    double took = (double)(clock_mono_ns() - start_ns) / 1e9;
    char more[PATH_LEN];
    (void)snprintf(more, sizeof(more), ",\"per_s\":%.0f", (double)counts.times.count / took);
    print_counts("offered", &counts, more);
    return counts.failed == 0;
}
