/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what Redis keeps (sequencer_kept.c): what this node does not know is told to its shards,
 * and to who is there; and posting again what Redis could not keep when it was posted.
 *
 * Order of this file: telling, reading, posting again.
 */
#include "actors/deliver/broadcast.h"
#include "actors/order/bus_origin.h"
#include "actors/order/sequencer_kept.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

enum {
    TIMEOUT_MS = 5000,
    PRESSURE_MS = 5,
    REFUSAL_MAX = 120,
    REPOSTS = 64, /* at a time */
    GRAVE_MS = 10000 /* so long a removal orders what follows */
};

#define PAGE "64"

/* Telling. */

/* Whether what is for `target` at `place` is behind what was passed on, and not over. */
static bool is_newer(const struct sequencer_kept *kept, struct bytes target, struct bytes name,
    struct stream_id place, bool removes)
{
    const struct retained_value *value = retained_find(kept->index, target, name);
    if (value == NULL) {
        return !removes;
    }
    int order = stream_id_cmp(place, value->place);
    return (order > 0 || (order < 0 && kept->reading.anew && !value->stray)) &&
           !(removes && value->broadcast->retain->removes);
}

/* Something that does not come, or has not come, by the stream. */
struct late {
    struct bytes target;
    struct bytes name;
    struct event *event; /* borrowed */
    const struct bytes *except;
    uint32_t except_count;
    uint64_t until_ms;
    bool removes;
    struct stream_id place;
};

/* Have it kept by all shards, and told to who is here. */
static void tell_late(struct sequencer_kept *kept, const struct late *late)
{
    struct broadcast *broadcast = broadcast_new(event_ref(late->event), &late->target,
        late->target.len > 0, late->except, late->except_count);
    if (broadcast == NULL ||
        !broadcast_keep(broadcast, late->name, late->until_ms, late->removes)) {
        broadcast_unref(broadcast);
        sequencer_lose_here(kept->sequencer, late->target, UINT64_MAX);
        return;
    }
    broadcast->apart = true;
    broadcast->late = true;
    broadcast->stream = late->place;
    struct retained_value *value =
        retained_put(kept->index, late->target, broadcast, late->place, true);
    if (value != NULL) {
        value->seen = true;
    }
    sequencer_deliver(kept->sequencer, broadcast, false);
}

/* One of those that `broadcast` is for, of which it says what is kept. */
static struct late late_of(const struct broadcast *broadcast, uint32_t i)
{
    return (struct late){
        .target = broadcast->room_count > 0 ? broadcast_rooms(broadcast)[i] : bytes_of(NULL, 0),
        .name = broadcast_kept_name(broadcast),
        .event = broadcast->event,
        .except = broadcast_except(broadcast),
        .except_count = broadcast->except_count,
        .until_ms = broadcast->retain->until_ms,
        .removes = broadcast->retain->removes,
        .place = broadcast->stream};
}

static uint32_t count_targets(const struct broadcast *broadcast)
{
    return broadcast->room_count > 0 ? broadcast->room_count : 1;
}

static void tell_if_newer(struct sequencer_kept *kept, const struct late *late)
{
    if (is_newer(kept, late->target, late->name, late->place, late->removes) &&
        late->until_ms > kept_wall(kept)) {
        tell_late(kept, late);
    }
}

void sequencer_kept_past(struct sequencer *sequencer, struct broadcast *broadcast)
{
    if (sequencer->kept == NULL || broadcast->retain == NULL || broadcast->reposted) {
        return;
    }
    for (uint32_t i = 0; i < count_targets(broadcast); i++) {
        const struct late late = late_of(broadcast, i);
        tell_if_newer(sequencer->kept, &late);
    }
    mem_free(broadcast->retain);
    broadcast->retain = NULL;
}

void sequencer_kept_landed(struct sequencer *sequencer, const struct broadcast *broadcast)
{
    struct sequencer_kept *kept = sequencer->kept;
    for (uint32_t i = 0; kept != NULL && i < count_targets(broadcast); i++) {
        const struct late late = late_of(broadcast, i);
        struct retained_value *value = retained_find(kept->index, late.target, late.name);
        if (value == NULL || !value->stray) { /* others have posted before it, and it is the last */
            tell_if_newer(kept, &late);
        } else if (value->broadcast->serial == broadcast->serial) {
            value->stray = false;
            value->place = late.place;
        }
    }
}

/* Reading. */

static void read_page(struct sequencer_kept *kept);

/* The next word of `text`, which a blank or a line's end follows. */
static bool take_word(struct bytes *text, char end, struct bytes *ret_word)
{
    const char *at = text->len > 0 ? memchr(text->at, end, text->len) : NULL;
    if (at == NULL) {
        return false;
    }
    *ret_word = bytes_of(text->at, (size_t)(at - text->at));
    *text = bytes_skip(*text, ret_word->len + 1);
    return true;
}

/* Whether what is at `place` is to be taken from the hash; else it comes by the stream. */
static bool is_past(const struct sequencer_kept *kept, struct stream_id place)
{
    const struct kept_reading *reading = &kept->reading;
    return stream_id_cmp(place, reading->known) <= 0 || stream_id_cmp(place, reading->first) < 0;
}

/* The exceptions of a value; false: it has more than a broadcast, or is none of ours. */
static bool take_except(struct bytes *text, uint64_t count, struct bytes *names)
{
    for (uint64_t i = 0; i < count; i++) {
        if (!take_word(text, '\n', &names[i])) {
            return false;
        }
    }
    return true;
}

/* Tell what a value of the hash is, if that is news. */
static void take_value(struct sequencer_kept *kept, struct late *late, struct bytes text,
    uint64_t flags, uint64_t except_count)
{
    struct bytes *except = mem_try_calloc(except_count + 1, sizeof(*except));
    struct event *event = NULL;
    if (except != NULL && take_except(&text, except_count, except) &&
        event_from_json(text, NULL, 0, (unsigned)flags & (EVENT_VOLATILE | EVENT_URGENT), &event) ==
            0) {
        late->event = event;
        late->except = except;
        late->except_count = (uint32_t)except_count;
        tell_late(kept, late);
    }
    event_unref(event);
    mem_free(except);
}

/* What stands before the exceptions and the event of a value. */
struct head {
    struct bytes uid;
    uint64_t flags;
    uint64_t except_count;
};

static bool take_number(struct bytes *text, char end, uint64_t max, uint64_t *ret_number)
{
    struct bytes word;
    return take_word(text, end, &word) && bytes_to_u64(word, max, ret_number) == 0;
}

/* False: it is none of ours. */
static bool take_head(struct bytes *text, struct late *late, struct head *head)
{
    struct bytes id;
    return take_word(text, ' ', &id) && stream_id_read(id, &late->place) == 0 &&
           take_number(text, ' ', UINT64_MAX, &late->until_ms) &&
           take_word(text, ' ', &head->uid) && take_number(text, ' ', UINT8_MAX, &head->flags) &&
           take_number(text, '\n', BROADCAST_NAMES_MAX - 1, &head->except_count);
}

static void take_item(struct sequencer_kept *kept, struct bytes field, struct bytes text)
{
    struct late late = {.name = field};
    struct head head = {0};
    if (!take_word(&late.name, '\n', &late.target) || late.name.len == 0 ||
        late.name.len > KEPT_NAME_MAX || !take_head(&text, &late, &head)) {
        return;
    }
    enum bus_origin origin = bus_origin_of(kept_shard(kept), "retained", head.uid);
    struct retained_value *value = retained_find(kept->index, late.target, late.name);
    if (value != NULL) {
        value->seen = true; /* there is one, if another by now */
    }
    if ((origin != BUS_ORIGIN_PEER && origin != BUS_ORIGIN_SELF) || !is_past(kept, late.place)) {
        return;
    }
    if (late.until_ms <= kept_wall(kept)) {
        kept_drop(kept, field, late.place);
        return;
    }
    if (is_newer(kept, late.target, late.name, late.place, false)) {
        take_value(kept, &late, text, head.flags, head.except_count);
    }
}

/* Tell that a value was removed; who would not be told for want of memory is closed. */
static void tell_removed(struct sequencer_kept *kept, const struct retained_value *value)
{
    struct event *event = NULL;
    struct broadcast *held = broadcast_ref(value->broadcast);
    struct builder target = {0};
    builder_add(&target, retained_target_name(value));
    if (builder_failed(&target) ||
        event_from_args(held->event->name, BYTES("[null]"), 0, &event) != 0) {
        sequencer_lose_here(kept->sequencer, retained_target_name(value), UINT64_MAX);
    } else {
        tell_late(kept, &(struct late){.target = builder_bytes(&target),
                            .name = broadcast_kept_name(held),
                            .event = event,
                            .until_ms = kept_wall(kept) + GRAVE_MS,
                            .removes = true,
                            .place = value->place});
    }
    builder_reset(&target);
    broadcast_unref(held);
    event_unref(event);
}

/*
 * What is not in Redis any more, and should be, was removed while this node did not hear of it. If
 * the stream has all that came since, it brings the removal, too. Else it may bring it: then it is
 * told here, and what comes is not told again (sequencer_kept_repeats). What has ended by itself is
 * no removal.
 */
static void tell_gone(struct sequencer_kept *kept)
{
    const struct kept_reading *reading = &kept->reading;
    bool lacks = reading->anew || stream_id_cmp(reading->first, reading->known) > 0;
    uint64_t now = kept_wall(kept);
    list_for_each_safe (link, following, retained_all(kept->index)) {
        const struct retained_value *value = container_of(link, struct retained_value, all_link);
        const struct broadcast_retain *retain = value->broadcast->retain;
        if (lacks && !value->seen && !value->stray && !retain->removes && retain->until_ms > now &&
            (reading->anew || is_past(kept, value->place))) {
            tell_removed(kept, value);
        }
    }
}

bool sequencer_kept_repeats(const struct sequencer *sequencer, const struct broadcast *broadcast)
{
    const struct sequencer_kept *kept = sequencer->kept;
    if (kept == NULL || broadcast->retain == NULL || !broadcast->retain->removes) {
        return false;
    }
    for (uint32_t i = 0; i < count_targets(broadcast); i++) {
        struct bytes target =
            broadcast->room_count > 0 ? broadcast_rooms(broadcast)[i] : bytes_of(NULL, 0);
        const struct retained_value *value =
            retained_find(kept->index, target, broadcast_kept_name(broadcast));
        if (value == NULL || !value->broadcast->late || !value->broadcast->retain->removes) {
            return false;
        }
    }
    return true;
}

static void end_reading(struct sequencer_kept *kept)
{
    kept->reading.done(kept->reading.context);
}

static void on_refused(struct sequencer_kept *kept, const struct bus_reply *reply)
{
    struct bytes why = reply->type == BUS_ERROR ? reply->text : BYTES("not what was asked for");
    if (!kept->told) {
        kept->told = true;
        log_error("RETAIN-REFUSED",
            "what is kept cannot be read: who joins or connects may not be shown it",
            "key=%s reply=%s", log_quote(buf_bytes(kept->key)),
            log_quote(bytes_of(why.at, why.len < REFUSAL_MAX ? why.len : REFUSAL_MAX)));
    }
    end_reading(kept);
}

static void on_page(void *context, int status, const struct bus_reply *reply)
{
    struct sequencer_kept *kept = context;
    if (status != 0) {
        return; /* the reading begins anew, or the node ends */
    }
    if (reply->type != BUS_ARRAY || reply->count < 2 || reply->items[1]->type != BUS_ARRAY ||
        reply->items[0]->text.len >= KEPT_CURSOR_MAX) {
        on_refused(kept, reply);
        return;
    }
    const struct bus_reply *items = reply->items[1];
    for (size_t i = 0; i + 1 < items->count; i += 2) {
        take_item(kept, items->items[i]->text, items->items[i + 1]->text);
    }
    struct bytes cursor = reply->items[0]->text;
    memcpy(kept->cursor, cursor.at, cursor.len);
    kept->cursor[cursor.len] = '\0';
    if (!bytes_eq(cursor, BYTES("0"))) {
        read_page(kept);
        return;
    }
    kept->told = false;
    tell_gone(kept);
    end_reading(kept);
}

static void on_timer(struct timer *timer)
{
    read_page(container_of(timer, struct sequencer_kept, timer));
}

static void read_page(struct sequencer_kept *kept)
{
    struct sched *sched = kept->sequencer->actor.sched;
    for (unsigned i = 0; i < actor_system_shards(sched_system(sched)); i++) {
        if (sched_pressured(sched, i)) {
            timer_set(sched_timers(sched), &kept->timer, sched_now(sched) + PRESSURE_MS);
            return;
        }
    }
    const struct bytes argv[] = {
        BYTES("HSCAN"), buf_bytes(kept->key), bytes_str(kept->cursor), BYTES("COUNT"), BYTES(PAGE)};
    kept_ops(kept)->command(kept->reading.link, argv, ARRAY_LEN(argv), TIMEOUT_MS, on_page, kept);
}

void sequencer_kept_read(struct sequencer *sequencer, const struct kept_reading *reading)
{
    struct sequencer_kept *kept = sequencer->kept;
    timer_cancel(sched_timers(sequencer->actor.sched), &kept->timer);
    timer_init(&kept->timer, on_timer);
    kept->reading = *reading;
    memcpy(kept->cursor, "0", sizeof("0"));
    list_for_each (link, retained_all(kept->index)) {
        container_of(link, struct retained_value, all_link)->seen = false;
    }
    read_page(kept);
}

void sequencer_kept_break(struct sequencer *sequencer)
{
    if (sequencer->kept != NULL) {
        timer_cancel(sched_timers(sequencer->actor.sched), &sequencer->kept->timer);
    }
}

/* Posting again. */

/* Post what only this node has; false: that cannot be now. */
static bool repost(struct sequencer_kept *kept, struct retained_value *value)
{
    const struct broadcast *from = value->broadcast;
    struct bytes target = retained_target_name(value);
    struct broadcast *broadcast = broadcast_new(event_ref(from->event), &target, target.len > 0,
        broadcast_except(from), from->except_count);
    if (broadcast == NULL || !broadcast_keep(broadcast, broadcast_kept_name(from),
                                 from->retain->until_ms, from->retain->removes)) {
        broadcast_unref(broadcast);
        return false;
    }
    broadcast->keep_only = true;
    broadcast->apart = true;
    broadcast->reposted = true;
    if (!sequencer_stream_post(kept->sequencer, broadcast)) {
        broadcast_unref(broadcast);
        return false;
    }
    value->stray = false;
    return true;
}

void sequencer_kept_caught_up(struct sequencer *sequencer)
{
    struct sequencer_kept *kept = sequencer->kept;
    unsigned count = 0;
    if (kept == NULL || !kept->strays) {
        return;
    }
    if (kept->fresh) { /* it may be in the stream, behind this reading */
        kept->fresh = false;
        return;
    }
    list_for_each (link, retained_all(kept->index)) {
        struct retained_value *value = container_of(link, struct retained_value, all_link);
        if (value->stray && (count++ == REPOSTS || !repost(kept, value))) {
            return; /* the others with what is read next */
        }
    }
    kept->strays = false;
}
