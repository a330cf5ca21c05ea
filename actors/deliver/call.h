/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call - an event of a client that is being answered, and how it is: one shape for acks and
 * refusals.
 */
#ifndef ACTORS_DELIVER_CALL_H
#define ACTORS_DELIVER_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/errors.h"
#include "codec/event.h"

struct socket;

/* A request that is being handled: who asked, and where the answer goes. */
struct client_call {
    struct socket *socket;
    const struct event *event;
    bool has_id;
    uint64_t id;
};

/* Why a call of a client is refused; what it points to is read before the function returns. */
struct call_refusal {
    enum error_code code;
    const char *message;
    const char *field; /* of the argument; NULL: no single one is at fault */
    uint64_t retry_ms; /* may be repeated then; 0: nothing is said of it */
    struct bytes
        room; /* that it is about, for clients that cannot ask for an answer; empty: none */
};

/*
 * Refuse a call of `socket`: ack {"ok":false,…} where it asked for an answer (`id`), emit `error`
 * where `id` is NULL.
 */
void call_refuse_event(struct socket *socket, const uint64_t *id, struct bytes event,
    const struct call_refusal *refusal);

/* The first argument of a JSON event, or an empty slice. */
struct bytes call_argument(const struct event *event);

/*
 * The room that `event` is about: `roomId` of its argument, in `at` of NAMES_ROOM_MAX bytes; empty:
 * it names none, or nothing that fits.
 */
struct bytes call_room(const struct event *event, char *at);

/* Ack with `result` (JSON object text) if an ack was asked for. */
void call_answer(const struct client_call *call, struct bytes result);

/* call_refuse_event for the call, and for the room that it is about. */
void call_refuse_as(const struct client_call *call, const struct call_refusal *refusal);

/* The same: no single member of its argument is at fault. */
void call_refuse(const struct client_call *call, enum error_code code, const char *message);

/* The same with `invalid_field`: `field` of the argument is missing or not what is `allowed`. */
void call_refuse_field(const struct client_call *call, const char *field, const char *allowed);

/* Send an event of Peal's own to one socket; takes `event`, which NULL there was no memory for. */
void call_emit(struct socket *socket, struct event *event);

#endif
