/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked about users as a whole: erasing one.
 *
 * A step of the store erases some rows of each table; steps go on until nothing is left, also when
 * who asked has gone. Whoever holds the user is told after each.
 */
#include "actors/inbox/announce.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"

struct forget_call {
    struct api_call api; /* first */
    struct shard *shard;
    struct api_who who;
    struct store_forget forget;
    uint64_t erased[STORE_FORGOTTEN_COUNT]; /* by all steps */
};

static void free_call(struct forget_call *call)
{
    api_call_end(&call->api);
    mem_free(call);
}

static void on_overdue(struct api_call *api)
{
    api_refuse_status(api->request, STATUS_UNKNOWN);
}

static void log_erased(const struct forget_call *call)
{
    uint64_t rows = 0;
    for (unsigned i = 0; i < STORE_FORGOTTEN_COUNT; i++) {
        rows += call->erased[i];
    }
    log_info("USER-ERASED", "all that the store had of a user was erased",
        "tenant=%s user=%s rows=%llu", log_quote(call->who.tenant), log_quote(call->who.user),
        (unsigned long long)rows);
}

static void answer(struct forget_call *call)
{
    struct builder out = {0};
    json_write_open(&out, '{');
    json_write_key(&out, "erased");
    json_write_open(&out, '{');
    for (unsigned i = 0; i < STORE_FORGOTTEN_COUNT; i++) {
        json_write_u64(&out, store_forgotten_names[i], call->erased[i]);
    }
    json_write_close(&out, '}');
    json_write_close(&out, '}');
    api_answer(call->api.request, 200, bytes_of(NULL, 0), &out);
}

static void on_step(struct store_request *request)
{
    struct forget_call *call = container_of(request, struct forget_call, forget.base);
    int status = request->status;
    bool more = call->forget.more;
    if (status == 0) {
        for (unsigned i = 0; i < STORE_FORGOTTEN_COUNT; i++) {
            call->erased[i] += call->forget.erased[i];
        }
        announce_repeat(call->shard, call->forget.who);
    }
    store_request_finish(request);
    if (status == 0 && more && call->shard->store != NULL) {
        if (call->api.request != NULL) {
            api_call_renew(&call->api);
        }
        store_submit(call->shard->store, request);
        return;
    }
    if (status == 0 && !more) {
        log_erased(call);
    }
    if (call->api.request != NULL) {
        if (status == 0 && !more) {
            answer(call);
        } else {
            api_refuse_status(call->api.request, status);
        }
    }
    free_call(call);
}

void api_users_erase(struct http_request *request, void *context)
{
    (void)context;
    struct forget_call *call = mem_alloc(sizeof(*call));
    call->shard = api_shard(request)->shard;
    if (!api_auth_user(request, APIKEY_ADMIN, false, &call->who)) {
        free_call(call);
        return;
    }
    if (call->shard->store == NULL) {
        api_refuse_unavailable(request);
        free_call(call);
        return;
    }
    call->forget.base.op = STORE_FORGET;
    call->forget.base.done = on_step;
    call->forget.who = (struct store_user){.tenant = call->who.tenant, .user = call->who.user};
    api_call_hold_store(&call->api, request, on_overdue);
    store_submit(call->shard->store, &call->forget.base);
}
