/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts in all their forms and announcements: what is taken keeps to the limits.
 */
#include "codec/announce.h"
#include "codec/audience_hint.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/notification.h"
#include "codec/utf8.h"
#include "tests/fuzz/fuzz.h"

/* What was accepted keeps the promises of notification.h. */
static void read_post(
    int status, struct notification_post *post, const struct notification_fault *fault)
{
    if (status < 0) {
        CHECK(status == STATUS_INVALID || status == STATUS_NOT_FOUND || status == STATUS_UTF8 ||
              status == STATUS_TOO_LARGE);
        return;
    }
    CHECK(fault->field[0] == 0 && fault->message == NULL);
    CHECK((post->target_count == 0) == (post->target == NOTIFICATION_ALL));
    CHECK(post->is_event ? post->event.len > 0 : post->type.len > 0);
    CHECK(utf8_valid(post->title) && utf8_valid(post->message) && utf8_valid(post->key));
    CHECK(post->data.len == 0 || json_scan_text(post->data, 32, NULL, NULL) == 0);
    for (uint32_t i = 0; i < post->target_count; i++) {
        CHECK(post->targets[i].len > 0 && utf8_valid(post->targets[i]));
    }
    notification_post_finish(post);
}

static void read_announce(struct bytes payload)
{
    struct announce announce;
    struct notification_change change;
    if (announce_decode(payload, &announce) < 0) {
        return;
    }
    uint32_t count = announce.change_count;
    while (announce_next_change(&announce, &change)) {
        CHECK(change.state < NOTIFICATION_STATE_COUNT);
        count--;
    }
    CHECK(count == 0);
}

static void read_hint(struct bytes payload)
{
    struct audience_hint hint;
    if (audience_hint_decode(payload, &hint) == 0) {
        CHECK(hint.kind < AUDIENCE_COUNT);
        CHECK((hint.name.len > 0) == (hint.kind == AUDIENCE_TOPIC));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    const struct notification_limits *limits = &notification_limits_default;
    struct notification_post post;
    struct notification_fault fault;
    int status = notification_from_json(input, limits, &post, &fault);
    read_post(status, &post, &fault);
    status = notification_from_body_json(input, limits, &post, &fault);
    read_post(status, &post, &fault);
    status = notification_from_event_json(input, limits, &post, &fault);
    read_post(status, &post, &fault);
    status = notification_from_msgpack(input, limits, &post, &fault);
    read_post(status, &post, &fault);
    struct notification_field fields[] = {
        {BYTES("users"), input}, {BYTES("type"), BYTES("t")}, {BYTES("data"), input}};
    status = notification_from_fields(fields, ARRAY_LEN(fields), limits, &post, &fault);
    read_post(status, &post, &fault);
    read_announce(input);
    read_hint(input);
    return 0;
}
