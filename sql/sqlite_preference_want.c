/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preferences in SQLite, asked of a row that is about to be stored or made.
 */
#include "codec/base/status.h"
#include "codec/preferences.h"
#include "sql/sqlite_ops.h"

int sqlite_preference_load(
    struct sqlite_db *db, const struct store_user *who, struct preferences **ret_preferences)
{
    struct preferences *preferences = NULL;
    struct query query;
    query_open(&query, db, SQLITE_STMT_PREFERENCE_READ);
    sqlite_bind_user(&query, who);
    int more = query_step(&query);
    if (more > 0) {
        int status = preferences_load(query_column(&query, 1), NULL, &preferences);
        more = status == STATUS_NOMEM ? status : more;
    }
    query_close(&query);
    if (more < 0) {
        preferences_destroy(preferences);
        return more;
    }
    *ret_preferences = preferences;
    return 0;
}

int sqlite_preference_wish(
    struct sqlite_db *db, const struct store_row *row, struct sqlite_wish *wish)
{
    struct preferences *preferences;
    int status = sqlite_preference_load(db, &row->who, &preferences);
    if (status < 0) {
        return status;
    }
    wish->wanted = preferences_want(preferences, row->type, wish->wanted);
    wish->span = preferences_digest(preferences, row->type, wish->span);
    preferences_destroy(preferences);
    return 0;
}
