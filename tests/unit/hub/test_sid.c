/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sids of polling sessions: where they were drawn, and that they cannot be guessed.
 */
#include <criterion/criterion.h>

#include "codec/base/check.h"
#include "hub/session/sid.h"

TestSuite(sid, .timeout = 60);

Test(sid, says_where_it_was_drawn)
{
    static const struct sid_place places[] = {{0, 0}, {1, 2}, {0xffff, 0xff}, {0x1234, 63}};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        char sid[SID_LEN];
        struct sid_place place;
        sid_draw(places[i], sid);
        cr_assert(sid_read(bytes_of(sid, sizeof(sid)), &place));
        cr_expect_eq(place.node, places[i].node);
        cr_expect_eq(place.shard, places[i].shard);
    }
}

Test(sid, is_another_one_each_time)
{
    char one[SID_LEN];
    char two[SID_LEN];
    sid_draw((struct sid_place){7, 7}, one);
    sid_draw((struct sid_place){7, 7}, two);
    cr_expect_neq(memcmp(one, two, SID_LEN), 0);
}

Test(sid, what_cannot_be_one_is_refused)
{
    static const char *const texts[] = {"", "AAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAAAA+A",
        "AAAAAAAAAAAAAAAAAAAAAAAA/A", "AAAAAAAAAAAAAAAAAAAAAAAAAB" /* bits behind the last byte */};
    struct sid_place place;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cr_expect_not(sid_read(bytes_str(texts[i]), &place), "%s", texts[i]);
    }
    cr_expect(sid_read(BYTES("AAAAAAAAAAAAAAAAAAAAAAA-_A"), &place));
}
