/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codes by which Peal refuses.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/errors.h"

Test(errors, each_code_has_a_text_of_its_own_and_a_status_that_refuses)
{
    static const char *const texts[] = {
#define X(name, text, status, others, help) text,
#include "codec/errors.def"
#undef X
    };
    size_t count = sizeof(texts) / sizeof(texts[0]);
    for (size_t i = 0; i < count; i++) {
        enum error_code code = (enum error_code)(i + 1);
        cr_expect_str_eq(errors_text(code), texts[i]);
        cr_expect(errors_status(code) >= 400 && errors_status(code) < 600, "%s", texts[i]);
        for (size_t other = 0; other < i; other++) {
            cr_expect_str_neq(texts[i], texts[other]);
        }
    }
    cr_expect_eq(errors_status(ERROR_NONE), 200);
}

Test(errors, a_status_is_told_by_the_general_code_of_its_rows)
{
    static const struct {
        unsigned status;
        const char *text;
    } rows[] = {{400, "bad_request"}, {401, "unauthorized"}, {403, "forbidden"}, {408, "timeout"},
        {413, "too_large"}, {414, "too_large"}, {431, "too_large"}, {422, "invalid_field"},
        {503, "unavailable"}, {504, "unknown"}, {505, "version_not_supported"},
        {418, "bad_request"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_str_eq(errors_text(errors_of_status(rows[i].status)), rows[i].text);
    }
}
