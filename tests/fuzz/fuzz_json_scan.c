/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON scanner beside jansson: both take the same texts, and every value can be walked.
 */
#include <jansson.h>

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/utf8.h"
#include "tests/fuzz/fuzz.h"

/*
 * Another parser must agree, except where it refuses values that are legal JSON, and where it
 * takes a NUL behind the value for the end of the text.
 */
static void check_against_jansson(struct bytes text, int status, unsigned flags)
{
    json_error_t error;
    size_t options = JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL;
    json_t *json = json_loadb(text.at, text.len, options, &error);
    if (status == 0 && json == NULL) {
        enum json_error_code code = json_error_code(&error);
        bool strict = code == json_error_numeric_overflow || code == json_error_null_byte_in_key;
        CHECK(strict || (flags & JSON_SCAN_SURROGATE) != 0);
    }
    bool has_nul = text.len > 0 && memchr(text.at, '\0', text.len) != NULL;
    CHECK(json == NULL || status == 0 || status == STATUS_TOO_LARGE || has_nul);
    json_decref(json);
}

/* Walk down through the first elements, and read everything on the way. */
static void read_all(struct bytes value)
{
    for (int depth = 0; depth < JSON_SCAN_DEPTH_DEFAULT; depth++) {
        struct json_scan_iter iter;
        struct bytes key = {0};
        struct bytes element = {0};
        struct bytes first = {0};
        char at[32];
        uint64_t u64;
        int64_t i64;
        (void)(json_scan_string(value, at, sizeof(at), &element) == 0);
        (void)(json_scan_u64(value, &u64) == 0 && json_scan_i64(value, &i64) == 0);
        (void)(json_scan_get(value, "a", &element) == 0);
        CHECK(fuzz_within(json_scan_inside(value), value));
        if (!json_scan_iter_init(&iter, value)) {
            return;
        }
        bool object = json_scan_kind(value) == JSON_SCAN_OBJECT;
        while (
            object ? json_scan_member(&iter, &key, &element) : json_scan_element(&iter, &element)) {
            CHECK(element.len > 0 && fuzz_within(element, value));
            first = first.len > 0 ? first : element;
        }
        value = first;
    }
}

/* In checked text the readers find exactly valid values. */
static void check_elements(struct bytes value)
{
    struct json_scan_iter iter;
    struct json_scan_walk walk;
    struct bytes key;
    struct bytes element;
    json_scan_walk_init(&walk, value);
    while (json_scan_walk_key(&walk, &key)) {
        CHECK(json_scan_kind(json_scan_walk_object(&walk)) == JSON_SCAN_OBJECT);
    }
    if (!json_scan_iter_init(&iter, value)) {
        return;
    }
    while (json_scan_kind(value) == JSON_SCAN_OBJECT ? json_scan_member(&iter, &key, &element)
                                                     : json_scan_element(&iter, &element)) {
        struct bytes trimmed;
        CHECK(json_scan_text(element, JSON_SCAN_DEPTH_DEFAULT, &trimmed, NULL) == 0);
        CHECK(bytes_eq(trimmed, element));
    }
    CHECK(json_scan_rest(&iter).len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes text = bytes_of(data, size);
    struct bytes value = {0};
    unsigned flags = 0;
    int status = json_scan_text(text, JSON_SCAN_DEPTH_DEFAULT, &value, &flags);
    if (status == 0) {
        CHECK(utf8_valid(text) && fuzz_within(value, text) && value.len > 0);
        CHECK(json_scan_kind(value) != JSON_SCAN_INVALID);
        check_elements(value);
    }
    read_all(text);
    check_against_jansson(text, status, flags);
    return 0;
}
