/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_run - a store and the model beside it: operations that go to both, and what must agree.
 *
 * A run is in a process of its own: what does not agree ends it (run_fail), and whoever began it
 * may try again with fewer operations.
 */
#ifndef TESTS_UNIT_SQL_MODEL_RUN_H
#define TESTS_UNIT_SQL_MODEL_RUN_H

#include "tests/unit/sql/harness.h"
#include "tests/unit/sql/model_many.h"

enum { RUN_REPLICAS = 2 }; /* devices of a user */
enum { RUN_HAS_FAILED = 1, RUN_IS_LOST = 2 }; /* with what a process ends; 0: all agreed */

/* What a device has: it drops what is archived. */
struct replica {
    uint64_t rev;
    bool has[MODEL_ROWS_MAX + 1]; /* by seq */
    enum notification_state state[MODEL_ROWS_MAX + 1];
};

struct run {
    struct harness harness;
    struct model model;
    struct replica replicas[MODEL_INBOXES][RUN_REPLICAS];
    struct rand rand; /* of the operation under way: each has its own sequence */
    size_t step;
    bool gathers; /* types may have digests, for who says nothing of them: */
    uint64_t usual_span; /* for so long, during an operation; 0: they have none */
    bool traces; /* each operation is written to stderr */
};

/* Say what does not agree, and at which operation; ends the process. */
_Noreturn void run_fail(const struct run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define MUST(run, condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            run_fail(run, #condition ": " __VA_ARGS__);                                            \
        }                                                                                          \
    } while (0)

/* Say what the operation is. */
void run_tell(const struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Below `bound`, from the operation's sequence. */
uint64_t run_draw(struct run *run, uint64_t bound);

/* Submit on any port and wait; the status must be 0. */
void run_ask(struct run *run, struct store_request *request);

/* The same; the status is returned. */
int run_try(struct run *run, struct store_request *request);

/* The texts of the model's numbers. */
struct store_user run_user(const struct model_inbox *inbox);
struct bytes run_tenant(unsigned tenant);
struct bytes run_topic(unsigned topic);
struct bytes run_type(unsigned type);
struct bytes run_title(unsigned title);
struct bytes run_message(unsigned message);
struct bytes run_data(unsigned data);

/* A random operation on both, whose answer must be the model's. */
void run_operation(struct run *run);

/* Compare: where an inbox stands; a change that was told; a row that was told. */
void run_expect_position(
    struct run *run, const struct model_inbox *inbox, const struct store_position *position);
void run_expect_change(
    struct run *run, struct model_inbox *inbox, const struct notification_change *change);
void run_expect_item(
    struct run *run, struct model_inbox *inbox, const struct notification_item *item);

void run_expect_digest(struct run *run, const struct model_row *row, struct bytes digest);

/* Read where an inbox stands: it has all that was posted, and nothing that was taken back. */
void run_check_position(struct run *run, struct model_inbox *inbox);

/* One page of a sync of a device; whether it has all. */
bool run_sync_page(struct run *run, struct model_inbox *inbox, struct replica *replica);

/* A list of an inbox with a random filter, all its pages. */
void run_check_list(struct run *run, struct model_inbox *inbox);

/* All that can be read, in random ways; and (`last`) that all devices come to have what there is.
 */
void run_checkpoint(struct run *run, bool last);

#endif
