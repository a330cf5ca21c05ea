/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engines carry out one step (store_request.h: store_mark.step says which); here is what
 * follows from its outcome.
 */
#include "sql/steps.h"

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/store_edit.h"

static bool is_bulk(const struct store_request *request)
{
    return request->op == STORE_MARK && ((const struct store_mark *)request)->id_count == 0;
}

static struct store_mark *mark_of(struct list *link)
{
    return container_of(link, struct store_mark, step.link);
}

size_t steps_weight(const struct store_request *request, size_t first)
{
    if (!is_bulk(request)) {
        return 1;
    }
    return ((const struct store_mark *)request)->step.went_on ? STORE_MARK_STEP : first;
}

void steps_begin(struct store_request *request)
{
    if (request->op != STORE_MARK) {
        return;
    }
    struct store_mark *mark = (struct store_mark *)request;
    mark->step =
        (struct store_mark_step){.up_to = mark->up_to < INT64_MAX ? mark->up_to : INT64_MAX,
            .if_rev = mark->if_rev,
            .begins = true};
    list_init(&mark->step.link);
}

/* Whether a request changes rows that are there, of the user of a mark or of the user's slot. */
static bool concerns(const struct store_request *request, const struct store_user *who)
{
    switch ((unsigned)request->op) {
    case STORE_MARK: {
        const struct store_user *other = &((const struct store_mark *)request)->who;
        return bytes_eq(other->user, who->user) && bytes_eq(other->tenant, who->tenant);
    }
    case STORE_FORGET: {
        const struct store_user *other = &((const struct store_forget *)request)->who;
        return bytes_eq(other->user, who->user) && bytes_eq(other->tenant, who->tenant);
    }
    case STORE_EDIT:
        return slot_of_id(((const struct store_edit *)request)->id) ==
               slot_of(who->tenant, who->user);
    default:
        return false;
    }
}

/*
 * Whether a request would come between the steps of a mark that was submitted before it. A bulk
 * mark does so only where it is known that the one before has further steps.
 */
static bool is_behind(const struct store_port *port, const struct store_request *request)
{
    list_for_each (link, &port->marking) {
        const struct store_mark *mark = mark_of(link);
        if (&mark->base == request) {
            return false;
        }
        bool between = mark->step.went_on || !is_bulk(request);
        if (between && concerns(request, &mark->who)) {
            return true;
        }
    }
    return false;
}

bool steps_keep_back(struct store_port *port, struct store_request *request)
{
    if (is_behind(port, request)) {
        list_append(&port->kept_back, &request->link);
        return true;
    }
    if (is_bulk(request)) {
        struct store_mark *mark = (struct store_mark *)request;
        if (list_empty(&mark->step.link)) {
            list_append(&port->marking, &mark->step.link);
        } else { /* it had begun: what the mark before it has changed is not changed by others */
            mark->step.begins = true;
            mark->step.others = true;
            mark->step.if_rev = mark->if_rev;
        }
    }
    return false;
}

/* Keep what the caller's if_rev has kept from being changed. False: there is no memory. */
static bool keep_late(struct store_mark *mark)
{
    struct store_mark_step *step = &mark->step;
    if (mark->if_rev == INT64_MAX || mark->late_count == 0) {
        return true;
    }
    if (step->late == NULL) {
        step->late = mem_try_calloc(STORE_REV_MAX, sizeof(*step->late));
    }
    if (step->late == NULL) {
        return false;
    }
    for (size_t i = 0; i < mark->late_count && step->late_count < STORE_REV_MAX; i++) {
        step->late[step->late_count++] = mark->late[i];
    }
    return true;
}

/*
 * Whether nobody has changed rows that were there since the step before: every change takes a rev,
 * and only new rows take a seq with it.
 */
static bool is_undisturbed(const struct store_mark *mark)
{
    const struct store_position *before = &mark->step.position;
    uint64_t revs = mark->position.rev - mark->changed - before->rev;
    return !mark->step.went_on || revs == mark->position.seq - before->seq;
}

/* Take in what a step has done; true when there is another. */
static bool take_in(struct store_mark *mark)
{
    struct store_mark_step *step = &mark->step;
    bool more = mark->through > 0;
    step->others = step->others || !is_undisturbed(mark);
    step->total += mark->change_count;
    mark->total = step->total;
    mark->prefix = !step->others && mark->late_count == 0;
    if (!more) {
        mark->through = step->up_to < mark->position.seq ? step->up_to : mark->position.seq;
    }
    return more;
}

/* What the next step is for: rows above, of those that were there, and as they were, when it began.
 */
static void advance(struct store_mark *mark)
{
    struct store_mark_step *step = &mark->step;
    if (step->begins) {
        step->up_to = step->up_to < mark->position.seq ? step->up_to : mark->position.seq;
        step->if_rev = step->if_rev < mark->position.rev ? step->if_rev : mark->position.rev;
    }
    step->begins = false;
    step->went_on = true;
    step->above = mark->through;
    step->floors = step->total >= STORE_MARK_TOLD_MAX;
    step->position = mark->position;
}

static void submit(struct store_port *port, struct store_request *request)
{
    request->started_ns = clock_mono_ns();
    port->store->engine->submit(port, request);
}

/* The mark is over: what was kept back comes, unless it is for another one. */
static void end(struct store_port *port, struct store_mark *mark)
{
    struct list waiting;
    list_init(&waiting);
    list_remove(&mark->step.link);
    list_splice(&waiting, &port->kept_back);
    for (struct list *link = list_pop(&waiting); link; link = list_pop(&waiting)) {
        struct store_request *request = container_of(link, struct store_request, link);
        if (!steps_keep_back(port, request)) {
            submit(port, request);
        }
    }
}

/* Tell of a step that was done, and whether another can follow. */
static void note_step(struct store_port *port, struct store_mark *mark, bool more)
{
    bool kept = keep_late(mark);
    if (more && mark->stepped != NULL) {
        mark->stepped(mark);
    }
    if (!kept || (more && port->closing)) {
        mark->base.status = STATUS_UNKNOWN;
    }
}

bool steps_go_on(struct store_port *port, struct store_request *request)
{
    if (!is_bulk(request)) {
        return false;
    }
    struct store_mark *mark = (struct store_mark *)request;
    bool more = false;
    if (request->status == 0) {
        more = take_in(mark);
        note_step(port, mark, more);
    } else if (mark->step.went_on) {
        request->status = STATUS_UNKNOWN; /* others were done */
    }
    if (more && request->status == 0) {
        advance(mark);
        return true;
    }
    if (mark->step.late_count > 0) {
        mark->late = mark->step.late;
        mark->late_count = mark->step.late_count;
    }
    end(port, mark);
    return false;
}

void steps_submit(struct store_port *port, struct store_request *request)
{
    if (is_behind(port, request)) {
        list_append(&port->kept_back, &request->link);
    } else {
        submit(port, request);
    }
}

void steps_finish(struct store_request *request)
{
    if (is_bulk(request)) {
        struct store_mark *mark = (struct store_mark *)request;
        mem_free(mark->step.late);
        mark->step.late = NULL;
    }
}
