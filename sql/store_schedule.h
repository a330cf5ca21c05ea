/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_schedule - what is posted for later: kept until it is due, then stored as if it were posted
 * at that moment.
 *
 * A put whose rows have `deliver_at`, or a post to many that has one, is kept: OUTCOME_SCHEDULED,
 * no number, no rev, in no list. Its key is taken from then on; a repeat gets STORE_SEQ_SCHEDULED
 * until it is delivered, and for ever where it was cancelled.
 *
 * Who delivers asks for what is due (STORE_DUE) and puts it, with `due`: the transaction takes what
 * was kept away and stores the rows. It stores nothing (STATUS_FENCED) when any of it was taken,
 * changed or cancelled since it was told, so each is stored once however many deliver; they then
 * ask again. What counts for a row (the user's preferences, the open row of its name, who is
 * subscribed) is what holds then.
 *
 * The schedule is divided into STORE_SCHEDULE_PARTS by slot (slot_part), so that each part can have
 * one who delivers; what is for many is in the part of SLOT_NONE. Times are compared with the
 * database's clock.
 */
#ifndef SQL_STORE_SCHEDULE_H
#define SQL_STORE_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/notification.h"
#include "sql/store_request.h"

/* In the statements as numbers. */
enum { STORE_SCHEDULE_PARTS = 8, STORE_DUE_MAX = 500 };

/* `seq` of a row, and `n` of a post to many, that is kept. */
#define STORE_SEQ_SCHEDULED ((uint64_t)INT64_MAX)

/* What is kept. */
struct store_scheduled {
    struct store_row row; /* as it is to be put; `who.user` is empty where it is for many */
    enum notification_audience kind; /* AUDIENCE_NONE: for row.who */
    struct bytes name; /* AUDIENCE_TOPIC: the topic */
    bool include_new;
};

/*
 * What is due by the database's clock, in the order of its times. What has expired by then is
 * dropped, and never told.
 */
struct store_due {
    struct store_request base; /* STORE_DUE */
    uint32_t parts; /* set of 1u << part */
    uint32_t limit; /* 1 to STORE_DUE_MAX */
    uint64_t max_bytes; /* it ends behind the one that passes them; at least one is told */
    /* out */
    struct store_scheduled *items;
    size_t count;
    bool more; /* more may be due */
    uint64_t now; /* by the database's clock */
    uint64_t next; /* when the first of the others is due, by `now` where somebody holds its user's
                      inbox locked, which is left for the next time; 0: there are none */
    uint64_t expired; /* how many were dropped */
};

/*
 * Change what is kept, cancel it, or read it: found by its id. STATUS_NOT_FOUND when it is not kept
 * in `tenant`: it was delivered (STORE_EDIT finds it), cancelled, or never there.
 */
struct store_reschedule {
    struct store_request base; /* STORE_RESCHEDULE */
    struct bytes tenant;
    uint8_t id[NOTIFICATION_ID_LEN];
    bool cancel; /* `fields` are not looked at */
    uint32_t fields; /* set of enum notification_edit; empty: it is only read */
    struct bytes title;
    struct bytes message;
    struct bytes data;
    enum notification_priority priority;
    uint64_t expires_at;
    uint64_t deliver_at;
    /* out */
    struct store_scheduled item; /* as it is now, or was */
};

/* Whether a put keeps its rows for later, or stores those that are due; all of them do or none. */
bool store_put_keeps(const struct store_put *put);
bool store_put_delivers(const struct store_put *put);

#endif
