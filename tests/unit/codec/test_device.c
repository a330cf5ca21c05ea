/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What registers a device: what is taken, what is refused and by which name, what is told of it.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/status.h"
#include "codec/device.h"
#include "codec/preferences.h"

TestSuite(device, .timeout = 10);

/* RFC 8291, section 5. */
#define POINT                                                                                      \
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
#define SECRET "BTBZMqHH6r4Tts7J_aSIgg"
#define KEYS "\"keys\":{\"p256dh\":\"" POINT "\",\"auth\":\"" SECRET "\"}"
#define WEB(more)                                                                                  \
    "{\"platform\":\"web\",\"subscription\":{\"endpoint\":\"https://push.example/JzL\"," KEYS more \
    "}}"

static bool find_zone(void *context, struct bytes name, const struct zone **ret_zone)
{
    (void)context;
    *ret_zone = NULL;
    return bytes_eq_str(name, "Europe/Berlin");
}

static const struct preferences_zones zones = {.find = find_zone};

static int parse(
    const char *json, bool ids, struct device *device, struct notification_fault *fault)
{
    return device_parse(bytes_str(json), ids, &zones, device, fault);
}

static void expect_stored(const char *json, const char *stored)
{
    struct device device;
    struct notification_fault fault;
    struct builder out = {0};
    cr_assert_eq(parse(json, true, &device, &fault), 0, "%s: %s", json, fault.field);
    device_store(&device, &out);
    cr_expect(bytes_eq_str(builder_bytes(&out), stored), "%.*s", (int)builder_bytes(&out).len,
        builder_bytes(&out).at);
    device_finish(&device);
    builder_reset(&out);
}

Test(device, what_is_registered_is_kept_in_one_form)
{
    expect_stored(WEB(""), WEB(""));
    expect_stored(
        "{\"id\":null,\"locale\":null,\"timezone\":\"Europe\\/Berlin\",\"platform\":\"\\u0077eb\","
        "\"subscription\":{\"expirationTime\":null,\"applicationServerKey\":\"" POINT "=\","
        "\"endpoint\":\"https://push.example/JzL\"," KEYS "}}",
        "{\"platform\":\"web\",\"subscription\":{\"endpoint\":\"https://push.example/JzL\"," KEYS
        ",\"applicationServerKey\":\"" POINT "\"},\"timezone\":\"Europe/Berlin\"}");
    expect_stored("{\"token\":\"a:b-C_9\",\"platform\":\"android\",\"locale\":\"de-DE\"}",
        "{\"platform\":\"android\",\"token\":\"a:b-C_9\",\"locale\":\"de-DE\"}");
    expect_stored("{\"platform\":\"ios\",\"token\":\"00aAfF\"}",
        "{\"platform\":\"ios\",\"token\":\"00aAfF\"}");
}

Test(device, an_id_is_read_where_it_is_allowed)
{
    static const char json[] = "{\"platform\":\"other\",\"token\":\"t\","
                               "\"id\":\"019a0000-0001-7002-8003-000000000004\"}";
    struct device device;
    struct notification_fault fault;
    cr_assert_eq(parse(json, true, &device, &fault), 0);
    cr_expect(device.has_id && device.id[1] == 0x9a && device.id[15] == 4);
    device_finish(&device);
    cr_expect_eq(parse(json, false, &device, &fault), STATUS_INVALID);
    cr_expect_str_eq(fault.field, "id");
    cr_expect(strstr(fault.message, "id,") == NULL && strstr(fault.message, "platform,") != NULL);
}

Test(device, what_is_wrong_is_named)
{
    static const struct {
        const char *json;
        const char *field;
    } cases[] = {
        {"", ""},
        {"[]", ""},
        {"{\"platform\":\"other\",\"token\":\"a\\u0000\"}", ""},
        {"{}", "platform"},
        {"{\"platform\":\"phone\",\"token\":\"t\"}", "platform"},
        {"{\"platform\":\"other\",\"platform\":\"other\",\"token\":\"t\"}", "platform"},
        {"{\"platform\":\"other\"}", "token"},
        {"{\"platform\":\"other\",\"token\":\"\"}", "token"},
        {"{\"platform\":\"other\",\"token\":\"a b\"}", "token"},
        {"{\"platform\":\"other\",\"token\":5}", "token"},
        {"{\"platform\":\"ios\",\"token\":\"0g\"}", "token"},
        {"{\"platform\":\"ios\",\"token\":\"abc\"}", "token"},
        {"{\"platform\":\"android\",\"token\":\"t\",\"subscription\":{}}", "subscription"},
        {"{\"platform\":\"other\",\"token\":\"t\",\"tokens\":1}", "tokens"},
        {"{\"platform\":\"other\",\"token\":\"t\",\"id\":\"7\"}", "id"},
        {"{\"platform\":\"other\",\"token\":\"t\",\"locale\":\"d\"}", "locale"},
        {"{\"platform\":\"other\",\"token\":\"t\",\"locale\":\"de DE\"}", "locale"},
        {"{\"platform\":\"other\",\"token\":\"t\",\"timezone\":\"Mars/Base\"}", "timezone"},
        {"{\"platform\":\"web\",\"token\":\"t\"}", "token"},
        {"{\"platform\":\"web\"}", "subscription"},
        {"{\"platform\":\"web\",\"subscription\":{}}", "subscription.keys"},
        {WEB(",\"more\":1"), "subscription.more"},
        {WEB(",\"applicationServerKey\":\"BA\""), "subscription.applicationServerKey"},
        {"{\"platform\":\"web\",\"subscription\":{" KEYS "}}", "subscription.endpoint"},
        {"{\"platform\":\"web\",\"subscription\":{\"endpoint\":\"http://a/b\"," KEYS "}}",
            "subscription.endpoint"},
        {"{\"platform\":\"web\",\"subscription\":{\"endpoint\":\"https://u@a/b\"," KEYS "}}",
            "subscription.endpoint"},
        {"{\"platform\":\"web\",\"subscription\":{\"endpoint\":\"https://a:0/b\"," KEYS "}}",
            "subscription.endpoint"},
        {"{\"platform\":\"web\",\"subscription\":{\"endpoint\":\"https:///b\"," KEYS "}}",
            "subscription.endpoint"},
        {"{\"platform\":\"web\",\"subscription\":{\"endpoint\":\"https://a/b\",\"keys\":{}}}",
            "subscription.keys.p256dh"},
        {"{\"platform\":\"web\",\"subscription\":{\"endpoint\":\"https://a/b\",\"keys\":"
         "{\"p256dh\":\"C" POINT "\"}}}",
            "subscription.keys.p256dh"},
        {"{\"platform\":\"web\",\"subscription\":{\"endpoint\":\"https://a/b\",\"keys\":"
         "{\"p256dh\":\"" POINT "\",\"auth\":\"BTBZ\"}}}",
            "subscription.keys.auth"},
        {"{\"platform\":\"web\",\"subscription\":{\"endpoint\":\"https://a/b\",\"keys\":"
         "{\"p256dh\":\"" POINT "\",\"auth\":\"" SECRET "\",\"x\":1}}}",
            "subscription.keys.x"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct device device;
        struct notification_fault fault;
        cr_expect_eq(
            parse(cases[i].json, true, &device, &fault), STATUS_INVALID, "%s", cases[i].json);
        cr_expect_str_eq(fault.field, cases[i].field, "%s: %s", cases[i].json, fault.field);
        cr_expect_not_null(fault.message);
    }
}

Test(device, too_long_a_text_is_refused_whole)
{
    static char json[DEVICE_BYTES_MAX + 2];
    struct device device;
    struct notification_fault fault;
    static const char said[] = "{\"platform\":\"other\",\"token\":\"t\"}";
    memset(json, ' ', sizeof(json) - 1);
    memcpy(json, said, sizeof(said) - 1);
    cr_expect_eq(parse(json, true, &device, &fault), STATUS_TOO_LARGE);
    json[DEVICE_BYTES_MAX] = '\0';
    cr_expect_eq(parse(json, true, &device, &fault), 0);
    device_finish(&device);
}

static void expect_told(const char *stored, bool foreground, const char *told)
{
    struct builder out = {0};
    struct device_kept kept = {.id = {1, 2},
        .stored = bytes_str(stored),
        .created_at = 1790000000000,
        .registered_at = 1790000000001,
        .foreground = foreground};
    device_write(&kept, &out);
    cr_expect(bytes_eq_str(builder_bytes(&out), told), "%.*s", (int)builder_bytes(&out).len,
        builder_bytes(&out).at);
    builder_reset(&out);
}

Test(device, neither_tokens_nor_keys_are_told)
{
    expect_told(WEB(""), true,
        "{\"id\":\"01020000-0000-0000-0000-000000000000\",\"platform\":\"web\","
        "\"origin\":\"https://push.example\",\"foreground\":true,"
        "\"createdAt\":\"2026-09-21T14:13:20.000Z\",\"registeredAt\":\"2026-09-21T14:13:20."
        "001Z\"}");
    expect_told("{\"platform\":\"ios\",\"token\":\"00aAfF\",\"locale\":\"de\"}", false,
        "{\"id\":\"01020000-0000-0000-0000-000000000000\",\"platform\":\"ios\",\"locale\":\"de\","
        "\"foreground\":false,"
        "\"createdAt\":\"2026-09-21T14:13:20.000Z\",\"registeredAt\":\"2026-09-21T14:13:20."
        "001Z\"}");
    expect_told("{}", false, "null");
}
