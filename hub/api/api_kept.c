/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares what is kept with where the inbox stands, and writes the headers of such answers.
 *
 * Order of this file: tags, headers, a read from its beginning on.
 */
#include "hub/api/api_kept.h"

#include "actors/core/sched.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"
#include "sql/store.h"

enum { ETAG_MAX = 96 };

/* Tags. */

static struct bytes write_etag(const struct http_request *request, uint64_t rev, char at[ETAG_MAX])
{
    struct builder out = {.max = ETAG_MAX};
    const char *epoch = api_shard(request)->shard->config->epoch;
    builder_printf(&out, "\"%.64s.%llu\"", epoch, (unsigned long long)rev);
    struct bytes text = builder_bytes(&out);
    memcpy(at, text.at, text.len);
    text.at = at;
    builder_reset(&out);
    return text;
}

/* Whether If-None-Match names `etag`, by the weak comparison (RFC 9110 8.8.3.2), or anything. */
static bool is_known(const struct http_request *request, struct bytes etag)
{
    size_t cursor = 0;
    struct bytes value;
    while (http1_header_next(request->head, "if-none-match", &cursor, &value)) {
        struct bytes element;
        while (http1_list_next(&value, &element)) {
            if (bytes_starts(element, BYTES("W/"))) {
                element = bytes_skip(element, 2);
            }
            if (bytes_eq(element, etag) || bytes_eq(element, BYTES("*"))) {
                return true;
            }
        }
    }
    return false;
}

static bool knows_something(const struct http_request *request)
{
    size_t cursor = 0;
    struct bytes value;
    return http1_header_next(request->head, "if-none-match", &cursor, &value);
}

/* Headers. */

static void write_headers(const struct http_request *request, struct bytes etag, const char *cache,
    struct builder *headers)
{
    builder_str(headers, "ETag: W/");
    builder_add(headers, etag);
    builder_str(headers, "\r\nCache-Control: ");
    builder_str(headers, api_shard(request)->settings->config->cache_control);
    builder_str(headers, "\r\n");
    builder_str(headers, cache);
}

static void answer_at(
    struct http_request *request, uint64_t rev, const char *cache, struct bytes body)
{
    char at[ETAG_MAX];
    struct builder headers = {0};
    struct bytes etag = write_etag(request, rev, at);
    write_headers(request, etag, cache, &headers);
    if (is_known(request, etag)) {
        http_respond(request, 304, NULL, builder_bytes(&headers), bytes_of(NULL, 0));
    } else {
        api_answer_bytes(request, 200, builder_bytes(&headers), body);
    }
    builder_reset(&headers);
}

/* The same with a text that may have failed (memory). */
static void answer_json(
    struct http_request *request, uint64_t rev, const char *cache, struct builder *json)
{
    if (builder_failed(json)) {
        api_refuse_memory(request);
    } else {
        answer_at(request, rev, cache, builder_bytes(json));
    }
    builder_reset(json);
}

/* A read. */

static uint64_t session_of(const struct http_request *request)
{
    return store_sessions(api_shard(request)->shard->store_root);
}

bool api_kept_begin(struct api_kept *kept, const struct http_request *request,
    struct store_user who, const char *kind)
{
    const struct api_shard *shard = api_shard(request);
    kept->who = who;
    kept->session = session_of(request);
    builder_str(&kept->name, kind);
    builder_byte(&kept->name, '?');
    builder_add(&kept->name, request->query);
    if (!builder_failed(&kept->name)) {
        kept->body = read_cache_get(shard->cache, who, builder_bytes(&kept->name), kept->session,
            sched_now(shard->shard->sched), &kept->stamp);
    }
    return kept->body != NULL || knows_something(request);
}

bool api_kept_answer(struct api_kept *kept, struct http_request *request, uint64_t rev)
{
    char at[ETAG_MAX];
    bool kept_it =
        kept->body != NULL && kept->stamp.rev == rev && session_of(request) == kept->session;
    if (!kept_it && !is_known(request, write_etag(request, rev, at))) {
        return false;
    }
    read_cache_count(api_shard(request)->cache, true);
    answer_at(
        request, rev, "X-Cache: HIT\r\n", kept_it ? buf_bytes(kept->body) : bytes_of(NULL, 0));
    return true;
}

void api_kept_fill(
    struct api_kept *kept, struct http_request *request, uint64_t rev, struct builder *json)
{
    const struct api_shard *shard = api_shard(request);
    read_cache_count(shard->cache, false);
    if (!builder_failed(json) && !builder_failed(&kept->name)) {
        read_cache_put(shard->cache,
            &(struct read_cache_answer){
                .who = kept->who,
                .name = builder_bytes(&kept->name),
                .body = builder_bytes(json),
                .stamp = {.session = kept->session, .rev = rev},
            },
            sched_now(shard->shard->sched));
    }
    answer_json(request, rev, "X-Cache: MISS\r\n", json);
}

void api_kept_pass(struct http_request *request, struct builder *json)
{
    read_cache_count(api_shard(request)->cache, false);
    api_answer(request, 200, BYTES("Cache-Control: private, no-store\r\nX-Cache: MISS\r\n"), json);
}

void api_kept_one(struct http_request *request, uint64_t rev, struct builder *json)
{
    answer_json(request, rev, "", json);
}

void api_kept_finish(struct api_kept *kept)
{
    builder_reset(&kept->name);
    buf_unref(kept->body);
    kept->body = NULL;
}
