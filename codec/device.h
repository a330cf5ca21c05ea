/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device - where notifications of a user may be pushed to, as a client or a backend registers it.
 */
#ifndef CODEC_DEVICE_H
#define CODEC_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/notification.h"

struct preferences_zones;

enum {
    DEVICE_ID_LEN = 16,
    DEVICE_BYTES_MAX = 8192, /* of what registers one */
    DEVICE_ENDPOINT_MAX = 2048,
    DEVICE_TOKEN_MAX = 1024,
    DEVICE_LOCALE_MAX = 35,
    DEVICE_POINT_LEN = 65, /* an uncompressed point of P-256 */
    DEVICE_SECRET_LEN = 16,
};

/* In the store as numbers: the order stays. */
enum device_platform {
    DEVICE_WEB, /* Web Push */
    DEVICE_ANDROID, /* FCM */
    DEVICE_IOS, /* APNs */
    DEVICE_OTHER, /* any gateway, by a webhook */
    DEVICE_PLATFORM_COUNT,
};

struct device {
    enum device_platform platform;
    bool has_id;
    uint8_t id[DEVICE_ID_LEN];
    struct bytes address; /* the endpoint of a subscription, or a token */
    uint8_t point[DEVICE_POINT_LEN]; /* web: the browser's public key */
    uint8_t secret[DEVICE_SECRET_LEN]; /* web: what it shares with who pushes */
    struct bytes server_key; /* web: the key it subscribed with, in base64url; empty: not said */
    struct bytes locale; /* empty: not said */
    struct bytes timezone; /* likewise */
    /* private */
    char *texts;
};

/*
 * Parse what registers a device: `{platform, subscription | token, locale?, timezone?}`, and with
 * `ids` an `id`. A null counts as absent. `device` needs device_finish only after success.
 * STATUS_INVALID (value, missing or unknown member) and STATUS_TOO_LARGE (of DEVICE_BYTES_MAX) with
 * `ret_fault`, whose field is empty where the text is no JSON object; STATUS_NOMEM. `zones` NULL:
 * any timezone is good.
 */
MUST_CHECK int device_parse(struct bytes json, bool ids, const struct preferences_zones *zones,
    struct device *device, struct notification_fault *ret_fault);

/* Free what parsing has made. */
void device_finish(struct device *device);

/* Write the text that a store keeps; device_parse reads it. */
void device_store(const struct device *device, struct builder *out);

/* The name of a platform ("web"). */
struct bytes device_platform_name(enum device_platform platform);

/* A device that is kept, as its user is told of it. */
struct device_kept {
    uint8_t id[DEVICE_ID_LEN];
    struct bytes stored; /* what device_store wrote */
    uint64_t created_at; /* ms since 1970 */
    uint64_t registered_at; /* when it last was */
    bool foreground;
};

/*
 * Write it as a JSON object; null where memory is short, or what is stored cannot be read. Tokens
 * and keys are not told: an endpoint is, up to its path, which is a secret as well.
 */
void device_write(const struct device_kept *kept, struct builder *out);

/* When it said that it is in front, it is believed for so long. */
enum { DEVICE_FOREGROUND_MS = 900000 };

#endif
