/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks backends by signed requests, and tells all who asked the same. Order of this file: hooks,
 * askings, what an answer comes to, asking, life.
 */
#include "hub/hooks/hooks.h"

#include <string.h>

#include "actors/identity.h"
#include "actors/shard.h"
#include "codec/base/breaker.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "hub/hooks/askers.h"
#include "hub/hooks/backend.h"
#include "hub/hooks/hook_cache.h"
#include "hub/hooks/hook_share.h"
#include "hub/hooks/hook_text.h"
#include "hub/net/crypto.h"
#include "hub/net/loop.h"

enum {
    REST_MS = 1000,
    REST_MAX_MS = 30000,
    NO_MS = 5000, /* who was refused asks again soon */
    ID_BYTES = 16,
};

static const struct breaker_limits breaker_limits = {HOOKS_FAILURES, REST_MS, REST_MAX_MS};

/* A hook of the settings, and what is known of it. */
struct hook {
    struct outgoing_endpoint endpoint;
    struct breaker breaker;
    struct log_limit log;
    unsigned refs; /* the list, and what is under way */
    char *name;
    char *url;
};

struct hooks {
    struct loop *loop;
    struct shard *shard;
    struct outgoing *outgoing;
    const struct hook_settings *settings;
    struct hook *list[HOOKS_MAX]; /* as in the settings */
    unsigned count;
    struct map askings; /* asking.key, of what others may join */
    struct askers askers;
    struct hook_cache cache;
    struct hook_share *share; /* NULL: without a bus, or without hooks */
    bool closed;
    struct hook_stats stats;
};

/* A question that is under way. */
struct asking {
    struct outgoing_request request;
    struct hook_share_look look; /* whether another node knows the answer */
    struct hooks *hooks;
    struct hook *hook;
    struct identity *who; /* one reference */
    struct list calls; /* hook_call.link */
    enum hook_kind kind;
    bool is_alone; /* nobody joins it: it is not in `askings` */
    uint32_t round; /* of the breaker */
    uint32_t cache_ms;
    uint8_t key[HOOK_KEY_LEN];
    struct builder data; /* the question */
    struct builder body;
    struct signature_lines lines;
};

static struct bytes key_of_asking(const void *object)
{
    return bytes_of(((const struct asking *)object)->key, HOOK_KEY_LEN);
}

/* Hooks. */

static struct hook *make_hook(const struct hook_options *options)
{
    struct hook *hook = mem_alloc(sizeof(*hook));
    hook->refs = 1;
    hook->name = mem_dup(options->name, strlen(options->name));
    hook->url = mem_dup(options->url, strlen(options->url));
    return hook;
}

static void unref_hook(struct hook *hook)
{
    if (--hook->refs == 0) {
        mem_free(hook->name);
        mem_free(hook->url);
        mem_free(hook);
    }
}

/* The one of that name and URL, which is taken out of the list; NULL: none. */
static struct hook *take_hook(struct hooks *hooks, const struct hook_options *options)
{
    for (unsigned i = 0; i < hooks->count; i++) {
        struct hook *hook = hooks->list[i];
        if (hook != NULL && strcmp(hook->name, options->name) == 0 &&
            strcmp(hook->url, options->url) == 0) {
            hooks->list[i] = NULL;
            return hook;
        }
    }
    return NULL;
}

void hooks_set(struct hooks *hooks, const struct hook_settings *settings)
{
    struct hook *list[HOOKS_MAX] = {NULL};
    for (unsigned i = 0; i < settings->count; i++) {
        const struct hook_options *options = &settings->items[i];
        struct hook *hook = take_hook(hooks, options);
        list[i] = hook != NULL ? hook : make_hook(options);
        list[i]->endpoint.under_way_max = options->under_way;
        list[i]->endpoint.waiting_max = options->waiting;
    }
    for (unsigned i = 0; i < hooks->count; i++) {
        if (hooks->list[i] != NULL) {
            unref_hook(hooks->list[i]);
        }
    }
    memcpy(hooks->list, list, sizeof(list));
    hooks->count = settings->count;
    hooks->settings = settings;
    outgoing_set(hooks->outgoing, settings->guard, settings->ca);
    if (hooks->share == NULL && hooks->shard->bus != NULL && settings->count > 0) {
        hooks->share = hook_share_open(hooks->shard);
    }
}

int hooks_find(const struct hook_settings *settings, const char *word)
{
    if (strncmp(word, "hook:", 5) != 0) {
        return -1;
    }
    for (unsigned i = 0; i < settings->count; i++) {
        if (strcmp(settings->items[i].name, word + 5) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Askings. */

/* NULL: no memory. */
static struct asking *make_asking(
    struct hooks *hooks, const struct hook_question *question, struct bytes data)
{
    struct asking *asking = mem_try_calloc(1, sizeof(*asking));
    if (asking != NULL) {
        struct hook *hook = hooks->list[question->hook];
        asking->hooks = hooks;
        asking->hook = hook;
        asking->kind = question->kind;
        asking->who = identity_ref((struct identity *)(uintptr_t)question->who);
        asking->data.max = UINT32_MAX;
        builder_add(&asking->data, data);
        asking->is_alone = true;
        asking->body.max = UINT32_MAX;
        list_init(&asking->calls);
        hook->refs++;
    }
    return asking;
}

static void destroy_asking(struct asking *asking)
{
    if (!asking->is_alone) {
        map_remove(&asking->hooks->askings, key_of_asking(asking));
    }
    unref_hook(asking->hook);
    identity_unref(asking->who);
    builder_reset(&asking->request.answer);
    builder_reset(&asking->data);
    builder_reset(&asking->body);
    signature_finish_lines(&asking->lines);
    mem_free(asking);
}

/* The lines that say whose the body is; false: no memory. */
static bool sign(struct asking *asking, const struct hook_options *options)
{
    uint8_t id[ID_BYTES];
    rand_secret(id, sizeof(id));
    return signature_write_lines(options->secrets, options->secret_count, id,
        sched_wall(asking->hooks->shard->sched) / 1000, builder_bytes(&asking->body),
        &asking->lines);
}

/* What an answer comes to. */

static void tell_breaker(const struct hook *hook)
{
    enum breaker_state state = breaker_get_state(&hook->breaker);
    if (state == BREAKER_OPEN) {
        log_warn("HOOK-OPEN", "a hook has failed again and again, it is not asked for a while",
            "hook=%s failures=%d", log_quote(bytes_str(hook->name)), (int)HOOKS_FAILURES);
    } else {
        log_info(
            "HOOK-CLOSED", "a hook answers again", "hook=%s", log_quote(bytes_str(hook->name)));
    }
}

static void note_failure(struct asking *asking, const char *why)
{
    struct hook *hook = asking->hook;
    unsigned held_back;
    asking->hooks->stats.failed++;
    if (log_allow(&hook->log, &held_back)) {
        log_warn("HOOK-FAILED", "a hook did not answer as it should, who asked is refused",
            "hook=%s reason=%s status=%u suppressed=%u", log_quote(bytes_str(hook->name)),
            log_quote(bytes_str(why)), asking->request.status, held_back);
    }
    bool changes = backend_is_there(&asking->request)
                       ? breaker_note_success(&hook->breaker, asking->round)
                       : breaker_note_failure(&hook->breaker, &breaker_limits,
                             sched_now(asking->hooks->shard->sched), asking->round);
    if (changes) {
        tell_breaker(hook);
    }
}

static void note_answer(struct asking *asking, const struct hook_answer *answer)
{
    struct hooks *hooks = asking->hooks;
    uint64_t now = sched_now(hooks->shard->sched);
    uint64_t most = answer->allow || asking->cache_ms < NO_MS ? asking->cache_ms : NO_MS;
    uint64_t keep_ms = answer->has_ttl ? UINT64_C(1000) * answer->ttl_s : most;
    hooks->stats.allowed += answer->allow;
    hooks->stats.denied += !answer->allow;
    if (breaker_note_success(&asking->hook->breaker, asking->round)) {
        tell_breaker(asking->hook);
    }
    if (asking->kind != HOOK_EVENT && keep_ms > 0) {
        hook_cache_put(&hooks->cache, asking->key, answer->allow, now, now + keep_ms);
        if (hooks->share != NULL && !hooks->closed) {
            hook_share_put(
                hooks->share, identity_claims(asking->who), asking->key, answer->allow, keep_ms);
        }
    }
}

/* Whether there is an answer; else it was noted why not. */
static bool read_answer(struct asking *asking, struct hook_answer *ret_answer)
{
    const struct outgoing_request *request = &asking->request;
    const char *fault = backend_fault(request);
    if (fault == NULL) {
        fault = hook_text_read(builder_bytes(&request->answer), ret_answer);
    }
    if (fault != NULL && (request->end == OUTGOING_CLOSED || !request->sent)) {
        /* What has only waited here says nothing of the backend. */
        asking->hooks->stats.refused += request->end != OUTGOING_CLOSED;
        breaker_release(&asking->hook->breaker, asking->round);
    } else if (fault != NULL) {
        note_failure(asking, fault);
    }
    return fault == NULL;
}

/* Tell all who asked, and free it. `result` may be empty. */
static void complete(struct asking *asking, int status, struct bytes result)
{
    struct list calls;
    list_init(&calls);
    list_splice(&calls, &asking->calls);
    if (!asking->is_alone) { /* who asks again because of this answer begins anew */
        map_remove(&asking->hooks->askings, key_of_asking(asking));
        asking->is_alone = true;
    }
    asking->hooks->stats.under_way--;
    for (struct list *link; (link = list_pop(&calls)) != NULL;) {
        struct hook_call *call = container_of(link, struct hook_call, link);
        askers_release(&asking->hooks->askers, call->asker);
        call->asker = NULL;
        call->status = status;
        call->result = result;
        call->done(call);
    }
    destroy_asking(asking);
}

static void on_done(struct outgoing_request *request)
{
    struct asking *asking = container_of(request, struct asking, request);
    struct hook_answer answer = {0};
    int status = STATUS_UNAVAILABLE;
    if (read_answer(asking, &answer)) {
        note_answer(asking, &answer);
        status = answer.allow ? 0 : STATUS_DENIED;
    }
    complete(asking, status, answer.result);
}

/* Asking. */

/* The question as it is known by: of this hook, which goes there. */
static void make_key(const struct hook *hook, struct bytes data, uint8_t ret_key[HOOK_KEY_LEN])
{
    struct builder text = {.max = UINT32_MAX};
    builder_str(&text, hook->name);
    builder_byte(&text, '\0');
    builder_str(&text, hook->url);
    builder_byte(&text, '\0');
    builder_add(&text, data);
    crypto_hash128(builder_bytes(&text), ret_key);
    builder_reset(&text);
}

/* Send it; false: it was not. */
static bool begin(struct asking *asking, const struct hook_options *options)
{
    struct hooks *hooks = asking->hooks;
    hook_text_write_body(
        asking->kind, sched_wall(hooks->shard->sched), builder_bytes(&asking->data), &asking->body);
    builder_reset(&asking->data);
    if (!sign(asking, options) || builder_failed(&asking->body)) {
        return false;
    }
    asking->cache_ms = options->cache_ms;
    asking->request.endpoint = &asking->hook->endpoint;
    asking->request.url = asking->hook->url;
    asking->request.headers = asking->lines.lines;
    asking->request.header_count = ARRAY_LEN(asking->lines.lines);
    asking->request.body = builder_bytes(&asking->body);
    asking->request.timeout_ms = options->timeout_ms; /* whatever Redis took */
    asking->request.answer_max = HOOKS_ANSWER_MAX;
    asking->request.done = on_done;
    return outgoing_begin(hooks->outgoing, &asking->request) == 0;
}

/* The hook as the settings have it now; NULL: it is gone. */
static const struct hook_options *options_of(const struct hooks *hooks, const struct hook *hook)
{
    for (unsigned i = 0; i < hooks->count; i++) {
        if (hooks->list[i] == hook) {
            return &hooks->settings->items[i];
        }
    }
    return NULL;
}

/* Ask the backend; false: it is not asked. */
static bool send_question(struct asking *asking)
{
    struct hooks *hooks = asking->hooks;
    struct hook *hook = asking->hook;
    const struct hook_options *options = options_of(hooks, hook);
    uint64_t now = sched_now(hooks->shard->sched);
    if (options != NULL && breaker_take(&hook->breaker, now, &asking->round)) {
        if (begin(asking, options)) {
            hooks->stats.asked++;
            return true;
        }
        breaker_release(&hook->breaker, asking->round);
    }
    hooks->stats.refused++;
    return false;
}

/* What another node has been told holds here, too. */
static void on_looked(struct hook_share_look *look, bool allow, uint64_t left_ms)
{
    struct asking *asking = container_of(look, struct asking, look);
    struct hooks *hooks = asking->hooks;
    uint64_t now = sched_now(hooks->shard->sched);
    if (left_ms > 0) {
        hooks->stats.shared++;
        hook_cache_put(&hooks->cache, asking->key, allow, now, now + left_ms);
        complete(asking, allow ? 0 : STATUS_DENIED, bytes_of(NULL, 0));
    } else if (hooks->closed || !send_question(asking)) {
        complete(asking, STATUS_UNAVAILABLE, bytes_of(NULL, 0));
    }
}

/* Look for the answer, or ask for it; false: it cannot be had. */
static bool start(struct asking *asking)
{
    struct hooks *hooks = asking->hooks;
    if (asking->kind == HOOK_EVENT || hooks->share == NULL || !hook_share_is_up(hooks->share)) {
        return send_question(asking);
    }
    asking->look.done = on_looked;
    hook_share_get(hooks->share, identity_claims(asking->who), asking->key, &asking->look);
    return true;
}

/* Whether the answer is known. */
static bool recall(struct hooks *hooks, const uint8_t key[HOOK_KEY_LEN], int *ret_status)
{
    bool allow;
    bool is_known = hook_cache_get(&hooks->cache, key, sched_now(hooks->shard->sched), &allow);
    if (is_known) {
        hooks->stats.known++;
        *ret_status = allow ? 0 : STATUS_DENIED;
    }
    return is_known;
}

/* Wait for what others wait for; STATUS_NOT_FOUND: it is to be asked for. */
static int join(struct hooks *hooks, const uint8_t key[HOOK_KEY_LEN], struct hook_call *call)
{
    struct asking *asking = map_get(&hooks->askings, bytes_of(key, HOOK_KEY_LEN));
    if (asking == NULL) {
        return STATUS_NOT_FOUND;
    }
    hooks->stats.joined++;
    list_append(&asking->calls, &call->link);
    return STATUS_AGAIN;
}

static int ask_anew(struct hooks *hooks, const struct hook_question *question,
    const uint8_t key[HOOK_KEY_LEN], struct bytes data, struct hook_call *call)
{
    struct asking *asking = make_asking(hooks, question, data);
    if (asking == NULL) {
        return STATUS_UNAVAILABLE;
    }
    memcpy(asking->key, key, HOOK_KEY_LEN);
    if (builder_failed(&asking->data) || !start(asking)) {
        destroy_asking(asking);
        return STATUS_UNAVAILABLE;
    }
    hooks->stats.under_way++;
    list_append(&asking->calls, &call->link);
    if (question->kind != HOOK_EVENT) {
        asking->is_alone = !map_put(&hooks->askings, asking);
    }
    return STATUS_AGAIN;
}

/* As hooks_ask, where the answer is not known. */
static int ask(struct hooks *hooks, const struct hook_question *question,
    const uint8_t key[HOOK_KEY_LEN], struct bytes data, struct hook_call *call)
{
    /* Of who comes one is told once, and nobody waits for that. */
    int status = question->kind != HOOK_WARM ? askers_take(&hooks->askers, question->who,
                                                   hooks->settings->per_user, &call->asker)
                                             : 0;
    if (status != 0) {
        return status;
    }
    status = question->kind != HOOK_EVENT ? join(hooks, key, call) : STATUS_NOT_FOUND;
    if (status == STATUS_NOT_FOUND) {
        status = ask_anew(hooks, question, key, data, call);
    }
    if (status != STATUS_AGAIN) {
        askers_release(&hooks->askers, call->asker);
        call->asker = NULL;
    }
    return status;
}

int hooks_ask(struct hooks *hooks, const struct hook_question *question, struct hook_call *call)
{
    uint8_t key[HOOK_KEY_LEN] = {0};
    struct builder data = {.max = UINT32_MAX};
    int status = STATUS_UNAVAILABLE;
    list_init(&call->link);
    call->asker = NULL;
    if (hooks->closed || question->hook >= hooks->count) {
        return status;
    }
    hook_text_write_question(question, &data);
    if (!builder_failed(&data)) {
        bool is_known = false;
        if (question->kind != HOOK_EVENT) {
            make_key(hooks->list[question->hook], builder_bytes(&data), key);
            is_known = recall(hooks, key, &status);
        }
        if (!is_known) {
            status = ask(hooks, question, key, builder_bytes(&data), call);
        }
    }
    builder_reset(&data);
    return status;
}

/* Life. */

struct hooks *hooks_open(struct loop *loop, const struct hook_settings *settings)
{
    struct hooks *hooks = mem_alloc(sizeof(*hooks));
    hooks->loop = loop;
    hooks->shard = loop_shard(loop);
    hooks->outgoing = outgoing_open(loop);
    map_init(&hooks->askings, key_of_asking);
    askers_init(&hooks->askers);
    hook_cache_init(&hooks->cache, HOOKS_KNOWN_MAX);
    hooks_set(hooks, settings);
    return hooks;
}

void hooks_close(struct hooks *hooks)
{
    if (!hooks->closed) {
        hooks->closed = true;
        hook_share_close(hooks->share);
        hooks->share = NULL;
        outgoing_close(hooks->outgoing);
    }
}

uint64_t hooks_count_open(const struct hooks *hooks)
{
    return outgoing_count_open(hooks->outgoing);
}

void hooks_destroy(struct hooks *hooks)
{
    if (hooks == NULL) {
        return;
    }
    for (unsigned i = 0; i < hooks->count; i++) {
        unref_hook(hooks->list[i]);
    }
    hook_cache_finish(&hooks->cache);
    map_finish(&hooks->askings);
    askers_finish(&hooks->askers);
    outgoing_destroy(hooks->outgoing);
    mem_free(hooks);
}

/* Nobody has asked for long: what it was then says nothing of what it is now. */
static void forget(struct hook *hook, uint64_t now)
{
    if (breaker_forget(&hook->breaker, now, HOOKS_FORGET_MS)) {
        log_info("HOOK-FORGOTTEN",
            "a hook that failed was asked nothing since, the next question goes to it", "hook=%s",
            log_quote(bytes_str(hook->name)));
    }
}

const struct hook_stats *hooks_get_stats(struct hooks *hooks)
{
    uint64_t now = sched_now(hooks->shard->sched);
    hooks->stats.evicted = hooks->cache.evicted;
    hooks->stats.bounded = hooks->askers.bounded;
    for (unsigned i = 0; i < hooks->count; i++) {
        forget(hooks->list[i], now);
    }
    for (unsigned i = 0; i < HOOKS_MAX; i++) {
        enum breaker_state state =
            i < hooks->count ? breaker_get_state(&hooks->list[i]->breaker) : BREAKER_CLOSED;
        hooks->stats.half_open[i] = state == BREAKER_HALF_OPEN;
        hooks->stats.open[i] = state == BREAKER_OPEN;
    }
    return &hooks->stats;
}

const struct outgoing_stats *hooks_get_requests(const struct hooks *hooks)
{
    return outgoing_get_stats(hooks->outgoing);
}
