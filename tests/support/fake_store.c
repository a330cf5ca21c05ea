/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store in memory, in steps. Order: inboxes, writes, reads, partitions, ports and steps.
 */
#include "tests/support/fake_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "tests/support/fake_jobs.h"
#include "tests/support/tape.h"

enum { START_OF_CHANGES = 1000, PARTITIONS_MAX = 16, ID_MAX = 256 };

struct partition {
    uint32_t number;
    uint64_t token; /* 0: unused */
    char last_id[ID_MAX];
};

struct store_port {
    struct list link; /* fake_store.ports */
    struct fake_store *store;
    struct list waiting; /* store_request.link, in the order of submission */
    struct list done; /* carried out, not answered */
    bool held;
    bool cut; /* all that it is asked fails before it is carried out */
    void (*enter)(void *context);
    void *context;
};

struct fake_store {
    struct rand dice;
    struct list ports;
    struct fake_inbox *inboxes;
    size_t inbox_count;
    size_t inbox_cap;
    struct partition partitions[PARTITIONS_MAX];
    unsigned fail_one_in;
    char refused[64];
    uint64_t fenced;
    struct fake_jobs *added;
    uint64_t next_key;
    uint64_t changes;
    bool flood;
    bool forgot; /* commits */
    struct fake_loss loss;
    int (*posted)(struct store_posted *request);
    int (*due)(struct store_due *request);
    int (*topics)(struct store_topics *request);
    int (*jobs)(struct store_request *request), (*devices)(struct store_devices *request);
    int (*history)(struct store_request *request);
    int (*received)(struct store_push_received *request);
};

/* Inboxes. */

static void write_key(struct store_user who, char key[300])
{
    snprintf(key, 300, "%.*s%s%.*s", (int)who.tenant.len, who.tenant.len ? who.tenant.at : "",
        who.tenant.len ? "/" : "", (int)who.user.len, who.user.at);
}

static struct fake_inbox *find_inbox(const struct fake_store *store, const char *key)
{
    for (size_t i = 0; i < store->inbox_count; i++) {
        if (strcmp(store->inboxes[i].key, key) == 0) {
            return &store->inboxes[i];
        }
    }
    return NULL;
}

static struct fake_inbox *inbox_of(struct fake_store *store, struct store_user who)
{
    char key[300];
    write_key(who, key);
    struct fake_inbox *inbox = find_inbox(store, key);
    if (inbox != NULL) {
        return inbox;
    }
    if (store->inbox_count == store->inbox_cap) {
        store->inbox_cap = store->inbox_cap ? store->inbox_cap * 2 : 8;
        store->inboxes =
            mem_realloc_array(store->inboxes, store->inbox_cap, sizeof(*store->inboxes));
    }
    inbox = &store->inboxes[store->inbox_count++];
    *inbox = (struct fake_inbox){0};
    memcpy(inbox->key, key, sizeof(inbox->key));
    return inbox;
}

const struct fake_inbox *fake_store_inbox(const struct fake_store *store, const char *key)
{
    return find_inbox(store, key);
}

static struct store_position position_of(const struct fake_store *store, struct store_user who)
{
    char key[300];
    write_key(who, key);
    const struct fake_inbox *inbox = find_inbox(store, key);
    return inbox ? inbox->position : (struct store_position){0};
}

/* Writes. */

static void put_row(struct fake_store *store, struct store_row *row)
{
    struct fake_inbox *inbox = inbox_of(store, row->who);
    if (fake_inbox_put(inbox, row)) {
        inbox->changed_at = ++store->changes;
    }
}

struct store_row fake_store_post(struct fake_store *store, const char *key, const char *message)
{
    const char *slash = strchr(key, '/');
    struct store_row row = {
        .who = {.tenant = bytes_of(key, slash ? (size_t)(slash - key) : 0),
            .user = bytes_str(slash ? slash + 1 : key)},
        .type = BYTES("t"),
        .message = bytes_str(message),
        .created_at = FAKE_WALL_MS,
    };
    store->next_key++;
    memcpy(row.key_hash, &store->next_key, sizeof(store->next_key));
    row.key_hash[STORE_HASH_LEN - 1] = 0xfa;
    memcpy(row.id, row.key_hash, sizeof(row.id));
    put_row(store, &row);
    return row;
}

static struct partition *partition_of(struct fake_store *store, uint32_t number)
{
    for (size_t i = 0; i < PARTITIONS_MAX; i++) {
        struct partition *partition = &store->partitions[i];
        if (partition->token == 0 || partition->number == number) {
            partition->number = number;
            return partition;
        }
    }
    CHECK(false);
    return NULL;
}

/* What rows are told of digests is the request's until it is finished, as with the store. */
static void put_rows(struct fake_store *store, struct store_put *request)
{
    struct builder kept = {0};
    for (size_t i = 0; i < request->count; i++) {
        put_row(store, &request->rows[i]);
        builder_add(&kept, request->rows[i].digest);
    }
    struct bytes all = builder_bytes(&kept);
    char *memory = all.len > 0 ? mem_dup(all.at, all.len) : NULL;
    request->base.result = memory;
    for (size_t i = 0; i < request->count && memory != NULL; i++) {
        struct bytes *digest = &request->rows[i].digest;
        *digest = bytes_of(memory, digest->len);
        memory += digest->len;
    }
    builder_reset(&kept);
}

static void advance(struct partition *partition, struct bytes last_id)
{
    if (partition != NULL && last_id.len > 0) {
        CHECK(last_id.len < ID_MAX);
        memcpy(partition->last_id, last_id.at, last_id.len);
        partition->last_id[last_id.len] = '\0';
    }
}

/* Without a hook of the test: each key once, fenced. */
static int add_jobs(struct fake_store *store, struct store_job_add *request)
{
    struct partition *partition = request->fenced ? partition_of(store, request->partition) : NULL;
    if (partition != NULL && partition->token != request->token) {
        store->fenced++;
        return STATUS_FENCED;
    }
    fake_jobs_add(&store->added, request);
    advance(partition, request->last_id);
    return 0;
}

size_t fake_store_jobs(const struct fake_store *store, const char *payload)
{
    return fake_jobs_count(store->added, payload);
}

static int put(struct fake_store *store, struct store_put *request)
{
    struct partition *partition = request->fenced ? partition_of(store, request->partition) : NULL;
    CHECK(request->count <= STORE_PAGE_MAX);
    if (partition != NULL && partition->token != request->token) {
        store->fenced++;
        return STATUS_FENCED;
    }
    for (size_t i = 0; i < request->count; i++) {
        if (store->refused[0] && bytes_eq_str(request->rows[i].message, store->refused)) {
            return STATUS_INVALID;
        }
    }
    put_rows(store, request);
    advance(partition, request->last_id);
    return 0;
}

static int mark(struct fake_store *store, struct store_mark *request)
{
    struct fake_inbox *inbox = inbox_of(store, request->who);
    fake_inbox_mark(inbox, request);
    inbox->changed_at = request->changed ? ++store->changes : inbox->changed_at;
    return 0;
}

size_t fake_store_wake(struct fake_store *store, const char *key)
{
    struct fake_inbox *inbox = find_inbox(store, key);
    size_t count = inbox != NULL ? fake_inbox_wake(inbox) : 0;
    if (count > 0) {
        inbox->changed_at = ++store->changes;
    }
    return count;
}

/* Reads. */

static int sync_inbox(struct fake_store *store, struct store_sync *request)
{
    fake_inbox_sync(inbox_of(store, request->who), request);
    return 0;
}

static int list_inbox(struct fake_store *store, struct store_list *request)
{
    fake_inbox_list(inbox_of(store, request->who), request);
    return 0;
}

static int ask_positions(struct fake_store *store, struct store_positions *request)
{
    request->positions = mem_alloc_array(request->count + 1, sizeof(*request->positions));
    request->base.result = request->positions;
    for (size_t i = 0; i < request->count; i++) {
        request->positions[i] = position_of(store, request->users[i]);
        bool late = store->loss.late && !request->current;
        request->positions[i].rev -= late && request->positions[i].rev > 0;
        request->positions[i].preference_rev -= late && request->positions[i].preference_rev > 0;
    }
    return 0;
}

static int read_preferences(struct fake_store *store, struct store_preference *request)
{
    const struct fake_inbox *inbox = inbox_of(store, request->who);
    request->rev = inbox->position.preference_rev;
    if (store->loss.late && request->rev > 0) { /* a standby that is behind by the last change */
        request->rev--;
        return 0;
    }
    request->hidden = inbox->hidden;
    if (inbox->preferences != NULL) {
        request->base.result = mem_dup(inbox->preferences, strlen(inbox->preferences));
        request->body = bytes_of(request->base.result, strlen(inbox->preferences));
    }
    return 0;
}

static int write_preferences(struct fake_store *store, struct store_preference *request)
{
    struct fake_inbox *inbox = inbox_of(store, request->who);
    if (request->hides) {
        inbox->hidden = request->hidden;
    } else {
        mem_free(inbox->preferences);
        inbox->preferences = mem_dup(request->body.at, request->body.len);
    }
    request->rev = ++inbox->position.preference_rev;
    inbox->changed_at = ++store->changes;
    return 0;
}

void fake_store_set_preferences(struct fake_store *store, const char *user, const char *text)
{
    struct store_preference request = {.who.user = bytes_str(user), .body = bytes_str(text)};
    (void)write_preferences(store, &request);
}

/* What was told before is told again only when it has changed: no more than a store must tell. */
static int list_changed(struct fake_store *store, struct store_changed *request)
{
    enum { KEY_MAX = sizeof(store->inboxes[0].key) };
    size_t size = sizeof(*request->users) + KEY_MAX;
    char *memory = mem_alloc_array(store->inbox_count + 1, size);
    char *keys = memory + store->inbox_count * sizeof(*request->users);
    request->base.result = memory;
    request->users = (struct store_moved *)(void *)memory;
    request->next = START_OF_CHANGES + store->changes + 1;
    for (size_t i = 0; i < store->inbox_count && request->since > 0; i++) {
        const struct fake_inbox *inbox = &store->inboxes[i];
        if (START_OF_CHANGES + inbox->changed_at < request->since) {
            continue;
        }
        char *key = keys + i * KEY_MAX;
        memcpy(key, inbox->key, KEY_MAX);
        const char *slash = strchr(key, '/');
        request->users[request->user_count++] = (struct store_moved){
            .who.tenant = bytes_of(key, slash ? (size_t)(slash - key) : 0),
            .who.user = bytes_str(slash ? slash + 1 : key),
            .position = inbox->position,
        };
    }
    request->more = store->flood || request->user_count > request->limit;
    request->user_count = request->more ? 0 : request->user_count;
    return 0;
}

/* Unless told otherwise, nobody has posted to many. */
static int nothing_posted(struct store_posted *request)
{
    request->heads = mem_alloc((request->tenant_count + 1) * sizeof(*request->heads));
    request->base.result = request->heads;
    return 0;
}

void fake_store_set_posted(struct fake_store *store, int (*answer)(struct store_posted *request))
{
    store->posted = answer;
}

void fake_store_set_due(struct fake_store *store, int (*answer)(struct store_due *request))
{
    store->due = answer;
}

void fake_store_set_topics(struct fake_store *store, int (*answer)(struct store_topics *request))
{
    store->topics = answer;
}

void fake_store_set_jobs(struct fake_store *store, int (*answer)(struct store_request *request))
{
    store->jobs = answer;
}

void fake_store_set_received(
    struct fake_store *store, int (*answer)(struct store_push_received *request))
{
    store->received = answer;
}

void fake_store_set_devices(struct fake_store *store, int (*answer)(struct store_devices *request))
{
    store->devices = answer;
}

void fake_store_set_history(struct fake_store *store, int (*answer)(struct store_request *request))
{
    store->history = answer;
}

void fake_store_flood(struct fake_store *store)
{
    store->flood = true;
}

/* Partitions. */

static int claim(struct fake_store *store, struct store_claim *request)
{
    struct partition *partition = partition_of(store, request->partition);
    request->token = ++partition->token;
    size_t len = strlen(partition->last_id);
    request->base.result = mem_dup(partition->last_id, len);
    request->last_id = bytes_of(request->base.result, len);
    return 0;
}

/* Ports and steps. */

static bool is_write(const struct store_request *request)
{
    return request->op == STORE_PUT || request->op == STORE_MARK || request->op == STORE_CLAIM ||
           request->op == STORE_PREFERENCE_WRITE || request->op == STORE_JOB_ADD ||
           request->op == STORE_HISTORY_ADD;
}

static int carry_out(struct fake_store *store, struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_PUT:
        return put(store, container_of(request, struct store_put, base));
    case STORE_MARK:
        return mark(store, container_of(request, struct store_mark, base));
    case STORE_LIST:
        return list_inbox(store, container_of(request, struct store_list, base));
    case STORE_SYNC:
        return sync_inbox(store, container_of(request, struct store_sync, base));
    case STORE_POSITIONS:
        return ask_positions(store, container_of(request, struct store_positions, base));
    case STORE_CHANGED:
        return list_changed(store, container_of(request, struct store_changed, base));
    case STORE_PREFERENCE_READ:
        return read_preferences(store, container_of(request, struct store_preference, base));
    case STORE_PREFERENCE_WRITE:
        return write_preferences(store, container_of(request, struct store_preference, base));
    case STORE_CLAIM:
        return claim(store, container_of(request, struct store_claim, base));
    case STORE_POSTED:
        return (store->posted != NULL ? store->posted : nothing_posted)(
            container_of(request, struct store_posted, base));
    case STORE_DUE:
        CHECK(store->due != NULL);
        return store->due(container_of(request, struct store_due, base));
    case STORE_TOPICS: /* unless told otherwise, nobody is in any */
        return store->topics == NULL
                   ? 0
                   : store->topics(container_of(request, struct store_topics, base));
    case STORE_HISTORY_ADD:
    case STORE_HISTORY_SWEEP:
    case STORE_HISTORY_LIST:
        return store->history != NULL ? store->history(request) : 0;
    case STORE_JOB_ADD:
        return store->jobs != NULL
                   ? store->jobs(request)
                   : add_jobs(store, container_of(request, struct store_job_add, base));
    case STORE_JOB_LEASE:
    case STORE_JOB_STEP:
    case STORE_JOB_PAUSE:
    case STORE_JOB_SWEEP:
    case STORE_JOB_GET:
    case STORE_JOB_LIST:
    case STORE_QUEUES:
        CHECK(store->jobs != NULL);
        return store->jobs(request);
    case STORE_DEVICE_PUT:
    case STORE_DEVICE_STATE:
    case STORE_DEVICE_REMOVE:
    case STORE_DEVICE_LIST:
        return store->devices(container_of(request, struct store_devices, base));
    case STORE_PUSH_RECEIVED:
        return store->received != NULL
                   ? store->received(container_of(request, struct store_push_received, base))
                   : 0;
    default:
        break;
    }
    CHECK(false);
    return STATUS_UNSUPPORTED;
}

void store_request_finish(struct store_request *request)
{
    if (request->op == STORE_SYNC && request->result != NULL) {
        struct fake_sync *result = request->result;
        mem_free(result->items);
        mem_free(result->changes);
    }
    mem_free(request->result);
    request->result = NULL;
}

void store_submit(struct store_port *port, struct store_request *request)
{
    request->port = port;
    list_append(&port->waiting, &request->link);
}

/* Carry out `request`, or let it fail before or behind that. */
static void execute(struct store_port *port, struct store_request *request)
{
    struct fake_store *store = port->store;
    list_remove(&request->link);
    bool fails =
        port->cut || (store->fail_one_in > 0 && tape_below(&store->dice, store->fail_one_in) == 0);
    bool before =
        fails && (port->cut || store->fail_one_in == 1 || tape_below(&store->dice, 2) == 0);
    request->status = before ? STATUS_UNAVAILABLE : carry_out(store, request);
    if (fails && request->status == 0) {
        store_request_finish(request);
        request->status = STATUS_UNAVAILABLE;
    }
    list_append(&port->done, &request->link);
}

static void answer(struct store_port *port, struct store_request *request)
{
    list_remove(&request->link);
    if (port->enter != NULL) {
        port->enter(port->context);
    }
    request->done(request);
}

/* A request that may be next: writes in their order, reads at any time. */
static struct store_request *draw_waiting(struct store_port *port)
{
    struct store_request *found = NULL;
    bool write_seen = false;
    uint64_t seen = 0;
    list_for_each (link, &port->waiting) {
        struct store_request *request = container_of(link, struct store_request, link);
        bool able = !is_write(request) || !write_seen;
        write_seen = write_seen || is_write(request);
        if (able && tape_below(&port->store->dice, ++seen) == 0) {
            found = request;
        }
    }
    return found;
}

static struct store_request *draw_done(struct store_port *port)
{
    struct store_request *found = NULL;
    uint64_t seen = 0;
    list_for_each (link, &port->done) {
        if (tape_below(&port->store->dice, ++seen) == 0) {
            found = container_of(link, struct store_request, link);
        }
    }
    return found;
}

void fake_store_drain(struct store_port *port)
{
    while (!list_empty(&port->waiting)) {
        struct store_request *request = draw_waiting(port);
        if (tape_below(&port->store->dice, 2) == 0) {
            execute(port, request);
        } else {
            list_remove(&request->link);
            request->status = STATUS_UNAVAILABLE;
            list_append(&port->done, &request->link);
        }
    }
    while (!list_empty(&port->done)) {
        answer(port, draw_done(port));
    }
}

bool fake_store_step(struct fake_store *store)
{
    struct store_port *able = NULL;
    uint64_t seen = 0;
    list_for_each (link, &store->ports) {
        struct store_port *port = container_of(link, struct store_port, link);
        if (!port->held && (!list_empty(&port->waiting) || !list_empty(&port->done)) &&
            tape_below(&store->dice, ++seen) == 0) {
            able = port;
        }
    }
    if (able == NULL) {
        return false;
    }
    bool ask = list_empty(&able->done) ||
               (!list_empty(&able->waiting) && tape_below(&store->dice, 2) == 0);
    if (ask) {
        execute(able, draw_waiting(able));
    } else {
        answer(able, draw_done(able));
    }
    return true;
}

struct store_port *fake_store_port(
    struct fake_store *store, void (*enter)(void *context), void *context)
{
    struct store_port *port = mem_alloc(sizeof(*port));
    port->store = store;
    port->enter = enter;
    port->context = context;
    list_init(&port->waiting);
    list_init(&port->done);
    list_append(&store->ports, &port->link);
    return port;
}

struct fake_store *fake_store_create(uint64_t seed)
{
    struct fake_store *store = mem_alloc(sizeof(*store));
    rand_init(&store->dice, seed);
    list_init(&store->ports);
    return store;
}

void fake_store_destroy(struct fake_store *store)
{
    fake_store_set_failures(store, 1);
    list_for_each (link, &store->ports) {
        container_of(link, struct store_port, link)->held = false;
    }
    while (fake_store_step(store)) {
    }
    for (struct list *link; (link = list_pop(&store->ports)) != NULL;) {
        mem_free(container_of(link, struct store_port, link));
    }
    for (size_t i = 0; i < store->inbox_count; i++) {
        fake_inbox_finish(&store->inboxes[i]);
    }
    mem_free(store->inboxes);
    fake_jobs_destroy(store->added);
    mem_free(store);
}

void fake_store_cut(struct store_port *port, bool cut)
{
    port->cut = cut;
}

struct store *fake_store_root(struct store_port *port)
{
    return (struct store *)(void *)port;
}

void store_tell_loss(struct store *store, const struct store_loss *loss)
{
    struct fake_store *fake = ((struct store_port *)(void *)store)->store;
    CHECK(fake->forgot); /* who says so of a store that has everything is wrong */
    CHECK(loss->is < loss->was);
    fake->loss.told++;
}

uint64_t store_sessions(const struct store *store)
{
    const struct store_port *port = (const struct store_port *)(const void *)store;
    return port != NULL ? port->store->loss.sessions : 0;
}

void fake_store_forget_stream(struct fake_store *store, uint32_t partition, bool token)
{
    struct partition *forgotten = partition_of(store, partition);
    store->forgot = true;
    forgotten->token -= token;
    snprintf(forgotten->last_id, sizeof(forgotten->last_id), "0-1");
}

void fake_store_forget(struct fake_store *store, const char *key)
{
    for (size_t i = 0; i < store->inbox_count; i++) {
        if (strcmp(store->inboxes[i].key, key) == 0 && store->inboxes[i].position.rev > 0) {
            store->inboxes[i].position.rev--;
            store->forgot = true;
        }
    }
}

struct fake_loss *fake_store_loss(struct fake_store *store)
{
    return &store->loss;
}

bool store_is_writable(const struct store *store)
{
    const struct store_port *port = (const struct store_port *)(const void *)store;
    return port == NULL || !port->cut;
}

void fake_store_set_failures(struct fake_store *store, unsigned one_in)
{
    store->fail_one_in = one_in;
}

void fake_store_refuse(struct fake_store *store, const char *message)
{
    snprintf(store->refused, sizeof(store->refused), "%s", message);
}

void fake_store_hold(struct store_port *port, bool hold)
{
    port->held = hold;
}

size_t fake_store_waiting(const struct fake_store *store)
{
    size_t count = 0;
    list_for_each (link, &store->ports) {
        struct store_port *port = container_of(link, struct store_port, link);
        list_for_each (request, &port->waiting) {
            count++;
        }
        list_for_each (request, &port->done) {
            count++;
        }
    }
    return count;
}

uint64_t fake_store_fenced(const struct fake_store *store)
{
    return store->fenced;
}
