/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks requests about posts to many, clears what they answer, and knows who lacks rows.
 */
#include "sql/audience.h"

#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/slot.h"
#include "sql/store_device.h"

enum { AUDIENCE_TEXT_MAX = 16 << 20 };

static bool is_text(struct bytes text, size_t max)
{
    return text.len <= max && (text.len == 0 || !memchr(text.at, '\0', text.len));
}

static bool is_name(struct bytes name)
{
    return is_text(name, STORE_NAME_MAX);
}

static bool are_names(const struct bytes *names, size_t count, size_t most)
{
    for (size_t i = 0; i < count && count <= most; i++) {
        if (!is_name(names[i])) {
            return false;
        }
    }
    return count >= 1 && count <= most;
}

static bool is_limit(uint32_t limit)
{
    return limit >= 1 && limit <= STORE_PAGE_MAX;
}

/* What is posted and when, whoever it is for. */
static bool is_content(const struct store_audience_post *post)
{
    return is_name(post->type) && is_text(post->title, AUDIENCE_TEXT_MAX) &&
           is_text(post->message, AUDIENCE_TEXT_MAX) && post->data.len <= AUDIENCE_TEXT_MAX &&
           post->priority >= NOTIFICATION_LOW && post->priority <= NOTIFICATION_URGENT &&
           post->created_at <= INT64_MAX && post->expires_at <= INT64_MAX &&
           post->deliver_at <= INT64_MAX && post->version <= INT64_MAX &&
           post->digest_ms <= INT64_MAX / 2;
}

/* The users of a list that was kept are in the store. */
static bool is_list(const struct store_audience_post *post)
{
    return post->due ? post->user_count == 0
                     : are_names(post->users, post->user_count, STORE_AUDIENCE_USERS_MAX);
}

static bool is_post(const struct store_audience_post *post)
{
    bool topic = post->kind == AUDIENCE_TOPIC && post->name.len > 0 && is_name(post->name);
    bool list = post->kind == AUDIENCE_LIST && is_list(post);
    bool all = post->kind == AUDIENCE_ALL;
    return is_name(post->tenant) && (topic || ((list || all) && post->name.len == 0)) &&
           (all || !post->include_new) && is_content(post) && is_name(post->last_id) &&
           post->token <= INT64_MAX && slot_of_id(post->id) == SLOT_NONE;
}

static bool is_revise(const struct store_revise *revise)
{
    return is_name(revise->tenant) && revise->fields > 0 && revise->fields <= INT32_MAX &&
           is_text(revise->title, AUDIENCE_TEXT_MAX) &&
           is_text(revise->message, AUDIENCE_TEXT_MAX) && revise->data.len <= AUDIENCE_TEXT_MAX &&
           revise->priority >= NOTIFICATION_LOW && revise->priority <= NOTIFICATION_URGENT &&
           revise->expires_at <= INT64_MAX && revise->at <= INT64_MAX;
}

static bool is_subscribe(const struct store_subscribe *subscribe)
{
    return is_name(subscribe->tenant) && subscribe->topic.len > 0 && is_name(subscribe->topic) &&
           are_names(subscribe->users, subscribe->user_count, STORE_PAGE_MAX);
}

static bool is_subscribers(const struct store_subscribers *subscribers)
{
    return is_name(subscribers->tenant) && is_name(subscribers->topic) &&
           is_name(subscribers->after) && is_limit(subscribers->limit);
}

static bool is_topics(const struct store_topics *topics)
{
    return is_name(topics->tenant) && is_name(topics->user) && is_name(topics->after) &&
           is_limit(topics->limit);
}

static bool is_posted(const struct store_posted *posted)
{
    for (size_t i = 0; i < posted->tenant_count && posted->tenant_count <= STORE_PAGE_MAX; i++) {
        if (!is_name(posted->tenants[i].tenant)) {
            return false;
        }
    }
    return posted->tenant_count <= STORE_PAGE_MAX && is_limit(posted->limit);
}

static bool is_sweep(const struct store_sweep *sweep)
{
    return sweep->now <= INT64_MAX && sweep->tombstone_ms <= INT64_MAX && is_limit(sweep->limit);
}

bool audience_is_valid(const struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_AUDIENCE_POST:
        return is_post((const struct store_audience_post *)request);
    case STORE_AUDIENCE_SWEEP:
        return is_sweep((const struct store_sweep *)request);
    case STORE_POSTED:
        return is_posted((const struct store_posted *)request);
    case STORE_RETRACT:
        return is_name(((const struct store_retract *)request)->tenant);
    case STORE_REVISE:
        return is_revise((const struct store_revise *)request);
    case STORE_SUBSCRIBE:
        return is_subscribe((const struct store_subscribe *)request);
    case STORE_SUBSCRIBERS:
        return is_subscribers((const struct store_subscribers *)request);
    case STORE_TOPICS:
        return is_topics((const struct store_topics *)request);
    default:
        return false;
    }
}

void audience_clear(struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_AUDIENCE_POST: {
        struct store_audience_post *post = (struct store_audience_post *)request;
        post->outcome = OUTCOME_STORED;
        post->n = 0;
        post->nobody = false;
        break;
    }
    case STORE_AUDIENCE_SWEEP: {
        struct store_sweep *sweep = (struct store_sweep *)request;
        sweep->users = NULL;
        sweep->user_count = 0;
        sweep->more = false;
        sweep->late_ms = 0;
        break;
    }
    case STORE_POSTED: {
        struct store_posted *posted = (struct store_posted *)request;
        posted->heads = NULL;
        posted->posts = NULL;
        posted->post_count = 0;
        posted->more = false;
        break;
    }
    case STORE_RETRACT: {
        struct store_retract *retract = (struct store_retract *)request;
        retract->n = 0;
        retract->kind = AUDIENCE_NONE;
        retract->name = (struct bytes){0};
        break;
    }
    case STORE_REVISE: {
        struct store_revise *revise = (struct store_revise *)request;
        revise->n = 0;
        revise->kind = AUDIENCE_NONE;
        revise->name = (struct bytes){0};
        break;
    }
    case STORE_SUBSCRIBE:
        ((struct store_subscribe *)request)->changed = 0;
        ((struct store_subscribe *)request)->full = 0;
        break;
    case STORE_SUBSCRIBERS: {
        struct store_subscribers *subscribers = (struct store_subscribers *)request;
        subscribers->names = NULL;
        subscribers->count = 0;
        subscribers->more = false;
        break;
    }
    case STORE_TOPICS: {
        struct store_topics *topics = (struct store_topics *)request;
        topics->names = NULL;
        topics->count = 0;
        topics->more = false;
        break;
    }
    default:
        break;
    }
}

/* --- who lacks rows --- */

size_t audience_user_count(const struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_PUT:
        return ((const struct store_put *)request)->count;
    case STORE_POSITIONS:
        return ((const struct store_positions *)request)->count;
    case STORE_MARK:
    case STORE_PREFERENCE_WRITE:
    case STORE_DEVICE_PUT:
    case STORE_LIST:
    case STORE_PAGE:
    case STORE_TEXTS:
    case STORE_ROWS:
    case STORE_COUNTS:
    case STORE_SYNC:
        return 1;
    case STORE_GET: /* that names whose row it asks for */
        return ((const struct store_get *)request)->who.user.len > 0 ? 1 : 0;
    default:
        return 0;
    }
}

const struct store_user *audience_user(const struct store_request *request, size_t index)
{
    switch ((unsigned)request->op) {
    case STORE_PUT:
        return &((const struct store_put *)request)->rows[index].who;
    case STORE_POSITIONS:
        return &((const struct store_positions *)request)->users[index];
    case STORE_MARK:
        return &((const struct store_mark *)request)->who;
    case STORE_PREFERENCE_WRITE:
        return &((const struct store_preference *)request)->who;
    case STORE_DEVICE_PUT:
        return &((const struct store_devices *)request)->who;
    case STORE_LIST:
    case STORE_PAGE: /* begins with a list */
    case STORE_TEXTS:
    case STORE_ROWS:
        return &((const struct store_list *)request)->who;
    case STORE_COUNTS:
        return &((const struct store_counts *)request)->who;
    case STORE_SYNC:
        return &((const struct store_sync *)request)->who;
    case STORE_GET:
        return &((const struct store_get *)request)->who;
    default:
        break;
    }
    CHECK(false);
    return NULL;
}

bool audience_is_asked(const struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_LIST:
    case STORE_PAGE:
    case STORE_TEXTS:
    case STORE_ROWS:
    case STORE_COUNTS:
    case STORE_SYNC:
        return true;
    case STORE_POSITIONS:
        return !((const struct store_positions *)request)->current;
    case STORE_GET:
        return audience_user_count(request) > 0;
    default:
        return false;
    }
}

void audience_lack(struct store_request *request, uint32_t index)
{
    if (request->lacking == NULL) {
        request->lacking = mem_alloc_array(audience_user_count(request), sizeof(*request->lacking));
    }
    if (request->lacking_count < audience_user_count(request)) {
        request->lacking[request->lacking_count++] = index;
    }
}

void audience_lack_all(struct store_request *request)
{
    audience_forget(request);
    for (uint32_t i = 0; i < audience_user_count(request); i++) {
        audience_lack(request, i);
    }
}

void audience_forget(struct store_request *request)
{
    mem_free(request->lacking);
    request->lacking = NULL;
    request->lacking_count = 0;
}

/* Comparing all users of two requests costs more than waiting. */
enum { COMPARED_MAX = 10000 };

static bool is_fenced(const struct store_request *request)
{
    return request->op == STORE_PUT && ((const struct store_put *)request)->fenced;
}

static bool share_user(const struct store_request *a, const struct store_request *b)
{
    for (size_t i = 0; i < audience_user_count(a); i++) {
        const struct store_user *who = audience_user(a, i);
        for (size_t j = 0; j < audience_user_count(b); j++) {
            const struct store_user *other = audience_user(b, j);
            if (bytes_eq(who->user, other->user) && bytes_eq(who->tenant, other->tenant)) {
                return true;
            }
        }
    }
    return false;
}

bool audience_follows(const struct store_request *request, const struct store_request *earlier)
{
    size_t pairs = audience_user_count(request) * audience_user_count(earlier);
    bool apart = pairs > 0 && pairs <= COMPARED_MAX && !is_fenced(request) && !is_fenced(earlier);
    return request->port == earlier->port && (!apart || share_user(request, earlier));
}

/* --- what is sent, and told --- */

size_t audience_size(const struct store_audience_post *post)
{
    size_t size = 256 + post->tenant.len + post->name.len + post->type.len + post->title.len +
                  post->message.len + post->data.len;
    for (size_t i = 0; i < post->user_count; i++) {
        size += post->users[i].len + 16;
    }
    return size;
}

void audience_apply(struct store_audience_post *post, const struct put_result *result)
{
    post->outcome = result->outcome;
    memcpy(post->id, result->id, NOTIFICATION_ID_LEN);
    post->n = result->seq;
    post->nobody = result->nobody;
}

void audience_read(struct bytes text, struct result *arena, struct notification_item *item)
{
    enum { ID_LEN = 36 };
    char kind = text.len > 0 ? text.at[0] : '0';
    bool known = kind > '0' && kind < '0' + AUDIENCE_COUNT;
    if (text.len > ID_LEN && known && uuid_parse(text.at + 1, ID_LEN, item->audience_id) == 0) {
        item->audience = (enum notification_audience)(kind - '0');
        item->audience_name = result_copy(arena, bytes_skip(text, 1 + ID_LEN));
    }
}
