/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite - the embedded engine: one file, one writer thread and one reader thread for the node.
 *
 * Both threads work the same way: sleep until requests are queued, take all of them, run them,
 * give them back. The writer runs what it took as one transaction, in which a request at fault is
 * undone alone; what arrives while it commits is the next transaction.
 * The file belongs to one process: a lock on PATH-lock, kept by the kernel until the process ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "sql/audience.h"
#include "sql/engine.h"
#include "sql/sqlite_audience.h"
#include "sql/sqlite_ops.h"
#include "sql/steps.h"

enum {
    BATCH_ROWS = 4000,
    FIRST_STEP_ROWS = 50,
    BATCH_READS = 64,
    IDLE_MS = 500,
    PATH_MAX_LEN = 4000
};

struct sqlite_store;

/* A thread with its queue and connection. */
struct worker {
    struct sqlite_store *store;
    struct sqlite_db db;
    void (*run)(struct worker *worker, struct list *batch); /* gives every request back */
    void (*idle)(struct worker *worker); /* nothing came for IDLE_MS */
    size_t batch_rows; /* taken at once */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct list queue; /* store_request.link */
    bool stop;
};

struct sqlite_store {
    struct store base;
    char *path;
    int lock_fd; /* -1: not locked */
    dev_t device; /* of the file, to notice that it was replaced */
    ino_t inode;
    bool dirty; /* writer only: committed since the last checkpoint */
    struct worker writer;
    struct worker reader;
};

static struct sqlite_store *as_sqlite(struct store *store)
{
    return container_of(store, struct sqlite_store, base);
}

/* --- the two threads --- */

/* Set up; the caller has filled in `run`, `idle` and `batch_rows`. */
static void worker_init(struct worker *worker, struct sqlite_store *store)
{
    worker->store = store;
    list_init(&worker->queue);
    CHECK(pthread_mutex_init(&worker->lock, NULL) == 0);
    pthread_condattr_t attributes;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&worker->wake, &attributes) == 0);
    CHECK(pthread_condattr_destroy(&attributes) == 0);
}

/* Wait until there is work, the worker is to stop, or IDLE_MS passed; false for the last. */
static bool wait_for_work(struct worker *worker)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)IDLE_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    int code = 0;
    while (list_empty(&worker->queue) && !worker->stop && code == 0) {
        code = pthread_cond_timedwait(&worker->wake, &worker->lock, &until);
    }
    return !list_empty(&worker->queue) || worker->stop;
}

static size_t rows_of(const struct store_request *request)
{
    return request->op == STORE_PUT ? ((const struct store_put *)request)->count + 1
                                    : steps_weight(request, FIRST_STEP_ROWS);
}

/* Move requests of at most `batch_rows` rows, and at least one, to `batch`. */
static void take_batch(struct worker *worker, struct list *batch)
{
    size_t rows = 0;
    while (!list_empty(&worker->queue) && rows < worker->batch_rows) {
        struct list *link = list_pop(&worker->queue);
        rows += rows_of(container_of(link, struct store_request, link));
        list_append(batch, link);
    }
}

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    CHECK(pthread_mutex_lock(&worker->lock) == 0);
    while (!worker->stop || !list_empty(&worker->queue)) {
        bool work = wait_for_work(worker);
        struct list batch;
        list_init(&batch);
        take_batch(worker, &batch);
        CHECK(pthread_mutex_unlock(&worker->lock) == 0);
        if (!list_empty(&batch)) {
            worker->run(worker, &batch);
        } else if (!work) {
            worker->idle(worker);
        }
        sqlite_db_give_back(&worker->db, clock_mono_ms());
        CHECK(pthread_mutex_lock(&worker->lock) == 0);
    }
    CHECK(pthread_mutex_unlock(&worker->lock) == 0);
    return NULL;
}

static int worker_start(struct worker *worker)
{
    if (pthread_create(&worker->thread, NULL, run_worker, worker) != 0) {
        return STATUS_NOMEM;
    }
    worker->started = true;
    return 0;
}

static void worker_stop(struct worker *worker)
{
    if (worker->started) {
        CHECK(pthread_mutex_lock(&worker->lock) == 0);
        worker->stop = true;
        CHECK(pthread_cond_signal(&worker->wake) == 0);
        CHECK(pthread_mutex_unlock(&worker->lock) == 0);
        CHECK(pthread_join(worker->thread, NULL) == 0);
    }
    sqlite_db_close(&worker->db);
}

/* After both have stopped: each may wake the other up to its end. */
static void worker_finish(struct worker *worker)
{
    CHECK(pthread_cond_destroy(&worker->wake) == 0);
    CHECK(pthread_mutex_destroy(&worker->lock) == 0);
}

static void worker_push(struct worker *worker, struct store_request *request)
{
    CHECK(pthread_mutex_lock(&worker->lock) == 0);
    bool was_empty = list_empty(&worker->queue);
    (op_checks(request->op) ? list_prepend : list_append)(&worker->queue, &request->link);
    CHECK(pthread_mutex_unlock(&worker->lock) == 0);
    if (was_empty) {
        CHECK(pthread_cond_signal(&worker->wake) == 0);
    }
}

/* What the caller is told: a request without memory was not carried out. */
static int outcome_of(int status)
{
    return status == STATUS_NOMEM ? STATUS_UNAVAILABLE : status;
}

/* --- reading --- */

static void run_reads(struct worker *worker, struct list *batch)
{
    for (struct list *link = list_pop(batch); link; link = list_pop(batch)) {
        struct store_request *request = container_of(link, struct store_request, link);
        int status = sqlite_read(&worker->db, request);
        if (status == STATUS_NOMEM) { /* once more, without the caches */
            sqlite_db_give_back(&worker->db, clock_mono_ms());
            request_reset(request);
            audience_forget(request);
            status = sqlite_read(&worker->db, request);
        }
        status = outcome_of(status);
        if (status == 0 && request->lacking_count > 0) {
            worker_push(&worker->store->writer, request); /* which makes the rows */
            continue;
        }
        if (status == STATUS_UNAVAILABLE) {
            health_explain(&worker->store->base.health, sqlite_db_reason(&worker->db), NULL);
        }
        port_complete(request, status);
    }
}

static void idle_reader(struct worker *worker)
{
}

/* --- writing --- */

/* Whether the path still names the file that is open; else what we commit would be lost. */
static bool is_file_ours(const struct sqlite_store *store)
{
    struct stat found;
    return stat(store->path, &found) == 0 && found.st_dev == store->device &&
           found.st_ino == store->inode;
}

/* A request of the batch and what is to become of it once the transaction has committed. */
struct write {
    struct store_request *request;
    struct put_result *results;
    int status;
    unsigned starved; /* runs that ended for want of memory for it */
    bool mends; /* only rows that the request lacks are made */
    bool waits; /* it was not carried out: it lacks rows, or is behind one that does */
};

/* Runs of a transaction; of one request, until it is left out for want of memory. */
enum { RUNS_MAX = 16, STARVED_MAX = 2 };

/* SQLite undoes the whole transaction then, savepoints too. */
static int starve(struct write *write)
{
    write->starved++;
    return STATUS_AGAIN;
}

/* Whether a request that writes must be left for later, before it has been tried. */
static bool must_wait(const struct write *writes, size_t index)
{
    const struct store_request *request = writes[index].request;
    if (writes[index].mends || !op_writes(request->op) || op_checks(request->op)) {
        return false;
    }
    bool waits = request->lacking_count > 0;
    for (size_t i = 0; i < index && !waits; i++) {
        waits = writes[i].waits && audience_follows(request, writes[i].request);
    }
    return waits;
}

/* Carry out one request, unless it lacks more rows than may be made beside. */
static void carry_out(struct sqlite_db *db, struct write *write)
{
    write->status = write->mends ? sqlite_audience_mend(db, write->request)
                                 : sqlite_write(db, write->request, &write->results);
    write->waits = write->status == STATUS_AGAIN;
}

/* Run one request in a savepoint: it fails for itself. Returns 0 when the transaction can go on,
 * STATUS_AGAIN without memory. */
static int run_apart(struct sqlite_db *db, struct write *write)
{
    int status = sqlite_db_exec(db, "SAVEPOINT request");
    if (status < 0) {
        return status;
    }
    carry_out(db, write);
    if (write->status == STATUS_UNAVAILABLE) {
        return STATUS_UNAVAILABLE;
    }
    if (write->status == STATUS_NOMEM) {
        return starve(write);
    }
    if (write->status < 0) {
        status = sqlite_db_exec(db, "ROLLBACK TO request");
    }
    return status < 0 ? status : sqlite_db_exec(db, "RELEASE request");
}

/* Run one request. STATUS_AGAIN: it failed behind a change, which must be undone; or without
 * memory. */
static int run_write(struct sqlite_db *db, struct write *write)
{
    int before = sqlite3_total_changes(db->handle);
    carry_out(db, write);
    if (write->status == STATUS_UNAVAILABLE) {
        return STATUS_UNAVAILABLE;
    }
    bool changed = sqlite3_total_changes(db->handle) != before;
    if (write->status == STATUS_NOMEM) {
        return starve(write);
    }
    return write->status < 0 && changed ? STATUS_AGAIN : 0;
}

/* Some requests of a batch. */
struct part {
    struct write *writes; /* of the batch */
    size_t first;
    size_t end;
};

/* Run all of them as one transaction, which is left open; 0 when it can be committed. */
static int run_all(struct sqlite_db *db, const struct part *part, bool apart)
{
    struct write *writes = part->writes;
    int status = sqlite_db_exec(db, "BEGIN IMMEDIATE");
    db->made = 0;
    for (size_t i = part->first; i < part->end && status == 0; i++) {
        writes[i].waits = must_wait(writes, i);
        if (!writes[i].waits && writes[i].starved < STARVED_MAX) {
            status = (apart ? run_apart : run_write)(db, &writes[i]);
        }
    }
    return status;
}

/*
 * The same; 0 when it has committed. A savepoint copies each page that changes, so they are made
 * only when a request has failed without them.
 */
static int run_transaction(struct worker *worker, const struct part *part)
{
    struct sqlite_db *db = &worker->db;
    if (!is_file_ours(worker->store)) {
        health_explain(&worker->store->base.health, "the file was removed or replaced",
            "put it back or start again");
        return STATUS_UNAVAILABLE;
    }
    int status = run_all(db, part, false);
    for (unsigned runs = 1; status == STATUS_AGAIN && runs < RUNS_MAX; runs++) {
        sqlite_db_roll_back(db);
        sqlite_db_give_back(db, clock_mono_ms());
        for (size_t i = part->first; i < part->end; i++) {
            request_reset(part->writes[i].request);
            part->writes[i].results = NULL;
        }
        status = run_all(db, part, true);
    }
    if (status == 0) {
        struct query query;
        query_open(&query, db, SQLITE_STMT_COMMIT);
        status = query_run(&query);
        status = status < 0 ? status : 0;
    }
    if (status < 0) {
        health_explain(&worker->store->base.health, sqlite_db_reason(db), NULL);
    }
    sqlite_db_roll_back(db);
    return status;
}

static void complete_write(struct worker *worker, const struct write *write, int status)
{
    struct store_request *request = write->request;
    if (status == 0) {
        status = outcome_of(write->status);
    } else {
        status = STATUS_UNAVAILABLE;
    }
    if (status == 0 && !op_writes(request->op)) { /* the rows it needs are there */
        audience_forget(request);
        worker_push(&worker->store->reader, request);
        return;
    }
    if (status == 0 && write->results) {
        results_apply(request, write->results);
    }
    port_complete(request, status);
}

/* Move the log into the file: the next transaction begins the log anew, unless somebody reads it.
 */
static void empty_log(struct worker *worker)
{
    (void)sqlite3_wal_checkpoint_v2(worker->db.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

/* Make some of the rows that a request lacks, as a transaction of their own. */
static int mend(struct worker *worker, struct store_request *request)
{
    struct write write = {.request = request, .mends = true};
    int status = run_transaction(worker, &(struct part){.writes = &write, .end = 1});
    status = status < 0 ? status : write.status;
    if (status == 0 && worker->db.made < AUDIENCE_STEP_MAX) {
        audience_forget(request); /* none is missing, unless there was a post since */
    }
    return status;
}

/* Queue requests in front of all but those that check the store. */
static void put_back(struct worker *worker, struct list *waiting)
{
    CHECK(pthread_mutex_lock(&worker->lock) == 0);
    struct list *at = worker->queue.next;
    while (at != &worker->queue && op_checks(container_of(at, struct store_request, link)->op)) {
        at = at->next;
    }
    for (struct list *link = list_pop(waiting); link; link = list_pop(waiting)) {
        list_append(at, link);
    }
    CHECK(pthread_mutex_unlock(&worker->lock) == 0);
}

/*
 * Of what was not carried out, the first makes a step; all come again in their order, with what was
 * asked meanwhile.
 */
static void make_step(struct worker *worker, struct write *writes, size_t count)
{
    struct list waiting;
    list_init(&waiting);
    bool mended = false;
    for (size_t i = 0; i < count; i++) {
        struct store_request *request = writes[i].request;
        if (!writes[i].waits) {
            continue;
        }
        request_reset(request);
        if (writes[i].status == STATUS_AGAIN) {
            audience_lack_all(request);
        }
        bool first = !mended && request->lacking_count > 0;
        int status = first ? mend(worker, request) : 0;
        mended = mended || first;
        if (status < 0) {
            port_complete(request, STATUS_UNAVAILABLE);
        } else {
            list_append(&waiting, &request->link);
        }
    }
    put_back(worker, &waiting);
}

/* Tell what became of a part; what waits goes on waiting. */
static void complete_part(struct worker *worker, const struct part *part, int status)
{
    for (size_t i = part->first; i < part->end; i++) {
        struct write *write = &part->writes[i];
        write->waits = status == 0 && write->waits;
        if (!write->waits) {
            complete_write(worker, write, status);
        }
    }
}

/*
 * Carry out a part as one transaction; where memory ends all the time, its halves one after the
 * other: each request has a verdict of its own, and what fits is carried out.
 */
static void run_part(struct worker *worker, const struct part *part)
{
    int status = run_transaction(worker, part);
    worker->store->dirty = true;
    if (status < 0 && is_file_ours(worker->store)) {
        empty_log(worker); /* it may be the log that cannot grow: no space, no addresses to map */
    }
    bool starved = status == STATUS_AGAIN || status == STATUS_NOMEM;
    if (!starved || part->end - part->first == 1) {
        complete_part(worker, part, status);
        return;
    }
    for (size_t i = part->first; i < part->end; i++) {
        request_reset(part->writes[i].request);
        part->writes[i].results = NULL;
    }
    size_t middle = part->first + (part->end - part->first) / 2;
    run_part(worker, &(struct part){part->writes, part->first, middle});
    run_part(worker, &(struct part){part->writes, middle, part->end});
}

static void run_writes(struct worker *worker, struct list *batch)
{
    struct write writes[BATCH_ROWS];
    struct part all = {.writes = writes};
    for (struct list *link = list_pop(batch); link; link = list_pop(batch)) {
        writes[all.end++] =
            (struct write){.request = container_of(link, struct store_request, link)};
    }
    run_part(worker, &all);
    bool waits = false;
    for (size_t i = 0; i < all.end; i++) {
        waits = waits || writes[i].waits;
    }
    if (waits) {
        make_step(worker, writes, all.end);
    }
}

/* While nobody waits for it. */
static void idle_writer(struct worker *worker)
{
    if (worker->store->dirty && is_file_ours(worker->store)) {
        empty_log(worker);
        worker->store->dirty = false;
    }
}

/* --- opening --- */

static int create(
    const struct store_config *config, struct store **ret_store, char *ret_error, size_t error_size)
{
    struct bytes path = bytes_skip(config->url, sizeof("sqlite:") - 1);
    if (path.len == 0 || path.len > PATH_MAX_LEN || path.at[0] == ':' ||
        memchr(path.at, '\0', path.len)) {
        (void)snprintf(ret_error, error_size, "sqlite: must be followed by the path of a file");
        return STATUS_INVALID;
    }
    struct sqlite_store *store = mem_alloc(sizeof(*store));
    store->path = mem_dup(path.at, path.len);
    store->lock_fd = -1;
    store->writer =
        (struct worker){.run = run_writes, .idle = idle_writer, .batch_rows = BATCH_ROWS};
    store->reader =
        (struct worker){.run = run_reads, .idle = idle_reader, .batch_rows = BATCH_READS};
    worker_init(&store->writer, store);
    worker_init(&store->reader, store);
    *ret_store = &store->base;
    return 0;
}

static int lock_file(struct sqlite_store *store, char *ret_error, size_t error_size)
{
    char name[PATH_MAX_LEN + 8];
    (void)snprintf(name, sizeof(name), "%s-lock", store->path);
    store->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock_fd < 0) {
        (void)snprintf(ret_error, error_size, "cannot write %s: %s", name, strerror(errno));
        return STATUS_IO;
    }
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        (void)snprintf(ret_error, error_size,
            "%s is in use by another process: one SQLite file serves one node; stop the other "
            "process, name another file (store.path), or use Postgres for several nodes",
            store->path);
        return STATUS_EXISTS;
    }
    return 0;
}

static int open_databases(struct sqlite_store *store, char *ret_error, size_t error_size)
{
    struct worker *workers[] = {&store->writer, &store->reader};
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        int status = sqlite_db_open(&workers[i]->db, store->path, store->base.stats);
        if (status < 0) {
            (void)snprintf(ret_error, error_size, "cannot open %s: %s", store->path,
                sqlite_db_reason(&workers[i]->db));
            return status;
        }
    }
    struct stat found;
    if (stat(store->path, &found) != 0) {
        (void)snprintf(ret_error, error_size, "cannot open %s: %s", store->path, strerror(errno));
        return STATUS_IO;
    }
    store->device = found.st_dev;
    store->inode = found.st_ino;
    return 0;
}

static int start(struct store *base, char *ret_error, size_t error_size)
{
    struct sqlite_store *store = as_sqlite(base);
    int status = lock_file(store, ret_error, error_size);
    if (status == 0) {
        status = open_databases(store, ret_error, error_size);
    }
    if (status < 0) {
        return status;
    }
    return sqlite_migrate(&store->writer.db, ret_error, error_size);
}

static int serve(struct store *base, char *ret_error, size_t error_size)
{
    struct sqlite_store *store = as_sqlite(base);
    int status = worker_start(&store->writer);
    if (status == 0) {
        status = worker_start(&store->reader);
    }
    if (status < 0) {
        (void)snprintf(ret_error, error_size, "cannot start a thread");
    }
    return status;
}

/* --- meta: with the writer's connection until it has it to itself --- */

static void reason(struct store *base, char *ret_error, size_t error_size)
{
    const struct sqlite_store *store = as_sqlite(base);
    (void)snprintf(ret_error, error_size, "cannot write %s: %s", store->path,
        sqlite_db_reason(&store->writer.db));
}

static int meta_first(
    struct store *base, const char *name, const char *value, char ret_value[META_VALUE_MAX + 1])
{
    struct sqlite_db *db = &as_sqlite(base)->writer.db;
    struct query query;
    query_open(&query, db, SQLITE_STMT_META_FIRST);
    query_text(&query, 1, bytes_str(name));
    query_text(&query, 2, bytes_str(value));
    int status = query_run(&query);
    return status < 0 ? status : sqlite_read_meta(db, name, META_VALUE_MAX + 1, ret_value);
}

static int meta_replace(struct store *base, const char *name, const char *from, const char *to)
{
    struct sqlite_store *store = as_sqlite(base);
    struct sqlite_db own = {0};
    struct sqlite_db *db = &store->writer.db;
    int status = 0;
    if (store->writer.started) {
        db = &own;
        status = sqlite_db_open(db, store->path, base->stats);
    }
    if (status == 0) {
        status = sqlite_replace_meta(db, name, bytes_str(from), to);
    }
    if (db == &own) {
        sqlite_db_close(db);
    }
    return status < 0 ? status : status == 0 ? STATUS_CONFLICT : 0;
}

/* A file has no name but its path, which means nothing elsewhere. */
static int identify(struct store *store, char ret_identity[STORE_IDENTITY_MAX + 1])
{
    ret_identity[0] = '\0';
    return 0;
}

static int port_open(
    struct store *base, unsigned index, struct uv_loop_s *loop, struct store_port **ret_port)
{
    struct store_port *port = mem_alloc(sizeof(*port));
    port_init(port, base, index);
    *ret_port = port;
    return 0;
}

static void submit(struct store_port *port, struct store_request *request)
{
    struct sqlite_store *store = as_sqlite(port->store);
    worker_push(op_writes(request->op) ? &store->writer : &store->reader, request);
}

static void port_destroy(struct store_port *port)
{
    port_finish(port);
    mem_free(port);
}

static void close_store(struct store *base)
{
    struct sqlite_store *store = as_sqlite(base);
    worker_stop(&store->reader);
    worker_stop(&store->writer); /* last: the last connection to close empties the log */
    worker_finish(&store->reader);
    worker_finish(&store->writer);
    if (store->lock_fd >= 0) {
        (void)close(store->lock_fd);
    }
    mem_free(store->path);
    mem_free(store);
}

const struct engine engine_sqlite = {
    .name = "sqlite",
    .statement_names = sqlite_statement_names,
    .statement_count = SQLITE_STMT_COUNT,
    .create = create,
    .start = start,
    .serve = serve,
    .meta_first = meta_first,
    .meta_replace = meta_replace,
    .identify = identify,
    .reason = reason,
    .port_open = port_open,
    .submit = submit,
    .port_close = port_closed,
    .port_destroy = port_destroy,
    .close = close_store,
};
