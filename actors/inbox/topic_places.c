/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is in which topic. Order of this file: topics and places, reading, life.
 *
 * A post that passes while topics are read may miss the user: `heard` counts posts, and who has
 * read while it rose is asked for once more.
 */
#include "actors/inbox/topic_places.h"

#include "actors/inbox/inbox.h"
#include "actors/inbox/positions.h"
#include "actors/inbox/walk.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/names.h"
#include "sql/store.h"

enum { READS_MAX = 16, READ_LIMIT = 1000, PAGE_USERS = 200, AGAIN_MS = 1000 };
enum { KEY_MAX = NAMES_TENANT_MAX + 1 + NAMES_ROOM_MAX };

/* A tenant with somebody in a topic. */
struct share {
    uint64_t bytes; /* of its places and topics */
    uint32_t topics; /* that there are */
    size_t len;
    char name[];
};

/* A topic with somebody in it. The one without a name has those of a tenant who found no place. */
struct topic {
    struct walk walk; /* topic_place.topic_link */
    struct share *share;
    bool nameless;
    size_t len;
    char key[]; /* tenant, '/', topic */
};

struct topic_place {
    struct list topic_link; /* topic.walk */
    struct list inbox_link; /* inbox.places */
    struct topic *topic;
    struct inbox *inbox;
};

/* Users whose topics are to be read. */
struct reading_page {
    struct list link; /* topic_places.queue */
    size_t count;
    struct actor_ref users[PAGE_USERS];
};

struct topic_places {
    struct shard *shard;
    struct walks *walks; /* of the audience */
    struct map topics; /* struct topic by key */
    struct map shares; /* struct share by name */
    struct log_limit full_log;
    struct list queue; /* reading_page.link; all but the last are full */
    struct timer again; /* the store was away */
    uint32_t reads; /* under way */
    uint64_t heard; /* posts to topics */
    bool closed;
};

/* The topics of one user, from the store. */
struct reading {
    struct store_topics request;
    struct topic_places *places;
    struct actor_ref user;
    struct buf *key; /* what the request points into */
    uint64_t heard; /* topic_places.heard when it began */
    size_t taken; /* topics in the pages before */
    size_t after_len;
    char after[NAMES_ROOM_MAX];
};

/* Topics and places. */

static struct bytes topic_key(const void *topic)
{
    return bytes_of(((const struct topic *)topic)->key, ((const struct topic *)topic)->len);
}

static struct bytes write_key(struct bytes tenant, struct bytes name, char at[KEY_MAX])
{
    if (tenant.len + 1 + name.len > KEY_MAX) {
        return bytes_of(NULL, 0);
    }
    if (tenant.len > 0) {
        memcpy(at, tenant.at, tenant.len);
    }
    at[tenant.len] = '/';
    if (name.len > 0) {
        memcpy(at + tenant.len + 1, name.at, name.len);
    }
    return bytes_of(at, tenant.len + 1 + name.len);
}

static void ask_place(struct walk *walk, struct list *link)
{
    struct inbox *inbox = container_of(link, struct topic_place, topic_link)->inbox;
    (void)walk;
    positions_ask_later(shard_of(&inbox->owner.actor)->positions, inbox);
}

static struct bytes share_name(const void *share)
{
    return bytes_of(((const struct share *)share)->name, ((const struct share *)share)->len);
}

static void charge(struct topic_places *places, struct share *share, int64_t bytes)
{
    share->bytes += (uint64_t)bytes;
    places->shard->stats.audience_bytes += (uint64_t)bytes;
}

/* NULL: no memory. */
static struct share *take_share(struct topic_places *places, struct bytes tenant)
{
    struct share *share = map_get(&places->shares, tenant);
    if (share != NULL) {
        return share;
    }
    share = mem_try_calloc(1, sizeof(*share) + tenant.len);
    if (share == NULL) {
        return NULL;
    }
    share->len = tenant.len;
    if (tenant.len > 0) {
        memcpy(share->name, tenant.at, tenant.len);
    }
    if (!map_put(&places->shares, share)) {
        mem_free(share);
        return NULL;
    }
    return share;
}

static void drop_share_if_empty(struct topic_places *places, struct share *share)
{
    if (share->topics == 0) {
        map_remove(&places->shares, share_name(share));
        mem_free(share);
    }
}

static int64_t topic_cost(const struct topic *topic)
{
    return (int64_t)(mem_cost(sizeof(*topic) + topic->len) + 2 * sizeof(void *)); /* and its slot */
}

/* Whether the tenant may have one more place. */
static bool has_room(const struct topic_places *places, struct bytes tenant)
{
    uint64_t most = places->shard->config->topics_bytes;
    uint64_t used = places->shard->stats.audience_bytes;
    const struct share *share = map_get(&places->shares, tenant);
    uint64_t own = places->shard->config->tenants && share != NULL ? share->bytes : 0;
    return most == 0 || (used < most && own < most - used);
}

/* The topic, made where it is not there; NULL: no memory. */
static struct topic *take_topic(
    struct topic_places *places, struct bytes key, struct share *share, bool nameless)
{
    struct topic *topic = map_get(&places->topics, key);
    if (topic != NULL) {
        return topic;
    }
    topic = mem_try_calloc(1, sizeof(*topic) + key.len);
    if (topic == NULL) {
        return NULL;
    }
    topic->share = share;
    topic->nameless = nameless;
    walk_init(&topic->walk, ask_place);
    topic->len = key.len;
    memcpy(topic->key, key.at, key.len);
    if (!map_put(&places->topics, topic)) {
        mem_free(topic);
        return NULL;
    }
    share->topics++;
    charge(places, share, topic_cost(topic));
    return topic;
}

static void drop_if_empty(struct topic_places *places, struct topic *topic)
{
    if (list_empty(&topic->walk.users)) {
        struct share *share = topic->share;
        walk_finish(&topic->walk);
        map_remove(&places->topics, topic_key(topic));
        charge(places, share, -topic_cost(topic));
        share->topics--;
        mem_free(topic);
        drop_share_if_empty(places, share);
    }
}

/* False: no memory. */
static bool add_place(struct topic_places *places, struct inbox *inbox, struct bytes name)
{
    char at[KEY_MAX];
    struct bytes key = write_key(owner_space(&inbox->owner), name, at);
    struct share *share = key.len > 0 ? take_share(places, owner_space(&inbox->owner)) : NULL;
    if (share == NULL) {
        return false;
    }
    struct topic *topic = take_topic(places, key, share, name.len == 0);
    if (topic == NULL) {
        drop_share_if_empty(places, share);
        return false;
    }
    struct topic_place *place = mem_try_calloc(1, sizeof(*place));
    if (place == NULL) {
        drop_if_empty(places, topic);
        return false;
    }
    place->topic = topic;
    place->inbox = inbox;
    list_append(&topic->walk.users, &place->topic_link);
    list_append(&inbox->places, &place->inbox_link);
    charge(places, share, (int64_t)mem_cost(sizeof(*place)));
    places->shard->stats.audience_places++;
    places->shard->stats.audience_unplaced += topic->nameless;
    return true;
}

static void free_place(struct topic_places *places, struct topic_place *place)
{
    struct topic *topic = place->topic;
    walk_remove(&topic->walk, &place->topic_link);
    list_remove(&place->inbox_link);
    mem_free(place);
    places->shard->stats.audience_unplaced -= topic->nameless;
    charge(places, topic->share, -(int64_t)mem_cost(sizeof(*place)));
    drop_if_empty(places, topic);
    places->shard->stats.audience_places--;
}

void topic_places_clear(struct topic_places *places, struct inbox *inbox)
{
    while (!list_empty(&inbox->places)) {
        free_place(places, container_of(inbox->places.next, struct topic_place, inbox_link));
    }
}

static void ask_topic(struct topic_places *places, struct bytes tenant, struct bytes name)
{
    char at[KEY_MAX];
    struct topic *topic = map_get(&places->topics, write_key(tenant, name, at));
    if (topic != NULL) {
        (void)walk_begin(places->walks, &topic->walk);
    }
}

void topic_places_ask(struct topic_places *places, struct bytes tenant, struct bytes topic)
{
    places->heard++;
    ask_topic(places, tenant, topic);
    ask_topic(places, tenant, bytes_of(NULL, 0));
}

/* Reading. */

static void on_read(struct store_request *request);

static void submit(struct reading *reading)
{
    struct bytes key = buf_bytes(reading->key);
    const char *slash = memchr(key.at, '/', key.len);
    size_t tenant = slash != NULL ? (size_t)(slash - key.at) : 0;
    reading->request = (struct store_topics){
        .base = {.op = STORE_TOPICS, .done = on_read},
        .tenant = bytes_of(key.at, tenant),
        .of_user = true,
        .user = slash != NULL ? bytes_skip(key, tenant + 1) : key,
        .after = bytes_of(reading->after, reading->after_len),
        .limit = READ_LIMIT,
    };
    store_submit(reading->places->shard->store, &reading->request.base);
}

static void tell_full(struct topic_places *places, struct bytes tenant)
{
    unsigned suppressed;
    if (log_allow(&places->full_log, &suppressed)) {
        log_warn("TOPICS-FULL",
            "there is no room for the topics of a user: each post to a topic of the tenant asks "
            "for it",
            "tenant=%s bytes=%llu limit=%llu suppressed=%u", log_quote(tenant),
            (unsigned long long)places->shard->stats.audience_bytes,
            (unsigned long long)places->shard->config->topics_bytes, suppressed);
    }
}

/* Who has no place for one of them is in the topic without a name; else (no memory) nowhere. */
static void take_in(struct reading *reading, struct inbox *inbox)
{
    struct topic_places *places = reading->places;
    struct bytes tenant = owner_space(&inbox->owner);
    reading->taken += reading->request.count;
    bool room = reading->taken <= STORE_TOPICS_MAX;
    for (size_t i = 0; i < reading->request.count && room; i++) {
        struct bytes name = reading->request.names[i]; /* of the database: of any length */
        room = has_room(places, tenant) && name.len <= NAMES_ROOM_MAX &&
               add_place(places, inbox, name);
    }
    if (!room) {
        if (!has_room(places, tenant)) {
            tell_full(places, tenant);
        }
        topic_places_clear(places, inbox);
        inbox->placing = !add_place(places, inbox, bytes_of(NULL, 0));
        reading->request.more = false;
    }
}

static void enqueue(struct topic_places *places, struct actor_ref user)
{
    struct reading_page *page = NULL;
    if (!list_empty(&places->queue)) {
        page = container_of(places->queue.prev, struct reading_page, link);
    }
    if (page == NULL || page->count == PAGE_USERS) {
        page = mem_alloc(sizeof(*page));
        list_append(&places->queue, &page->link);
    }
    page->users[page->count++] = user;
}

static void wait_a_while(struct topic_places *places)
{
    struct sched *sched = places->shard->sched;
    if (!timer_armed(&places->again)) {
        timer_set(sched_timers(sched), &places->again, sched_now(sched) + AGAIN_MS);
    }
}

/* A page of them is there: go on, or begin again where they have changed meanwhile. */
static bool goes_on(struct reading *reading, struct inbox *inbox)
{
    struct topic_places *places = reading->places;
    inbox->placing = false;
    take_in(reading, inbox);
    if (reading->request.more && !inbox->place_again) {
        struct bytes last = reading->request.names[reading->request.count - 1];
        memcpy(reading->after, last.at, last.len);
        reading->after_len = last.len;
        inbox->placing = true;
        return true;
    }
    if (inbox->placing || inbox->place_again) {
        if (inbox->placing) { /* no memory */
            wait_a_while(places);
        }
        inbox->placing = false;
        topic_places_read(places, inbox);
    } else if (reading->heard != places->heard) {
        positions_ask_later(places->shard->positions, inbox);
    }
    return false;
}

static void finish(struct reading *reading)
{
    struct topic_places *places = reading->places;
    store_request_finish(&reading->request.base);
    buf_unref(reading->key);
    mem_free(reading);
    places->reads--;
    if (places->closed && places->reads == 0) {
        mem_free(places);
    }
}

static void on_read(struct store_request *request)
{
    struct reading *reading = container_of(request, struct reading, request.base);
    struct topic_places *places = reading->places;
    struct actor *actor = places->closed ? NULL : actor_get(places->shard->sched, reading->user);
    struct inbox *inbox = (struct inbox *)(void *)actor;
    if (inbox != NULL && request->status == STATUS_INVALID) {
        inbox->placing = false; /* a database that cannot say it: nothing is gained by asking */
    } else if (inbox != NULL && request->status != 0) {
        enqueue(places, reading->user);
        wait_a_while(places);
    } else if (inbox != NULL && goes_on(reading, inbox)) {
        store_request_finish(&reading->request.base);
        submit(reading);
        return;
    }
    finish(reading);
}

static void read_user(struct topic_places *places, struct inbox *inbox)
{
    struct reading *reading = mem_alloc(sizeof(*reading));
    reading->places = places;
    reading->user = inbox->owner.actor.self;
    reading->key = buf_new_name(owner_key(&inbox->owner));
    reading->heard = places->heard;
    inbox->place_again = false;
    topic_places_clear(places, inbox);
    places->reads++;
    submit(reading);
}

void topic_places_read(struct topic_places *places, struct inbox *inbox)
{
    if (inbox->placing) {
        inbox->place_again = true;
        return;
    }
    inbox->placing = true;
    enqueue(places, inbox->owner.actor.self);
}

void topic_places_flush(struct topic_places *places)
{
    while (places->reads < READS_MAX && !list_empty(&places->queue) &&
           places->shard->store != NULL && !timer_armed(&places->again)) {
        struct reading_page *page = container_of(places->queue.next, struct reading_page, link);
        struct actor *actor = actor_get(places->shard->sched, page->users[--page->count]);
        if (page->count == 0) {
            list_remove(&page->link);
            mem_free(page);
        }
        if (actor != NULL) {
            read_user(places, (struct inbox *)(void *)actor);
        }
    }
}

static void on_again(struct timer *timer)
{
    topic_places_flush(container_of(timer, struct topic_places, again));
}

/* Life. */

struct topic_places *topic_places_create(struct shard *shard, struct walks *walks)
{
    struct topic_places *places = mem_alloc(sizeof(*places));
    places->shard = shard;
    places->walks = walks;
    map_init(&places->topics, topic_key);
    map_init(&places->shares, share_name);
    list_init(&places->queue);
    timer_init(&places->again, on_again);
    return places;
}

void topic_places_destroy(struct topic_places *places)
{
    if (places == NULL) {
        return;
    }
    timer_cancel(sched_timers(places->shard->sched), &places->again);
    size_t cursor = 0;
    for (struct topic *topic; (topic = map_next(&places->topics, &cursor)) != NULL;) {
        while (!list_empty(&topic->walk.users)) {
            struct topic_place *place =
                container_of(list_pop(&topic->walk.users), struct topic_place, topic_link);
            list_remove(&place->inbox_link);
            mem_free(place);
        }
        mem_free(topic);
    }
    map_finish(&places->topics);
    cursor = 0;
    for (struct share *share; (share = map_next(&places->shares, &cursor)) != NULL;) {
        mem_free(share);
    }
    map_finish(&places->shares);
    for (struct list *link; (link = list_pop(&places->queue)) != NULL;) {
        mem_free(container_of(link, struct reading_page, link));
    }
    places->closed = true;
    if (places->reads == 0) {
        mem_free(places);
    }
}
