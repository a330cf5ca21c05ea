/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members are collected by their names, as they stand there, and checked then. Order of this file:
 * collecting, checking, parsing, writing.
 */
#include "codec/device.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/base64.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "codec/preferences.h"
#include "codec/url.h"

enum { DEPTH = 3 };

enum field {
    PLATFORM,
    SUBSCRIPTION,
    TOKEN,
    LOCALE,
    TIMEZONE,
    ID, /* the last of the outer ones: known only where it is allowed */
    ENDPOINT,
    KEYS,
    SERVER_KEY,
    EXPIRES,
    P256DH,
    AUTH,
    FIELD_COUNT,
};

/* What a member is called in its object, and where it is. */
static const struct {
    const char *name;
    const char *path;
} members[FIELD_COUNT] = {
    [PLATFORM] = {"platform", "platform"},
    [SUBSCRIPTION] = {"subscription", "subscription"},
    [TOKEN] = {"token", "token"},
    [LOCALE] = {"locale", "locale"},
    [TIMEZONE] = {"timezone", "timezone"},
    [ID] = {"id", "id"},
    [ENDPOINT] = {"endpoint", "subscription.endpoint"},
    [KEYS] = {"keys", "subscription.keys"},
    [SERVER_KEY] = {"applicationServerKey", "subscription.applicationServerKey"},
    [EXPIRES] = {"expirationTime", "subscription.expirationTime"},
    [P256DH] = {"p256dh", "subscription.keys.p256dh"},
    [AUTH] = {"auth", "subscription.keys.auth"},
};

/* The members of an object: from the first to before the last, and what is said of others. */
struct level {
    enum field from;
    enum field to;
    const char *prefix;
    const char *unknown;
};

static const struct level outer = {
    PLATFORM, ID, "", "Unknown field; known here: platform, subscription, token, locale, timezone"};
static const struct level outer_with_id = {PLATFORM, ENDPOINT, "",
    "Unknown field; known here: id, platform, subscription, token, locale, timezone"};
static const struct level subscription = {ENDPOINT, P256DH, "subscription.",
    "Unknown field; known here: endpoint, keys, applicationServerKey, expirationTime"};
static const struct level keys = {
    P256DH, FIELD_COUNT, "subscription.keys.", "Unknown field; known here: p256dh, auth"};

struct parse {
    struct device *device;
    struct notification_fault *fault;
    struct bytes values[FIELD_COUNT]; /* empty: not there, or null */
    size_t used; /* of device->texts */
    size_t cap;
};

static const char *const platform_names[DEVICE_PLATFORM_COUNT] = {"web", "android", "ios", "other"};

struct bytes device_platform_name(enum device_platform platform)
{
    return bytes_str(platform < DEVICE_PLATFORM_COUNT ? platform_names[platform] : "");
}

/* --- collecting --- */

static int fail(struct parse *parse, enum field field, const char *message)
{
    snprintf(parse->fault->field, sizeof(parse->fault->field), "%s", members[field].path);
    parse->fault->message = message;
    return STATUS_INVALID;
}

static int fail_unknown(struct parse *parse, const struct level *level, struct bytes key)
{
    size_t prefix = strlen(level->prefix);
    memcpy(parse->fault->field, level->prefix, prefix);
    names_write_field(key, parse->fault->field + prefix, sizeof(parse->fault->field) - prefix);
    parse->fault->message = level->unknown;
    return STATUS_INVALID;
}

static int collect(struct parse *parse, const struct level *level, struct bytes object)
{
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    bool there[FIELD_COUNT] = {false};
    json_scan_iter_init(&iter, object);
    while (json_scan_member(&iter, &key, &value)) {
        enum field field = level->from;
        while (field < level->to && !json_scan_string_eq(key, bytes_str(members[field].name))) {
            field++;
        }
        if (field == level->to) {
            return fail_unknown(parse, level, key);
        }
        if (there[field]) {
            return fail(parse, field, "It is there twice");
        }
        there[field] = true;
        parse->values[field] = json_scan_kind(value) == JSON_SCAN_NULL ? bytes_of(NULL, 0) : value;
    }
    return 0;
}

static bool is_there(const struct parse *parse, enum field field)
{
    return parse->values[field].len > 0;
}

/* A member as text, which lives with the device; false: it is no string of 1 to `max` bytes. */
static bool read_text(struct parse *parse, enum field field, size_t max, struct bytes *ret_text)
{
    struct bytes value = parse->values[field];
    struct bytes text;
    char *to = parse->device->texts + parse->used;
    if (json_scan_kind(value) != JSON_SCAN_STRING ||
        json_scan_string(value, to, parse->cap - parse->used, &text) != 0 || text.len == 0 ||
        text.len > max) {
        return false;
    }
    memmove(to, text.at, text.len); /* it may stand in the input, which is borrowed */
    parse->used += text.len;
    *ret_text = bytes_of(to, text.len);
    return true;
}

/* --- checking --- */

static bool is_printable(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] <= ' ' || text.at[i] >= 0x7f) {
            return false;
        }
    }
    return text.len > 0;
}

static bool is_hex(struct bytes text)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '\0' || strchr(digits, text.at[i]) == NULL) {
            return false;
        }
    }
    return text.len > 0 && text.len % 2 == 0;
}

static bool is_endpoint(struct bytes text)
{
    struct url url;
    struct url_host host;
    uint16_t port;
    return is_printable(text) && url_split(text, &url) == 0 &&
           bytes_eq_nocase(url.scheme, BYTES("https")) && !url.has_userinfo && !url.has_fragment &&
           url_split_host(url.host, &host) == 0 && host.name.len > 0 &&
           url_port(&host, 443, &port) == 0;
}

static bool is_locale(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '-' && c != '_') {
            return false;
        }
    }
    return text.len >= 2;
}

/* Exactly `len` bytes in base64url, with or without padding: browsers write either. */
static bool read_key(struct parse *parse, enum field field, uint8_t *at, size_t len)
{
    struct bytes text;
    size_t got;
    if (!read_text(parse, field, BASE64_LEN(DEVICE_POINT_LEN), &text)) {
        return false;
    }
    while (text.len > 0 && text.at[text.len - 1] == '=') {
        text.len--;
    }
    return base64url_decode(text, (char *)at, len, &got) == 0 && got == len;
}

static bool read_point(struct parse *parse, enum field field, uint8_t at[DEVICE_POINT_LEN])
{
    return read_key(parse, field, at, DEVICE_POINT_LEN) && at[0] == 4;
}

static int check_server_key(struct parse *parse)
{
    uint8_t point[DEVICE_POINT_LEN];
    if (!is_there(parse, SERVER_KEY)) {
        return 0;
    }
    if (!read_point(parse, SERVER_KEY, point)) {
        return fail(parse, SERVER_KEY, "A public key of P-256: 65 bytes in base64url");
    }
    char *to = parse->device->texts + parse->used - BASE64URL_LEN(DEVICE_POINT_LEN);
    size_t len = base64url_encode(bytes_of(point, sizeof(point)), to);
    parse->device->server_key = bytes_of(to, len);
    return 0;
}

static int check_subscription(struct parse *parse)
{
    struct device *device = parse->device;
    int status = 0;
    if (is_there(parse, TOKEN)) {
        return fail(parse, TOKEN, "Not with platform web, which has a subscription");
    }
    if (json_scan_kind(parse->values[SUBSCRIPTION]) != JSON_SCAN_OBJECT) {
        return fail(parse, SUBSCRIPTION, "An object: what PushSubscription.toJSON() returns");
    }
    status = collect(parse, &subscription, parse->values[SUBSCRIPTION]);
    if (status == 0 && json_scan_kind(parse->values[KEYS]) != JSON_SCAN_OBJECT) {
        return fail(parse, KEYS, "An object with p256dh and auth");
    }
    status = status != 0 ? status : collect(parse, &keys, parse->values[KEYS]);
    if (status != 0) {
        return status;
    }
    if (!read_text(parse, ENDPOINT, DEVICE_ENDPOINT_MAX, &device->address) ||
        !is_endpoint(device->address)) {
        return fail(parse, ENDPOINT, "A URL with https of at most 2048 bytes");
    }
    if (!read_point(parse, P256DH, device->point)) {
        return fail(parse, P256DH, "A public key of P-256: 65 bytes in base64url");
    }
    if (!read_key(parse, AUTH, device->secret, DEVICE_SECRET_LEN)) {
        return fail(parse, AUTH, "16 bytes in base64url");
    }
    return check_server_key(parse);
}

static int check_token(struct parse *parse)
{
    struct device *device = parse->device;
    bool apple = device->platform == DEVICE_IOS;
    if (is_there(parse, SUBSCRIPTION)) {
        return fail(parse, SUBSCRIPTION, "With platform web alone: others have a token");
    }
    if (!read_text(parse, TOKEN, DEVICE_TOKEN_MAX, &device->address) ||
        !(apple ? is_hex(device->address) : is_printable(device->address))) {
        return fail(parse, TOKEN,
            apple ? "A device token of APNs in hexadecimal digits, at most 1024"
                  : "1 to 1024 printable characters of ASCII without blanks");
    }
    return 0;
}

static int check_platform(struct parse *parse)
{
    for (unsigned i = 0; i < DEVICE_PLATFORM_COUNT; i++) {
        if (json_scan_string_eq(parse->values[PLATFORM], bytes_str(platform_names[i]))) {
            parse->device->platform = (enum device_platform)i;
            return i == DEVICE_WEB ? check_subscription(parse) : check_token(parse);
        }
    }
    return fail(parse, PLATFORM, "web, android, ios or other");
}

static int check_id(struct parse *parse)
{
    struct bytes text;
    struct device *device = parse->device;
    device->has_id = is_there(parse, ID);
    if (device->has_id && (!read_text(parse, ID, UUID_TEXT_LEN, &text) ||
                              uuid_parse(text.at, text.len, device->id) != 0)) {
        return fail(parse, ID, "A UUID");
    }
    return 0;
}

static int check(struct parse *parse, const struct preferences_zones *zones)
{
    struct device *device = parse->device;
    const struct zone *zone;
    int status = check_platform(parse);
    status = status != 0 ? status : check_id(parse);
    if (status != 0) {
        return status;
    }
    if (is_there(parse, LOCALE) && (!read_text(parse, LOCALE, DEVICE_LOCALE_MAX, &device->locale) ||
                                       !is_locale(device->locale))) {
        return fail(parse, LOCALE, "A language tag (BCP 47) of at most 35 bytes");
    }
    if (is_there(parse, TIMEZONE) &&
        (!read_text(parse, TIMEZONE, PREFERENCES_NAME_MAX, &device->timezone) ||
            (zones != NULL && !zones->find(zones->context, device->timezone, &zone)))) {
        return fail(parse, TIMEZONE, "The name of a zone (IANA), for example Europe/Berlin");
    }
    return 0;
}

/* --- parsing --- */

static int read_object(struct bytes json, struct bytes *ret_object, const char **ret_message)
{
    unsigned flags;
    *ret_message = "At most 8192 bytes";
    if (json.len > DEVICE_BYTES_MAX) {
        return STATUS_TOO_LARGE;
    }
    *ret_message = "Expected a JSON object that describes a device";
    bool good = json_scan_text(json, DEPTH, ret_object, &flags) == 0 &&
                (flags & JSON_SCAN_NUL) == 0 && json_scan_kind(*ret_object) == JSON_SCAN_OBJECT;
    return good ? 0 : STATUS_INVALID;
}

int device_parse(struct bytes json, bool ids, const struct preferences_zones *zones,
    struct device *device, struct notification_fault *ret_fault)
{
    struct parse parse = {.device = device, .fault = ret_fault, .cap = json.len};
    struct bytes object;
    *device = (struct device){0};
    *ret_fault = (struct notification_fault){0};
    int status = read_object(json, &object, &ret_fault->message);
    if (status != 0) {
        return status;
    }
    device->texts = mem_try_alloc(json.len);
    if (device->texts == NULL) {
        return STATUS_NOMEM;
    }
    status = collect(&parse, ids ? &outer_with_id : &outer, object);
    status = status != 0 ? status : check(&parse, zones);
    if (status != 0) {
        device_finish(device);
    }
    return status;
}

void device_finish(struct device *device)
{
    mem_free(device->texts);
    device->texts = NULL;
}

/* --- writing --- */

static void write_key(struct builder *out, const char *name, const uint8_t *at, size_t len)
{
    char text[BASE64URL_LEN(DEVICE_POINT_LEN)];
    json_write_text(out, name, bytes_of(text, base64url_encode(bytes_of(at, len), text)));
}

static void write_optional(struct builder *out, const char *name, struct bytes text)
{
    if (text.len > 0) {
        json_write_text(out, name, text);
    }
}

void device_store(const struct device *device, struct builder *out)
{
    json_write_open(out, '{');
    json_write_text(out, "platform", device_platform_name(device->platform));
    if (device->platform == DEVICE_WEB) {
        json_write_key(out, "subscription");
        json_write_open(out, '{');
        json_write_text(out, "endpoint", device->address);
        json_write_key(out, "keys");
        json_write_open(out, '{');
        write_key(out, "p256dh", device->point, sizeof(device->point));
        write_key(out, "auth", device->secret, sizeof(device->secret));
        json_write_close(out, '}');
        write_optional(out, "applicationServerKey", device->server_key);
        json_write_close(out, '}');
    } else {
        json_write_text(out, "token", device->address);
    }
    write_optional(out, "locale", device->locale);
    write_optional(out, "timezone", device->timezone);
    json_write_close(out, '}');
}

/* "https://host[:port]" */
static struct bytes origin_of(struct bytes endpoint)
{
    struct url url;
    if (url_split(endpoint, &url) != 0) {
        return bytes_of(NULL, 0);
    }
    return bytes_of(endpoint.at, (size_t)(url.host.at + url.host.len - endpoint.at));
}

void device_write(const struct device_kept *kept, struct builder *out)
{
    struct device device;
    struct notification_fault fault;
    if (device_parse(kept->stored, false, NULL, &device, &fault) != 0) {
        builder_str(out, "null");
        return;
    }
    json_write_open(out, '{');
    json_write_uuid(out, "id", kept->id);
    json_write_text(out, "platform", device_platform_name(device.platform));
    if (device.platform == DEVICE_WEB) {
        json_write_text(out, "origin", origin_of(device.address));
    }
    write_optional(out, "locale", device.locale);
    write_optional(out, "timezone", device.timezone);
    json_write_bool(out, "foreground", kept->foreground);
    json_write_time(out, "createdAt", kept->created_at);
    json_write_time(out, "registeredAt", kept->registered_at);
    json_write_close(out, '}');
    device_finish(&device);
}
