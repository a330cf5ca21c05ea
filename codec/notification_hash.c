/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notification_hash - the digests of a post's key and content.
 */
#include "codec/base/status.h"
#include "codec/notification.h"

/* Hashing: parts with their lengths in front, so that no two lists of parts look the same. */

static void add_part(struct builder *out, struct bytes part)
{
    builder_u64(out, part.len);
    builder_byte(out, ':');
    builder_add(out, part);
}

/* JSON without the blanks between its tokens. */
static void add_minified(struct builder *out, struct bytes json)
{
    bool in_string = false;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.at[i];
        if (!in_string && (c == ' ' || c == '\n' || c == '\t' || c == '\r')) {
            continue;
        }
        builder_byte(out, c);
        if (in_string && c == '\\' && i + 1 < json.len) {
            builder_byte(out, json.at[++i]);
        } else if (c == '"') {
            in_string = !in_string;
        }
    }
}

static int hash_builder(notification_hash_fn hash, struct builder *content, uint8_t ret_hash[16])
{
    int status = builder_status(content);
    if (status == 0) {
        hash(builder_bytes(content), ret_hash);
    }
    builder_reset(content);
    return status;
}

int notification_key_hash(notification_hash_fn hash, struct bytes tenant, struct bytes user,
    struct bytes key, uint8_t ret_hash[16])
{
    struct builder content = {0};
    add_part(&content, tenant);
    add_part(&content, user);
    add_part(&content, key);
    return hash_builder(hash, &content, ret_hash);
}

/* Whom a list names, and whether all means who is still to come, are part of what was posted. */
static void add_audience(struct builder *out, const struct notification_post *post)
{
    enum notification_audience audience = notification_audience_of(post);
    for (uint32_t i = 0; audience == AUDIENCE_LIST && i < post->target_count; i++) {
        add_part(out, post->targets[i]);
    }
    builder_str(out, audience == AUDIENCE_ALL && post->include_new ? "new" : "");
}

int notification_content_hash(
    notification_hash_fn hash, const struct notification_post *post, uint8_t ret_hash[16])
{
    struct builder content = {0};
    add_part(&content, post->type);
    add_part(&content, post->title);
    add_part(&content, post->message);
    builder_u64(&content, (uint64_t)post->priority);
    builder_byte(&content, ':');
    builder_u64(&content, post->expires_at);
    builder_byte(&content, ':');
    add_part(&content, post->collapse);
    add_minified(&content, post->data);
    add_audience(&content, post);
    if (post->deliver_at > 0) {
        builder_str(&content, "at");
        builder_u64(&content, post->deliver_at);
    }
    return hash_builder(hash, &content, ret_hash);
}
