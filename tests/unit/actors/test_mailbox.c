/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues of messages: their order, what is shed, the wake-ups between threads, and when a line is
 * under pressure.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

#include "actors/core/mailbox.h"
#include "actors/core/sched.h"
#include "codec/base/rand.h"

TestSuite(mailbox, .timeout = 60);

static const struct behaviour owner = {.name = "owner", .shed_bound = 3};
static const struct msg_kind control = {.behaviour = &owner, .lane = LANE_CONTROL};
static const struct msg_kind normal = {.behaviour = &owner, .lane = LANE_NORMAL};
static const struct msg_kind shed = {.behaviour = &owner, .lane = LANE_SHED};

struct numbered {
    struct msg base;
    unsigned number;
    unsigned sender;
};

static struct msg *make(const struct msg_kind *kind, unsigned number)
{
    struct numbered *msg = msg_create(sizeof(*msg), kind);
    msg->number = number;
    return &msg->base;
}

/* The number of `msg`, which is freed; 0 for NULL. */
static unsigned number_of(struct msg *msg)
{
    unsigned number = msg ? container_of(msg, struct numbered, base)->number : 0;
    msg_destroy(msg);
    return number;
}

Test(mailbox, fifo_keeps_order_and_takes_others_in_front)
{
    struct fifo fifo = {0};
    struct fifo front = {0};
    fifo_prepend_all(&fifo, &front);
    cr_assert_null(fifo_pop(&fifo));
    fifo_append(&front, make(&normal, 1));
    fifo_append(&front, make(&normal, 2));
    fifo_prepend_all(&fifo, &front);
    fifo_append(&fifo, make(&normal, 3));
    cr_assert_null(front.first);
    cr_assert_eq(number_of(fifo_pop(&fifo)), 1);
    fifo_append(&front, make(&normal, 4));
    fifo_prepend_all(&fifo, &front);
    fifo_append(&fifo, make(&normal, 5));
    cr_assert_eq(number_of(fifo_pop(&fifo)), 4);
    cr_assert_eq(number_of(fifo_pop(&fifo)), 2);
    cr_assert_eq(number_of(fifo_pop(&fifo)), 3);
    cr_assert_eq(number_of(fifo_pop(&fifo)), 5);
    cr_assert_null(fifo_pop(&fifo));
    fifo_append(&fifo, make(&normal, 6));
    cr_assert_eq(number_of(fifo_pop(&fifo)), 6);
}

Test(mailbox, inbox_gives_chains_in_the_order_of_pushes_and_tells_when_it_was_empty)
{
    static struct inbox inbox; /* aligned to a cache line, which a sanitizer's stack is not */
    struct fifo fifo = {0};
    unsigned number = 0;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned push = 0; push < 3; push++) {
            struct chain chain = {0};
            for (unsigned i = 0; i <= push; i++) {
                chain_add(&chain, make(&normal, ++number));
            }
            cr_assert_eq(inbox_push(&inbox, &chain), push == 0);
            cr_assert_null(chain.newest);
        }
        cr_assert_not(inbox_is_empty(&inbox));
        inbox_drain(&inbox, &fifo);
        inbox_drain(&inbox, &fifo);
        cr_assert(inbox_is_empty(&inbox));
    }
    for (unsigned i = 1; i <= number; i++) {
        cr_assert_eq(number_of(fifo_pop(&fifo)), i);
    }
    cr_assert_null(fifo_pop(&fifo));
}

enum { SENDERS = 3, PER_SENDER = 30000 };

static struct inbox shared_inbox;
static atomic_uint wakes;
static atomic_uint senders_left = SENDERS;

static void *send_chains(void *arg)
{
    unsigned sender = (unsigned)(uintptr_t)arg;
    struct rand dice;
    rand_init(&dice, sender);
    struct chain chain = {0};
    for (unsigned number = 1; number <= PER_SENDER; number++) {
        struct msg *msg = make(&normal, number);
        container_of(msg, struct numbered, base)->sender = sender;
        chain_add(&chain, msg);
        if (rand_below(&dice, 4) == 0 || number == PER_SENDER) {
            if (inbox_push(&shared_inbox, &chain)) {
                atomic_fetch_add(&wakes, 1);
            }
        }
    }
    atomic_fetch_sub(&senders_left, 1);
    return NULL;
}

/*
 * The owner looks into the inbox only for as many times as it was woken: a lost wake-up leaves
 * messages behind.
 */
Test(mailbox, inbox_loses_no_message_and_no_wake_up_between_threads)
{
    pthread_t threads[SENDERS];
    for (uintptr_t i = 0; i < SENDERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, send_chains, (void *)i), 0);
    }
    unsigned answered = 0;
    unsigned last[SENDERS] = {0};
    bool left = true;
    while (left || answered != atomic_load(&wakes)) {
        left = atomic_load(&senders_left) != 0;
        if (answered == atomic_load(&wakes)) {
            sched_yield();
            continue;
        }
        answered = atomic_load(&wakes);
        struct fifo fifo = {0};
        inbox_drain(&shared_inbox, &fifo);
        struct msg *msg;
        while ((msg = fifo_pop(&fifo)) != NULL) {
            struct numbered *numbered = container_of(msg, struct numbered, base);
            cr_assert_eq(numbered->number, last[numbered->sender] + 1);
            last[numbered->sender]++;
            msg_destroy(msg);
        }
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        cr_assert_eq(last[i], PER_SENDER);
    }
}

Test(mailbox, sheds_the_oldest_above_the_bound_and_nothing_else)
{
    struct actor actor = {.behaviour = &owner};
    cr_assert_null(mailbox_pop(&actor));
    cr_assert_null(mailbox_shed(&actor));
    mailbox_push(&actor, make(&shed, 1));
    mailbox_push(&actor, make(&shed, 2));
    mailbox_push(&actor, make(&shed, 3));
    cr_assert_null(mailbox_shed(&actor), "at the bound is not above it");
    mailbox_push(&actor, make(&control, 4));
    mailbox_push(&actor, make(&shed, 5));
    mailbox_push(&actor, make(&shed, 6));
    mailbox_push(&actor, make(&shed, 7));
    mailbox_push(&actor, make(&normal, 8));
    mailbox_push(&actor, make(&shed, 9));
    cr_assert_eq(actor.queued, 9);
    cr_assert_eq(number_of(mailbox_shed(&actor)), 1);
    cr_assert_eq(number_of(mailbox_shed(&actor)), 2);
    cr_assert_eq(number_of(mailbox_shed(&actor)), 3);
    cr_assert_null(mailbox_shed(&actor), "a CONTROL message is the oldest now");
    cr_assert_eq(number_of(mailbox_pop(&actor)), 4);
    cr_assert_eq(number_of(mailbox_shed(&actor)), 5);
    cr_assert_null(mailbox_shed(&actor), "three are left");
    cr_assert_eq(number_of(mailbox_pop(&actor)), 6);
    cr_assert_eq(number_of(mailbox_pop(&actor)), 7);
    cr_assert_eq(number_of(mailbox_pop(&actor)), 8);
    cr_assert_eq(number_of(mailbox_pop(&actor)), 9);
    cr_assert_null(mailbox_pop(&actor));
    cr_assert_eq(actor.queued, 0);
    cr_assert_eq(actor.shed_queued, 0);
}

Test(mailbox, line_is_pressured_from_its_bound_down_to_its_low_mark)
{
    static struct line line;
    line.sent = SCHED_LINE_BOUND - 1;
    cr_assert_not(line_pressured(&line));
    line.sent++;
    cr_assert_not(line_add_handled(&line, 0), "nobody has asked yet");
    cr_assert(line_pressured(&line));
    cr_assert_not(line_add_handled(&line, SCHED_LINE_BOUND - SCHED_LINE_LOW - 1));
    cr_assert(line_pressured(&line), "hysteresis: one above the low mark");
    cr_assert(line_add_handled(&line, 1), "the sender is to be woken");
    cr_assert_not(line_pressured(&line));
    cr_assert_not(line_add_handled(&line, 1), "and not woken again");
    line.sent += SCHED_LINE_LOW;
    cr_assert_not(line_pressured(&line), "hysteresis: one below the bound");
    line.sent++;
    cr_assert(line_pressured(&line));
    line.sent += 100;
    cr_assert(line_add_handled(&line, SCHED_LINE_LOW));
    cr_assert(line_pressured(&line), "more was sent since it asked");
    cr_assert_not(line_add_handled(&line, 99));
    cr_assert(line_add_handled(&line, 1));
    cr_assert_not(line_pressured(&line));
}
