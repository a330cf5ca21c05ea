/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MessagePack: what passes the check is turned into JSON that is JSON, and back.
 */
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "tests/fuzz/fuzz.h"

/* What is accepted becomes strict JSON, and that JSON says the same on the way back. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct builder json = {0};
    struct builder packed = {0};
    struct builder again = {0};
    struct mp_reader reader = {.rest = bytes_of(data, size)};
    int status = mp_check(bytes_of(data, size), MP_DEPTH_MAX, NULL);
    CHECK((mp_to_json(bytes_of(data, size), NULL, &json) == 0) == (status == 0));
    if (status == 0) {
        CHECK(mp_skip(&reader, MP_DEPTH_MAX) == 0 && reader.rest.len == 0);
        CHECK(json_scan_text(builder_bytes(&json), MP_DEPTH_MAX, NULL, NULL) == 0);
        CHECK(mp_from_json(builder_bytes(&json), NULL, 0, &packed) == 0);
        CHECK(mp_to_json(builder_bytes(&packed), NULL, &again) == 0);
        CHECK(bytes_eq(builder_bytes(&json), builder_bytes(&again)));
    }
    /* Text that was not checked may say anything, but nothing is read beyond it. */
    builder_clear(&packed);
    if (mp_from_json_elements(bytes_of(data, size), NULL, 0, &packed) == 0) {
        CHECK(builder_bytes(&packed).len == 0);
    }
    builder_reset(&json);
    builder_reset(&packed);
    builder_reset(&again);
    return 0;
}
