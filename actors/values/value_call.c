/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ops travel in parcels, one for each shard that some of them live on, and back when all of a
 * parcel are answered. Order of this file: back, there, beginning.
 */
#include "actors/values/value_call.h"

#include "actors/shard.h"
#include "actors/values/value_home.h"
#include "actors/values/value_op.h"
#include "actors/values/values.h"
#include "codec/base/mem.h"

struct value_parcel {
    struct value_call *call;
    struct shard *origin; /* another thread's: only its sched is asked for */
    unsigned home;
    struct list ops; /* value_op.link */
    size_t left; /* without a result */
};

void value_op_finish(struct value_op *op)
{
    buf_unref(op->body.bytes);
    buf_unref(op->tags);
    buf_unref(op->result.body.bytes);
    op->body.bytes = NULL;
    op->tags = NULL;
    op->result.body.bytes = NULL;
}

/* Back, on the shard that asked. */

static void arrive(void *arg, bool cancelled)
{
    struct value_parcel *parcel = arg;
    struct value_call *call = parcel->call;
    (void)cancelled; /* whoever asked ends either way */
    mem_free(parcel);
    if (--call->pending > 0) {
        return;
    }
    if (call->shard->values != NULL) {
        values_count_call(call->shard->values, false);
    }
    call->done(call);
}

static void send_back(struct value_parcel *parcel)
{
    struct sched *sched = parcel->origin->sched;
    sched_post(sched_system(sched), sched_shard(sched), arrive, parcel);
}

static void on_answered(struct value_op *op)
{
    struct value_parcel *parcel = op->parcel;
    if (--parcel->left == 0) {
        send_back(parcel);
    }
}

/* There, on the shard of the keys. */

static void begin(struct value_parcel *parcel, struct values *values)
{
    struct list *link;
    parcel->left++; /* until all have begun */
    while ((link = list_pop(&parcel->ops)) != NULL) {
        struct value_op *op = container_of(link, struct value_op, link);
        if (values != NULL) {
            values_begin(values, op);
        } else {
            op->result.outcome = VALUE_UNAVAILABLE;
            parcel->left--;
        }
    }
    if (--parcel->left == 0) {
        send_back(parcel);
    }
}

static void deliver(void *arg, bool cancelled)
{
    struct value_parcel *parcel = arg;
    if (cancelled) { /* the system is destroyed: nothing can be posted */
        arrive(parcel, true);
        return;
    }
    struct actor_system *system = sched_system(parcel->origin->sched);
    const struct shard *home = sched_user(actor_system_sched(system, parcel->home));
    begin(parcel, home->values);
}

/* Beginning. */

/* A parcel for each shard that has some; false: no memory. */
static bool sort(struct value_call *call, const struct value_names *names,
    struct value_parcel **parcels, unsigned shards)
{
    for (unsigned i = 0; i < shards; i++) {
        parcels[i] = NULL;
    }
    for (size_t i = 0; i < call->count; i++) {
        struct value_op *op = &call->ops[i];
        unsigned home = value_home_of(call->shard, value_name_slot(names, value_op_name(op)));
        if (parcels[home] == NULL) {
            parcels[home] = mem_try_calloc(1, sizeof(struct value_parcel));
            if (parcels[home] == NULL) {
                return false;
            }
            *parcels[home] =
                (struct value_parcel){.call = call, .origin = call->shard, .home = home};
            list_init(&parcels[home]->ops);
        }
        op->parcel = parcels[home];
        op->answered = on_answered;
        op->result = (struct value_result){.outcome = VALUE_MISS};
        list_init(&op->link);
        list_init(&op->followers);
        list_append(&parcels[home]->ops, &op->link);
        parcels[home]->left++;
    }
    return true;
}

bool value_call_begin(struct value_call *call, struct shard *shard)
{
    struct value_parcel *parcels[SHARD_MAX];
    struct actor_system *system = sched_system(shard->sched);
    unsigned shards = actor_system_shards(system);
    call->shard = shard;
    call->pending = 0;
    if (shard->values == NULL) {
        return false;
    }
    bool sorted = sort(call, values_names(shard->values), parcels, shards);
    for (unsigned i = 0; i < shards; i++) {
        if (sorted && parcels[i] != NULL) {
            call->pending++;
            sched_post(system, i, deliver, parcels[i]);
        } else {
            mem_free(parcels[i]);
        }
    }
    if (sorted) {
        values_count_call(shard->values, true);
    }
    return sorted;
}
