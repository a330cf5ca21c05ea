/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notifications that backends post over HTTP. Order of this file: parsing, storing, results,
 * transactions.
 *
 * A post_call owns a copy of the body, which posts and rows refer to, so that the peer may go while
 * the store works. Rows leave in requests of at most STORE_PAGE_MAX rows and about SLICE_BYTES, one
 * after the other, so that a large post does not hold its shard; each is stored whole or not at
 * all.
 */
#include "hub/api/api_post.h"

#include "actors/inbox/post.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"

enum { SLICE_BYTES = 2 << 20 };

enum { KEY_MAX = 255, MADE_KEY_LEN = 32, PRINTABLE_MIN = 0x21, PRINTABLE_MAX = 0x7e };

/* One post of the request. */
struct item {
    struct notification_post post;
    struct api_error error; /* code ERROR_NONE: none so far */
    struct notification_fault fault; /* what `error` points into */
    bool parsed; /* `post` is to be finished */
    bool several; /* named `users`: answered with a list */
    uint32_t first_row;
    uint32_t row_count;
    struct store_audience_post *audience; /* stored once for many, without rows; else NULL */
    struct transaction *transaction; /* of the audience */
    char key[MADE_KEY_LEN + 1]; /* made for a post that has none; told when it must be repeated */
};

/* What is stored in one transaction. */
struct transaction {
    union {
        struct store_request base;
        struct store_put put;
        struct store_audience_post audience;
    } op;
    struct post_call *call;
    bool answered;
};

struct post_call {
    struct api_call api; /* first */
    struct shard *shard;
    struct api_settings *settings; /* a reference: rows name the tenant of an API key */
    char *body;
    bool array;
    struct item *items;
    uint32_t item_count;
    struct store_row *rows;
    uint32_t row_count;
    uint32_t audience_count; /* of items that are stored once for many */
    struct transaction *transactions; /* those of rows, then the others */
    uint32_t transaction_count;
    uint32_t transactions_done; /* answered by the store; the next one is under way */
};

/* Parsing. */

struct api_error api_post_error(int status, const struct notification_fault *fault)
{
    if (status == STATUS_NOMEM) {
        return (struct api_error){
            .code = ERROR_UNAVAILABLE, .message = "Out of memory, try again", .retry_s = 1};
    }
    return (struct api_error){
        .code = status == STATUS_TOO_LARGE ? ERROR_TOO_LARGE : ERROR_INVALID_FIELD,
        .message = fault->message != NULL ? fault->message : "Not a valid post",
        .field = fault->field[0] != '\0' ? fault->field : NULL,
    };
}

bool api_post_set_tenant(const struct http_request *request, const struct apikey *key,
    struct notification_post *post, struct api_error *ret_error)
{
    if (api_auth_tenant(request, key, post->tenant, &post->tenant) == 0) {
        return true;
    }
    *ret_error = (struct api_error){
        .code = ERROR_FORBIDDEN, .message = "The key is of another tenant", .field = "tenant"};
    return false;
}

/* What may stand around the arguments of an event: up to 1,024 names of rooms. */
enum { AROUND_EVENT = 256 << 10 };

uint32_t api_post_event_body(const struct config *config)
{
    return (uint32_t)config->limits_event_bytes + AROUND_EVENT;
}

struct notification_limits api_post_limits(
    const struct http_request *request, const struct api_settings *settings)
{
    struct notification_limits limits = settings->posts;
    limits.now_ms = sched_wall(api_shard(request)->shard->sched);
    limits.posted_ms = limits.now_ms;
    limits.deliver_after_ms = limits.now_ms;
    return limits;
}

static void parse_item(const struct http_request *request, const struct apikey *key,
    struct bytes object, struct item *item)
{
    struct notification_limits limits = api_post_limits(request, api_shard(request)->settings);
    struct bytes users;
    int status = notification_from_body_json(object, &limits, &item->post, &item->fault);
    if (status != 0) {
        item->error = api_post_error(status, &item->fault);
        return;
    }
    item->parsed = true;
    item->several = json_scan_get(object, "users", &users) == 0 &&
                    notification_audience_of(&item->post) == AUDIENCE_NONE;
    (void)api_post_set_tenant(request, key, &item->post, &item->error);
}

bool api_post_count(struct bytes array, uint32_t max, uint32_t *ret_count)
{
    struct json_scan_iter iter;
    struct bytes element;
    uint32_t count = 0;
    json_scan_iter_init(&iter, array);
    while (count <= max && json_scan_element(&iter, &element)) {
        count++;
    }
    *ret_count = count;
    return count <= max;
}

/* Take the posts out of the body; false: the request was answered. */
static bool parse_body(
    struct http_request *request, const struct apikey *key, struct post_call *call)
{
    const struct config *config = api_shard(request)->settings->config;
    struct bytes value;
    struct bytes element;
    struct json_scan_iter iter;
    int status =
        json_scan_text(bytes_of(call->body, request->body.len), JSON_SCAN_DEPTH_MAX, &value, NULL);
    call->array = status == 0 && json_scan_kind(value) == JSON_SCAN_ARRAY;
    if (status != 0 || (!call->array && json_scan_kind(value) != JSON_SCAN_OBJECT)) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is no JSON object or array of objects"});
        return false;
    }
    uint32_t count = 1;
    if (call->array && !api_post_count(value, config->limits_posts, &count)) {
        api_refuse(request, &(struct api_error){.code = ERROR_TOO_LARGE,
                                .message = "Too many notifications in one request"});
        return false;
    }
    call->items = mem_try_calloc(count + 1, sizeof(*call->items));
    if (call->items == NULL) {
        api_refuse_memory(request);
        return false;
    }
    if (!call->array) {
        parse_item(request, key, value, &call->items[call->item_count++]);
        return true;
    }
    json_scan_iter_init(&iter, value);
    while (json_scan_element(&iter, &element)) {
        parse_item(request, key, element, &call->items[call->item_count++]);
    }
    return true;
}

/* The header Idempotency-Key, or empty; false: the request was answered. */
static bool read_key(struct http_request *request, struct bytes *ret_key)
{
    struct bytes key = {0};
    int status = http1_header_once(request->head, "idempotency-key", &key);
    bool valid = status == STATUS_NOT_FOUND || (status == 0 && key.len > 0 && key.len <= KEY_MAX);
    for (size_t i = 0; valid && i < key.len; i++) {
        valid = key.at[i] >= PRINTABLE_MIN && key.at[i] <= PRINTABLE_MAX;
    }
    if (!valid) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "Idempotency-Key is one value of 1 to 255 characters",
                                .field = "Idempotency-Key"});
        return false;
    }
    *ret_key = key;
    return true;
}

/* Storing. */

static void make_key(char ret_key[MADE_KEY_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[MADE_KEY_LEN / 2];
    rand_secret(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        ret_key[2 * i] = digits[random[i] >> 4];
        ret_key[2 * i + 1] = digits[random[i] & 15];
    }
    ret_key[MADE_KEY_LEN] = '\0';
}

/*
 * The key of a post that has none of its own: the header's, with a NUL and the place in an array
 * behind it (so that it is equal to none that was posted), or a random one.
 */
static void write_key(
    struct post_call *call, uint32_t index, struct bytes header, struct builder *out)
{
    struct item *item = &call->items[index];
    if (header.len == 0) {
        if (item->post.key.len == 0) {
            make_key(item->key);
        }
        builder_str(out, item->key);
        return;
    }
    builder_add(out, header);
    if (call->array) {
        builder_byte(out, '\0');
        builder_u64(out, index);
    }
}

/* The rows of a post, or what stores it once for all. */
static int make_item(struct post_call *call, struct item *item, struct bytes key)
{
    int status = 0;
    if (notification_audience_of(&item->post) != AUDIENCE_NONE) {
        item->audience = mem_try_calloc(1, sizeof(*item->audience));
        status = item->audience != NULL
                     ? post_audience(call->shard, &item->post, key, item->audience)
                     : STATUS_NOMEM;
        call->audience_count += status == 0;
        return status;
    }
    status = post_rows(call->shard, &item->post, key, call->rows + call->row_count);
    if (status == 0) {
        item->first_row = call->row_count;
        item->row_count = item->post.target_count;
        call->row_count += item->row_count;
    }
    return status;
}

/* Make the rows of all posts that are without error; false: the request was answered. */
static bool make_rows(struct http_request *request, struct post_call *call, struct bytes header_key)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < call->item_count; i++) {
        bool rows = notification_audience_of(&call->items[i].post) == AUDIENCE_NONE;
        bool good = call->items[i].error.code == ERROR_NONE;
        count += good && rows ? call->items[i].post.target_count : 0;
    }
    if (count > api_shard(request)->settings->config->limits_targets) {
        api_refuse(request, &(struct api_error){.code = ERROR_TOO_LARGE,
                                .message = "Too many users in one request",
                                .field = "users"});
        return false;
    }
    call->rows = mem_try_calloc(count + 1, sizeof(*call->rows));
    if (call->rows == NULL) {
        api_refuse_memory(request);
        return false;
    }
    for (uint32_t i = 0; i < call->item_count; i++) {
        struct item *item = &call->items[i];
        if (item->error.code != ERROR_NONE) {
            continue;
        }
        struct builder key = {0};
        write_key(call, i, header_key, &key);
        int status = make_item(call, item, builder_bytes(&key));
        builder_reset(&key);
        if (status != 0) {
            item->error = api_post_error(status, &item->fault);
        }
    }
    return true;
}

static void free_call(struct post_call *call)
{
    api_call_end(&call->api);
    for (uint32_t i = 0; i < call->item_count; i++) {
        if (call->items[i].parsed) {
            notification_post_finish(&call->items[i].post);
        }
        mem_free(call->items[i].audience);
    }
    for (uint32_t i = 0; i < call->transaction_count; i++) {
        store_request_finish(&call->transactions[i].op.base);
    }
    mem_free(call->transactions);
    mem_free(call->rows);
    mem_free(call->items);
    mem_free(call->body);
    api_settings_unref(call->settings);
    mem_free(call);
}

/* Results. */

static int transaction_status(const struct transaction *transaction)
{
    return transaction->answered ? transaction->op.base.status : STATUS_UNKNOWN;
}

static int row_status(const struct post_call *call, uint32_t row)
{
    uint32_t low = 0; /* the last transaction that begins at or before the row */
    uint32_t high = call->transaction_count - call->audience_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (call->transactions[middle].op.put.rows <= call->rows + row) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return transaction_status(&call->transactions[low]);
}

static void write_id(const struct store_row *row, struct builder *out)
{
    api_post_write_id(row->id, out);
    if (row->seq != STORE_SEQ_SCHEDULED) {
        builder_str(out, ",\"seq\":");
        builder_u64(out, row->seq);
    }
}

/* The key that was made for the post of a row, or "". */
static const char *made_key(const struct post_call *call, uint32_t row)
{
    for (uint32_t i = 0; i < call->item_count; i++) {
        const struct item *item = &call->items[i];
        if (row >= item->first_row && row < item->first_row + item->row_count) {
            return item->key;
        }
    }
    return "";
}

/*
 * The members of one row's result, without braces; returns the HTTP status. In a list of results
 * `status` is that number, so what became of the row is its `outcome`.
 */
static unsigned write_row(
    const struct post_call *call, uint32_t index, bool listed, struct builder *out)
{
    const struct store_row *row = &call->rows[index];
    struct api_error error = api_post_outcome(row_status(call, index), row->outcome);
    if (error.code != ERROR_NONE) {
        api_error_write(&error, out);
        if (error.code == ERROR_KEY_CONFLICT) {
            builder_byte(out, ',');
            write_id(row, out);
        } else if (error.code == ERROR_UNKNOWN && made_key(call, index)[0] != '\0') {
            builder_printf(out, ",\"key\":\"%s\"", made_key(call, index));
        }
        builder_byte(out, '}');
        return errors_status(error.code);
    }
    bool duplicate = row->outcome == OUTCOME_DUPLICATE;
    if (row->seq == 0) { /* the user does not want it; also a repeat of such a one */
        builder_printf(out, "\"%s\":\"suppressed\"", listed ? "outcome" : "status");
    } else {
        write_id(row, out);
    }
    builder_str(out, duplicate ? ",\"duplicate\":true" : ",\"duplicate\":false");
    bool kept = row->seq == STORE_SEQ_SCHEDULED; /* also a repeat of such a one */
    if (kept || row->outcome == OUTCOME_COLLAPSED) {
        builder_printf(
            out, ",\"%s\":\"%s\"", listed ? "outcome" : "status", kept ? "scheduled" : "collapsed");
    }
    return duplicate ? 200 : 201;
}

/* One element of a list of results: the status comes first. */
static void write_row_result(
    const struct post_call *call, uint32_t index, bool user, struct builder *out)
{
    struct builder members = {0};
    unsigned status = write_row(call, index, true, &members);
    builder_printf(out, "{\"status\":%u,", status);
    if (user) {
        builder_str(out, "\"user\":");
        json_scan_write_string(out, call->rows[index].who.user);
        builder_byte(out, ',');
    }
    builder_add(out, builder_bytes(&members));
    builder_byte(out, '}');
    builder_reset(&members);
}

/* `"results":[…]` of a post to several users. */
static void write_users(const struct post_call *call, const struct item *item, struct builder *out)
{
    builder_str(out, "\"results\":[");
    for (uint32_t i = 0; i < item->row_count; i++) {
        builder_str(out, i > 0 ? "," : "");
        write_row_result(call, item->first_row + i, true, out);
    }
    builder_byte(out, ']');
}

/* The members of the result of a post to many, without braces; returns the HTTP status. */
static unsigned write_audience(const struct item *item, bool listed, struct builder *out)
{
    return api_post_write_audience(&item->transaction->op.audience,
        transaction_status(item->transaction), item->key, listed, out);
}

static void write_item(const struct post_call *call, const struct item *item, struct builder *out)
{
    if (item->error.code != ERROR_NONE) {
        builder_printf(out, "{\"status\":%u,", errors_status(item->error.code));
        api_error_write(&item->error, out);
        builder_str(out, "}}");
    } else if (item->several) {
        builder_str(out, "{\"status\":200,");
        write_users(call, item, out);
        builder_byte(out, '}');
    } else if (item->audience != NULL) {
        struct builder members = {0};
        unsigned status = write_audience(item, true, &members);
        builder_printf(out, "{\"status\":%u,", status);
        builder_add(out, builder_bytes(&members));
        builder_byte(out, '}');
        builder_reset(&members);
    } else {
        write_row_result(call, item->first_row, false, out);
    }
}

static void answer_array(struct post_call *call, unsigned status)
{
    struct builder out = {0};
    builder_str(&out, "{\"results\":[");
    for (uint32_t i = 0; i < call->item_count; i++) {
        builder_str(&out, i > 0 ? "," : "");
        write_item(call, &call->items[i], &out);
    }
    builder_str(&out, "]}");
    api_answer(call->api.request, status, bytes_of(NULL, 0), &out);
}

static void answer_single(struct post_call *call, unsigned status)
{
    struct builder out = {0};
    const struct item *item = &call->items[0];
    if (item->error.code != ERROR_NONE) {
        api_refuse(call->api.request, &item->error);
        return;
    }
    builder_byte(&out, '{');
    if (item->several) {
        write_users(call, item, &out);
    } else if (item->audience != NULL) {
        status = write_audience(item, false, &out);
    } else {
        status = write_row(call, item->first_row, false, &out);
    }
    builder_byte(&out, '}');
    struct bytes headers = {0};
    if (!item->several && status == 200) {
        headers = BYTES("Idempotency-Replayed: true\r\n");
    }
    api_answer(call->api.request, status, headers, &out);
}

/* 200, or where there were rows and the store is not known to have taken any: 504 when it may have,
 * else 503. */
static unsigned status_of_all(const struct post_call *call)
{
    unsigned result = call->transaction_count > 0 ? 503 : 200;
    for (uint32_t i = 0; i < call->transaction_count; i++) {
        int status = transaction_status(&call->transactions[i]);
        if (status == 0 || status == STATUS_INVALID) {
            return 200;
        }
        result = status == STATUS_UNKNOWN ? 504 : result;
    }
    return result;
}

static void answer(struct post_call *call)
{
    unsigned status = status_of_all(call);
    if (status == 503) {
        api_refuse_unavailable(call->api.request);
    } else if (call->array) {
        answer_array(call, status);
    } else {
        answer_single(call, status);
    }
}

static void on_overdue(struct api_call *api)
{
    answer(container_of(api, struct post_call, api));
}

static void submit_next(struct post_call *call);

static void on_stored(struct store_request *request)
{
    struct transaction *transaction = container_of(request, struct transaction, op.base);
    struct post_call *call = transaction->call;
    transaction->answered = true;
    if (request->status == 0 && request->op == STORE_AUDIENCE_POST) {
        post_audience_announce(call->shard, &transaction->op.audience);
    } else if (request->status == 0) {
        post_announce(call->shard, transaction->op.put.rows, transaction->op.put.count);
    }
    call->transactions_done++;
    api_call_renew(&call->api);
    submit_next(call);
}

/* Whether the store is away: what it has not been asked yet is not asked any more. */
static bool is_store_away(const struct post_call *call)
{
    int last = call->transactions_done > 0
                   ? call->transactions[call->transactions_done - 1].op.base.status
                   : 0;
    return call->shard->store == NULL || last == STATUS_UNAVAILABLE || last == STATUS_UNKNOWN;
}

static void finish(struct api_call *api)
{
    if (api->request != NULL) {
        answer(container_of(api, struct post_call, api));
    }
    free_call(container_of(api, struct post_call, api));
}

/* Submit the next transaction, or answer when there is none. */
static void submit_next(struct post_call *call)
{
    if (is_store_away(call)) {
        for (; call->transactions_done < call->transaction_count; call->transactions_done++) {
            call->transactions[call->transactions_done].op.base.status = STATUS_UNAVAILABLE;
            call->transactions[call->transactions_done].answered = true;
        }
    }
    if (call->transactions_done < call->transaction_count) {
        store_submit(call->shard->store, &call->transactions[call->transactions_done].op.base);
        return;
    }
    api_call_settle(&call->api, call->shard, finish);
}

static size_t size_of_row(const struct store_row *row)
{
    return row->type.len + row->title.len + row->message.len + row->data.len + row->collapse.len +
           sizeof(*row);
}

/* How many rows from `from` on go into one transaction. */
static uint32_t count_slice(const struct post_call *call, uint32_t from)
{
    uint32_t count = 0;
    size_t bytes = 0;
    bool later = from < call->row_count && call->rows[from].deliver_at > 0;
    while (from + count < call->row_count && count < STORE_PAGE_MAX && bytes < SLICE_BYTES &&
           (call->rows[from + count].deliver_at > 0) == later) {
        bytes += size_of_row(&call->rows[from + count]);
        count++;
    }
    return count;
}

/* One transaction for each post to many, behind those of rows. */
static void add_audiences(struct post_call *call)
{
    for (uint32_t i = 0; i < call->item_count; i++) {
        struct item *item = &call->items[i];
        if (item->error.code == ERROR_NONE && item->audience != NULL) {
            item->transaction = &call->transactions[call->transaction_count++];
            item->transaction->op.audience = *item->audience;
            item->transaction->op.base.op = STORE_AUDIENCE_POST;
            item->transaction->op.base.done = on_stored;
            item->transaction->call = call;
        }
    }
}

/* Submit the rows, in order, and what is stored once. Answers later. */
static void submit(struct http_request *request, struct post_call *call)
{
    uint32_t transactions = call->audience_count;
    for (uint32_t from = 0; from < call->row_count; from += count_slice(call, from)) {
        transactions++;
    }
    call->transactions = mem_try_calloc(transactions, sizeof(*call->transactions));
    if (call->transactions == NULL) {
        api_refuse_memory(request);
        free_call(call);
        return;
    }
    for (uint32_t from = 0; from < call->row_count;) {
        uint32_t count = count_slice(call, from);
        call->transactions[call->transaction_count++] = (struct transaction){
            .op.put = {.base = {.op = STORE_PUT, .done = on_stored},
                .rows = call->rows + from,
                .count = count},
            .call = call,
        };
        from += count;
    }
    add_audiences(call);
    api_call_hold_store(&call->api, request, on_overdue);
    submit_next(call);
}

bool api_post_check_size(struct http_request *request, uint64_t len)
{
    const struct config *config = api_shard(request)->settings->config;
    bool event = bytes_eq(request->path, BYTES("/api/v1/events"));
    uint64_t most = config->limits_body_bytes;
    if (event && most < api_post_event_body(config)) {
        most = api_post_event_body(config); /* of one; several may be as large as other posts */
    }
    if (len <= most) {
        return true;
    }
    api_refuse(
        request, &(struct api_error){.code = ERROR_TOO_LARGE, .message = "The body is too large"});
    return false;
}

bool api_post_head(struct http_request *request, void *context)
{
    (void)context;
    return api_auth_key(request, APIKEY_PUBLISH) != NULL &&
           (!request->head->has_content_length ||
               api_post_check_size(request, request->head->content_length));
}

static void post_notifications(struct http_request *request, const struct apikey *key)
{
    struct bytes header_key;
    if (key == NULL || !api_post_check_size(request, request->body.len) ||
        !read_key(request, &header_key)) {
        return;
    }
    struct post_call *call = mem_alloc(sizeof(*call));
    call->shard = api_shard(request)->shard;
    call->settings = api_settings_ref(api_shard(request)->settings);
    call->body = mem_try_alloc(request->body.len + 1);
    if (call->body == NULL) {
        api_refuse_memory(request);
        free_call(call);
        return;
    }
    memcpy(call->body, request->body.len > 0 ? request->body.at : "", request->body.len);
    if (!parse_body(request, key, call) || !make_rows(request, call, header_key)) {
        free_call(call);
        return;
    }
    bool stores = call->row_count + call->audience_count > 0;
    if (stores && call->shard->store != NULL) {
        submit(request, call);
        return;
    }
    if (stores) { /* the node ends */
        api_refuse_unavailable(request);
        free_call(call);
        return;
    }
    call->api.request = request;
    answer(call);
    free_call(call);
}

void api_post_notifications(struct http_request *request, void *context)
{
    (void)context;
    post_notifications(request, api_auth_key(request, APIKEY_PUBLISH));
}

void api_post_dev_notifications(struct http_request *request, void *context)
{
    static const struct apikey anybody = {
        .name = {.at = "dev", .len = 3}, .scopes = APIKEY_PUBLISH};
    (void)context;
    post_notifications(request, &anybody);
}
