/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the names and the rev of the last change, and compares them with what a session answers.
 */
#include "sql/pg_last.h"

#include <string.h>

#include "sql/store.h"
#include "sql/store_edit.h"

/* What a request has changed; 0: nothing. */
static uint64_t put_changed(
    const struct store_put *put, const struct put_result *results, struct store_user *ret_who)
{
    for (size_t i = results != NULL ? put->count : 0; i > 0; i--) {
        if (store_outcome_is_new(results[i - 1].outcome)) {
            *ret_who = put->rows[i - 1].who;
            return results[i - 1].rev;
        }
    }
    return 0;
}

static uint64_t changed(const struct pg_flight *flight, size_t index, struct store_user *ret_who)
{
    const struct store_request *request = flight->requests[index];
    if (request->op == STORE_PUT) {
        return put_changed((const struct store_put *)request, flight->results[index], ret_who);
    }
    if (request->op == STORE_MARK) {
        const struct store_mark *mark = (const struct store_mark *)request;
        *ret_who = mark->who;
        return mark->changed ? mark->position.rev : 0;
    }
    if (request->op == STORE_FORGET) {
        const struct store_forget *forget = (const struct store_forget *)request;
        *ret_who = forget->who;
        return forget->position.rev;
    }
    if (request->op == STORE_EDIT) {
        const struct store_edit *edit = (const struct store_edit *)request;
        *ret_who = (struct store_user){.tenant = edit->item.tenant, .user = edit->item.user};
        return edit->position.rev;
    }
    return 0;
}

static void keep(char *at, struct bytes name)
{
    if (name.len > 0) {
        memcpy(at, name.at, name.len);
    }
}

void pg_last_note(struct pg_last *last, const struct pg_flight *flight)
{
    struct store_user who;
    uint64_t rev = 0;
    for (size_t i = flight->request_count; i > 0 && rev == 0; i--) {
        rev = changed(flight, i - 1, &who);
    }
    if (rev == 0) {
        return; /* what was told before is still the last */
    }
    last->rev = rev;
    last->tenant_len = who.tenant.len;
    last->user_len = who.user.len;
    keep(last->names, who.tenant);
    keep(last->names + who.tenant.len, who.user);
}

struct store_request *pg_last_question(struct pg_last *last, struct store_port *port)
{
    if (last->rev == 0) {
        return NULL;
    }
    last->who.tenant = bytes_of(last->names, last->tenant_len);
    last->who.user = bytes_of(last->names + last->tenant_len, last->user_len);
    last->question = (struct store_positions){
        .base = {.op = STORE_POSITIONS, .port = port},
        .users = &last->who,
        .count = 1,
        .current = true,
    };
    last->asked = true;
    return &last->question.base;
}

bool pg_last_landed(struct pg_last *last, const struct pg_flight *flight)
{
    if (flight->request_count != 1 || flight->requests[0] != &last->question.base) {
        return false;
    }
    const struct store_position *position = last->question.positions;
    last->asked = flight->status != 0 || position == NULL;
    if (!last->asked && position->rev < last->rev) {
        const struct store_loss loss = {"write", last->rev, position->rev};
        store_tell_loss(last->question.base.port->store, &loss);
    }
    request_reset(&last->question.base);
    return true;
}
