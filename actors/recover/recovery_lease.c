/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a round each client is looked at once, some of them in every tick. The least that any of them
 * has had is in the value from then on, with the round's number; it holds for every record that was
 * written in an earlier round: that socket was looked at in this one.
 *
 * Order of this file: life, rounds, renewing.
 */
#include "actors/recover/recovery_lease.h"

#include "actors/recover/recovery_sweep.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/bus_name.h"

enum { ROUNDS = 3 /* in recovery.age */, MARGIN_MS = 5000 };

struct recovery_lease {
    struct recovery_lease_options options;
    struct recovery_sweep *sweep;
    struct list waiting; /* recovery_member.link: to be looked at in this round */
    struct list seen; /* the others */
    uint32_t looked; /* at so many in this round, or they came in it */
    uint32_t share; /* to look at in a tick */
    uint64_t round;
    uint64_t due_ms; /* the end of the round */
    struct replay_at low; /* the least of this round */
    struct replay_at floor; /* of the round before */
    uint32_t term;
    uint32_t asked_term;
    bool asking;
    bool known; /* Redis has had the key */
    bool doubted; /* something was perhaps not written */
    bool rewriting; /* every record, in this round */
    char name[RECOVERY_LEASE_NAME_LEN];
};

/* Life. */

static void take_name(struct recovery_lease *lease)
{
    wire_sid_make(sched_shard(lease->options.shard->sched), lease->name);
    lease->term++;
    lease->known = false;
    lease->doubted = false;
}

struct recovery_lease *recovery_lease_create(const struct recovery_lease_options *options)
{
    struct recovery_lease *lease = mem_alloc(sizeof(*lease));
    lease->options = *options;
    lease->sweep = recovery_sweep_create(options->shard, options->sender);
    lease->low = replay_last(options->replay);
    lease->round = 1;
    list_init(&lease->waiting);
    list_init(&lease->seen);
    take_name(lease);
    return lease;
}

void recovery_lease_destroy(struct recovery_lease *lease)
{
    if (lease != NULL) {
        recovery_sweep_destroy(lease->sweep);
        while (list_pop(&lease->waiting) != NULL || list_pop(&lease->seen) != NULL) {
        }
        mem_free(lease);
    }
}

struct bytes recovery_lease_name(const struct recovery_lease *lease)
{
    return bytes_of(lease->name, sizeof(lease->name));
}

uint32_t recovery_lease_term(const struct recovery_lease *lease)
{
    return lease->term;
}

/* Rounds. */

uint64_t recovery_lease_round(const struct recovery_lease *lease)
{
    return lease->round;
}

static void lower(struct recovery_lease *lease, struct replay_at had)
{
    if (had.number < lease->low.number) {
        lease->low = had;
    }
}

void recovery_lease_enter(struct recovery_lease *lease, struct recovery_member *member)
{
    list_append(&lease->seen, &member->link);
    lower(lease, member->acked);
    lease->looked++;
}

static bool look_at_next(struct recovery_lease *lease)
{
    struct list *link = list_pop(&lease->waiting);
    if (link == NULL) {
        return false;
    }
    struct recovery_member *next = container_of(link, struct recovery_member, link);
    list_append(&lease->seen, link);
    lower(lease, next->acked);
    lease->looked++;
    if (lease->rewriting) {
        lease->options.rewrite(next);
    }
    return true;
}

static uint64_t round_ms(const struct recovery_lease *lease)
{
    return lease->options.shard->config->recovery.age_ms / ROUNDS;
}

static void end_round(struct recovery_lease *lease)
{
    while (look_at_next(lease)) {
    }
    uint64_t ticks = round_ms(lease) / RECOVERY_TICK_MS;
    lease->share = (uint32_t)(lease->looked / (ticks > 0 ? ticks : 1)) + 1;
    lease->looked = 0;
    lease->floor = lease->low;
    lease->low = replay_last(lease->options.replay);
    lease->rewriting = false;
    lease->round++;
    list_splice(&lease->waiting, &lease->seen);
}

bool recovery_lease_read(struct bytes value, uint64_t round, struct replay_at *ret_at)
{
    const char *first = value.len > 0 ? memchr(value.at, ' ', value.len) : NULL;
    struct bytes rest = first != NULL ? bytes_skip(value, (size_t)(first - value.at) + 1) : value;
    const char *second = first != NULL && rest.len > 0 ? memchr(rest.at, ' ', rest.len) : NULL;
    uint64_t ended;
    return second != NULL &&
           bytes_to_u64(bytes_of(value.at, (size_t)(first - value.at)), UINT64_MAX, &ended) == 0 &&
           round > 0 && ended > round &&
           bytes_to_u64(
               bytes_of(rest.at, (size_t)(second - rest.at)), UINT64_MAX, &ret_at->number) == 0 &&
           stream_id_read(bytes_skip(rest, (size_t)(second - rest.at) + 1), &ret_at->stream) == 0;
}

/* Renewing. */

void recovery_lease_on_written(void *context, int status, const struct bus_reply *reply)
{
    struct recovery_lease *lease = context;
    lease->doubted = lease->doubted || status != 0 || reply->type == BUS_ERROR;
}

/* A key that was there and is not any more takes the records with it. */
static void on_renewed(void *context, int status, const struct bus_reply *reply)
{
    struct recovery_lease *lease = context;
    lease->asking = false;
    if (status != 0 || reply->type == BUS_ERROR || lease->asked_term != lease->term) {
        return;
    }
    if (reply->type == BUS_NIL && lease->known) {
        lease->doubted = true;
        lease->due_ms = 0;
    }
    lease->known = true;
}

/* SET key "ended number place" PX lifetime GET */
static void write_value(struct recovery_lease *lease, uint64_t lifetime_ms)
{
    const struct shard *shard = lease->options.shard;
    struct builder key = {0};
    struct builder value = {0};
    struct builder lifetime = {0};
    bus_name_record_lease(&shard->config->names, recovery_lease_name(lease), &key);
    builder_u64(&value, lease->round - 1);
    builder_byte(&value, ' ');
    builder_u64(&value, lease->floor.number);
    builder_byte(&value, ' ');
    stream_id_write(lease->floor.stream, &value);
    builder_u64(&lifetime, lifetime_ms);
    const struct bytes argv[] = {BYTES("SET"), builder_bytes(&key), builder_bytes(&value),
        BYTES("PX"), builder_bytes(&lifetime), BYTES("GET")};
    lease->asking = true;
    lease->asked_term = lease->term;
    shard->bus->ops->command(lease->options.sender, argv, ARRAY_LEN(argv), 0, on_renewed, lease);
    builder_reset(&key);
    builder_reset(&value);
    builder_reset(&lifetime);
}

static void renew(struct recovery_lease *lease, uint64_t now_ms)
{
    uint64_t age_ms = lease->options.shard->config->recovery.age_ms;
    uint64_t lifetime_ms = age_ms + round_ms(lease) + MARGIN_MS;
    end_round(lease);
    lease->due_ms = now_ms + round_ms(lease);
    if (lease->asking || !lease->options.shard->bus->ops->is_up(lease->options.sender)) {
        return;
    }
    if (lease->doubted) {
        log_warn("RECOVERY-REWRITE",
            "records of recoverable sockets may be missing in Redis, writing them again",
            "namespace=%s within_ms=%llu", log_quote(lease->options.nsp),
            (unsigned long long)round_ms(lease));
        take_name(lease);
        lease->rewriting = true;
    }
    write_value(lease, lifetime_ms);
    recovery_sweep_enter(lease->sweep, recovery_lease_name(lease), lifetime_ms);
}

void recovery_lease_tick(struct recovery_lease *lease, uint64_t now_ms)
{
    for (uint32_t left = lease->share; left > 0 && look_at_next(lease); left--) {
    }
    if (now_ms >= lease->due_ms) {
        renew(lease, now_ms);
    }
}

void recovery_lease_on_up(struct recovery_lease *lease, uint64_t now_ms)
{
    if (!lease->known) {
        renew(lease, now_ms);
    }
}
