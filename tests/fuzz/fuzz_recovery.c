/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another node left of a socket that dropped: a record, behind a line feed the offset that the
 * client came back with, behind another one the value of the record's lease. Adopted or refused,
 * nothing is left over.
 */
#include <string.h>

#include "actors/assembly/shard_floors.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/fanout_proto.h"
#include "actors/inbox/positions.h"
#include "actors/recover/recovery_state.h"
#include "actors/recover/replay.h"
#include "actors/shard.h"
#include "codec/base/status.h"
#include "tests/fuzz/fuzz.h"

enum { START_MS = 5000, BUDGET = 1000 };

static bool recovers(void *context, struct bytes nsp)
{
    (void)context;
    (void)nsp;
    return true;
}

static void on_wake(void *context)
{
    (void)context;
}

static const struct actor_config config = {
    .node = "n",
    .epoch = "e",
    .names = {.prefix = "peal", .slots = 1024},
    .adapter_key = "socket.io",
    .tick_ms = 100,
    .events_per_tick = 2,
    .connections_per_user = 100,
    .recheck_ms = 1000000,
    .outbound_bytes = 1 << 20,
    .recovers = recovers,
    .recovery =
        {.age_ms = 60000, .replay_ms = 60000, .bytes = 1 << 20, .events = 100, .sessions = 10},
};

static void adopt(struct bytes record, struct bytes offset, struct bytes lease)
{
    struct shard shard;
    struct actor_system *system = actor_system_create(1);
    struct sched *sched = actor_system_sched(system, 0);
    memset(&shard, 0, sizeof(shard));
    sched_bind(sched, on_wake, NULL, &shard);
    shard_init(&shard, sched, &config);
    sched_set_time(sched, START_MS, START_MS);
    timer_wheel_advance(sched_timers(sched), START_MS);
    shard.positions = positions_create(&shard);
    struct fanout *fanout = shard_open_nsp(&shard, BYTES("/"));
    for (unsigned turn = 0; turn < 2; turn++) { /* the second finds it kept already, if it is */
        int status = recovery_record_adopt(recovery_of(fanout), record, lease, BYTES("u"),
            BYTES("abcdefghijklmnopqrstuvw"), offset);
        CHECK(status <= 0);
        while (sched_run(sched, BUDGET)) {
        }
        sched_flush(sched);
    }
    positions_destroy(shard.positions);
    actor_system_destroy(system);
    shard_finish(&shard);
}

/* What is before the next line feed; all of it where there is none. */
static struct bytes cut_line(struct bytes *text)
{
    const char *end = text->len > 0 ? memchr(text->at, '\n', text->len) : NULL;
    struct bytes line = bytes_of(text->at, end != NULL ? (size_t)(end - text->at) : text->len);
    *text = end != NULL ? bytes_skip(*text, line.len + 1) : bytes_of(NULL, 0);
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes lease = bytes_of(data, size);
    struct bytes record = cut_line(&lease);
    struct bytes offset = cut_line(&lease);
    struct replay_offset read;
    struct record_origin origin;
    log_set_sink(fuzz_drop_line);
    if (recovery_record_origin(record, &origin) == 0) {
        CHECK(fuzz_within(origin.home, record) && fuzz_within(origin.lease, record));
    }
    if (replay_read_offset(offset, &read) == 0) {
        CHECK(read.name.len == REPLAY_NAME_LEN && fuzz_within(read.name, offset));
    }
    adopt(record, offset, lease);
    return 0;
}
