/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hint of a post to many: it comes back as it was, and nothing else is taken for one.
 */
#include <criterion/criterion.h>

#include "codec/audience_hint.h"
#include "codec/base/status.h"
#include "codec/mp.h"

TestSuite(audience_hint, .timeout = 60);

static struct audience_hint hint_of(enum notification_audience kind, const char *name)
{
    return (struct audience_hint){
        .uid = BYTES("epoch.1.node"),
        .kind = kind,
        .n = UINT64_C(1) << 40,
        .tenant = BYTES("acme"),
        .name = bytes_str(name),
    };
}

Test(audience_hint, comes_back_as_it_was)
{
    static const char *const names[AUDIENCE_COUNT] = {"", "", "news:eu", ""};
    for (unsigned i = 0; i < 2 * AUDIENCE_COUNT; i++) {
        unsigned kind = i % AUDIENCE_COUNT;
        struct audience_hint hint = hint_of((enum notification_audience)kind, names[kind]);
        hint.n = i < AUDIENCE_COUNT ? hint.n : 0; /* taken back */
        struct audience_hint back;
        struct builder out = {0};
        audience_hint_encode(&hint, &out);
        cr_assert_eq(audience_hint_decode(builder_bytes(&out), &back), 0, "%u", kind);
        cr_expect(bytes_eq(back.uid, hint.uid));
        cr_expect_eq(back.kind, hint.kind);
        cr_expect_eq(back.n, hint.n);
        cr_expect(bytes_eq(back.tenant, hint.tenant));
        cr_expect(bytes_eq(back.name, hint.name));
        builder_reset(&out);
    }
}

Test(audience_hint, what_is_cut_or_goes_on_is_none)
{
    struct audience_hint hint = hint_of(AUDIENCE_TOPIC, "news");
    struct audience_hint back;
    struct builder out = {0};
    audience_hint_encode(&hint, &out);
    size_t len = builder_bytes(&out).len;
    for (size_t cut = 0; cut < len; cut++) {
        cr_expect_eq(audience_hint_decode(bytes_of(builder_bytes(&out).at, cut), &back),
            STATUS_INVALID, "%zu", cut);
    }
    mp_pack_nil(&out);
    cr_expect_eq(audience_hint_decode(builder_bytes(&out), &back), STATUS_INVALID);
    builder_reset(&out);
}

Test(audience_hint, names_are_those_that_may_be)
{
    const struct audience_hint bad[] = {
        hint_of(AUDIENCE_TOPIC, ""),
        hint_of(AUDIENCE_TOPIC, "a/b"),
        hint_of(AUDIENCE_ALL, "news"),
        {.uid = BYTES("u"), .kind = AUDIENCE_ALL, .tenant = BYTES("a/b")},
        {.uid = BYTES("u"), .kind = AUDIENCE_COUNT},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct audience_hint back;
        struct builder out = {0};
        audience_hint_encode(&bad[i], &out);
        cr_expect_eq(audience_hint_decode(builder_bytes(&out), &back), STATUS_INVALID, "%zu", i);
        builder_reset(&out);
    }
}
