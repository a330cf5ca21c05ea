/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine - what store.c and the two engines share; private to sql/.
 *
 * An engine embeds `struct store` and `struct store_port` in its own. store.c checks a request,
 * counts it and hands it over; the engine gives it back with port_complete, on any thread.
 */
#ifndef SQL_ENGINE_H
#define SQL_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "codec/base/list.h"
#include "sql/health.h"
#include "sql/result.h"
#include "sql/stats.h"
#include "sql/store_forget.h"
#include "sql/store_list.h"
#include "sql/store_note.h"
#include "sql/store_preference.h"
#include "sql/store_push.h"
#include "sql/store_request.h"
#include "sql/store_retention.h"
#include "sql/store_schedule.h"
#include "sql/store_summary.h"

/* Requests a port holds at most, and so many more of those that check the store (op_checks); what
 * is beyond completes with STATUS_UNAVAILABLE, and says nothing about the store. */
enum { PORT_PENDING_MAX = 16384, PORT_CHECKS_MAX = 16, META_VALUE_MAX = 63 };

/* Bytes of a user's, a tenant's or a type's name. */
enum { STORE_NAME_MAX = 1024 };

struct engine;
struct uv_loop_s;

struct store {
    const struct engine *engine;
    struct store_config config; /* its `url` is a copy of our own */
    char epoch[STORE_EPOCH_LEN + 1];
    char identity[STORE_IDENTITY_MAX + 1];
    uint32_t connections; /* store_connections */
    struct stats *stats;
    struct health health;
    struct store_port **ports; /* by index; freed with the store */
};

struct store_port {
    struct store *store;
    unsigned index;
    /* The shard's thread only. */
    size_t pending; /* requests submitted whose `done` has not been called */
    uint64_t refused; /* requests beyond the bound of `pending` */
    bool draining; /* inside complete_all, which releases the port itself */
    bool closing;
    bool released; /* the engine was told to release its handles */
    struct list marking; /* bulk marks under way: store_mark.step.link (steps.h) */
    struct list kept_back; /* what waits for one of them: store_request.link */
    void (*closed)(void *context);
    void *closed_context;
    /* Any thread, under `lock`. */
    pthread_mutex_t lock;
    struct list done; /* store_request.link */
    bool posted; /* complete_all is on its way to the shard */
};

/* What an engine is. The port functions and submit run on the shard's thread. */
struct engine {
    const char *name;
    const char *const *statement_names;
    size_t statement_count;
    /* Allocate a store for config's URL, without touching anything outside the process. */
    int (*create)(const struct store_config *config, struct store **ret_store, char *ret_error,
        size_t error_size);
    /*
     * Connect and migrate, then serve, with meta_first, identify and meta_replace between them. All
     * block; each with one line in `ret_error` when it fails. On failure `close` follows.
     */
    int (*start)(struct store *store, char *ret_error, size_t error_size);
    int (*serve)(struct store *store, char *ret_error, size_t error_size);
    /* Keep `value` under `name` unless there is one already; tell which there is. */
    int (*meta_first)(struct store *store, const char *name, const char *value,
        char ret_value[META_VALUE_MAX + 1]);
    /* In one statement: `to` in the place of `from`. STATUS_CONFLICT: it was another. */
    int (*meta_replace)(struct store *store, const char *name, const char *from, const char *to);
    /* Write what the server calls this database, or leave it empty where it has no name. */
    int (*identify)(struct store *store, char ret_identity[STORE_IDENTITY_MAX + 1]);
    /* The engine's words about what failed last in these three. */
    void (*reason)(struct store *store, char *ret_error, size_t error_size);
    int (*port_open)(
        struct store *store, unsigned index, struct uv_loop_s *loop, struct store_port **ret_port);
    void (*submit)(struct store_port *port, struct store_request *request);
    /* Nothing is pending any more: close the loop handles, then call port_closed. */
    void (*port_close)(struct store_port *port);
    /* Free the port's memory; port_closed was called. */
    void (*port_destroy)(struct store_port *port);
    void (*close)(struct store *store);
};

extern const struct engine engine_sqlite;
extern const struct engine engine_postgres;

/* Whether the values of a request are such that an engine can carry it out (store_check.c). */
bool request_is_valid(const struct store_request *request);

/* Whether requests of this kind change the database. */
bool op_writes(enum store_op op);

/* Whether they are about hand-offs to devices. */
bool op_is_of_push(enum store_op op);

/* Whether they are about the table `meta`. */
bool op_is_of_meta(enum store_op op);

/*
 * Whether requests of this kind tell of the store itself: they go before all that waits. Else who
 * asks much would make a store look as if it were away.
 */
bool op_checks(enum store_op op);

/* One row's outputs, kept apart until the transaction has committed. */
struct put_result {
    enum store_outcome outcome;
    uint8_t id[NOTIFICATION_ID_LEN];
    uint64_t seq;
    uint64_t rev;
    uint64_t unread;
    uint64_t unseen;
    uint64_t head;
    uint64_t count;
    uint64_t first_at;
    uint64_t till;
    struct bytes digest; /* in the request's arena */
    bool nobody; /* store_audience_post */
};

/* Set up and finish the common part of a port. */
void port_init(struct store_port *port, struct store *store, unsigned index);
void port_finish(struct store_port *port);

/* Give `request` back with `status`; its `done` runs in a later turn of its shard. Any thread. */
void port_complete(struct store_request *request, int status);

/* The engine has released the port's handles: tell the owner. */
void port_closed(struct store_port *port);

/* The arena of a request's outputs. */
struct result *request_result(struct store_request *request);

/* Free and clear the outputs, so that the request can be run again. */
void request_reset(struct store_request *request);

/* Copy the outputs of what a put, or a post to many, has committed to the caller's. */
void results_apply(struct store_request *request, const struct put_result *results);

/* Whether the page ends here: no further row is added to it. Its statement reads one row more. */
bool list_is_full(const struct store_list *list);

/* Where a list goes on behind `item`. */
struct store_cursor cursor_of(const struct notification_item *item);

/* Append a change to an array of the arena; nothing when memory ran out (result_failed tells). */
void change_append(struct result *result, struct notification_change **changes, size_t *count,
    const struct notification_change *change);

#endif
