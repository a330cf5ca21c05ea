/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells all shards of posts to many, and serves those who are online here.
 *
 * Order of this file: tenants and which of their posts were heard of, serving, looking for what was
 * not heard of, hearing, telling, users, life.
 */
#include "actors/inbox/audience.h"

#include "actors/inbox/announce.h"
#include "actors/inbox/announce_queue.h"
#include "actors/inbox/inbox.h"
#include "actors/inbox/inbox_bus.h"
#include "actors/inbox/positions.h"
#include "actors/inbox/teller.h"
#include "actors/inbox/topic_places.h"
#include "actors/inbox/walk.h"
#include "actors/order/bus_origin.h"
#include "actors/shard.h"
#include "codec/audience_hint.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "sql/store.h"

enum { POSTED_LIMIT = 1000, AHEAD = 64 };
enum { LISTS_MAX = 64 }; /* being told */

/* A tenant that has users on this shard, and which of its posts were heard of. */
struct tenant {
    struct walk walk; /* inbox.tenant_link */
    bool known; /* `through` is */
    bool asked; /* by the look under way, or one of its round before */
    uint64_t through; /* all up to here were */
    uint64_t ahead; /* bit i: through + 1 + i was */
    size_t len;
    char name[];
};

/* Which posts there are above what was heard of. */
struct look {
    struct store_posted request;
    struct audience *audience;
    struct builder names;
    struct store_posted_from from[STORE_PAGE_MAX];
    bool due[STORE_PAGE_MAX]; /* all users of the tenant are asked for, once for all its posts */
};

/* A list whose users are being told, on their channels. */
struct list_telling {
    struct telling telling; /* first */
    struct audience *audience;
    size_t tenant_len;
    size_t at; /* into names */
    struct builder names; /* the tenant, then each name with a line feed behind it */
    struct buf *hint; /* told behind the last: who dies before leaves the post to the recheck */
};

struct audience {
    struct shard *shard;
    struct topic_places *places;
    struct walks walks; /* over users of tenants, of topics, and of the shard */
    struct walk joining; /* everybody: who is in no tenant joins it */
    struct walk unsure; /* everybody: some node could not say whose inbox has changed */
    struct map tenants; /* struct tenant by name */
    struct timer recheck;
    struct teller teller;
    uint32_t list_count; /* being told */
    struct log_limit late_log;
    struct look *look; /* under way; NULL: none */
    bool look_soon; /* at the end of the turn, or when the one under way was answered */
    bool blind; /* there was no memory for a tenant: its users are asked for at the recheck */
    bool closed;
};

/* Tenants. */

static struct bytes tenant_name(const void *tenant)
{
    return bytes_of(((const struct tenant *)tenant)->name, ((const struct tenant *)tenant)->len);
}

static void look_again(struct audience *audience)
{
    audience->look_soon = true;
    size_t cursor = 0;
    for (struct tenant *tenant; (tenant = map_next(&audience->tenants, &cursor)) != NULL;) {
        tenant->asked = false;
    }
}

static void ask_user(struct walk *walk, struct list *link)
{
    struct inbox *inbox = container_of(link, struct inbox, tenant_link);
    (void)walk;
    positions_ask_later(shard_of(&inbox->owner.actor)->positions, inbox);
}

/* NULL: no memory. */
static struct tenant *take_tenant(struct audience *audience, struct bytes name)
{
    struct tenant *tenant = map_get(&audience->tenants, name);
    if (tenant != NULL) {
        return tenant;
    }
    tenant = mem_try_calloc(1, sizeof(*tenant) + name.len);
    if (tenant == NULL) {
        return NULL;
    }
    walk_init(&tenant->walk, ask_user);
    tenant->len = name.len;
    if (name.len > 0) {
        memcpy(tenant->name, name.at, name.len);
    }
    if (!map_put(&audience->tenants, tenant)) {
        mem_free(tenant);
        return NULL;
    }
    audience->look_soon = true; /* where it stands */
    return tenant;
}

/* Note that post `n` was heard of; false: it was before. */
static bool note(struct audience *audience, struct tenant *tenant, uint64_t n)
{
    if (!tenant->known) {
        return true;
    }
    if (n <= tenant->through) {
        return false;
    }
    if (n - tenant->through > AHEAD) {
        look_again(audience); /* many hints were lost */
        return true;
    }
    uint64_t bit = UINT64_C(1) << (n - tenant->through - 1);
    if (tenant->ahead & bit) {
        return false;
    }
    tenant->ahead |= bit;
    while (tenant->ahead & 1) {
        tenant->through++;
        tenant->ahead >>= 1;
    }
    return true;
}

/* All up to `n` were heard of, now. */
static void pass(struct tenant *tenant, uint64_t n)
{
    uint64_t more = n > tenant->through ? n - tenant->through : 0;
    tenant->ahead = more < AHEAD ? tenant->ahead >> more : 0;
    tenant->through += more;
    tenant->known = true;
}

/* Serving. */

static void ask_tenant(struct audience *audience, struct tenant *tenant)
{
    audience->shard->stats.audience_walks += walk_begin(&audience->walks, &tenant->walk);
}

/* Looking. */

/* Users of a list that was found here may not have been told: all are asked for. */
static void take_post(struct look *look, const struct store_posted_one *post)
{
    struct audience *audience = look->audience;
    struct bytes name = look->request.tenants[post->tenant].tenant;
    struct tenant *tenant = map_get(&audience->tenants, name);
    if (tenant == NULL || !tenant->known || !note(audience, tenant, post->n)) {
        return;
    }
    audience->shard->stats.audience_found++;
    if (post->kind == AUDIENCE_TOPIC) {
        topic_places_ask(audience->places, name, post->name);
    } else {
        look->due[post->tenant] = true;
    }
}

static void take_posts(struct look *look)
{
    struct audience *audience = look->audience;
    const struct store_posted *posted = &look->request;
    for (size_t i = 0; i < posted->post_count; i++) {
        take_post(look, &posted->posts[i]);
    }
    for (size_t i = 0; i < posted->tenant_count; i++) {
        struct tenant *tenant = map_get(&audience->tenants, posted->tenants[i].tenant);
        bool told = tenant != NULL && posted->heads[i] != UINT64_MAX; /* else it is asked again */
        /* What passed may not have met its users. */
        if (tenant != NULL && (look->due[i] || (told && !tenant->known))) {
            ask_tenant(audience, tenant);
        }
        if (told) {
            pass(tenant, posted->heads[i]);
            tenant->asked = !posted->more;
        }
    }
    audience->look_soon = audience->look_soon || posted->more;
}

static void free_if_closed(struct audience *audience)
{
    if (audience->closed && audience->look == NULL) {
        mem_free(audience);
    }
}

static void on_posted(struct store_request *request)
{
    struct look *look = container_of(request, struct look, request.base);
    struct audience *audience = look->audience;
    audience->look = NULL;
    if (!audience->closed && request->status == 0) {
        take_posts(look);
    }
    store_request_finish(request);
    builder_reset(&look->names);
    mem_free(look);
    free_if_closed(audience);
}

/* The tenants that were not asked about in this round, as many as a request takes. */
static size_t gather(struct audience *audience, struct look *look)
{
    size_t count = 0;
    size_t cursor = 0;
    for (struct tenant *tenant; (tenant = map_next(&audience->tenants, &cursor)) != NULL;) {
        if (tenant->asked && tenant->known) {
            continue;
        }
        if (count == STORE_PAGE_MAX) {
            audience->look_soon = true;
            break;
        }
        tenant->asked = true;
        builder_add(&look->names, tenant_name(tenant));
        look->from[count].tenant.len = tenant->len;
        look->from[count++].after = tenant->known ? tenant->through : UINT64_MAX;
    }
    const char *at = builder_bytes(&look->names).at;
    for (size_t i = 0; i < count; i++) {
        look->from[i].tenant.at = at;
        at += look->from[i].tenant.len;
    }
    return builder_failed(&look->names) ? 0 : count;
}

static void look(struct audience *audience)
{
    if (audience->look != NULL || audience->shard->store == NULL) {
        return;
    }
    audience->look_soon = false;
    struct look *look = mem_alloc(sizeof(*look));
    size_t count = gather(audience, look);
    if (count == 0) {
        builder_reset(&look->names);
        mem_free(look);
        return;
    }
    look->audience = audience;
    look->request = (struct store_posted){
        .base = {.op = STORE_POSTED, .done = on_posted},
        .tenants = look->from,
        .tenant_count = count,
        .limit = POSTED_LIMIT,
    };
    audience->look = look;
    store_submit(audience->shard->store, &look->request.base);
}

void audience_flush(struct audience *audience)
{
    announce_queue_flush(audience->shard->announcements);
    walks_flush(&audience->walks);
    topic_places_flush(audience->places);
    if (audience->look_soon) {
        look(audience);
    }
}

/* Nodes must not all ask in the same moment: between half and the whole of the interval. */
static void arm(struct audience *audience)
{
    struct shard *shard = audience->shard;
    uint64_t half = shard->config->recheck_ms / 2;
    uint64_t delay = half + rand_below(&shard->rand, half + 1);
    timer_set(sched_timers(shard->sched), &audience->recheck, sched_now(shard->sched) + delay);
}

/* Have the user among those of its tenant; false: no memory. */
static bool join_tenant(struct audience *audience, struct inbox *inbox)
{
    struct tenant *tenant = take_tenant(audience, owner_space(&inbox->owner));
    if (tenant == NULL) {
        audience->blind = true;
        return false;
    }
    list_append(&tenant->walk.users, &inbox->tenant_link);
    return true;
}

/* There was no memory for a tenant: its users join it now, and are asked for. */
static void join_again(struct walk *walk, struct list *link)
{
    struct audience *audience = container_of(walk, struct audience, joining);
    struct inbox *inbox = container_of(link, struct inbox, shard_link);
    if (list_empty(&inbox->tenant_link)) {
        (void)join_tenant(audience, inbox);
        positions_ask_later(audience->shard->positions, inbox);
    }
}

static void on_recheck(struct timer *timer)
{
    struct audience *audience = container_of(timer, struct audience, recheck);
    look_again(audience);
    if (audience->blind) {
        audience->blind = false;
        walk_everybody(audience->shard, &audience->joining);
    }
    arm(audience);
}

/* Hearing. */

/* A post that was taken back or changed has no number: its own was heard of, mostly. */
static void take_hint(struct audience *audience, const struct audience_hint *hint)
{
    if (hint->kind == AUDIENCE_NONE) {
        look_again(audience);
        return;
    }
    struct tenant *tenant = map_get(&audience->tenants, hint->tenant);
    bool changed = hint->n == 0;
    if (tenant == NULL || (!changed && !note(audience, tenant, hint->n))) {
        return;
    }
    if (hint->kind == AUDIENCE_TOPIC) {
        topic_places_ask(audience->places, hint->tenant, hint->name);
    } else if (hint->kind == AUDIENCE_ALL ||
               changed) { /* those of a list were told by who posted it */
        ask_tenant(audience, tenant);
    }
}

static void on_told(void *context, struct bytes payload)
{
    struct audience *audience = context;
    struct audience_hint hint;
    if (audience_hint_decode(payload, &hint) == 0 &&
        bus_origin_of(audience->shard, "post to many", hint.uid) == BUS_ORIGIN_PEER) {
        take_hint(audience, &hint);
    }
}

/* Whatever of the inbox of this user has changed is looked for: rows, preferences, topics. */
static void look_at_user(struct walk *walk, struct list *link)
{
    struct audience *audience = container_of(walk, struct audience, unsure);
    struct inbox *inbox = container_of(link, struct inbox, shard_link);
    positions_ask_later(audience->shard->positions, inbox);
    topic_places_read(audience->places, inbox);
}

static void on_unsure(void *context)
{
    struct audience *audience = context;
    walk_everybody(audience->shard, &audience->unsure);
}

static void on_resumed(void *context)
{
    struct audience *audience = context;
    look_again(audience);
}

/* A hint for another shard of this node. */
struct passed_hint {
    struct sched *sched;
    struct buf *payload;
};

static void hear_here(void *arg, bool cancelled)
{
    struct passed_hint *passed = arg;
    const struct shard *shard = cancelled ? NULL : sched_user(passed->sched);
    struct audience_hint hint;
    if (shard != NULL && shard->audience != NULL &&
        audience_hint_decode(buf_bytes(passed->payload), &hint) == 0) {
        take_hint(shard->audience, &hint);
    }
    buf_unref(passed->payload);
    mem_free(passed);
}

/* Telling. */

static void tell_all(struct audience *audience, struct buf *payload)
{
    struct shard *shard = audience->shard;
    struct actor_system *system = sched_system(shard->sched);
    if (shard->inbox_bus != NULL) {
        inbox_bus_tell_post(shard->inbox_bus, buf_bytes(payload));
    }
    for (unsigned i = 0; i < actor_system_shards(system); i++) {
        struct passed_hint *passed = mem_alloc(sizeof(*passed));
        passed->sched = actor_system_sched(system, i);
        passed->payload = buf_ref(payload);
        sched_post(system, i, hear_here, passed);
    }
}

static struct buf *write_hint(struct audience *audience, const struct audience_hint *what)
{
    struct audience_hint hint = *what;
    struct builder uid = {0};
    struct builder out = {0};
    bus_origin_write_uid(audience->shard, &uid);
    hint.uid = builder_bytes(&uid);
    audience_hint_encode(&hint, &out);
    builder_reset(&uid);
    return builder_finish(&out);
}

static void on_late(void *context)
{
    struct audience *audience = context;
    struct buf *payload = write_hint(audience, &(struct audience_hint){.kind = AUDIENCE_NONE});
    if (payload != NULL) {
        tell_all(audience, payload);
        buf_unref(payload);
    }
}

static struct list_telling *list_telling_of(struct telling *telling)
{
    return container_of(telling, struct list_telling, telling);
}

static void drop_list(struct telling *telling)
{
    struct list_telling *list = list_telling_of(telling);
    list->audience->list_count--;
    buf_unref(list->hint);
    builder_reset(&list->names);
    mem_free(list);
}

/* Tell some of a list, and the hint behind the last. */
static bool tell_some(struct telling *telling, unsigned most)
{
    struct list_telling *list = list_telling_of(telling);
    struct audience *audience = list->audience;
    struct bytes text = builder_bytes(&list->names);
    struct bytes tenant = bytes_of(text.at, list->tenant_len);
    for (unsigned i = 0; i < most && list->at < text.len; i++) {
        const char *name = text.at + list->at;
        const char *end = memchr(name, '\n', text.len - list->at);
        size_t len = (size_t)(end - name);
        announce_repeat(audience->shard, (struct store_user){tenant, bytes_of(name, len)});
        list->at += len + 1;
    }
    if (list->at < text.len) {
        return true;
    }
    tell_all(audience, list->hint);
    drop_list(telling);
    return false;
}

/* NULL: there are too many, or no memory. */
static struct list_telling *create_list(
    struct audience *audience, const struct store_audience_post *post, struct buf *hint)
{
    struct list_telling *list =
        audience->list_count < LISTS_MAX ? mem_try_calloc(1, sizeof(*list)) : NULL;
    if (list == NULL) {
        return NULL;
    }
    *list = (struct list_telling){
        .telling = {.tell = tell_some, .drop = drop_list},
        .audience = audience,
        .tenant_len = post->tenant.len,
        .at = post->tenant.len,
        .hint = buf_ref(hint),
    };
    audience->list_count++;
    builder_add(&list->names, post->tenant);
    for (size_t i = 0; i < post->user_count; i++) {
        builder_add(&list->names, post->users[i]);
        builder_byte(&list->names, '\n'); /* no name has control characters */
    }
    if (builder_failed(&list->names)) {
        drop_list(&list->telling);
        return NULL;
    }
    return list;
}

/* The users of a list, each on its channel. Without room for them the recheck finds the post. */
static void tell_list(
    struct audience *audience, const struct store_audience_post *post, struct buf *hint)
{
    struct list_telling *list = create_list(audience, post, hint);
    unsigned suppressed;
    if (list != NULL) {
        teller_tell(audience->shard, &list->telling);
    } else if (log_allow(&audience->late_log, &suppressed)) {
        log_warn("AUDIENCE-LATE",
            "the users of a list are not told of a post at once, the recheck finds it",
            "lists=%u suppressed=%u", (unsigned)audience->list_count, suppressed);
    }
}

void audience_announce(struct audience *audience, const struct store_audience_post *post)
{
    if (audience == NULL || post->outcome == OUTCOME_CONFLICT) {
        return;
    }
    bool repeat = post->outcome == OUTCOME_DUPLICATE; /* the first one's hint may have been lost */
    bool unnamed = post->kind == AUDIENCE_LIST && post->user_count == 0; /* it was for later */
    enum notification_audience kind = unnamed ? AUDIENCE_ALL : post->kind;
    struct buf *payload = write_hint(audience, &(struct audience_hint){
                                                   .kind = repeat ? AUDIENCE_NONE : kind,
                                                   .n = post->n,
                                                   .tenant = post->tenant,
                                                   .name = repeat ? bytes_of(NULL, 0) : post->name,
                                               });
    if (payload == NULL) {
        return; /* the recheck finds it */
    }
    if (kind == AUDIENCE_LIST && !repeat) {
        tell_list(audience, post, payload);
    } else {
        tell_all(audience, payload);
    }
    buf_unref(payload);
}

void audience_announce_change(struct audience *audience, struct bytes tenant,
    enum notification_audience kind, struct bytes name)
{
    if (audience == NULL) {
        return;
    }
    struct buf *payload =
        write_hint(audience, &(struct audience_hint){.kind = kind, .tenant = tenant, .name = name});
    if (payload != NULL) { /* else the sweep tells them */
        tell_all(audience, payload);
        buf_unref(payload);
    }
}

/* Users. */

void audience_enter(struct audience *audience, struct inbox *inbox)
{
    list_init(&inbox->places);
    list_init(&inbox->tenant_link);
    if (audience == NULL) {
        return;
    }
    (void)join_tenant(audience, inbox);
    topic_places_read(audience->places, inbox);
}

void audience_leave(struct audience *audience, struct inbox *inbox)
{
    if (audience == NULL) {
        return;
    }
    topic_places_clear(audience->places, inbox);
    if (list_empty(&inbox->tenant_link)) {
        return;
    }
    struct tenant *tenant = map_get(&audience->tenants, owner_space(&inbox->owner));
    walk_remove(&tenant->walk, &inbox->tenant_link);
    if (list_empty(&tenant->walk.users)) {
        walk_finish(&tenant->walk);
        map_remove(&audience->tenants, tenant_name(tenant));
        mem_free(tenant);
    }
}

void audience_place(struct audience *audience, struct inbox *inbox)
{
    if (audience != NULL) {
        topic_places_read(audience->places, inbox);
    }
}

/* Life. */

static const struct inbox_bus_posts heard_posts = {
    .told = on_told,
    .unsure = on_unsure,
    .resumed = on_resumed,
    .late = on_late,
};

struct audience *audience_create(struct shard *shard)
{
    struct audience *audience = mem_alloc(sizeof(*audience));
    audience->shard = shard;
    walks_init(&audience->walks, shard);
    walk_init_everybody(&audience->joining, shard, join_again);
    walk_init_everybody(&audience->unsure, shard, look_at_user);
    audience->places = topic_places_create(shard, &audience->walks);
    map_init(&audience->tenants, tenant_name);
    teller_init(&audience->teller, shard);
    shard->teller = &audience->teller;
    shard->walks = &audience->walks;
    shard->announcements = announce_queue_create(shard);
    timer_init(&audience->recheck, on_recheck);
    arm(audience);
    return audience;
}

void audience_connect(struct audience *audience)
{
    inbox_bus_hear_posts(audience->shard->inbox_bus, &heard_posts, audience);
}

void audience_destroy(struct audience *audience)
{
    if (audience == NULL) {
        return;
    }
    timer_cancel(sched_timers(audience->shard->sched), &audience->recheck);
    teller_finish(&audience->teller);
    walks_finish(&audience->walks);
    announce_queue_destroy(audience->shard->announcements);
    audience->shard->teller = NULL;
    audience->shard->walks = NULL;
    audience->shard->announcements = NULL;
    topic_places_destroy(audience->places);
    size_t cursor = 0;
    for (struct tenant *tenant; (tenant = map_next(&audience->tenants, &cursor)) != NULL;) {
        while (list_pop(&tenant->walk.users) != NULL) {
        }
        mem_free(tenant);
    }
    map_finish(&audience->tenants);
    audience->closed = true;
    free_if_closed(audience);
}
