/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job from JSON and from the fields of a stream entry: what is taken, what is refused and by
 * which name.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/status.h"
#include "codec/job_post.h"
#include "codec/json_scan.h"

TestSuite(job_post, .timeout = 10);

#define NOW UINT64_C(1790000000000)

static const struct job_limits limits = {.payload_bytes = 40, .depth = 4, .now_ms = NOW};

static int parse(const char *json, struct job_post *post, struct notification_fault *fault)
{
    struct bytes object;
    cr_assert_eq(
        json_scan_text(bytes_str(json), JSON_SCAN_DEPTH_MAX, &object, NULL), 0, "%s", json);
    return job_post_from_json(object, &limits, post, fault);
}

Test(job_post, all_members_are_read)
{
    struct job_post post;
    struct notification_fault fault;
    cr_assert_eq(
        parse("{\"queue\":\"e\\u006dail\",\"type\":\"let\\nter\\u00e4\",\"payload\": {\"a\":[1]} ,"
              "\"user\":42,\"key\":\"k\\u0041\",\"run_at\":1790000001000,\"priority\":\"high\"}",
            &post, &fault),
        STATUS_INVALID, "a control character");
    cr_expect_str_eq(fault.field, "type");
    cr_assert_eq(
        parse("{\"queue\":\"e\\u006dail\",\"type\":\"letter\\u00e4\",\"payload\": {\"a\":[1]} ,"
              "\"user\":42,\"key\":\"k\\u0041\",\"run_at\":1790000001000,\"priority\":\"high\"}",
            &post, &fault),
        0, "%s", fault.field);
    cr_expect(bytes_eq_str(post.queue, "email") && bytes_eq_str(post.type, "letter\xc3\xa4"));
    cr_expect(bytes_eq_str(post.payload, "{\"a\":[1]}") && bytes_eq_str(post.user, "42"));
    cr_expect(bytes_eq_str(post.key, "kA") && post.run_at == NOW + 1000);
    cr_expect_eq(post.priority, NOTIFICATION_HIGH);
    job_post_finish(&post);
    cr_assert_eq(parse("{\"queue\":\"a\",\"type\":\"t\",\"run_at\":\"2026-09-22T00:00:00Z\"}",
                     &post, &fault),
        0);
    cr_expect(bytes_eq_str(post.payload, "null") && post.user.len == 0 && post.key.len == 0);
    cr_expect(post.priority == NOTIFICATION_MEDIUM && post.run_at > 0);
    job_post_finish(&post);
}

Test(job_post, what_is_wrong_is_named)
{
    static const struct {
        const char *json;
        const char *field;
        int status;
    } cases[] = {
        {"{}", "queue", STATUS_INVALID},
        {"{\"queue\":\"a/b\",\"type\":\"t\"}", "queue", STATUS_INVALID},
        {"{\"queue\":\"a\\u0000\",\"type\":\"t\"}", "queue", STATUS_INVALID},
        {"{\"queue\":5,\"type\":\"t\"}", "queue", STATUS_INVALID},
        {"{\"queue\":\"a\"}", "type", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"\"}", "type", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"type\":\"t\"}", "type", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"user\":\"a/b\"}", "user", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"user\":\"\"}", "user", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"user\":true}", "user", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"key\":\"\"}", "key", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"key\":\"a b\"}", "key", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"run_at\":\"soon\"}", "run_at", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"run_at\":1990000000000}", "run_at", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"run_at\":-1}", "run_at", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"priority\":\"5\"}", "priority", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"tenant\":\"x\"}", "tenant", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"paylaod\":1}", "paylaod", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"payload\":[[[[[]]]]]}", "payload", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"payload\":\"\\u0000\"}", "payload", STATUS_INVALID},
        {"{\"queue\":\"a\",\"type\":\"t\",\"payload\":"
         "\"0123456789012345678901234567890123456789\"}",
            "payload", STATUS_TOO_LARGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct job_post post;
        struct notification_fault fault;
        cr_expect_eq(parse(cases[i].json, &post, &fault), cases[i].status, "%s", cases[i].json);
        cr_expect_str_eq(fault.field, cases[i].field, "%s: %s", cases[i].json, fault.field);
        cr_expect_not_null(fault.message);
    }
}

static int from_stream(
    const char *const *texts, size_t count, struct job_post *post, struct notification_fault *fault)
{
    struct notification_field fields[8];
    for (size_t i = 0; i < count; i += 2) {
        fields[i / 2] = (struct notification_field){
            .name = bytes_str(texts[i]), .value = bytes_str(texts[i + 1])};
    }
    return job_post_from_fields(fields, count / 2, &limits, post, fault);
}

Test(job_post, fields_of_a_stream_are_read)
{
    static const char *const good[] = {"job", "email", "type", "letter", "payload", " [1] ", "user",
        "a", "tenant", "t", "run_at", "1790000001000"};
    static const char *const bad[][6] = {
        {"job", "", "type", "letter", "payload", "1"},
        {"job", "email", "type", "letter", "payload", "{"},
        {"job", "email", "type", "letter", "queue", "email"},
        {"job", "email", "job", "email", "type", "letter"},
        {"job", "email", "type", "letter", "tenant", "a/b"},
    };
    static const char *const fields[] = {"job", "payload", "queue", "job", "tenant"};
    struct job_post post;
    struct notification_fault fault;
    cr_assert_eq(from_stream(good, ARRAY_LEN(good), &post, &fault), 0, "%s", fault.field);
    cr_expect(bytes_eq_str(post.queue, "email") && bytes_eq_str(post.payload, "[1]"));
    cr_expect(bytes_eq_str(post.tenant, "t") && post.run_at == NOW + 1000);
    job_post_finish(&post);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect_eq(from_stream(bad[i], 6, &post, &fault), STATUS_INVALID, "%zu", i);
        cr_expect_str_eq(fault.field, fields[i], "%zu: %s", i, fault.field);
    }
}
