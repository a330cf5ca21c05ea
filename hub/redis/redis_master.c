/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two links to sentinels, on a bus of their own: one asks, the other hears of failovers.
 */
#include "hub/redis/redis_master.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/tls_context.h"
#include "hub/redis/redis_plain.h"

enum {
    TICK_MS = 250,
    ASK_MS = 1000, /* how often the one that answers is asked again */
    ANSWER_MS = 2000,
    SETTLE_MS = 10000, /* until all sentinels have heard of a failover */
    AWAY_MS = 5000, /* without a sentinel until that is logged */
};

struct redis_master {
    struct redis_bus *bus; /* whose master it is */
    struct redis_bus *sentinels;
    struct bus_link *asker;
    struct bus_link *listener;
    uv_timer_t timer;
    uint64_t epoch; /* of the configuration that is followed */
    uint64_t adopted_at;
    uint64_t asked_at; /* 0: not since the asker is up */
    uint64_t away_since; /* 0: a sentinel answers */
    bool away_told;
    bool waits; /* for an answer */
    bool closing;
};

static uint64_t now_of(const struct redis_master *master)
{
    return uv_now(master->bus->loop);
}

/* --- what is known ------------------------------------------------------------------------- */

static void log_master(const struct redis_master *master, const struct redis_place *place)
{
    struct redis_bus *bus = master->bus;
    struct builder was = {.max = 300};
    struct builder is = {.max = 300};
    atomic_ullong *told = &bus->options.outage->master_epoch;
    if (bus->options.quiet ||
        atomic_exchange_explicit(told, master->epoch, memory_order_relaxed) == master->epoch) {
        return;
    }
    redis_place_show(&bus->master_place, &was);
    redis_place_show(place, &is);
    log_warn("BUS-MASTER", "another Redis is the master now, following it",
        "name=%s was=%s is=%s epoch=%llu", log_quote(bytes_str(bus->target.url.master)),
        log_quote(builder_bytes(&was)), log_quote(builder_bytes(&is)),
        (unsigned long long)master->epoch);
    builder_reset(&was);
    builder_reset(&is);
}

/* A sentinel says that `place` is the master, by the configuration `epoch`. */
static void adopt(struct redis_master *master, const struct redis_place *place, uint64_t epoch)
{
    struct redis_bus *bus = master->bus;
    bool in_use = bus->stats.links_up > 0 || now_of(master) - master->adopted_at < SETTLE_MS;
    if (bus->master_known && epoch < master->epoch && in_use) {
        return;
    }
    master->epoch = epoch;
    bus->master_fault[0] = '\0';
    if (bus->master_known && redis_place_equals(place, &bus->master_place)) {
        return;
    }
    if (bus->master_known) {
        log_master(master, place);
    }
    master->adopted_at = now_of(master);
    bus->master_place = *place;
    bus->master_known = true;
    redis_link_follow(bus);
}

static void set_fault(struct redis_master *master, int status, const char *why)
{
    struct redis_bus *bus = master->bus;
    snprintf(bus->master_fault, sizeof(bus->master_fault),
        "no sentinel says where the master is: %.200s", why);
    bus->master_status = status;
}

/* --- asking -------------------------------------------------------------------------------- */

static struct bytes find_field(const struct bus_reply *reply, struct bytes name)
{
    for (size_t i = 0; i + 1 < reply->count; i += 2) {
        if (bytes_eq(reply->items[i]->text, name)) {
            return reply->items[i + 1]->text;
        }
    }
    return bytes_of(NULL, 0);
}

/* A place of host and port as sentinels write them; false when they are none. */
static bool read_place(struct bytes host, struct bytes port, struct redis_place *ret_place)
{
    uint64_t number;
    struct redis_place place = {0};
    if (host.len == 0 || host.len >= sizeof(place.host) ||
        bytes_to_u64(port, UINT16_MAX, &number) != 0 || number == 0) {
        return false;
    }
    memcpy(place.host, host.at, host.len);
    place.port = (uint16_t)number;
    *ret_place = place;
    return true;
}

static void on_answer(void *context, int status, const struct bus_reply *reply)
{
    struct redis_master *master = context;
    struct redis_place place;
    uint64_t epoch = 0;
    char why[160];
    master->waits = false;
    if (status != 0 || master->closing) {
        return;
    }
    if (reply->type == BUS_ARRAY &&
        read_place(find_field(reply, BYTES("ip")), find_field(reply, BYTES("port")), &place) &&
        bytes_to_u64(find_field(reply, BYTES("config-epoch")), UINT64_MAX, &epoch) == 0) {
        adopt(master, &place, epoch);
        return;
    }
    int len = reply->text.len < 120 ? (int)reply->text.len : 120;
    snprintf(why, sizeof(why), "%.*s", reply->type == BUS_ERROR ? len : 0,
        reply->type == BUS_ERROR ? reply->text.at : "");
    set_fault(master, STATUS_UNAVAILABLE, why[0] != '\0' ? why : "an answer of the wrong type");
    redis_link_drop(master->asker, why);
}

static void ask(struct redis_master *master)
{
    const struct bytes argv[] = {
        BYTES("SENTINEL"), BYTES("MASTER"), bytes_str(master->bus->target.url.master)};
    master->asked_at = now_of(master);
    master->waits = true;
    redis_link_command(master->asker, argv, ARRAY_LEN(argv), ANSWER_MS, on_answer, master);
}

static void on_up(void *context)
{
    struct redis_master *master = context;
    if (!master->waits) {
        ask(master);
    }
}

/* --- hearing ------------------------------------------------------------------------------- */

static struct bytes take_word(struct bytes *text)
{
    const char *blank = text->len > 0 ? memchr(text->at, ' ', text->len) : NULL;
    struct bytes word = bytes_of(text->at, blank != NULL ? (size_t)(blank - text->at) : text->len);
    *text = bytes_skip(*text, blank != NULL ? word.len + 1 : word.len);
    return word;
}

/* "name old-host old-port new-host new-port": its epoch, which is not told, is a higher one. */
static void on_message(void *context, struct bytes channel, struct bytes payload)
{
    struct redis_master *master = context;
    struct redis_place place;
    struct bytes name = take_word(&payload);
    take_word(&payload);
    take_word(&payload);
    struct bytes host = take_word(&payload);
    if (bytes_eq_str(name, master->bus->target.url.master) &&
        read_place(host, take_word(&payload), &place) &&
        !(master->bus->master_known && redis_place_equals(&place, &master->bus->master_place))) {
        adopt(master, &place, master->epoch + 1);
    }
}

/* --- the clock ----------------------------------------------------------------------------- */

static void watch_sentinels(struct redis_master *master)
{
    struct redis_outage *outage = master->bus->options.outage;
    bool up = redis_link_is_up(master->asker);
    uint64_t now = now_of(master);
    int status;
    if (up) {
        master->away_since = 0;
    } else if (master->away_since == 0) {
        master->away_since = now;
    }
    if (up && master->away_told) {
        master->away_told = false;
        if (atomic_fetch_sub_explicit(&outage->without_sentinel, 1, memory_order_relaxed) == 1) {
            log_info("SENTINEL-UP", "a sentinel answers again", "name=%s",
                log_quote(bytes_str(master->bus->target.url.master)));
        }
    }
    if (!up && !master->away_told && !master->bus->options.quiet &&
        now - master->away_since >= AWAY_MS) {
        const char *why = redis_link_error(master->asker, &status);
        master->away_told = true;
        if (atomic_fetch_add_explicit(&outage->without_sentinel, 1, memory_order_relaxed) == 0) {
            log_warn("SENTINEL-DOWN", "no sentinel answers: a failover would not be followed",
                "name=%s why=%s", log_quote(bytes_str(master->bus->target.url.master)),
                log_quote(bytes_str(why)));
        }
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct redis_master *master = timer->data;
    struct redis_bus *bus = master->bus;
    int status = 0;
    watch_sentinels(master);
    if (!redis_link_is_up(master->asker)) {
        const char *why = redis_link_error(master->asker, &status);
        if (why[0] != '\0' && !bus->master_known) {
            set_fault(master, status, why);
        }
        return;
    }
    if (bus->master_doubted) {
        bus->master_doubted = false;
        redis_link_drop(master->asker, "it names a replica as the master");
    } else if (!master->waits && now_of(master) - master->asked_at >= ASK_MS) {
        ask(master);
    }
}

/* --- life ---------------------------------------------------------------------------------- */

struct redis_master *redis_master_open(struct redis_bus *bus)
{
    static const struct bus_events asking = {.on_up = on_up};
    static const struct bus_events hearing = {.on_message = on_message};
    struct redis_master *master = mem_alloc(sizeof(*master));
    struct redis_target target;
    redis_target_sentinels(&bus->target, &target);
    struct redis_options options = bus->options;
    options.target = &target;
    options.outage = NULL;
    options.quiet = true;
    master->bus = bus;
    master->sentinels = redis_plain_create(bus->loop, &options);
    redis_target_finish(&target);
    uv_timer_init(bus->loop, &master->timer);
    master->timer.data = master;
    bus->handles++;
    master->asker = redis_link_open(master->sentinels, "peal-sentinel", &asking, master);
    master->listener = redis_link_open(master->sentinels, "peal-failovers", &hearing, master);
    CHECK(redis_link_subscribe(master->listener, BYTES("+switch-master"), false));
    uv_timer_start(&master->timer, on_tick, TICK_MS, TICK_MS);
    return master;
}

void redis_master_set_tls(struct redis_master *master, struct tls_context *tls)
{
    struct redis_target *target = &master->sentinels->target;
    tls_context_unref(target->tls);
    target->tls = tls_context_ref(tls);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct redis_master *master = handle->data;
    struct redis_bus *bus = master->bus;
    mem_free(master);
    redis_bus_release(bus);
}

static void on_sentinels_closed(void *context)
{
    struct redis_master *master = context;
    uv_close((uv_handle_t *)&master->timer, on_timer_closed);
}

void redis_master_close(struct redis_master *master)
{
    struct redis_outage *outage = master->bus->options.outage;
    master->closing = true;
    if (master->away_told) {
        atomic_fetch_sub_explicit(&outage->without_sentinel, 1, memory_order_relaxed);
    }
    uv_timer_stop(&master->timer);
    redis_link_close(master->asker);
    redis_link_close(master->listener);
    redis_plain_close(master->sentinels, on_sentinels_closed, master);
}
