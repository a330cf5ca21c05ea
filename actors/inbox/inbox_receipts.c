/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the highest number that a client has, and tells the store where that matters.
 */
#include "actors/inbox/inbox_receipts.h"

#include "actors/inbox/inbox.h"
#include "actors/inbox/inbox_request.h"
#include "actors/shard.h"
#include "codec/base/mem.h"

struct inbox_receipts {
    uint64_t seq; /* the highest that a client has */
    uint64_t told; /* the store, or that it need not know */
    uint64_t rest_until; /* the user has no device: by sched_now */
    bool busy;
};

static void tell(struct inbox *inbox);

static void on_told(struct inbox *inbox, struct inbox_request *request)
{
    const struct store_push_received *received = &request->store.received;
    struct inbox_receipts *known = inbox->receipts;
    if (known == NULL) {
        return;
    }
    known->busy = false;
    if (received->base.status != 0) {
        return; /* with the next one; until then it may be pushed though it was received */
    }
    known->told = received->seq > known->told ? received->seq : known->told;
    if (!received->known) {
        known->rest_until = sched_now(request->shard->sched) + RECEIPTS_REST_MS;
    }
    tell(inbox);
}

static void tell(struct inbox *inbox)
{
    struct shard *shard = shard_of(&inbox->owner.actor);
    struct inbox_receipts *known = inbox->receipts;
    if (known->busy || known->seq <= known->told || shard->store == NULL ||
        sched_now(shard->sched) < known->rest_until) {
        return;
    }
    struct inbox_request *request = inbox_request_create(inbox, STORE_PUSH_RECEIVED, on_told);
    request->store.received.who = inbox_request_who(request);
    request->store.received.seq = known->seq;
    known->busy = true;
    inbox_request_submit(request);
}

void inbox_receipts_take(struct inbox *inbox, uint64_t seq)
{
    seq = seq < inbox->seq ? seq : inbox->seq; /* nobody has what there is not */
    if (inbox->receipts == NULL) {
        inbox->receipts = mem_alloc(sizeof(*inbox->receipts));
        shard_of(&inbox->owner.actor)->stats.waiting_bytes += mem_cost(sizeof(*inbox->receipts));
    }
    if (seq > inbox->receipts->seq) {
        inbox->receipts->seq = seq;
        tell(inbox);
    }
}

void inbox_receipts_begin(struct inbox *inbox)
{
    if (inbox->receipts != NULL) {
        inbox->receipts->rest_until = 0;
        inbox->receipts->told = 0;
        tell(inbox);
    }
}

void inbox_receipts_drop(struct inbox *inbox)
{
    if (inbox->receipts != NULL) {
        shard_of(&inbox->owner.actor)->stats.waiting_bytes -= mem_cost(sizeof(*inbox->receipts));
        mem_free(inbox->receipts);
        inbox->receipts = NULL;
    }
}
