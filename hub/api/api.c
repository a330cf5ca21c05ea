/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of the API's routes: method, path, handler, how large a body may be, whether pages may
 * use it.
 */
#include "hub/api/api.h"

#include "codec/base/check.h"
#include "codec/device.h"
#include "codec/preferences.h"
#include "hub/api/api_handlers.h"

/* Bodies that name up to 1000 ids. */
enum { IDS_BODY_MAX = 64 * 1024, ROOMS_BODY_MAX = 64 * 1024 };

/* Up to 16 tags. */
enum { DROP_BODY_MAX = 32 * 1024 };

/* Up to 1,000 values. */
enum { METRICS_BODY_MAX = 512 * 1024 };

/* Up to 1,000 users. */
enum { QUERY_BODY_MAX = 256 * 1024 };

/* Up to 64 queues. */
enum { LEASE_BODY_MAX = 8 * 1024 };

/* Three short texts. */
enum { TEST_BODY_MAX = 4096 };

/* Up to 10,000 users of a topic. */
enum { USERS_BODY_MAX = 2 << 20 };

/*
 * Columns: method, path, handler, head, most bytes of the body, -, -,
 * whether pages may use it, parameters of the query.
 */
const struct http_route api_routes[] = {
    {"DELETE", "/api/v1/notifications/{}", api_edit_erase, NULL, 0, NULL, NULL, false,
        "if, tenant"},
    {"DELETE", "/api/v1/users/{}", api_users_erase, NULL, 0, NULL, NULL, false, "tenant"},
    {"DELETE", "/api/v1/users/{}/notifications", api_inbox_erase, NULL, 0, NULL, NULL, false,
        "tenant"},
    {"DELETE", "/api/v1/users/{}/devices/{}", api_devices_remove, NULL, 0, NULL, NULL, true,
        "tenant"},
    {"DELETE", "/api/v1/topics/{}/subscribers", api_topics_unsubscribe, api_topics_head,
        USERS_BODY_MAX, NULL, NULL, false, "tenant"},
    {"DELETE", "/api/v1/jobs/{}", api_job_drop, NULL, 0, NULL, NULL, false, "tenant"},
    {"GET", "/api/v1/jobs/{}", api_job_get, NULL, 0, NULL, NULL, false, "tenant"},
    {"GET", "/api/v1/queues", api_queues_list, NULL, 0, NULL, NULL, false, "tenant"},
    {"GET", "/api/v1/queues/{}/jobs", api_queues_jobs, NULL, 0, NULL, NULL, false,
        "after, limit, state, tenant"},
    {"GET", "/api/v1/metrics/summary", api_metrics_summary, NULL, 0, NULL, NULL, false,
        "points, range, series, tenant"},
    {"GET", "/api/v1/notifications/{}", api_inbox_get, NULL, 0, NULL, NULL, true,
        "fields, nulls, tenant"},
    {"GET", "/api/v1/push/key", api_push_key, NULL, 0, NULL, NULL, true, "tenant"},
    {"GET", "/api/v1/connections", api_roll_connections, NULL, 0, NULL, NULL, false,
        "after, limit, node, room, tenant, user"},
    {"POST", "/api/v1/connections/{}/disconnect", api_roll_end, NULL, 4096, NULL, NULL, false,
        "tenant"},
    {"GET", "/api/v1/rooms", api_roll_rooms, NULL, 0, NULL, NULL, false,
        "after, limit, prefix, tenant"},
    {"GET", "/api/v1/rooms/{}", api_room_state, NULL, 0, NULL, NULL, false, "tenant"},
    {"GET", "/api/v1/rooms/{}/history", api_room_history, NULL, 0, NULL, NULL, false,
        "before, limit, tenant"},
    {"GET", "/api/v1/rooms/{}/members", api_members_list, NULL, 0, NULL, NULL, false,
        "after, limit, tenant"},
    {"GET", "/api/v1/rooms/{}/position", api_room_position, NULL, 0, NULL, NULL, false, "tenant"},
    {"GET", "/api/v1/presence", api_presence_list, NULL, 0, NULL, NULL, true, "tenant, users"},
    {"GET", "/api/v1/presence/count", api_presence_count, NULL, 0, NULL, NULL, false, ""},
    {"GET", "/api/v1/summary", api_summary_show, NULL, 0, NULL, NULL, false, "days, tenant"},
    {"GET", "/api/v1/topics", api_topics_list, NULL, 0, NULL, NULL, false, "after, limit, tenant"},
    {"GET", "/api/v1/topics/{}/subscribers", api_topics_subscribers, NULL, 0, NULL, NULL, false,
        "after, limit, tenant"},
    {"DELETE", "/api/v1/values/{}", api_values_erase, NULL, 0, NULL, NULL, false, "tenant"},
    {"GET", "/api/v1/values/stats", api_values_stats, NULL, 0, NULL, NULL, false, "tenant"},
    {"GET", "/api/v1/values/{}", api_values_get, NULL, 0, NULL, NULL, false, "tenant"},
    {"GET", "/api/v1/users/{}/topics", api_topics_of_user, NULL, 0, NULL, NULL, true,
        "after, limit, tenant"},
    {"GET", "/api/v1/users/{}/devices", api_devices_list, NULL, 0, NULL, NULL, true, "tenant"},
    {"GET", "/api/v1/users/{}/devices/{}", api_devices_get, NULL, 0, NULL, NULL, true, "tenant"},
    {"GET", "/api/v1/users/{}/counts", api_inbox_counts, NULL, 0, NULL, NULL, true, "by, tenant"},
    {"GET", "/api/v1/users/{}/export", api_export, NULL, 0, NULL, NULL, true, "tenant"},
    {"GET", "/api/v1/users/{}/presence", api_presence_of_user, NULL, 0, NULL, NULL, true, "tenant"},
    {"GET", "/api/v1/users/{}/overview", api_inbox_overview, NULL, 0, NULL, NULL, true, "tenant"},
    {"GET", "/api/v1/users/{}/notifications", api_inbox_list, NULL, 0, NULL, NULL, true,
        "after, limit, page, order, sort, search, state, type, priority, from, to, fields, nulls, "
        "tenant"},
    {"GET", "/api/v1/users/{}/notifications/unread", api_inbox_unread, NULL, 0, NULL, NULL, true,
        "tenant"},
    {"PATCH", "/api/v1/notifications/{}", api_edit_change, api_post_head, API_BODY_CONFIGURED, NULL,
        NULL, false, "tenant"},
    {"GET", "/api/v1/users/{}/preferences", api_preferences_get, NULL, 0, NULL, NULL, true,
        "tenant"},
    {"POST", "/api/v1/events", api_post_events, api_post_head, API_BODY_CONFIGURED, NULL, NULL,
        false, ""},
    {"POST", "/api/v1/jobs", api_jobs_add, api_jobs_head, API_BODY_CONFIGURED, NULL, NULL, false,
        "tenant"},
    {"POST", "/api/v1/jobs/lease", api_jobs_lease, NULL, LEASE_BODY_MAX, NULL, NULL, false,
        "tenant"},
    {"POST", "/api/v1/jobs/{}/complete", api_job_complete, api_jobs_head, API_BODY_CONFIGURED, NULL,
        NULL, false, "tenant"},
    {"POST", "/api/v1/jobs/{}/fail", api_job_fail, api_jobs_head, API_BODY_CONFIGURED, NULL, NULL,
        false, "tenant"},
    {"POST", "/api/v1/jobs/{}/progress", api_job_progress, api_jobs_head, API_BODY_CONFIGURED, NULL,
        NULL, false, "tenant"},
    {"POST", "/api/v1/jobs/{}/retry", api_job_retry, NULL, 256, NULL, NULL, false, "tenant"},
    {"POST", "/api/v1/queues/{}/pause", api_queues_pause, NULL, 256, NULL, NULL, false, "tenant"},
    {"POST", "/api/v1/queues/{}/resume", api_queues_resume, NULL, 256, NULL, NULL, false, "tenant"},
    {"POST", "/api/v1/metrics", api_metrics_post, api_metrics_head, METRICS_BODY_MAX, NULL, NULL,
        false, "tenant"},
    {"POST", "/api/v1/notifications", api_post_notifications, api_post_head, API_BODY_CONFIGURED,
        NULL, NULL, false, ""},
    {"POST", "/api/v1/presence/query", api_presence_query, NULL, QUERY_BODY_MAX, NULL, NULL, true,
        "tenant"},
    {"POST", "/api/v1/topics/{}/subscribers/remove", api_topics_unsubscribe, api_topics_head,
        USERS_BODY_MAX, NULL, NULL, false, "tenant"},
    {"POST", "/api/v1/users/{}/devices/{}/test", api_push_test, NULL, TEST_BODY_MAX, NULL, NULL,
        true, "tenant"},
    {"POST", "/api/v1/users/{}/disconnect", api_rooms_disconnect, NULL, 256, NULL, NULL, false,
        "tenant"},
    {"POST", "/api/v1/users/{}/notifications/{}", api_inbox_mark, NULL, IDS_BODY_MAX, NULL, NULL,
        true, "tenant"},
    {"POST", "/api/v1/users/{}/rooms", api_rooms_change, NULL, ROOMS_BODY_MAX, NULL, NULL, false,
        "tenant"},
    {"POST", "/api/v1/values/invalidate", api_values_invalidate, api_values_many_head,
        DROP_BODY_MAX, NULL, NULL, false, "tenant"},
    {"POST", "/api/v1/values/mget", api_values_mget, api_values_many_head, API_BODY_CONFIGURED,
        NULL, NULL, false, "tenant"},
    {"POST", "/api/v1/values/mset", api_values_mset, api_values_many_head, API_BODY_CONFIGURED,
        NULL, NULL, false, "tenant"},
    {"POST", "/api/v1/values/{}/increment", api_values_increment, NULL, 256, NULL, NULL, false,
        "tenant"},
    {"POST", "/api/v1/values/{}/lease", api_values_lease, NULL, 256, NULL, NULL, false, "tenant"},
    {"POST", "/api/v1/values/{}/release", api_values_release, NULL, 256, NULL, NULL, false,
        "tenant"},
    {"PUT", "/api/v1/values/{}", api_values_put, api_values_head, API_BODY_CONFIGURED, NULL, NULL,
        false, "tenant"},
    {"PUT", "/api/v1/topics/{}/subscribers", api_topics_subscribe, api_topics_head, USERS_BODY_MAX,
        NULL, NULL, false, "tenant"},
    {"PUT", "/api/v1/users/{}/devices/{}", api_devices_put, NULL, DEVICE_BYTES_MAX, NULL, NULL,
        true, "tenant"},
    {"PUT", "/api/v1/users/{}/preferences", api_preferences_put, NULL, PREFERENCES_BYTES_MAX, NULL,
        NULL, true, "tenant"},
};
const size_t api_route_count = ARRAY_LEN(api_routes);
