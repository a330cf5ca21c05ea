/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users by name, each with a short list of answers; tenants in classes by what they have, so that
 * one of the largest is found at once. Order of this file: tenants, users, room, getting, putting,
 * life.
 */
#include "hub/api/read_cache.h"

#include <string.h>

#include "actors/wire_name.h"
#include "codec/base/list.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"

enum { CLASSES = 64 };

/* An answer of a user. */
struct answer {
    struct list link; /* user.answers; the one kept first is first */
    struct buf *body;
    size_t cost;
    size_t name_len;
    char name[];
};

struct tenant {
    struct list link; /* read_cache.classes */
    struct list users; /* user.tenant_link; the one read last is last */
    size_t bytes;
    size_t len;
    char name[];
};

struct user {
    struct tenant *tenant;
    struct list tenant_link;
    struct list age_link; /* read_cache.by_age */
    struct list answers;
    unsigned count;
    struct read_stamp stamp; /* of all answers */
    uint64_t made_ms; /* when the first of them was */
    size_t bytes;
    size_t key_len;
    char key[];
};

struct read_cache {
    struct map users;
    struct map tenants;
    struct list classes[CLASSES]; /* tenant.link: class n has 2^n to 2^(n + 1) - 1 bytes */
    struct list by_age; /* user.age_link; the oldest first */
    size_t max_bytes;
    uint64_t age_ms;
    size_t bytes; /* without the tables */
    uint64_t asked; /* mem_asked, as last seen */
    struct read_cache_stats stats;
};

static struct bytes tenant_name(const void *object)
{
    const struct tenant *tenant = object;
    return bytes_of(tenant->name, tenant->len);
}

static struct bytes user_key(const void *object)
{
    const struct user *user = object;
    return bytes_of(user->key, user->key_len);
}

static void copy_text(char *to, struct bytes text)
{
    if (text.len > 0) {
        memcpy(to, text.at, text.len);
    }
}

/* Tenants. */

static unsigned class_of(size_t bytes)
{
    return bytes > 0 ? (unsigned)(CLASSES - 1 - __builtin_clzll(bytes)) : 0;
}

/* A user of the tenant has `more` bytes more, or `less` less. */
static void weigh(struct read_cache *cache, struct tenant *tenant, size_t more, size_t less)
{
    unsigned before = class_of(tenant->bytes);
    tenant->bytes = tenant->bytes + more - less;
    cache->bytes = cache->bytes + more - less;
    if (class_of(tenant->bytes) != before) {
        list_remove(&tenant->link);
        list_append(&cache->classes[class_of(tenant->bytes)], &tenant->link);
    }
}

/* NULL: no memory. */
static struct tenant *take_tenant(struct read_cache *cache, struct bytes name)
{
    struct tenant *tenant = map_get(&cache->tenants, name);
    if (tenant != NULL) {
        return tenant;
    }
    tenant = mem_try_calloc(1, sizeof(*tenant) + name.len);
    if (tenant == NULL) {
        return NULL;
    }
    tenant->len = name.len;
    copy_text(tenant->name, name);
    if (!map_put(&cache->tenants, tenant)) {
        mem_free(tenant);
        return NULL;
    }
    list_init(&tenant->users);
    list_append(&cache->classes[0], &tenant->link);
    weigh(cache, tenant, mem_cost(sizeof(*tenant) + name.len), 0);
    return tenant;
}

static void release_tenant(struct read_cache *cache, struct tenant *tenant)
{
    if (list_empty(&tenant->users)) {
        map_remove(&cache->tenants, tenant_name(tenant));
        list_remove(&tenant->link);
        cache->bytes -= tenant->bytes;
        mem_free(tenant);
    }
}

/* Users. */

static void change_bytes(struct read_cache *cache, struct user *user, size_t more, size_t less)
{
    user->bytes = user->bytes + more - less;
    weigh(cache, user->tenant, more, less);
}

static void drop_answer(struct read_cache *cache, struct user *user, struct answer *answer)
{
    list_remove(&answer->link);
    user->count--;
    cache->stats.answers--;
    change_bytes(cache, user, 0, answer->cost);
    buf_unref(answer->body);
    mem_free(answer);
}

static void drop_answers(struct read_cache *cache, struct user *user)
{
    while (!list_empty(&user->answers)) {
        drop_answer(cache, user, container_of(user->answers.next, struct answer, link));
    }
}

static void drop_user(struct read_cache *cache, struct user *user)
{
    struct tenant *tenant = user->tenant;
    drop_answers(cache, user);
    change_bytes(cache, user, 0, user->bytes);
    map_remove(&cache->users, user_key(user));
    list_remove(&user->tenant_link);
    list_remove(&user->age_link);
    mem_free(user);
    release_tenant(cache, tenant);
}

static struct user *find_user(const struct read_cache *cache, struct store_user who)
{
    char at[WIRE_KEY_MAX];
    return map_get(&cache->users, wire_key_user(who.tenant, who.user, at));
}

/* A user that has no answers yet; NULL: no memory. */
static struct user *add_user(struct read_cache *cache, struct store_user who)
{
    char at[WIRE_KEY_MAX];
    struct bytes key = wire_key_user(who.tenant, who.user, at);
    struct tenant *tenant = take_tenant(cache, who.tenant);
    struct user *user = tenant != NULL ? mem_try_calloc(1, sizeof(*user) + key.len) : NULL;
    if (user != NULL) {
        user->key_len = key.len;
        copy_text(user->key, key);
    }
    if (user == NULL || !map_put(&cache->users, user)) {
        mem_free(user);
        if (tenant != NULL) {
            release_tenant(cache, tenant);
        }
        return NULL;
    }
    user->tenant = tenant;
    list_init(&user->answers);
    list_append(&tenant->users, &user->tenant_link);
    list_append(&cache->by_age, &user->age_link);
    change_bytes(cache, user, mem_cost(sizeof(*user) + key.len), 0);
    return user;
}

static struct answer *find_answer(const struct user *user, struct bytes name)
{
    list_for_each (link, &user->answers) {
        struct answer *answer = container_of(link, struct answer, link);
        if (bytes_eq(bytes_of(answer->name, answer->name_len), name)) {
            return answer;
        }
    }
    return NULL;
}

/* Room. */

static size_t all_bytes(const struct read_cache *cache)
{
    return cache->bytes + map_bytes(&cache->users) + map_bytes(&cache->tenants);
}

static void clear(struct read_cache *cache)
{
    while (!list_empty(&cache->by_age)) {
        drop_user(cache, container_of(cache->by_age.next, struct user, age_link));
    }
    map_finish(&cache->users);
    map_finish(&cache->tenants);
    map_init(&cache->users, user_key);
    map_init(&cache->tenants, tenant_name);
}

/* One of the tenants that have most; there is one. The others of its class come before it next. */
static struct tenant *largest(struct read_cache *cache)
{
    unsigned class = CLASSES - 1;
    while (list_empty(&cache->classes[class])) {
        class --;
    }
    struct list *link = list_pop(&cache->classes[class]);
    list_append(&cache->classes[class], link);
    return container_of(link, struct tenant, link);
}

static void make_room(struct read_cache *cache)
{
    while (all_bytes(cache) > cache->max_bytes && map_count(&cache->users) > 0) {
        struct tenant *tenant = largest(cache);
        cache->stats.evicted++;
        drop_user(cache, container_of(tenant->users.next, struct user, tenant_link));
    }
}

static bool is_too_old(const struct read_cache *cache, const struct user *user, uint64_t now_ms)
{
    return now_ms >= user->made_ms + cache->age_ms;
}

static void give_back(struct read_cache *cache)
{
    if (cache->asked != mem_asked()) {
        cache->asked = mem_asked();
        clear(cache);
    }
}

void read_cache_tidy(struct read_cache *cache, uint64_t now_ms)
{
    give_back(cache);
    while (!list_empty(&cache->by_age)) {
        struct user *user = container_of(cache->by_age.next, struct user, age_link);
        if (!is_too_old(cache, user, now_ms)) {
            return;
        }
        drop_user(cache, user);
    }
}

/* Getting. */

struct buf *read_cache_get(struct read_cache *cache, struct store_user who, struct bytes name,
    uint64_t session, uint64_t now_ms, struct read_stamp *ret_stamp)
{
    struct user *user = find_user(cache, who);
    if (user == NULL || user->stamp.session != session || is_too_old(cache, user, now_ms)) {
        return NULL;
    }
    const struct answer *answer = find_answer(user, name);
    if (answer == NULL) {
        return NULL;
    }
    list_remove(&user->tenant_link);
    list_append(&user->tenant->users, &user->tenant_link);
    *ret_stamp = user->stamp;
    return buf_ref(answer->body);
}

void read_cache_count(struct read_cache *cache, bool hit)
{
    cache->stats.hits += hit ? 1 : 0;
    cache->stats.misses += hit ? 0 : 1;
}

const struct read_cache_stats *read_cache_stats(struct read_cache *cache)
{
    cache->stats.bytes = all_bytes(cache);
    return &cache->stats;
}

/* Putting. */

/* Whether `a` shows an earlier state than `b`. */
static bool is_earlier(struct read_stamp a, struct read_stamp b)
{
    return a.session != b.session ? a.session < b.session : a.rev < b.rev;
}

/* Make the user's answers those of `stamp`; false: they show a later state. */
static bool take_stamp(
    struct read_cache *cache, struct user *user, struct read_stamp stamp, uint64_t now_ms)
{
    if (user->count > 0 && is_earlier(stamp, user->stamp)) {
        return false;
    }
    if (user->count > 0 && is_earlier(user->stamp, stamp)) {
        drop_answers(cache, user);
    }
    if (user->count == 0) {
        user->stamp = stamp;
        user->made_ms = now_ms;
        list_remove(&user->age_link);
        list_append(&cache->by_age, &user->age_link);
    }
    return true;
}

/* NULL: no memory. */
static struct answer *make_answer(struct bytes name, struct bytes body)
{
    struct answer *answer = mem_try_alloc(sizeof(*answer) + name.len);
    struct buf *copy = answer != NULL ? buf_new(body) : NULL;
    if (copy == NULL) {
        mem_free(answer);
        return NULL;
    }
    answer->body = copy;
    answer->cost = mem_cost(sizeof(*answer) + name.len) + mem_cost(sizeof(*copy) + body.len);
    answer->name_len = name.len;
    copy_text(answer->name, name);
    return answer;
}

static void add_answer(struct read_cache *cache, struct user *user, struct answer *answer)
{
    size_t most = cache->max_bytes / READ_CACHE_PART;
    struct answer *same = find_answer(user, bytes_of(answer->name, answer->name_len));
    if (same != NULL) {
        drop_answer(cache, user, same);
    }
    while (user->count > 0 &&
           (user->count == READ_CACHE_ANSWERS || user->bytes + answer->cost > most)) {
        drop_answer(cache, user, container_of(user->answers.next, struct answer, link));
    }
    list_append(&user->answers, &answer->link);
    user->count++;
    cache->stats.answers++;
    change_bytes(cache, user, answer->cost, 0);
}

void read_cache_put(
    struct read_cache *cache, const struct read_cache_answer *answer, uint64_t now_ms)
{
    give_back(cache);
    if (answer->name.len > READ_CACHE_NAME_MAX ||
        answer->body.len >= cache->max_bytes / READ_CACHE_PART) {
        return;
    }
    struct user *user = find_user(cache, answer->who);
    user = user != NULL ? user : add_user(cache, answer->who);
    struct answer *made = NULL;
    if (user != NULL && take_stamp(cache, user, answer->stamp, now_ms)) {
        made = make_answer(answer->name, answer->body);
    }
    if (made != NULL) {
        add_answer(cache, user, made);
    } else if (user != NULL && user->count == 0) {
        drop_user(cache, user);
    }
    make_room(cache);
}

/* Life. */

struct read_cache *read_cache_create(void)
{
    struct read_cache *cache = mem_alloc(sizeof(*cache));
    map_init(&cache->users, user_key);
    map_init(&cache->tenants, tenant_name);
    for (unsigned i = 0; i < CLASSES; i++) {
        list_init(&cache->classes[i]);
    }
    list_init(&cache->by_age);
    cache->asked = mem_asked();
    return cache;
}

void read_cache_destroy(struct read_cache *cache)
{
    if (cache != NULL) {
        clear(cache);
        mem_free(cache);
    }
}

void read_cache_set_limits(struct read_cache *cache, size_t bytes, uint64_t age_ms)
{
    cache->max_bytes = bytes;
    cache->age_ms = age_ms;
    make_room(cache);
}
