/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What jobs of hand-offs say is read for good, and what devices are sent fits.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "hub/push/push_text.h"

TestSuite(push_text, .timeout = 60);

#define ID "01980000-0000-7000-8000-00000000000"
#define SHOW                                                                                       \
    "{\"id\": \"" ID "1\", \"rev\": 7, \"user\": \"ann\", \"device\": \"" ID "2\", \"tenant\": "   \
    "\"acme\"}"

/* Read a payload that is gone behind it, as that of a lease. */
static int read_job(const char *text, struct push_job *job)
{
    char *payload = strdup(text);
    int status = push_job_read(bytes_of(payload, strlen(payload)), job);
    memset(payload, '?', strlen(payload));
    free(payload);
    return status;
}

Test(push_text, a_job_outlives_its_payload)
{
    struct push_job job;
    cr_assert_eq(read_job(SHOW, &job), 0);
    cr_expect(bytes_eq_str(job.user, "ann"));
    cr_expect(bytes_eq_str(job.tenant, "acme"));
    cr_expect_eq(job.rev, 7);
    cr_expect_eq(job.count, 1);
    cr_expect_not(job.clears);
    cr_expect_eq(job.ids[0][15], 1);
    cr_expect_eq(job.device[15], 2);
    push_job_finish(&job);
    cr_assert_eq(read_job("{\"tenant\":\"\",\"user\":\"a\\\"\\u00e9\",\"device\":\"" ID
                          "2\",\"clear\":[\"" ID "3\",\"" ID "4\"]}",
                     &job),
        0);
    cr_expect(bytes_eq_str(job.user, "a\"\xc3\xa9"));
    cr_expect_eq(job.tenant.len, 0);
    cr_expect(job.clears);
    cr_expect_eq(job.count, 2);
    cr_expect_eq(job.ids[1][15], 4);
    push_job_finish(&job);
}

Test(push_text, what_is_no_job_is_refused)
{
    static const char *const texts[] = {"", "[]", "{}", "{\"user\":\"ann\"}",
        "{\"tenant\":\"\",\"user\":\"ann\",\"device\":\"x\",\"id\":\"" ID "1\",\"rev\":1}",
        "{\"tenant\":\"\",\"user\":\"ann\",\"device\":\"" ID "2\",\"id\":\"" ID "1\"}",
        "{\"tenant\":\"\",\"user\":7,\"device\":\"" ID "2\",\"id\":\"" ID "1\",\"rev\":1}",
        "{\"user\":\"ann\",\"device\":\"" ID "2\",\"id\":\"" ID "1\",\"rev\":1}",
        "{\"tenant\":\"\",\"user\":\"ann\",\"device\":\"" ID "2\",\"clear\":[1]}",
        "{\"tenant\":\"\",\"user\":\"ann\",\"device\":\"" ID "2\",\"clear\":{}}"};
    struct push_job job;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cr_expect_eq(read_job(texts[i], &job), STATUS_INVALID, "%s", texts[i]);
    }
}

/* Escapes make the longest of texts six times as long. */
Test(push_text, what_is_shown_fits)
{
    enum { MAX = 3993 };
    static char message[8192];
    memset(message, '\x01', sizeof(message));
    const struct notification_item item = {.title = bytes_of(message, 1000),
        .message = bytes_of(message, sizeof(message)),
        .type = BYTES("note"),
        .data = BYTES("{\"url\":\"/a\"}")};
    static const enum push_content contents[] = {
        PUSH_CONTENT_FULL, PUSH_CONTENT_TITLE, PUSH_CONTENT_ID};
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        struct builder out = {0};
        struct bytes object;
        unsigned flags;
        push_text_show(&item, contents[i], 3, MAX, &out);
        cr_expect_leq(builder_bytes(&out).len, MAX);
        cr_expect_eq(json_scan_text(builder_bytes(&out), 4, &object, &flags), 0);
        builder_byte(&out, '\0');
        cr_expect_not_null(strstr(builder_bytes(&out).at, "\"navigate\":\"/a\""));
        cr_expect_not_null(strstr(builder_bytes(&out).at, "\"app_badge\":3"));
        cr_expect_eq(strstr(builder_bytes(&out).at, "\"body\"") != NULL, i == 0);
        cr_expect_eq(strstr(builder_bytes(&out).at, "\"type\"") != NULL, i != 2);
        builder_reset(&out);
    }
}
