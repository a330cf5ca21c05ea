/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two steps: scan() looks once at each byte as it comes, and finds the end of the head or a
 * byte that can be in none; then the lines, now known to end in CR LF and to hold no other
 * control character but the tab, are parsed. The checks that concern several headers come last.
 */
#include "codec/http1.h"

#include "codec/base/status.h"
#include "codec/url.h"

static int refuse(struct http1_parser *parser, unsigned http_status)
{
    parser->refusal = http_status;
    switch (http_status) {
    case 414:
    case 431:
        return STATUS_TOO_LARGE;
    case 501:
    case 505:
        return STATUS_UNSUPPORTED;
    default:
        return STATUS_PROTO;
    }
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

bool http1_is_token(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_alphanumeric(text.at[i]) && !is_one_of(text.at[i], "!#$%&'*+-.^_`|~")) {
            return false;
        }
    }
    return text.len > 0;
}

/* ---- finding the end ---- */

/* A line feed at `at`. Returns 1 when it ends the head, 0 when lines follow. */
static int scan_line_end(struct http1_parser *parser, struct bytes input, size_t at)
{
    if (at == 0 || input.at[at - 1] != '\r') {
        return refuse(parser, 400);
    }
    bool empty = at == parser->line + 1;
    parser->line = at + 1;
    if (empty && parser->lines == 0) {
        /* One empty line before a request is tolerated: RFC 9112 section 2.2. */
        return at == 1 ? 0 : refuse(parser, 400);
    }
    if (empty) {
        return 1;
    }
    size_t max = parser->max_headers ? parser->max_headers : (size_t)HTTP1_HEADERS_DEFAULT;
    return parser->lines++ > max ? refuse(parser, 431) : 0;
}

/* One byte. Returns as scan_line_end. */
static int scan_byte(struct http1_parser *parser, struct bytes input, size_t at)
{
    unsigned char c = (unsigned char)input.at[at];
    if (c == '\n') {
        return scan_line_end(parser, input, at);
    }
    bool after_return = at > 0 && input.at[at - 1] == '\r';
    bool control = (c < 0x20 && c != '\t' && c != '\r') || c == 0x7f;
    bool folded = at == parser->line && is_blank((char)c);
    return after_return || control || folded ? refuse(parser, 400) : 0;
}

/* Over the bytes that need no look at their neighbours, as far as `max` and the input go. */
static void scan_plain(struct http1_parser *parser, struct bytes input, size_t max)
{
    size_t end = input.len < max ? input.len : max;
    size_t at = parser->scanned;
    while (at < end && (unsigned char)input.at[at] >= 0x20 && input.at[at] != 0x7f) {
        at++;
    }
    parser->scanned = at;
}

/* Returns the length of the head, 0 when it goes on, or a status. */
static int scan(struct http1_parser *parser, struct bytes input)
{
    size_t max = parser->max_head ? parser->max_head : (size_t)HTTP1_HEAD_MAX;
    while (parser->scanned < input.len) {
        if (parser->scanned >= max) {
            return refuse(parser, parser->lines == 0 ? 414 : 431);
        }
        int status = scan_byte(parser, input, parser->scanned);
        if (status < 0) {
            return status;
        }
        parser->scanned++;
        if (status > 0) {
            return (int)parser->scanned;
        }
        if (input.at[parser->scanned - 1] >= ' ') {
            scan_plain(parser, input, max);
        }
    }
    return 0;
}

/* ---- lines ---- */

/* Take a line off the head, which has one. */
static struct bytes take_line(struct bytes *head)
{
    const char *end = memchr(head->at, '\r', head->len);
    struct bytes line = bytes_of(head->at, (size_t)(end - head->at));
    *head = bytes_skip(*head, line.len + 2);
    return line;
}

/* Take what stands before the first `c` off *text; false when there is none. */
static bool take_until(struct bytes *text, char c, struct bytes *ret_part)
{
    const char *end = text->len > 0 ? memchr(text->at, c, text->len) : NULL;
    if (end == NULL) {
        return false;
    }
    *ret_part = bytes_of(text->at, (size_t)(end - text->at));
    *text = bytes_skip(*text, ret_part->len + 1);
    return true;
}

struct bytes http1_method_text(enum http1_method method)
{
    switch (method) {
#define X(name)                                                                                    \
    case HTTP1_##name:                                                                             \
        return BYTES(#name);
        HTTP1_METHODS(X)
#undef X
    }
    return BYTES("");
}

static bool find_method(struct bytes text, enum http1_method *ret_method)
{
    static const enum http1_method methods[] = {
#define X(name) HTTP1_##name,
        HTTP1_METHODS(X)
#undef X
    };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (bytes_eq(text, http1_method_text(methods[i]))) {
            *ret_method = methods[i];
            return true;
        }
    }
    return false;
}

/* "HTTP/1.0" or "HTTP/1.1". */
static int parse_version(struct http1_parser *parser, struct bytes text, unsigned *ret_minor)
{
    bool well_formed = text.len == 8 && bytes_starts(text, BYTES("HTTP/")) && text.at[6] == '.' &&
                       text.at[5] >= '0' && text.at[5] <= '9' && text.at[7] >= '0' &&
                       text.at[7] <= '9';
    if (!well_formed) {
        return refuse(parser, 400);
    }
    if (text.at[5] != '1' || text.at[7] > '1') {
        return refuse(parser, 505);
    }
    *ret_minor = (unsigned)(text.at[7] - '0');
    return 0;
}

/*
 * What a browser may send: the URL standard leaves more characters unescaped than RFC 3986
 * allows, but never blanks, quotes, angle brackets, a fragment, or anything but ASCII.
 */
static bool is_target(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c <= ' ' || (unsigned char)c >= 0x7f || c == '"' || c == '#' || c == '<' || c == '>') {
            return false;
        }
    }
    return text.len > 0;
}

static int parse_request_line(
    struct http1_parser *parser, struct bytes line, struct http1_request *request)
{
    struct bytes method;
    if (!take_until(&line, ' ', &method) || !http1_is_token(method) ||
        !take_until(&line, ' ', &request->target)) {
        return refuse(parser, 400);
    }
    int status = parse_version(parser, line, &request->minor);
    if (status < 0) {
        return status;
    }
    if (!is_target(request->target)) {
        return refuse(parser, 400);
    }
    return find_method(method, &request->method) ? 0 : refuse(parser, 501);
}

static int parse_headers(
    struct http1_parser *parser, struct bytes head, struct http1_request *request)
{
    while (head.len > 2) {
        struct bytes value = take_line(&head);
        struct bytes name;
        if (!take_until(&value, ':', &name) || !http1_is_token(name)) {
            return refuse(parser, 400);
        }
        request->headers[request->header_count++] =
            (struct http1_header){.name = name, .value = bytes_trim(value, " \t")};
    }
    return 0;
}

/* ---- what the headers mean together ---- */

static bool is_host(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_alphanumeric(text.at[i]) && !is_one_of(text.at[i], "-._~%!$&'()*+,;=:[]")) {
            return false;
        }
    }
    return text.len > 0;
}

static int read_host(struct http1_parser *parser, struct http1_request *request)
{
    int status = http1_header_once(request, "Host", &request->host);
    if (status == STATUS_NOT_FOUND) {
        return request->minor == 0 ? 0 : refuse(parser, 400);
    }
    return status == 0 && is_host(request->host) ? 0 : refuse(parser, 400);
}

/* Cut "http://host" off an absolute target; the host must be the one in the header. */
static bool strip_authority(struct bytes *target, struct bytes host)
{
    struct url url;
    if (url_split(*target, &url) != 0 || url.has_userinfo || url.has_fragment ||
        (!bytes_eq_nocase(url.scheme, BYTES("http")) &&
            !bytes_eq_nocase(url.scheme, BYTES("https")))) {
        return false;
    }
    *target = bytes_skip(*target, (size_t)(url.path.at - target->at));
    return url.host.len > 0 && bytes_eq_nocase(url.host, host);
}

static int read_target(struct http1_parser *parser, struct http1_request *request)
{
    struct bytes rest = request->target;
    if (bytes_eq(rest, BYTES("*"))) {
        request->path = rest;
        return request->method == HTTP1_OPTIONS ? 0 : refuse(parser, 400);
    }
    if (rest.at[0] != '/' && !strip_authority(&rest, request->host)) {
        return refuse(parser, 400);
    }
    if (!take_until(&rest, '?', &request->path)) {
        request->path = rest;
        rest = BYTES("");
    }
    request->query = rest;
    if (request->path.len == 0) {
        request->path = BYTES("/");
    }
    return 0;
}

/*
 * RFC 9112 section 6.3, without its leniency: a body has one length, told once. Anything else
 * could be understood differently by a proxy in front.
 */
static int read_framing(struct http1_parser *parser, struct http1_request *request)
{
    struct bytes length;
    struct bytes coding;
    int has_length = http1_header_once(request, "Content-Length", &length);
    int has_coding = http1_header_once(request, "Transfer-Encoding", &coding);
    if (has_length == STATUS_INVALID || has_coding == STATUS_INVALID ||
        (has_length == 0 && has_coding == 0) || (has_coding == 0 && request->minor == 0)) {
        return refuse(parser, 400);
    }
    if (has_length == 0) {
        if (bytes_to_u64(length, INT64_MAX, &request->content_length) < 0) {
            return refuse(parser, 400);
        }
        request->has_content_length = true;
    }
    if (has_coding == 0) {
        if (!bytes_eq_nocase(coding, BYTES("chunked"))) {
            return refuse(parser, 501);
        }
        request->chunked = true;
    }
    return 0;
}

static int read_connection(struct http1_parser *parser, struct http1_request *request)
{
    struct bytes value;
    size_t cursor = 0;
    request->keep_alive = request->minor == 1 && !http1_has_token(request, "Connection", "close");
    request->has_upgrade = http1_has_token(request, "Connection", "upgrade") &&
                           http1_header_next(request, "Upgrade", &cursor, &value);
    int status = http1_header_once(request, "Expect", &value);
    if (status == STATUS_INVALID ||
        (status == 0 && !bytes_eq_nocase(value, BYTES("100-continue")))) {
        return refuse(parser, 417);
    }
    request->expect_100 = status == 0 && request->minor == 1;
    return 0;
}

int http1_parse(struct http1_parser *parser, struct bytes input, struct http1_request *ret_request)
{
    CHECK(parser->max_headers <= HTTP1_HEADERS_MAX && parser->max_head <= INT32_MAX);
    int len = scan(parser, input);
    if (len <= 0) {
        return len;
    }
    struct http1_request *request = ret_request;
    memset(request, 0, offsetof(struct http1_request, headers));
    struct bytes head = bytes_of(input.at, (size_t)len);
    if (bytes_starts(head, BYTES("\r\n"))) {
        head = bytes_skip(head, 2);
    }
    static int (*const steps[])(struct http1_parser *, struct http1_request *) = {
        read_host, read_target, read_framing, read_connection};
    int status = parse_request_line(parser, take_line(&head), request);
    if (status == 0) {
        status = parse_headers(parser, head, request);
    }
    for (size_t i = 0; i < ARRAY_LEN(steps) && status == 0; i++) {
        status = steps[i](parser, request);
    }
    return status < 0 ? status : len;
}

/* ---- asking a request ---- */

bool http1_header_next(
    const struct http1_request *request, const char *name, size_t *cursor, struct bytes *ret_value)
{
    while (*cursor < request->header_count) {
        const struct http1_header *header = &request->headers[(*cursor)++];
        if (bytes_eq_nocase(header->name, bytes_str(name))) {
            *ret_value = header->value;
            return true;
        }
    }
    return false;
}

int http1_header_once(
    const struct http1_request *request, const char *name, struct bytes *ret_value)
{
    size_t cursor = 0;
    struct bytes value;
    struct bytes second;
    if (!http1_header_next(request, name, &cursor, &value)) {
        return STATUS_NOT_FOUND;
    }
    if (http1_header_next(request, name, &cursor, &second)) {
        return STATUS_INVALID;
    }
    *ret_value = value;
    return 0;
}

bool http1_list_next(struct bytes *list, struct bytes *ret_element)
{
    if (list->at == NULL) {
        return false;
    }
    size_t len = 0;
    for (bool quoted = false; len < list->len && (quoted || list->at[len] != ','); len++) {
        if (list->at[len] == '"') {
            quoted = !quoted;
        } else if (quoted && list->at[len] == '\\' && len + 1 < list->len) {
            len++;
        }
    }
    *ret_element = bytes_trim(bytes_of(list->at, len), " \t");
    *list = len < list->len ? bytes_skip(*list, len + 1) : bytes_of(NULL, 0);
    return true;
}

bool http1_has_token(const struct http1_request *request, const char *name, const char *token)
{
    size_t cursor = 0;
    struct bytes list;
    struct bytes element;
    while (http1_header_next(request, name, &cursor, &list)) {
        while (http1_list_next(&list, &element)) {
            if (bytes_eq_nocase(element, bytes_str(token))) {
                return true;
            }
        }
    }
    return false;
}

/* ---- responses ---- */

static void move_slice(struct bytes *slice, struct bytes from, const char *to)
{
    if (slice->at >= from.at && slice->at <= from.at + from.len) {
        slice->at = to + (slice->at - from.at);
    }
}

void http1_request_move(struct http1_request *request, struct bytes from, const char *to)
{
    move_slice(&request->target, from, to);
    move_slice(&request->path, from, to);
    move_slice(&request->query, from, to);
    move_slice(&request->host, from, to);
    for (size_t i = 0; i < request->header_count; i++) {
        move_slice(&request->headers[i].name, from, to);
        move_slice(&request->headers[i].value, from, to);
    }
}

const char *http1_reason(unsigned status)
{
    static const struct {
        unsigned status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

static bool has_control(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c < 0x20 || c == 0x7f) {
            return true;
        }
    }
    return false;
}

void http1_write_status_line(struct builder *out, unsigned status)
{
    builder_str(out, "HTTP/1.1 ");
    builder_u64(out, status);
    builder_byte(out, ' ');
    builder_str(out, http1_reason(status));
    builder_str(out, "\r\n");
}

int http1_write_header(struct builder *out, struct bytes name, struct bytes value)
{
    if (!http1_is_token(name) || has_control(value)) {
        return STATUS_INVALID;
    }
    builder_add(out, name);
    builder_str(out, ": ");
    builder_add(out, value);
    builder_str(out, "\r\n");
    return builder_status(out);
}
