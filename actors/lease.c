/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims, renews and gives back one key in Redis, on timers; whether it is held is decided by time,
 * not by answers alone.
 */
#include "actors/lease.h"

#include <stdio.h>

#include "actors/shard.h"
#include "codec/base/check.h"

/* 1: ours for another lifetime; ["taken", value]: another holder's, whose value it is. */
#define CLAIM_SCRIPT                                                                               \
    "local at=redis.call('get',KEYS[1]) "                                                          \
    "if at and at~=ARGV[1] and string.sub(at,1,#ARGV[1]+1)~=ARGV[1]..' ' "                         \
    "then return {'taken',at} end "                                                                \
    "redis.call('set',KEYS[1],ARGV[2],'PX',ARGV[3]) return 1"
#define RELEASE_SCRIPT                                                                             \
    "local at=redis.call('get',KEYS[1]) "                                                          \
    "if at and (at==ARGV[1] or string.sub(at,1,#ARGV[1]+1)==ARGV[1]..' ') "                        \
    "then return redis.call('del',KEYS[1]) end return 0"

static void write_value(const char *holder, const char *note, char ret_value[LEASE_VALUE_MAX])
{
    bool bare = note == NULL || note[0] == '\0';
    int len =
        snprintf(ret_value, LEASE_VALUE_MAX, "%s%s%s", holder, bare ? "" : " ", bare ? "" : note);
    CHECK(len > 0 && len < LEASE_VALUE_MAX);
}

static void write_ttl(uint32_t ttl_ms, char ret_ttl[LEASE_TTL_TEXT])
{
    snprintf(ret_ttl, LEASE_TTL_TEXT, "%u", (unsigned)ttl_ms);
}

/* EVAL script 1 key holder value ttl */
static void write_argv(const char *key, const char *holder, const char *value, const char *ttl,
    struct bytes ret_argv[LEASE_ARGC])
{
    const struct bytes argv[] = {BYTES("EVAL"), BYTES(CLAIM_SCRIPT), BYTES("1"), bytes_str(key),
        bytes_str(holder), bytes_str(value), bytes_str(ttl)};
    memcpy(ret_argv, argv, sizeof(argv));
}

void lease_write_claim(const struct lease_config *config, struct lease_claim *ret_claim)
{
    write_value(config->holder, config->note, ret_claim->value);
    write_ttl(config->ttl_ms, ret_claim->ttl);
    write_argv(config->key, config->holder, ret_claim->value, ret_claim->ttl, ret_claim->argv);
}

bool lease_is_granted(const struct bus_reply *reply)
{
    return reply->type == BUS_INTEGER && reply->integer == 1;
}

/* Whether `value` is what `holder` writes. */
static bool is_value_of(struct bytes value, struct bytes holder)
{
    return value.len >= holder.len && bytes_eq(bytes_of(value.at, holder.len), holder) &&
           (value.len == holder.len || value.at[holder.len] == ' ');
}

/*
 * Whether the answer names another holder. What a lease is lost for must be said, not guessed: a
 * node ends for it, and what a server (or what stands in its place) answers to another question, or
 * in no order, says nothing.
 */
static bool is_taken(const struct lease *lease, const struct bus_reply *reply)
{
    if (reply->type != BUS_ARRAY || reply->count != 2 || reply->items[0]->type != BUS_STRING ||
        reply->items[1]->type != BUS_STRING) {
        return false;
    }
    return bytes_eq_str(reply->items[0]->text, "taken") &&
           !is_value_of(reply->items[1]->text, bytes_str(lease->holder));
}

static uint64_t now_of(const struct lease *lease)
{
    return sched_now(lease->shard->sched);
}

static void arm(struct lease *lease, uint64_t at_ms)
{
    timer_set(sched_timers(lease->shard->sched), &lease->timer, at_ms);
}

/* The next question; what is held ends on time even when that one is late. */
static void arm_next(struct lease *lease)
{
    uint64_t now = now_of(lease);
    uint64_t next = now + (lease->held ? lease->renew_ms : lease->claim_ms);
    bool ends_before = lease->held && !lease->lasting && lease->until_ms < next;
    arm(lease, ends_before ? lease->until_ms : next);
}

static void end(struct lease *lease, enum lease_end why)
{
    lease->held = false;
    lease->term++;
    if (lease->events->on_lost != NULL) {
        lease->events->on_lost(lease->context, why);
    }
}

static void on_granted(struct lease *lease)
{
    bool held = lease->held;
    void (*tell)(void *context) = held ? lease->events->on_renewed : lease->events->on_held;
    lease->held = true;
    lease->until_ms = lease->asked_ms + lease->ttl_ms;
    if (tell != NULL) {
        tell(lease->context);
    }
}

static void refuse(const struct lease *lease, const struct bus_reply *reply)
{
    struct bytes strange = BYTES("what Redis answers is no answer to a claim");
    if (lease->events->on_refused != NULL) {
        lease->events->on_refused(lease->context, reply->type == BUS_ERROR ? reply->text : strange);
    }
}

static void on_answer(void *context, int status, const struct bus_reply *reply)
{
    struct lease *lease = context;
    lease->asking = false;
    if (status != 0 || lease->asked_term != lease->term || lease->stopped) {
        return; /* no answer, one about an earlier term, or nobody wants it any more */
    }
    if (lease_is_granted(reply)) {
        on_granted(lease);
    } else if (!is_taken(lease, reply)) {
        refuse(lease, reply);
    } else if (lease->held) {
        end(lease, LEASE_TAKEN);
    } else if (lease->events->on_denied != NULL) {
        lease->events->on_denied(lease->context);
    }
}

static void ask(struct lease *lease)
{
    struct bytes argv[LEASE_ARGC];
    char ttl[LEASE_TTL_TEXT];
    write_ttl(lease->ttl_ms, ttl);
    write_argv(lease->key, lease->holder, lease->value, ttl, argv);
    lease->asking = true;
    lease->asked_ms = now_of(lease);
    lease->asked_term = lease->term;
    lease->shard->bus->ops->command(lease->link, argv, ARRAY_LEN(argv), 0, on_answer, lease);
}

static bool may_ask(const struct lease *lease)
{
    if (lease->asking) {
        return false; /* a lease runs from when the question that is answered was sent */
    }
    return lease->held || lease->events->may_claim == NULL ||
           lease->events->may_claim(lease->context);
}

static void on_timer(struct timer *timer)
{
    struct lease *lease = container_of(timer, struct lease, timer);
    if (lease->held && !lease->lasting && now_of(lease) >= lease->until_ms) {
        end(lease, LEASE_EXPIRED);
    }
    if (!lease->stopped && may_ask(lease)) {
        ask(lease);
    }
    if (!lease->stopped) {
        arm_next(lease);
    }
}

void lease_start(struct lease *lease, struct shard *shard, struct bus_link *link,
    const struct lease_config *config, const struct lease_events *events, void *context)
{
    *lease = (struct lease){
        .shard = shard,
        .link = link,
        .events = events,
        .context = context,
        .ttl_ms = config->ttl_ms,
        .renew_ms = config->renew_ms,
        .claim_ms = config->claim_ms,
        .lasting = config->lasting,
        .held = config->held,
    };
    int key_len = snprintf(lease->key, sizeof(lease->key), "%s", config->key);
    int len = snprintf(lease->holder, sizeof(lease->holder), "%s", config->holder);
    CHECK(key_len < BUS_NAME_MAX && len < LEASE_VALUE_MAX);
    write_value(lease->holder, config->note, lease->value);
    timer_init(&lease->timer, on_timer);
    lease->until_ms = now_of(lease) + config->ttl_ms;
    arm(lease, now_of(lease) + 1);
}

void lease_set_note(struct lease *lease, const char *note)
{
    write_value(lease->holder, note, lease->value);
}

bool lease_is_held(const struct lease *lease)
{
    return lease->held;
}

void lease_release(struct lease *lease, bus_reply_fn fn, void *context)
{
    const struct bytes argv[] = {BYTES("EVAL"), BYTES(RELEASE_SCRIPT), BYTES("1"),
        bytes_str(lease->key), bytes_str(lease->holder)};
    lease->held = false;
    lease->term++;
    if (!lease->stopped) {
        arm_next(lease);
    }
    lease->shard->bus->ops->command(lease->link, argv, ARRAY_LEN(argv), 0, fn, context);
}

void lease_stop(struct lease *lease)
{
    if (lease->shard != NULL) {
        lease->stopped = true;
        timer_cancel(sched_timers(lease->shard->sched), &lease->timer);
    }
}

const char *lease_end_text(enum lease_end why)
{
    return why == LEASE_TAKEN ? "taken" : "expired";
}
