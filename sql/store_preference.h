/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_preference - what a store is asked about a user's preferences. How requests live is said in
 * store.h.
 */
#ifndef SQL_STORE_PREFERENCE_H
#define SQL_STORE_PREFERENCE_H

#include "sql/store_request.h"

/*
 * Read (STORE_PREFERENCE_READ) a user's preferences, or put others in their place
 * (STORE_PREFERENCE_WRITE), which begins an inbox where there is none. `rev` grows by one each time
 * and is told with positions, too (store_position.preference_rev). Whether the user hides is
 * written for itself.
 */
struct store_preference {
    struct store_request base;
    struct store_user who;
    struct bytes body; /* what preferences_store wrote; out, of a read: empty where there is none */
    bool hides; /* of a write: it is `hidden` that is written, and the body stays */
    bool hidden; /* from other users (actors/presence); out, of a read */
    uint64_t rev; /* out: after the change; 0: there never were any */
};

#endif
