/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox_preferences - what a connected user wants: read from the store with the first socket and
 * with each change, and asked of each notification that is told.
 */
#ifndef ACTORS_INBOX_INBOX_PREFERENCES_H
#define ACTORS_INBOX_INBOX_PREFERENCES_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct builder;
struct client_call;
struct inbox;
struct notification_item;
struct shard;
struct store_preference;

/*
 * The store has the user's preferences at `rev` (0: none). Where only older ones are known, they
 * are read: false, and `loaded` follows with a status; once for several that come before it. A rev
 * below what is known is of a standby that lags, and changes nothing. Devices that have had
 * hub:ready are told what is read.
 */
bool inbox_preferences_know(
    struct inbox *inbox, uint64_t rev, void (*loaded)(struct inbox *inbox, int status));

/*
 * Whether a notification comes without sound: it is quiet, the user is muted, it joined a digest
 * that was told before (inbox.seq is where the inbox stood then), or too many of its type came
 * before. `counts`: it is one of these. Urgent ones never do.
 */
bool inbox_preferences_silence(
    struct inbox *inbox, const struct notification_item *item, bool counts);

/* Whether the user hides from others, as far as it is known. */
bool inbox_preferences_hide(const struct inbox *inbox);

/* Forget them. */
void inbox_preferences_drop(struct inbox *inbox);

/*
 * Write what a user is answered, as the members of an object that is open: what the store has; of
 * what cannot be read, nothing, with a log line. STATUS_NOMEM.
 */
MUST_CHECK int inbox_preferences_write(
    struct shard *shard, const struct store_preference *stored, struct builder *out);

/* What clients ask: preferences:get and preferences:set. */
void inbox_preferences_get(const struct client_call *call);
void inbox_preferences_set(const struct client_call *call);

/* The user hides from now on, or no more: presence:set, whose argument was found to be right. */
void inbox_preferences_set_hidden(const struct client_call *call, bool hidden);

#endif
