/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room_retained - what is kept (deliver/retained.h), shown to who joins a room or connects.
 */
#ifndef ACTORS_RECOVER_ROOM_RETAINED_H
#define ACTORS_RECOVER_ROOM_RETAINED_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"

struct socket;

/*
 * Send `socket` what is kept for all and for its user, in the turn in which it has entered: what is
 * posted later follows. Nothing to one that continues another: that one was told, and what it
 * missed was sent.
 */
void room_retained_send_own(struct socket *socket);

/* The same to one that continues another, which may have missed some of it. */
void room_retained_repeat_own(struct socket *socket);

/* Send `socket`, which has become a member of `room` (wire name) in this turn, what is kept there.
 */
void room_retained_send(struct socket *socket, struct bytes room);

/*
 * The same to one that is sent what it missed there, from the broadcast `first` (its number) on:
 * what is older and, behind that (`later`), what is not among what it missed.
 */
void room_retained_send_around(
    struct socket *socket, struct bytes room, uint64_t first, bool later);

#endif
