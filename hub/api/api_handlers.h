/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_handlers - the handlers that the tables of api.c refer to; `context` is the api_shard.
 */
#ifndef HUB_API_API_HANDLERS_H
#define HUB_API_API_HANDLERS_H

#include <stdbool.h>

struct http_request;

/* api_post.c; the first refuses by the head, before a body is read */
bool api_post_head(struct http_request *request, void *context);
void api_post_notifications(struct http_request *request, void *context);
/* the same for anybody: with --dev only */
void api_post_dev_notifications(struct http_request *request, void *context);

/* api_devices.c */
void api_devices_get(struct http_request *request, void *context);
void api_devices_list(struct http_request *request, void *context);
void api_devices_put(struct http_request *request, void *context);
void api_devices_remove(struct http_request *request, void *context);

/* api_edit.c */
void api_edit_change(struct http_request *request, void *context);
void api_edit_erase(struct http_request *request, void *context);

/* api_events.c */
void api_post_events(struct http_request *request, void *context);

/* api_roll.c */
void api_roll_connections(struct http_request *request, void *context);
void api_roll_end(struct http_request *request, void *context);
void api_roll_rooms(struct http_request *request, void *context);

/* api_export.c */
void api_export(struct http_request *request, void *context);

/* api_history.c */
void api_room_history(struct http_request *request, void *context);

/* api_inbox.c */
void api_inbox_counts(struct http_request *request, void *context);
void api_inbox_erase(struct http_request *request, void *context);
void api_inbox_get(struct http_request *request, void *context);
void api_inbox_list(struct http_request *request, void *context);
void api_inbox_mark(struct http_request *request, void *context);
void api_inbox_overview(struct http_request *request, void *context);
void api_inbox_unread(struct http_request *request, void *context);

/* api_room.c */
void api_room_position(struct http_request *request, void *context);

/* api_jobs.c; the first refuses by the head, before a body is read */
bool api_jobs_head(struct http_request *request, void *context);
void api_jobs_add(struct http_request *request, void *context);

/* api_jobs_lease.c */
void api_jobs_lease(struct http_request *request, void *context);

/* api_job.c */
void api_job_complete(struct http_request *request, void *context);
void api_job_drop(struct http_request *request, void *context);
void api_job_fail(struct http_request *request, void *context);
void api_job_get(struct http_request *request, void *context);
void api_job_progress(struct http_request *request, void *context);
void api_job_retry(struct http_request *request, void *context);

/* api_queues.c */
void api_queues_jobs(struct http_request *request, void *context);
void api_queues_list(struct http_request *request, void *context);
void api_queues_pause(struct http_request *request, void *context);
void api_queues_resume(struct http_request *request, void *context);

/* api_room_state.c */
void api_room_state(struct http_request *request, void *context);

/* api_members.c */
void api_members_list(struct http_request *request, void *context);

/* api_metrics.c; the first refuses by the head, before a body is read */
bool api_metrics_head(struct http_request *request, void *context);
void api_metrics_post(struct http_request *request, void *context);

/* api_metrics_summary.c */
void api_metrics_summary(struct http_request *request, void *context);

/* api_preferences.c */
void api_preferences_get(struct http_request *request, void *context);
void api_preferences_put(struct http_request *request, void *context);

/* api_presence.c */
void api_presence_count(struct http_request *request, void *context);
void api_presence_list(struct http_request *request, void *context);
void api_presence_of_user(struct http_request *request, void *context);
void api_presence_query(struct http_request *request, void *context);

/* api_push.c */
void api_push_key(struct http_request *request, void *context);
void api_push_test(struct http_request *request, void *context);

/* api_users.c */
void api_users_erase(struct http_request *request, void *context);

/* api_rooms.c */
void api_rooms_change(struct http_request *request, void *context);
void api_rooms_disconnect(struct http_request *request, void *context);

/* api_summary.c */
void api_summary_show(struct http_request *request, void *context);

/* api_topics.c; the first refuses by the head, before a body is read */
bool api_topics_head(struct http_request *request, void *context);
void api_topics_list(struct http_request *request, void *context);
void api_topics_of_user(struct http_request *request, void *context);
void api_topics_subscribe(struct http_request *request, void *context);
void api_topics_subscribers(struct http_request *request, void *context);
void api_topics_unsubscribe(struct http_request *request, void *context);

/* api_values.c; the first refuses by the head, before a body is read */
bool api_values_head(struct http_request *request, void *context);
void api_values_erase(struct http_request *request, void *context);
void api_values_get(struct http_request *request, void *context);
void api_values_increment(struct http_request *request, void *context);
void api_values_lease(struct http_request *request, void *context);
void api_values_put(struct http_request *request, void *context);
void api_values_release(struct http_request *request, void *context);

/* api_values_many.c; the first refuses by the head, before a body is read */
bool api_values_many_head(struct http_request *request, void *context);
void api_values_invalidate(struct http_request *request, void *context);
void api_values_mget(struct http_request *request, void *context);
void api_values_mset(struct http_request *request, void *context);

/* api_values_stats.c */
void api_values_stats(struct http_request *request, void *context);

#endif
