/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of reading: Peal's own statements, prepared, over one connection, with nobody in front.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "codec/base/clock.h"
#include "sql/store_types.h"
#include "tests/bench/inbox.h"

enum { PARAMS_MAX = 20, TEXT_LEN = 64, OVERVIEW = 5, SYNC_LIMIT = 500, LISTED = 7, WARM = 20 };
enum { EXPORT_LIMIT = 100, RETAIN_ROWS = 100, RETAIN_LIMIT = 1000 }; /* as the hub asks */
#define MOST "9223372036854775807"

static const struct {
    const char *name;
    const char *text;
} statements[] = {
#define X(name, label, text) {label, text},
#include "sql/pg.def"
#undef X
};

/* What a session of the engine is like (pg_conn.c). */
static const char session[] = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; "
                              "SET enable_bitmapscan = off; SET enable_sort = off; SET jit = off";

/* The parameters of one execution, as text. */
struct params {
    const char *at[PARAMS_MAX];
    char texts[PARAMS_MAX][TEXT_LEN];
    int count;
};

static void add(struct params *params, const char *text)
{
    CHECK(params->count < PARAMS_MAX);
    params->at[params->count++] = text;
}

static void add_u64(struct params *params, uint64_t value)
{
    char *text = params->texts[params->count];
    (void)snprintf(text, TEXT_LEN, "%llu", (unsigned long long)value);
    add(params, text);
}

static void add_user(struct params *params, const struct inbox_user *user)
{
    add_u64(params, user->slot);
    add(params, "");
    add(params, user->name);
}

static void add_list(struct params *params, const struct inbox_user *user, unsigned limit)
{
    add_user(params, user);
    add(params, MOST);
    add(params, MOST);
    add_u64(params, LISTED);
    add(params, "{}");
    add(params, "-1");
    add(params, "0");
    add(params, MOST);
    add_u64(params, limit + 1);
    add(params, MOST);
    add_u64(params, STORE_LOOKED_MAX);
}

static void add_latest(struct params *params, const struct inbox_user *user)
{
    add_list(params, user, INBOX_LATEST);
}

static void add_newest(struct params *params, const struct inbox_user *user)
{
    add_list(params, user, OVERVIEW);
}

static void add_counts(struct params *params, const struct inbox_user *user)
{
    add_user(params, user);
    add_u64(params, STORE_GROUPS_MAX);
}

static void add_position(struct params *params, const struct inbox_user *user)
{
    char *slots = params->texts[params->count];
    (void)snprintf(slots, TEXT_LEN, "{%u}", (unsigned)user->slot);
    add(params, slots);
    add(params, "{\"\"}");
    char *names = params->texts[params->count];
    (void)snprintf(names, TEXT_LEN, "{%s}", user->name);
    add(params, names);
}

static void add_sync(struct params *params, const struct inbox_user *user)
{
    add_user(params, user);
    add_u64(params, user->sync_rev);
    add_u64(params, SYNC_LIMIT);
    add_u64(params, STORE_REV_MAX);
    add(params, MOST);
}

/* A page of an export, from the beginning. */
static void add_rows(struct params *params, const struct inbox_user *user)
{
    add_user(params, user);
    add(params, "0");
    add_u64(params, EXPORT_LIMIT);
    add(params, MOST);
}

/* A step of the walk that takes what is not kept; of the tenant, not of the user. */
static void add_retain(struct params *params, const struct inbox_user *user)
{
    (void)user;
    add(params, "0");
    add(params, "1"); /* the walk begins at once */
    add(params, "0"); /* of any age */
    add_u64(params, RETAIN_ROWS);
    add(params, "{}");
    add(params, "{}");
    add(params, "{}");
    add_u64(params, RETAIN_LIMIT);
}

typedef void (*add_fn)(struct params *params, const struct inbox_user *user);

/* What a read of the hub asks the store for. */
static const struct read {
    const char *name;
    struct {
        const char *statement;
        add_fn add;
    } parts[2];
} reads[] = {
    {"latest 20", {{"list", add_latest}}},
    {"unread", {{"positions", add_position}}},
    {"overview", {{"counts.type", add_counts}, {"list", add_newest}}},
    {"connect", {{"positions", add_position}}},
    {"sync", {{"sync", add_sync}}},
};

static PGconn *open_session(const char *url)
{
    PGconn *pg = PQconnectdb(url);
    PQclear(PQexec(pg, session));
    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        PGresult *result = PQprepare(pg, statements[i].name, statements[i].text, 0, NULL);
        if (PQresultStatus(result) != PGRES_COMMAND_OK) {
            (void)fprintf(stderr, "bench_inbox: %s: %s", statements[i].name, PQerrorMessage(pg));
            exit(1);
        }
        PQclear(result);
    }
    return pg;
}

static bool run_part(
    PGconn *pg, const struct read *read, size_t part, const struct inbox_user *user)
{
    struct params params = {0};
    read->parts[part].add(&params, user);
    PGresult *result =
        PQexecPrepared(pg, read->parts[part].statement, params.count, params.at, NULL, NULL, 1);
    bool good = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0;
    if (!good) {
        (void)fprintf(stderr, "bench_inbox: %s: %s", read->name, PQerrorMessage(pg));
    }
    PQclear(result);
    return good;
}

static bool run_read(PGconn *pg, const struct read *read, const struct inbox_user *user)
{
    bool good = true;
    for (size_t i = 0; i < ARRAY_LEN(read->parts) && read->parts[i].statement != NULL; i++) {
        good = run_part(pg, read, i, user) && good;
    }
    return good;
}

bool inbox_time_statements(struct inbox_world *world, const char *url, uint32_t count)
{
    PGconn *pg = open_session(url);
    bool good = true;
    for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
        static struct histogram times;
        histogram_reset(&times);
        for (uint32_t n = 0; n < count + WARM; n++) {
            struct inbox_user user =
                inbox_user_at(world, inbox_random(&world->random, world->users));
            uint64_t from = clock_mono_ns();
            good = run_read(pg, &reads[i], &user) && good;
            histogram_add(&times, (clock_mono_ns() - from) / 1000, n >= WARM);
        }
        inbox_print(reads[i].name, &times, "");
    }
    PQfinish(pg);
    return good;
}

static void explain_part(PGconn *pg, const char *name, const struct params *params)
{
    struct builder out = {0};
    builder_printf(
        &out, "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) EXECUTE \"%s\"", name);
    for (int i = 0; i < params->count; i++) {
        builder_printf(&out, "%s'%s'", i == 0 ? "(" : ", ", params->at[i]);
    }
    builder_str(&out, ")");
    builder_byte(&out, '\0');
    PGresult *plan = PQexec(pg, builder_bytes(&out).at);
    printf("%s\n", name);
    for (int i = 0; i < PQntuples(plan); i++) {
        printf("    %s\n", PQgetvalue(plan, i, 0));
    }
    PQclear(plan);
    builder_reset(&out);
}

static void explain_read(PGconn *pg, const char *name, add_fn fill, const struct inbox_user *user)
{
    struct params params = {0};
    fill(&params, user);
    PQclear(PQexec(pg, "BEGIN"));
    explain_part(pg, name, &params);
    PQclear(PQexec(pg, "ROLLBACK")); /* a walk takes rows */
}

void inbox_explain(struct inbox_world *world, const char *url)
{
    PGconn *pg = open_session(url);
    struct inbox_user user = inbox_user_at(world, 0); /* one with many rows */
    for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
        for (size_t j = 0; j < ARRAY_LEN(reads[i].parts) && reads[i].parts[j].add != NULL; j++) {
            explain_read(pg, reads[i].parts[j].statement, reads[i].parts[j].add, &user);
        }
    }
    explain_read(pg, "rows", add_rows, &user);
    explain_read(pg, "retain", add_retain, &user);
    PQfinish(pg);
}
