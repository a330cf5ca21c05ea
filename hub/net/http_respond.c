/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that are made of http_respond alone.
 */
#include "codec/base/buf.h"
#include "hub/net/http_route.h"
#include "hub/net/http_server.h"

void http_respond_error(
    struct http_request *request, enum error_code code, const char *message, const char *field)
{
    struct builder body = {0};
    http_route_write_error(&body, code, message, field);
    http_respond(
        request, errors_status(code), "application/json", bytes_of(NULL, 0), builder_bytes(&body));
    builder_reset(&body);
}
