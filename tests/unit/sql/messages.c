/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that is asked about what was said in rooms.
 */
#include "tests/unit/sql/messages.h"

#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/rand.h"
#include "codec/slot.h"

static void run_done(struct harness *harness, struct store_request *request)
{
    cr_assert_eq(harness_run(harness, 0, request), 0, "op %d: %d", request->op, request->status);
    store_request_finish(request);
}

void use_messages(struct harness *harness)
{
    struct store_message messages[50];
    uint64_t now = clock_wall_ms();
    for (unsigned i = 0; i < ARRAY_LEN(messages); i++) {
        messages[i] = (struct store_message){.room = i % 10 == 0 ? BYTES("few") : BYTES("many"),
            .user = i % 10 == 1 ? BYTES("gone") : BYTES("u0"),
            .event = BYTES("e"),
            .args = BYTES("1"),
            .at = now,
            .expires_at = i % 3 == 0 ? 1 : now + 3600000};
        uuid7_make(now, slot_of(messages[i].tenant, messages[i].room), messages[i].id);
    }
    struct store_history_add add = {
        .base.op = STORE_HISTORY_ADD, .messages = messages, .count = ARRAY_LEN(messages)};
    run_done(harness, &add.base);
    struct store_history_list list = {
        .base.op = STORE_HISTORY_LIST, .room = BYTES("many"), .limit = 20, .max_bytes = 1000};
    run_done(harness, &list.base);
    list.before = true;
    memcpy(list.id, messages[2].id, sizeof(list.id));
    run_done(harness, &list.base);
    struct store_history_list said = {.base.op = STORE_HISTORY_LIST,
        .user = BYTES("gone"),
        .after = 1,
        .limit = 20,
        .max_bytes = 1000};
    run_done(harness, &said.base);
    struct store_history_sweep sweep = {.base.op = STORE_HISTORY_SWEEP, .limit = 100};
    run_done(harness, &sweep.base);
}
