/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of ends: every reason has what a client is told.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

#include "actors/close.h"

TestSuite(close, .timeout = 20);

Test(close, every_reason_has_a_name_a_text_and_a_code_that_may_be_sent)
{
    for (int reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
        const char *name = close_name(reason);
        cr_expect(strlen(name) > 0 && strlen(close_text(reason)) > 0);
        for (const char *at = name; *at; at++) {
            cr_expect(islower((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '_',
                "%s", name);
        }
        for (int other = 0; other < reason; other++) {
            cr_expect_str_neq(close_name(other), name);
        }
        uint16_t code = close_code(reason);
        cr_expect(code == 0 || (code >= 1000 && code <= 1011 && code != 1005 && code != 1006) ||
                      (code >= 4400 && code < 4600),
            "%s: %u", name, code);
        cr_expect(!close_is_final(reason) || code >= 4400, "%s", name);
    }
    cr_expect_eq(close_code(CLOSE_SLOW), 4508);
    cr_expect_eq(close_code(CLOSE_PROTOCOL), 1002);
    cr_expect_str_eq(close_name(CLOSE_PING_TIMEOUT), "ping_timeout");
}
