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

static unsigned long long rows_of(const struct forget_call *call)
{
    unsigned long long rows = 0;
    for (unsigned i = 0; i < STORE_FORGOTTEN_COUNT; i++) {
        rows += call->erased[i];
    }
    return rows;
}

static void log_erased(const struct forget_call *call)
{
    log_info("USER-ERASED", "all that the store had of a user was erased",
        "tenant=%s user=%s rows=%llu", log_quote(call->who.tenant), log_quote(call->who.user),
        rows_of(call));
}

/* What was erased stays so. */
static void log_unfinished(const struct forget_call *call, int status)
{
    log_warn("USER-ERASE-UNFINISHED", "a user was not erased to the end: ask again",
        "tenant=%s user=%s rows=%llu why=%s", log_quote(call->who.tenant),
        log_quote(call->who.user), rows_of(call), status_name(status));
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
    status = status == 0 && more ? STATUS_CLOSED : status; /* the node ends */
    if (status == 0) {
        log_erased(call);
    } else {
        log_unfinished(call, status);
    }
    if (call->api.request != NULL && status == 0) {
        answer(call);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, rows_of(call) > 0 ? STATUS_UNKNOWN : status);
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
