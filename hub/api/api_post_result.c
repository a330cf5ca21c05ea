/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a poster is told of what became of a post.
 */
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "hub/api/api_post.h"
#include "sql/store_schedule.h"

struct api_error api_post_outcome(int status, enum store_outcome outcome)
{
    if (status == STATUS_INVALID) {
        return (struct api_error){
            .code = ERROR_INVALID_FIELD, .message = "The database refused a value"};
    }
    if (status == STATUS_UNKNOWN) {
        return (struct api_error){.code = ERROR_UNKNOWN,
            .message = "The store has not answered: it may be stored, repeat it with the same key",
            .retry_s = 1};
    }
    if (status != 0) {
        return (struct api_error){.code = ERROR_UNAVAILABLE,
            .message = "The store is not available, try again",
            .retry_s = 1};
    }
    if (outcome == OUTCOME_CONFLICT) {
        return (struct api_error){.code = ERROR_KEY_CONFLICT,
            .message = "The key was used for other content",
            .field = "key"};
    }
    return (struct api_error){0};
}

void api_post_write_id(const uint8_t id[NOTIFICATION_ID_LEN], struct builder *out)
{
    char text[UUID_TEXT_LEN];
    uuid_format(id, text);
    builder_str(out, "\"id\":\"");
    builder_add(out, bytes_of(text, sizeof(text)));
    builder_byte(out, '"');
}

void api_post_write_target(enum notification_audience kind, struct bytes name, struct builder *out)
{
    builder_str(out, ",\"audience\":{\"kind\":\"");
    builder_add(out, notification_audience_name(kind));
    builder_str(out, "\",\"name\":");
    if (kind == AUDIENCE_TOPIC) {
        json_scan_write_string(out, name);
    } else {
        builder_str(out, "null");
    }
    builder_byte(out, '}');
}

unsigned api_post_write_audience(const struct store_audience_post *post, int status,
    const char *made_key, bool listed, struct builder *out)
{
    struct api_error error = api_post_outcome(status, post->outcome);
    if (error.code != ERROR_NONE) {
        api_error_write(&error, out);
        if (error.code == ERROR_KEY_CONFLICT) {
            builder_byte(out, ',');
            api_post_write_id(post->id, out);
        } else if (error.code == ERROR_UNKNOWN && made_key[0] != '\0') {
            builder_printf(out, ",\"key\":\"%s\"", made_key);
        }
        builder_byte(out, '}');
        return errors_status(error.code);
    }
    bool duplicate = post->outcome == OUTCOME_DUPLICATE;
    api_post_write_id(post->id, out);
    api_post_write_target(post->kind, post->name, out);
    builder_str(out, duplicate ? ",\"duplicate\":true" : ",\"duplicate\":false");
    if (post->n == STORE_SEQ_SCHEDULED) {
        builder_printf(out, ",\"%s\":\"scheduled\"", listed ? "outcome" : "status");
    }
    builder_str(out, !duplicate && post->nobody ? ",\"nobody\":true" : "");
    return duplicate ? 200 : 201;
}
