/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is packed comes back whole, and nothing else does.
 */
#include <criterion/criterion.h>

#include "codec/zip.h"

TestSuite(zip, .timeout = 30);

Test(zip, what_was_packed_comes_back_and_nothing_else_does)
{
    char text[5000];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)('a' + i % 7);
    }
    struct buf *packed = zip_pack(bytes_of(text, sizeof(text)));
    cr_assert_not_null(packed);
    cr_assert_lt(buf_bytes(packed).len, sizeof(text) / 10);
    struct builder out = {0};
    cr_assert_eq(zip_unpack(buf_bytes(packed), sizeof(text), &out), 0);
    cr_assert(bytes_eq(builder_bytes(&out), bytes_of(text, sizeof(text))));
    builder_clear(&out);
    cr_assert_lt(zip_unpack(buf_bytes(packed), sizeof(text) - 1, &out), 0);
    cr_assert_lt(zip_unpack(buf_bytes(packed), sizeof(text) + 1, &out), 0);
    cr_assert_lt(zip_unpack(BYTES("nothing of the kind"), 100, &out), 0);
    cr_assert_eq(builder_bytes(&out).len, 0);
    builder_reset(&out);
    buf_unref(packed);
    cr_assert_null(zip_pack(BYTES("q")));
}
