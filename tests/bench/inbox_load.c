/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes users and their rows, and loads them in the order of the keys, so that indexes grow at
 * their end.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/slot.h"
#include "tests/bench/inbox.h"

enum { UNSEEN = 5, HEAVY_EVERY = 10, HEAVY_TIMES = 5, COPY_BYTES = 1 << 20, WORDS = 12 };
enum { STATE_UNREAD = 0, STATE_SEEN = 1, STATE_READ = 2, MINUTE_MS = 60000 };

/* A loaded row: what differs from row to row. */
struct row {
    uint64_t seq;
    uint64_t new_rev;
    uint64_t rev;
    uint64_t created_at;
    int state;
};

uint32_t inbox_random(uint64_t *state, uint32_t below)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*state >> 33) % below);
}

struct inbox_user inbox_user_at(const struct inbox_world *world, uint32_t number)
{
    uint32_t parts = HEAVY_EVERY - 1 + HEAVY_TIMES;
    uint64_t light = (uint64_t)world->rows * HEAVY_EVERY / world->users / parts;
    struct inbox_user user = {
        .rows = (uint32_t)(number % HEAVY_EVERY == 0 ? light * HEAVY_TIMES : light)};
    user.rows = user.rows == 0 ? 1 : user.rows;
    user.read = user.rows / 2;
    user.rev = user.rows + user.read + 1;
    uint32_t below = user.rows > INBOX_SYNC ? user.rows - INBOX_SYNC : 0;
    user.sync_rev = below > user.read ? user.read + below : below * UINT64_C(2);
    int len = snprintf(user.name, sizeof(user.name), "u%u", number);
    user.slot = slot_of(BYTES(""), bytes_of(user.name, (size_t)len));
    return user;
}

static struct row row_at(const struct inbox_user *user, uint32_t seq, uint64_t now)
{
    bool read = seq <= user->read;
    bool unseen = seq + UNSEEN > user->rows;
    uint64_t new_rev = read ? 2 * (uint64_t)seq - 1 : (uint64_t)user->read + seq;
    return (struct row){
        .seq = seq,
        .new_rev = new_rev,
        .rev = read     ? new_rev + 1
               : unseen ? new_rev
                        : user->rev,
        .created_at = now - (uint64_t)(user->rows - seq + 1) * MINUTE_MS,
        .state = read     ? STATE_READ
                 : unseen ? STATE_UNREAD
                          : STATE_SEEN,
    };
}

static void add_text(struct builder *out, uint64_t *random)
{
    static const char *const words[] = {"invoice", "release", "comment", "deployment", "meeting",
        "customer", "payment", "review", "server", "report", "was", "is", "about", "before",
        "approved", "late"};
    for (int i = 0; i < WORDS; i++) {
        builder_printf(out, "%s%u ", words[inbox_random(random, ARRAY_LEN(words))],
            (unsigned)inbox_random(random, 200));
    }
}

static void add_row(struct builder *out, const struct inbox_user *user, const struct row *row)
{
    static const char *const types[] = {"comment", "invoice", "deploy", "alert"};
    static uint64_t random = 1;
    uint8_t id[SLOT_ID_LEN];
    uuid7_make(row->created_at, user->slot, id);
    builder_printf(out, "%u\t\t%s\t%llu\t%llu\t%llu\t%llu\t", (unsigned)user->slot, user->name,
        (unsigned long long)row->seq, (unsigned long long)row->new_rev,
        (unsigned long long)row->new_rev, (unsigned long long)row->rev);
    for (size_t i = 0; i < sizeof(id); i++) {
        builder_printf(out, "%02x", id[i]);
    }
    uint64_t seen_at = row->state == STATE_UNREAD ? 0 : row->created_at + 1;
    uint64_t read_at = row->state == STATE_READ ? row->created_at + 2 : 0;
    builder_printf(out, "\t%s\tTitle of number %llu\t", types[row->seq % ARRAY_LEN(types)],
        (unsigned long long)row->seq);
    add_text(out, &random);
    builder_printf(out, "\t\\\\x\t%u\t%d\t%llu\t%llu\t%llu\n", (unsigned)(row->seq % 4), row->state,
        (unsigned long long)row->created_at, (unsigned long long)seen_at,
        (unsigned long long)read_at);
}

static void add_inbox(struct builder *out, const struct inbox_user *user)
{
    uint32_t open = user->rows - user->read;
    builder_printf(out, "%u\t\t%s\t%u\t%llu\t%u\t%u\n", (unsigned)user->slot, user->name,
        (unsigned)user->rows, (unsigned long long)user->rev, (unsigned)open,
        (unsigned)(open < UNSEEN ? open : UNSEEN));
}

static void must(PGconn *pg, PGresult *result, ExecStatusType wanted)
{
    if (PQresultStatus(result) != wanted) {
        (void)fprintf(stderr, "bench_inbox: %s", PQerrorMessage(pg));
        exit(1);
    }
    PQclear(result);
}

static void flush(PGconn *pg, struct builder *out, size_t least)
{
    struct bytes text = builder_bytes(out);
    if (text.len < least) {
        return;
    }
    if (PQputCopyData(pg, text.at, (int)text.len) != 1) {
        (void)fprintf(stderr, "bench_inbox: %s", PQerrorMessage(pg));
        exit(1);
    }
    builder_reset(out);
}

static void end_copy(PGconn *pg, struct builder *out)
{
    flush(pg, out, 1);
    CHECK(PQputCopyEnd(pg, NULL) == 1);
    must(pg, PQgetResult(pg), PGRES_COMMAND_OK);
    PQclear(PQgetResult(pg));
}

static int by_slot(const void *a, const void *b)
{
    const struct inbox_user *first = a;
    const struct inbox_user *second = b;
    int slots = (first->slot > second->slot) - (first->slot < second->slot);
    return slots != 0 ? slots : strcmp(first->name, second->name);
}

uint64_t inbox_load(const struct inbox_world *world, const char *url)
{
    struct inbox_user *users = mem_alloc_array(world->users, sizeof(*users));
    for (uint32_t i = 0; i < world->users; i++) {
        users[i] = inbox_user_at(world, i);
    }
    qsort(users, world->users, sizeof(*users), by_slot);
    PGconn *pg = PQconnectdb(url);
    struct builder out = {0};
    must(pg,
        PQexec(pg, "COPY peal.inbox (slot, tenant, user_id, seq, rev, unread, unseen) FROM STDIN"),
        PGRES_COPY_IN);
    for (uint32_t i = 0; i < world->users; i++) {
        add_inbox(&out, &users[i]);
        flush(pg, &out, COPY_BYTES);
    }
    end_copy(pg, &out);
    must(pg,
        PQexec(pg,
            "COPY peal.notification (slot, tenant, user_id, seq, new_rev, whole_rev, rev, id, "
            "type, title, message, data, priority, state, created_at, seen_at, read_at) "
            "FROM STDIN"),
        PGRES_COPY_IN);
    uint64_t count = 0;
    uint64_t now = clock_wall_ms();
    for (uint32_t i = 0; i < world->users; i++) {
        for (uint32_t seq = 1; seq <= users[i].rows; seq++, count++) {
            struct row row = row_at(&users[i], seq, now);
            add_row(&out, &users[i], &row);
        }
        flush(pg, &out, COPY_BYTES);
    }
    end_copy(pg, &out);
    must(pg, PQexec(pg, "VACUUM ANALYZE peal.notification, peal.inbox"), PGRES_COMMAND_OK);
    PQfinish(pg);
    mem_free(users);
    return count;
}
