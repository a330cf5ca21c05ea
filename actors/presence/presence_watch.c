/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question at a time, of at most PRESENCE_USERS_MAX users; who has changed meanwhile waits for
 * the next.
 *
 * Order of this file: telling, asking, what is heard of other nodes and on this one, interest, who
 * is followed, life.
 */
#include "actors/presence/presence_watch.h"

#include "actors/bus.h"
#include "actors/deliver/owner.h"
#include "actors/order/bus_origin.h"
#include "actors/presence/presence_call.h"
#include "actors/presence/presence_part.h"
#include "actors/presence/presence_state.h"
#include "actors/shard.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"

enum {
    ASK_MS = 10, /* what is heard within is asked at once */
    RETRY_MS = 1000,
    NOTES_MAX = 1 << 20, /* bytes of them */
    STEADY = PRESENCE_LIFETIME_MS / PRESENCE_RENEW_MS, /* commands under one term */
};

/* A user who is followed. */
struct watched {
    struct list part_link; /* heard_part.watched */
    struct list ask_link; /* presence_watch.to_ask, while it is to be asked for */
    struct list linger_link; /* presence_watch.lingering, by due_ms, until that has come */
    struct list follows; /* presence_follow.link */
    uint64_t due_ms; /* it lingers until then; 0: it does not */
    uint8_t shown; /* enum presence_shown */
    bool ended; /* a place may have: it does not linger */
    size_t key_len;
    char key[];
};

/* What is heard of a part. */
struct heard_part {
    struct list watched; /* watched.part_link */
    uint64_t changes; /* the number of the last one heard of; 0: not known, or there was none */
    uint64_t missing; /* what was said to be the last one, where another was heard; 0: nothing */
    uint64_t places; /* of the view, as last known */
};

/* What is asked; it outlives the watch, which is NULL then. */
struct question {
    struct presence_call call; /* first */
    struct presence_watch *watch;
};

struct presence_watch {
    struct shard *shard;
    struct bus_link *link; /* NULL: without a bus, or nobody was followed yet */
    struct map by_key;
    struct list to_ask;
    struct list lingering;
    struct timer timer;
    struct question *question; /* under way; NULL: none is */
    uint64_t unsure_ms; /* all are asked for then, if Redis is there; 0: answers were complete */
    bool closed;
    uint64_t followers; /* the shards of this node that follow anybody, a bit each */
    struct builder notes; /* users of this shard that have come or gone, each with a line feed */
    bool many; /* more than are noted one by one */
    uint64_t
        unnoted; /* shards that could not be told of some: of all they are to ask, a bit each */
    struct timer note_timer;
    struct heard_part parts[PRESENCE_PARTS_MAX];
};

static struct bytes key_of(const void *object)
{
    const struct watched *watched = object;
    return bytes_of(watched->key, watched->key_len);
}

static uint64_t now_of(const struct presence_watch *watch)
{
    return sched_now(watch->shard->sched);
}

/* When the timer is due: for who is to be asked for, and for the first who lingers. */
static void arm(struct presence_watch *watch, uint64_t ask_ms)
{
    uint64_t due_ms = watch->unsure_ms != 0 ? watch->unsure_ms : UINT64_MAX;
    if (!list_empty(&watch->lingering) &&
        container_of(watch->lingering.next, struct watched, linger_link)->due_ms < due_ms) {
        due_ms = container_of(watch->lingering.next, struct watched, linger_link)->due_ms;
    }
    if (!list_empty(&watch->to_ask) && watch->question == NULL && now_of(watch) + ask_ms < due_ms) {
        due_ms = now_of(watch) + ask_ms;
    }
    if (due_ms != UINT64_MAX && !watch->closed) {
        timer_set(sched_timers(watch->shard->sched), &watch->timer, due_ms);
    }
}

/* Have it asked for soon. */
static void ask_later(struct presence_watch *watch, struct watched *watched)
{
    bool first = list_empty(&watch->to_ask);
    if (list_empty(&watched->ask_link)) {
        list_append(&watch->to_ask, &watched->ask_link);
    }
    if (first) {
        arm(watch, ASK_MS);
    }
}

/* Telling. */

static void tell_all(struct watched *watched, bool changed)
{
    list_for_each_safe (link, following, &watched->follows) {
        struct presence_follow *follow = container_of(link, struct presence_follow, link);
        if (changed || !follow->told) {
            follow->told = true;
            follow->tell(follow, (enum presence_shown)watched->shown);
        }
    }
}

/* It is `shown` now, and does not linger. */
static bool show(struct watched *watched, enum presence_shown shown)
{
    bool changed = watched->shown != (uint8_t)shown;
    list_remove(&watched->linger_link);
    watched->due_ms = 0;
    watched->shown = (uint8_t)shown;
    return changed;
}

static void linger(struct presence_watch *watch, struct watched *watched)
{
    watched->due_ms = now_of(watch) + watch->shard->config->presence.linger_ms;
    list_remove(&watched->linger_link);
    list_append(&watch->lingering, &watched->linger_link);
}

/* It is online nowhere; whether that is told. */
static bool take_offline(struct presence_watch *watch, struct watched *watched)
{
    bool lingers = watched->due_ms != 0;
    if (watched->shown != SHOWN_ONLINE) {
        return show(watched, SHOWN_OFFLINE);
    }
    if (lingers ? now_of(watch) >= watched->due_ms : watched->ended) {
        return show(watched, SHOWN_OFFLINE);
    }
    if (!lingers) {
        linger(watch, watched);
    }
    return false;
}

/* Nobody can say whether it is online elsewhere: what was told stays. */
static bool take_nothing(struct presence_watch *watch, struct watched *watched)
{
    if (watched->shown == SHOWN_NOTHING) {
        return show(watched, SHOWN_OFFLINE);
    }
    if (watched->due_ms != 0 && now_of(watch) >= watched->due_ms) {
        linger(watch, watched);
    }
    return false;
}

static void take_answer(struct presence_watch *watch, const struct presence_ask *ask, bool complete)
{
    struct watched *watched = map_get(&watch->by_key, bytes_of(ask->key, ask->key_len));
    if (watched == NULL) {
        return;
    }
    bool hidden = ask->connections > 0 && ask->shown == OWNER_HIDDEN;
    bool online = ask->connections > 0 && ask->shown == OWNER_SHOWN;
    bool changed = hidden     ? show(watched, SHOWN_HIDDEN)
                   : online   ? show(watched, SHOWN_ONLINE)
                   : complete ? take_offline(watch, watched)
                              : take_nothing(watch, watched);
    watched->ended = false;
    tell_all(watched, changed);
}

/* Asking. */

static void on_answered(struct presence_call *call)
{
    struct question *question = container_of(call, struct question, call);
    struct presence_watch *watch = question->watch;
    if (watch != NULL) {
        watch->question = NULL;
        list_for_each (link, &call->asks) {
            take_answer(watch, container_of(link, struct presence_ask, link), call->complete);
        }
        if (!call->complete && watch->unsure_ms == 0) {
            watch->unsure_ms = now_of(watch) + RETRY_MS;
        }
        arm(watch, ASK_MS);
    }
    presence_call_finish(call);
    mem_free(question);
}

/* Add who is to be asked for, by its key. */
static bool add(struct question *question, const struct watched *watched)
{
    struct bytes key = key_of(watched);
    const char *slash = memchr(key.at, '/', key.len);
    size_t tenant = slash != NULL ? (size_t)(slash - key.at) : 0;
    struct bytes user = slash != NULL ? bytes_skip(key, tenant + 1) : key;
    return presence_call_add(
               &question->call, question->watch->shard, bytes_of(key.at, tenant), user, NULL) == 0;
}

/* Ask for those at the head of `to_ask`; false: no memory. */
static bool begin_question(struct presence_watch *watch, struct list *asked)
{
    struct question *question = mem_try_calloc(1, sizeof(*question));
    struct list *link;
    if (question == NULL) {
        return false;
    }
    question->watch = watch;
    presence_call_init(&question->call, on_answered);
    for (size_t i = 0; i < PRESENCE_USERS_MAX && (link = list_pop(&watch->to_ask)) != NULL; i++) {
        list_append(asked, link);
        if (!add(question, container_of(link, struct watched, ask_link))) {
            presence_call_finish(&question->call);
            mem_free(question);
            return false;
        }
    }
    if (!presence_call_begin(&question->call, watch->shard)) {
        presence_call_finish(&question->call);
        mem_free(question);
        return false;
    }
    watch->question = question;
    return true;
}

static void ask(struct presence_watch *watch)
{
    struct list asked;
    list_init(&asked);
    if (!begin_question(watch, &asked)) {
        list_splice(&watch->to_ask, &asked);
        arm(watch, RETRY_MS);
        return;
    }
    while (list_pop(&asked) != NULL) {
    }
    arm(watch, ASK_MS);
}

/* All of the part are asked for; `ended`: because of places that have. */
static void doubt(struct presence_watch *watch, struct heard_part *part, bool ended)
{
    part->missing = 0;
    list_for_each (link, &part->watched) {
        struct watched *watched = container_of(link, struct watched, part_link);
        watched->ended = watched->ended || ended;
        ask_later(watch, watched);
    }
}

static void doubt_all(struct presence_watch *watch)
{
    for (unsigned i = 0; i < PRESENCE_PARTS_MAX; i++) {
        doubt(watch, &watch->parts[i], false);
    }
}

static void on_timer(struct timer *timer)
{
    struct presence_watch *watch = container_of(timer, struct presence_watch, timer);
    list_for_each_safe (link, following, &watch->lingering) {
        struct watched *watched = container_of(link, struct watched, linger_link);
        if (watched->due_ms > now_of(watch)) {
            break;
        }
        list_remove(link); /* asked for once more; due_ms says that it has lingered */
        if (list_empty(&watched->ask_link)) {
            list_append(&watch->to_ask, &watched->ask_link);
        }
    }
    if (watch->unsure_ms != 0 && now_of(watch) >= watch->unsure_ms) {
        bool there = presence_state_redis(watch->shard->presence) != NULL;
        watch->unsure_ms = there ? 0 : now_of(watch) + RETRY_MS;
        if (there) {
            doubt_all(watch);
        }
    }
    if (watch->question == NULL && !list_empty(&watch->to_ask)) {
        ask(watch);
    } else {
        arm(watch, ASK_MS);
    }
}

/* What is heard of other nodes. */

/* The users of `lines`, each between line feeds, have come or gone. */
static void hear(struct presence_watch *watch, struct bytes lines)
{
    while (lines.len > 0) {
        const char *end = memchr(lines.at, '\n', lines.len);
        size_t len = end != NULL ? (size_t)(end - lines.at) : lines.len;
        struct watched *watched = map_get(&watch->by_key, bytes_of(lines.at, len));
        if (watched != NULL) {
            ask_later(watch, watched);
        }
        lines = bytes_skip(lines, end != NULL ? len + 1 : len);
    }
}

/* Cut the number in front of a blank off. */
static bool take_number(struct bytes *text, uint64_t *ret_number)
{
    const char *blank = text->len > 0 ? memchr(text->at, ' ', text->len) : NULL;
    size_t len = blank != NULL ? (size_t)(blank - text->at) : 0;
    if (blank == NULL || bytes_to_u64(bytes_of(text->at, len), INT64_MAX, ret_number) != 0) {
        return false;
    }
    *text = bytes_skip(*text, len + 1);
    return true;
}

/* The part whose channel that is: its number stands in braces. NULL: none. */
static struct heard_part *part_of(struct presence_watch *watch, struct bytes channel)
{
    const char *open = channel.len > 0 ? memchr(channel.at, '{', channel.len) : NULL;
    struct bytes rest =
        open != NULL ? bytes_skip(channel, (size_t)(open - channel.at) + 1) : bytes_of(NULL, 0);
    const char *close = rest.len > 0 ? memchr(rest.at, '}', rest.len) : NULL;
    uint64_t number;
    bool good = close != NULL && bytes_to_u64(bytes_of(rest.at, (size_t)(close - rest.at)),
                                     PRESENCE_PARTS_MAX - 1, &number) == 0;
    return good ? &watch->parts[number] : NULL;
}

static void on_message(void *context, struct bytes channel, struct bytes payload)
{
    struct presence_watch *watch = context;
    struct shard *shard = watch->shard;
    struct heard_part *part = part_of(watch, channel);
    uint64_t version;
    uint64_t changes;
    if (part == NULL || !take_number(&payload, &version) || !take_number(&payload, &changes) ||
        !bus_origin_is_ours(shard, "presence", bytes_str(shard->config->epoch), version)) {
        return;
    }
    if (changes != part->changes + 1) {
        doubt(watch, part, false);
    }
    part->changes = changes;
    const char *end = memchr(payload.at, '\n', payload.len);
    if (end != NULL) {
        hear(watch, bytes_skip(payload, (size_t)(end - payload.at) + 1));
    }
}

/* What was said until now is not known. */
static void on_subscribed(void *context, struct bytes channel)
{
    struct heard_part *part = part_of(context, channel);
    if (part != NULL) {
        part->changes = 0;
        doubt(context, part, false);
    }
}

static const struct bus_events bus_events = {
    .on_subscribed = on_subscribed, .on_message = on_message};

/*
 * Whether messages may have been lost: they are counted from here on; or what the last one is was
 * said twice, and it has not come yet, or a later one has, of a Redis that has gone back since.
 */
static bool has_missed(struct heard_part *part, uint64_t changes)
{
    uint64_t said = part->missing;
    bool begins = part->changes == 0;
    bool twice =
        said != 0 && (changes > part->changes ? said > part->changes : said < part->changes);
    if (changes == part->changes) {
        part->missing = 0;
        return false;
    }
    part->missing = changes;
    if (!begins && !twice) {
        return false;
    }
    part->changes = changes;
    return true;
}

void presence_watch_viewed(struct presence_watch *watch, const struct presence_part *part)
{
    struct heard_part *heard = &watch->parts[part->number];
    const struct presence_view *view = &part->view;
    bool other = view->places != heard->places || part->told_number == 1;
    bool ended = other && part->told_number > STEADY;
    heard->places = view->places;
    if (part->told_number == 1) {
        heard->changes = 0; /* it may be another Redis */
    }
    if (!list_empty(&heard->watched) && (has_missed(heard, view->changes) || other)) {
        doubt(watch, heard, ended);
    }
}

/* What is heard on this node. */

struct notes {
    struct buf *lines; /* NULL: all, there were too many */
    struct actor_system *system;
    unsigned to;
};

static struct presence_watch *watch_on(struct actor_system *system, unsigned number)
{
    const struct shard *shard = sched_user(actor_system_sched(system, number));
    return shard->presence != NULL ? shard->presence->watch : NULL;
}

static void on_notes(void *arg, bool cancelled)
{
    struct notes *notes = arg;
    struct presence_watch *watch = cancelled ? NULL : watch_on(notes->system, notes->to);
    if (watch != NULL && notes->lines != NULL) {
        hear(watch, buf_bytes(notes->lines));
    } else if (watch != NULL) {
        doubt_all(watch);
    }
    buf_unref(notes->lines);
    mem_free(notes);
}

/* Tell the shard `to`; false: no memory. */
static bool send_notes(const struct presence_watch *watch, unsigned to, struct buf *lines)
{
    struct actor_system *system = sched_system(watch->shard->sched);
    struct notes *notes = mem_try_calloc(1, sizeof(*notes));
    if (notes == NULL) {
        return false;
    }
    *notes = (struct notes){.system = system, .to = to};
    notes->lines = lines != NULL ? buf_ref(lines) : NULL;
    sched_post(system, to, on_notes, notes);
    return true;
}

static void on_note_timer(struct timer *timer)
{
    struct presence_watch *watch = container_of(timer, struct presence_watch, note_timer);
    bool failed = watch->many || builder_failed(&watch->notes);
    struct buf *lines = failed ? NULL : builder_finish(&watch->notes);
    builder_reset(&watch->notes);
    watch->many = false;
    for (unsigned i = 0; i < actor_system_shards(sched_system(watch->shard->sched)); i++) {
        uint64_t bit = UINT64_C(1) << i;
        if ((watch->followers & bit) == 0) {
            continue;
        }
        bool sent = send_notes(watch, i, (watch->unnoted & bit) != 0 ? NULL : lines);
        watch->unnoted = sent ? watch->unnoted & ~bit : watch->unnoted | bit;
    }
    watch->unnoted &= watch->followers;
    if (watch->unnoted != 0) {
        timer_set(sched_timers(watch->shard->sched), timer, now_of(watch) + RETRY_MS);
    }
    buf_unref(lines);
}

void presence_watch_note(struct presence_watch *watch, struct bytes key)
{
    if (watch->followers == 0 || watch->closed) {
        return;
    }
    if (builder_bytes(&watch->notes).len < NOTES_MAX) {
        builder_add(&watch->notes, key);
        builder_byte(&watch->notes, '\n');
    } else {
        watch->many = true;
    }
    if (!timer_armed(&watch->note_timer)) {
        timer_set(sched_timers(watch->shard->sched), &watch->note_timer, now_of(watch) + ASK_MS);
    }
}

/* Interest: this shard has begun to follow somebody, or follows nobody any more. */

struct interest {
    struct actor_system *system;
    unsigned from;
    unsigned to;
    bool on;
};

static void on_interest(void *arg, bool cancelled)
{
    struct interest *interest = arg;
    struct presence_watch *watch = cancelled ? NULL : watch_on(interest->system, interest->to);
    uint64_t bit = UINT64_C(1) << interest->from;
    if (watch != NULL) {
        watch->followers = interest->on ? watch->followers | bit : watch->followers & ~bit;
    }
    mem_free(interest);
}

/* Tell all shards; false: no memory, and no more than some were told. */
static bool tell_interest(const struct presence_watch *watch, bool on)
{
    struct actor_system *system = sched_system(watch->shard->sched);
    bool good = true;
    for (unsigned i = 0; good && i < actor_system_shards(system); i++) {
        struct interest *interest = mem_try_calloc(1, sizeof(*interest));
        good = interest != NULL;
        if (good) {
            *interest = (struct interest){
                .system = system, .from = sched_shard(watch->shard->sched), .to = i, .on = on};
            sched_post(system, i, on_interest, interest);
        }
    }
    return good;
}

/* Who is followed. */

static void write_channel(const struct presence_watch *watch, unsigned part, struct builder *out)
{
    const struct actor_config *config = watch->shard->config;
    bus_name_presence_channel(&config->names, part, bytes_str(config->epoch), out);
}

/* Hear of the part from now on, or no more; false: no memory. */
static bool listen(struct presence_watch *watch, unsigned part, bool on)
{
    const struct bus *bus = watch->shard->bus;
    struct builder channel = {0};
    bool good = true;
    if (bus == NULL || watch->closed) {
        return true;
    }
    if (watch->link == NULL) {
        watch->link = bus->ops->open(watch->shard->bus, "presence-listener", &bus_events, watch);
    }
    write_channel(watch, part, &channel);
    if (on) {
        good = bus->ops->subscribe(watch->link, builder_bytes(&channel));
        watch->parts[part].changes = 0;
    } else {
        bus->ops->unsubscribe(watch->link, builder_bytes(&channel));
    }
    builder_reset(&channel);
    return good;
}

/* NULL: no memory. */
static struct watched *make_watched(struct presence_watch *watch, struct bytes key)
{
    unsigned part = presence_part_of(watch->shard, key);
    struct watched *watched = mem_try_calloc(1, sizeof(*watched) + key.len);
    if (watched == NULL) {
        return NULL;
    }
    watched->key_len = key.len;
    memcpy(watched->key, key.at, key.len);
    list_init(&watched->part_link);
    list_init(&watched->ask_link);
    list_init(&watched->linger_link);
    list_init(&watched->follows);
    if (!map_put(&watch->by_key, watched)) {
        mem_free(watched);
        return NULL;
    }
    bool good = map_count(&watch->by_key) > 1 || tell_interest(watch, true);
    if (!good || (list_empty(&watch->parts[part].watched) && !listen(watch, part, true))) {
        map_remove(&watch->by_key, key);
        mem_free(watched);
        return NULL;
    }
    list_append(&watch->parts[part].watched, &watched->part_link);
    return watched;
}

static void free_watched(struct presence_watch *watch, struct watched *watched)
{
    unsigned part = presence_part_of(watch->shard, key_of(watched));
    list_remove(&watched->part_link);
    list_remove(&watched->ask_link);
    list_remove(&watched->linger_link);
    map_remove(&watch->by_key, key_of(watched));
    mem_free(watched);
    if (list_empty(&watch->parts[part].watched)) {
        (void)listen(watch, part, false);
    }
    if (map_count(&watch->by_key) == 0 && !watch->closed) {
        (void)tell_interest(watch, false); /* who is not told goes on noting, for nobody */
    }
}

bool presence_follow_begin(
    struct presence_watch *watch, struct presence_follow *follow, struct bytes key)
{
    struct watched *watched = map_get(&watch->by_key, key);
    watched = watched != NULL ? watched : make_watched(watch, key);
    if (watched == NULL) {
        return false;
    }
    follow->watched = watched;
    follow->told = false;
    list_append(&watched->follows, &follow->link);
    ask_later(watch, watched);
    return true;
}

void presence_follow_end(struct presence_watch *watch, struct presence_follow *follow)
{
    struct watched *watched = follow->watched;
    if (watched == NULL) {
        return;
    }
    follow->watched = NULL;
    list_remove(&follow->link);
    if (list_empty(&watched->follows)) {
        free_watched(watch, watched);
    }
}

struct bytes presence_follow_user(const struct presence_follow *follow)
{
    struct bytes key = key_of(follow->watched);
    const char *slash = memchr(key.at, '/', key.len);
    return slash != NULL ? bytes_skip(key, (size_t)(slash - key.at) + 1) : key;
}

uint64_t presence_watch_count(const struct presence_watch *watch)
{
    return map_count(&watch->by_key);
}

/* Life. */

struct presence_watch *presence_watch_create(struct shard *shard)
{
    struct presence_watch *watch = mem_alloc(sizeof(*watch));
    watch->shard = shard;
    map_init(&watch->by_key, key_of);
    list_init(&watch->to_ask);
    list_init(&watch->lingering);
    timer_init(&watch->timer, on_timer);
    timer_init(&watch->note_timer, on_note_timer);
    for (unsigned i = 0; i < PRESENCE_PARTS_MAX; i++) {
        list_init(&watch->parts[i].watched);
    }
    return watch;
}

void presence_watch_close(struct presence_watch *watch)
{
    if (watch->closed) {
        return;
    }
    watch->closed = true;
    timer_cancel(sched_timers(watch->shard->sched), &watch->timer);
    timer_cancel(sched_timers(watch->shard->sched), &watch->note_timer);
    builder_reset(&watch->notes);
    if (watch->link != NULL) {
        watch->shard->bus->ops->close(watch->link);
        watch->link = NULL;
    }
}

void presence_watch_destroy(struct presence_watch *watch)
{
    size_t cursor = 0;
    if (watch == NULL) {
        return;
    }
    presence_watch_close(watch);
    for (struct watched *watched; (watched = map_next(&watch->by_key, &cursor)) != NULL;) {
        for (bool more = true; more;) { /* it goes with the last who follows it */
            struct list *link = watched->follows.next;
            more = link->next != &watched->follows;
            presence_follow_end(watch, container_of(link, struct presence_follow, link));
        }
    }
    if (watch->question != NULL) {
        watch->question->watch = NULL;
    }
    map_finish(&watch->by_key);
    mem_free(watch);
}
