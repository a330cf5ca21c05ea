/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backend posted becomes rows, or an event with its addressees; what was stored is
 * announced.
 */
#include "actors/inbox/post.h"

#include "actors/deliver/broadcast.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/retained.h"
#include "actors/history/room_history.h"
#include "actors/inbox/announce.h"
#include "actors/inbox/audience.h"
#include "actors/inbox/schedule_hint.h"
#include "actors/order/sequencer.h"
#include "actors/shard.h"
#include "actors/webhook_note.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/preferences.h"
#include "codec/slot.h"

enum { REMOVED_MS = 10000 /* so long it is known that what was kept was removed */ };

int post_rows(struct shard *shard, const struct notification_post *post, struct bytes key,
    struct store_row *rows)
{
    uint8_t content_hash[STORE_HASH_LEN];
    uint64_t now = sched_wall(shard->sched);
    struct bytes tenant = shard->config->tenants ? post->tenant : bytes_of(NULL, 0);
    bool unwanted = !preferences_want(shard->config->preferences, post->type, true);
    uint64_t digest_ms = preferences_digest(shard->config->preferences, post->type, 0);
    int status = notification_content_hash(shard->config->hash128, post, content_hash);
    for (uint32_t i = 0; i < post->target_count && status == 0; i++) {
        struct store_row *row = &rows[i];
        row->who = (struct store_user){.tenant = tenant, .user = post->targets[i]};
        row->type = post->type;
        row->title = post->title;
        row->message = post->message;
        row->data = post->data;
        row->priority = post->priority;
        row->created_at = now;
        row->expires_at = post->expires_at;
        row->deliver_at = post->deliver_at;
        row->collapse = post->collapse;
        row->unwanted = unwanted;
        row->digest_ms = digest_ms;
        uuid7_make(now, slot_of(tenant, post->targets[i]), row->id);
        memcpy(row->content_hash, content_hash, sizeof(row->content_hash));
        status = notification_key_hash(shard->config->hash128, tenant, post->targets[i],
            post->key.len > 0 ? post->key : key, row->key_hash);
    }
    return status;
}

/* The key of an audience: no user, topic or room has a slash in its name. */
static int hash_key(struct shard *shard, const struct notification_post *post, struct bytes key,
    struct store_audience_post *stored)
{
    struct builder scope = {0};
    builder_add(&scope, notification_audience_name(stored->kind));
    builder_byte(&scope, '/');
    builder_add(&scope, stored->name);
    int status = builder_status(&scope);
    if (status == 0) {
        status = notification_key_hash(shard->config->hash128, stored->tenant,
            builder_bytes(&scope), post->key.len > 0 ? post->key : key, stored->key_hash);
    }
    builder_reset(&scope);
    return status;
}

int post_audience(struct shard *shard, const struct notification_post *post, struct bytes key,
    struct store_audience_post *ret_post)
{
    bool list = post->target == NOTIFICATION_USERS;
    ret_post->tenant = shard->config->tenants ? post->tenant : bytes_of(NULL, 0);
    ret_post->kind = notification_audience_of(post);
    ret_post->name = post->target == NOTIFICATION_TOPIC ? post->targets[0] : bytes_of(NULL, 0);
    ret_post->users = list ? post->targets : NULL;
    ret_post->user_count = list ? post->target_count : 0;
    ret_post->include_new = post->include_new;
    ret_post->type = post->type;
    ret_post->title = post->title;
    ret_post->message = post->message;
    ret_post->data = post->data;
    ret_post->priority = post->priority;
    ret_post->created_at = sched_wall(shard->sched);
    ret_post->expires_at = post->expires_at;
    ret_post->unwanted = !preferences_want(shard->config->preferences, post->type, true);
    ret_post->digest_ms = preferences_digest(shard->config->preferences, post->type, 0);
    ret_post->deliver_at = post->deliver_at;
    uuid7_make(ret_post->created_at, SLOT_NONE, ret_post->id);
    int status = notification_content_hash(shard->config->hash128, post, ret_post->content_hash);
    return status == 0 ? hash_key(shard, post, key, ret_post) : status;
}

void post_audience_announce(struct shard *shard, const struct store_audience_post *post)
{
    bool kept = post->n == STORE_SEQ_SCHEDULED; /* nobody is to hear of it yet */
    if (post->outcome == OUTCOME_STORED) {
        shard->stats.audience_posts++;
        webhook_note_posted(shard, post);
    } else if (post->outcome == OUTCOME_SCHEDULED) {
        shard->stats.scheduled++;
        schedule_hint(shard, post->deliver_at);
    } else {
        shard->stats.duplicates++;
    }
    if (!kept) {
        audience_announce(shard->audience, post);
    }
}

static void announce_stored(
    struct shard *shard, const struct store_row *rows, size_t count, bool repeats)
{
    uint64_t earliest = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        if (store_outcome_is_new(rows[i].outcome)) {
            shard->stats.stored++;
            announce_row(shard, &rows[i]);
        } else if (rows[i].outcome == OUTCOME_SUPPRESSED) {
            shard->stats.suppressed++;
        } else if (rows[i].outcome == OUTCOME_SCHEDULED) {
            shard->stats.scheduled++;
            earliest = rows[i].deliver_at < earliest ? rows[i].deliver_at : earliest;
        } else {
            shard->stats.duplicates++;
            if (repeats) {
                announce_repeat(shard, rows[i].who);
            }
        }
    }
    if (earliest < UINT64_MAX) {
        schedule_hint(shard, earliest);
    }
}

void post_announce(struct shard *shard, const struct store_row *rows, size_t count)
{
    announce_stored(shard, rows, count, true);
}

void post_announce_new(struct shard *shard, const struct store_row *rows, size_t count)
{
    announce_stored(shard, rows, count, false);
}

/* The wire name of one target, written to `at` (WIRE_NAME_MAX bytes). */
static struct bytes wire_name_of(struct bytes space, struct bytes name, bool user, char *at)
{
    char key_at[WIRE_KEY_MAX];
    return user ? wire_name_user(wire_key_user(space, name, key_at), at)
                : wire_name_room(space, name, at);
}

static void add_name(
    struct broadcast_names *names, struct bytes space, struct bytes name, bool user)
{
    char at[WIRE_NAME_MAX];
    broadcast_names_add(names, wire_name_of(space, name, user, at));
}

/*
 * Wire names of targets and exceptions; everyone of a tenant is not a room, so `all` needs no
 * tenant. Takes over the reference of `event`; NULL without memory.
 */
static struct broadcast *address(
    const struct notification_post *post, struct bytes space, struct event *event)
{
    struct broadcast_names names;
    broadcast_names_init(&names, post->target_count + post->except_count);
    for (uint32_t i = 0; i < post->target_count; i++) {
        add_name(&names, space, post->targets[i], post->target == NOTIFICATION_USERS);
    }
    for (uint32_t i = 0; i < post->except_count; i++) {
        add_name(&names, space, post->except[i], false);
    }
    return broadcast_from_names(event, &names, post->target_count);
}

/* Have the event kept, for as long as its kind of target says. False: no memory. */
static bool keep(
    const struct shard *shard, const struct notification_post *post, struct broadcast *broadcast)
{
    const struct retain_settings *settings = &shard->config->retain;
    uint64_t age_ms = post->target == NOTIFICATION_USERS ? settings->user_age_ms : settings->age_ms;
    return broadcast_keep(broadcast, post->retain,
        sched_wall(shard->sched) + (post->removes ? REMOVED_MS : age_ms), post->removes);
}

/* Whether one target may have the value: a status, with what is told of it. */
static int check_kept(struct shard *shard, struct retained *retained, struct bytes target,
    const struct notification_post *post, const struct retained_demand *demand)
{
    const struct actor_config *config = shard->config;
    char at[WIRE_KEY_MAX];
    struct bytes key;
    bool is_room = target.len > 0 && !wire_name_user_key(target, at, &key);
    if (is_room && config->retain.keeps != NULL &&
        !config->retain.keeps(config->context, wire_name_client(target))) {
        return STATUS_DENIED;
    }
    return post->removes ? 0 : retained_check(retained, target, post->retain, demand);
}

/* What a poster is told who may not have it kept. */
static void explain(int status, struct notification_fault *ret_fault)
{
    *ret_fault = (struct notification_fault){.field = "retain"};
    ret_fault->message =
        status == STATUS_DENIED ? "Nothing is kept for a room of this type"
        : status == STATUS_FULL ? "More names than retain.names for one of those it is for"
        : status == STATUS_INVALID
            ? "More than a client takes at once (7/8 of limits.outbound_bytes) would "
              "be kept for one of those it is for"
        : status == STATUS_RATE_LIMITED
            ? "More than a quarter of retain.bytes, the part of one tenant, would be kept"
            : "More than retain.bytes would be kept";
}

int post_event_check(
    struct shard *shard, const struct notification_post *post, struct notification_fault *ret_fault)
{
    const struct fanout *fanout = fanout_find(shard, BYTES("/"));
    struct retained *retained = fanout != NULL ? fanout->retained : NULL;
    struct bytes space = shard->config->tenants ? post->tenant : bytes_of(NULL, 0);
    if (post->retain.len == 0) {
        return 0;
    }
    if (retained == NULL) {
        *ret_fault = (struct notification_fault){
            .field = "retain", .message = "Nothing is kept here: retain.bytes is 0"};
        return STATUS_INVALID;
    }
    size_t count = post->target_count > 0 ? post->target_count : 1;
    size_t names = post->target_count + post->except_count;
    size_t bytes = post->event.len + post->args.len;
    const struct retained_demand demand = {
        .all = count * retained_cost(bytes, post->retain.len, names),
        .here = bytes + post->retain.len};
    for (size_t i = 0; i < count; i++) {
        char at[WIRE_NAME_MAX];
        struct bytes target = bytes_of(NULL, 0);
        if (post->target != NOTIFICATION_ALL) {
            target = wire_name_of(space, post->targets[i], post->target == NOTIFICATION_USERS, at);
        }
        int status = check_kept(shard, retained, target, post, &demand);
        if (status != 0) {
            shard->stats.retain.dropped += status != STATUS_DENIED;
            explain(status, ret_fault);
            return STATUS_INVALID;
        }
    }
    return 0;
}

int post_event_make(
    struct shard *shard, const struct notification_post *post, struct broadcast **ret_broadcast)
{
    struct bytes space = shard->config->tenants ? post->tenant : bytes_of(NULL, 0);
    unsigned flags = (post->is_volatile ? EVENT_VOLATILE : 0u) |
                     (post->priority == NOTIFICATION_URGENT ? EVENT_URGENT : 0u);
    struct event *event;
    if (post->target_count + post->except_count > BROADCAST_NAMES_MAX) {
        return STATUS_TOO_LARGE;
    }
    int status = event_from_args(post->event, post->args, flags, &event);
    if (status != 0) {
        return status;
    }
    struct broadcast *broadcast = address(post, space, event);
    if (broadcast != NULL && post->retain.len > 0 && !keep(shard, post, broadcast)) {
        broadcast_unref(broadcast);
        broadcast = NULL;
    }
    *ret_broadcast = broadcast;
    return broadcast != NULL ? 0 : STATUS_NOMEM;
}

void post_event_send(struct shard *shard, struct broadcast *broadcast)
{
    (void)sequencer_send(shard, BYTES("/"), broadcast); /* it was made */
}

/* An event that is told behind what is kept before it, and itself. */
struct posting {
    struct history_call call; /* first */
    struct shard *shard;
    struct broadcast *broadcast;
};

/* What cannot be kept is told all the same: its poster is told nothing any more. */
static void on_kept(struct history_call *call, int status)
{
    struct posting *posting = container_of(call, struct posting, call);
    posting->shard->stats.history.unkept += status != 0;
    post_event_send(posting->shard, posting->broadcast);
    mem_free(posting);
}

static int keep_and_send(struct shard *shard, struct broadcast *broadcast)
{
    struct posting *posting = mem_try_calloc(1, sizeof(*posting));
    if (posting == NULL) {
        broadcast_unref(broadcast);
        return STATUS_NOMEM;
    }
    posting->shard = shard;
    posting->broadcast = broadcast;
    history_call_begin(&posting->call, on_kept);
    history_call_add(&posting->call, shard, broadcast, bytes_of(NULL, 0), NULL);
    int status = history_call_end(&posting->call);
    if (status != STATUS_AGAIN) {
        on_kept(&posting->call, status);
    }
    return 0;
}

int post_event(struct shard *shard, const struct notification_post *post)
{
    struct broadcast *broadcast;
    int status = post_event_make(shard, post, &broadcast);
    if (status != 0) {
        return status;
    }
    if (room_history_wants(shard, broadcast)) {
        return keep_and_send(shard, broadcast);
    }
    post_event_send(shard, broadcast);
    return 0;
}
