/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares the tags of If-None-Match with one of ours.
 */
#include "hub/net/etag.h"

#include <stddef.h>

#include "codec/http1.h"

bool etag_is_named(struct bytes header, const char *etag)
{
    struct bytes element;
    while (http1_list_next(&header, &element)) {
        if (bytes_starts(element, BYTES("W/"))) {
            element = bytes_skip(element, 2);
        }
        if (bytes_eq_str(element, etag) || bytes_eq(element, BYTES("*"))) {
            return true;
        }
    }
    return false;
}

bool etag_is_known(const struct http1_request *head, const char *etag)
{
    size_t cursor = 0;
    struct bytes value;
    while (http1_header_next(head, "if-none-match", &cursor, &value)) {
        if (etag_is_named(value, etag)) {
            return true;
        }
    }
    return false;
}
