/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox_calls - what a client asks of its inbox, and marks in it.
 */
#ifndef ACTORS_INBOX_INBOX_CALLS_H
#define ACTORS_INBOX_INBOX_CALLS_H

#include "actors/deliver/call.h"

enum inbox_what {
    INBOX_ARCHIVE,
    INBOX_DELETE,
    INBOX_LIST,
    INBOX_READ,
    INBOX_READ_ALL,
    INBOX_RECEIVED,
    INBOX_SEEN,
    INBOX_SEEN_ALL,
    INBOX_SNOOZE,
    INBOX_SYNC,
    INBOX_UNARCHIVE,
    INBOX_UNREAD,
};

/* Answer `call`, now or when the store has. */
void inbox_calls_take(const struct client_call *call, enum inbox_what what);

#endif
