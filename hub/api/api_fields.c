/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_fields - members of bodies against a list of names, which is also what the caller is told.
 */
#include "hub/api/api_fields.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/rand.h"
#include "codec/json_scan.h"
#include "hub/api/api_answer.h"
#include "hub/net/http_route.h"

enum { NAME_MAX_BYTES = 64, MESSAGE_MAX = 256, NONE_DEPTH = 2 };

static void refuse(struct http_request *request, struct bytes name, const char *known)
{
    char field[NAME_MAX_BYTES + 1];
    char message[MESSAGE_MAX];
    http_route_copy_name(name, field, sizeof(field));
    snprintf(message, sizeof(message), "Unknown field; known here: %s",
        known[0] != '\0' ? known : "none");
    api_refuse(request,
        &(struct api_error){.code = ERROR_INVALID_FIELD, .message = message, .field = field});
}

bool api_fields_check(struct http_request *request, struct bytes object, const char *known)
{
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    json_scan_iter_init(&iter, object);
    while (json_scan_member(&iter, &key, &value)) {
        char text[NAME_MAX_BYTES];
        struct bytes name = bytes_of(key.at + 1, key.len - 2); /* as it stands there, if too long */
        bool read = json_scan_string(key, text, sizeof(text), &name) == 0;
        if (!read || !http_route_knows(known, name)) {
            refuse(request, name, known);
            return false;
        }
    }
    return true;
}

bool api_fields_check_none(struct http_request *request)
{
    struct bytes value;
    if (request->body.len == 0) {
        return true;
    }
    if (json_scan_text(request->body, NONE_DEPTH, &value, NULL) != 0 ||
        json_scan_kind(value) != JSON_SCAN_OBJECT) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is neither empty nor a JSON object"});
        return false;
    }
    return api_fields_check(request, value, "");
}

bool api_fields_path_id(struct http_request *request, unsigned index, uint8_t ret_id[16])
{
    char at[UUID_TEXT_LEN + 1];
    struct bytes id;
    return http_param(request, index, at, sizeof(at), &id) == 0 &&
           uuid_parse(id.at, id.len, ret_id) == 0;
}
