/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes questions and reads answers, both JSON.
 */
#include "hub/hooks/hook_text.h"

#include "actors/identity.h"
#include "codec/claims.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"

static void write_part(struct builder *out, const char *key, struct bytes text)
{
    if (text.len > 0) {
        json_write_text(out, key, text);
    }
}

void hook_text_write_question(const struct hook_question *question, struct builder *out)
{
    const struct claims *claims = identity_claims(question->who);
    static const char *const names[] = {[HOOK_JOIN] = "room", [HOOK_EVENT] = "event"};
    json_write_open(out, '{');
    if (question->kind != HOOK_WARM) {
        json_write_text(out, names[question->kind], question->name);
    }
    if (question->kind == HOOK_EVENT) {
        json_write_key(out, "args");
        builder_byte(out, '[');
        builder_add(out, question->args);
        builder_byte(out, ']');
    }
    json_write_text(out, "user", claims_user(claims));
    write_part(out, "name", claims_name(claims));
    write_part(out, "role", claims_role(claims));
    write_part(out, "tenant", claims_tenant(claims));
    json_write_text(out, "namespace", question->nsp);
    json_write_close(out, '}');
}

void hook_text_write_body(
    enum hook_kind kind, uint64_t at_ms, struct bytes data, struct builder *out)
{
    static const char *const types[] = {
        [HOOK_JOIN] = "hook.join", [HOOK_EVENT] = "hook.event", [HOOK_WARM] = "hook.warm"};
    json_write_open(out, '{');
    json_write_text(out, "type", bytes_str(types[kind]));
    json_write_time(out, "timestamp", at_ms);
    json_write_json(out, "data", data);
    json_write_close(out, '}');
}

const char *hook_text_read(struct bytes body, struct hook_answer *ret_answer)
{
    enum { ALLOW, TTL, RESULT, COUNT };
    struct json_scan_wanted wanted[COUNT] = {
        [ALLOW] = {.key = "allow"}, [TTL] = {.key = "ttl"}, [RESULT] = {.key = "result"}};
    struct hook_answer answer = {0};
    struct bytes object;
    unsigned flags;
    uint64_t ttl = 0;
    if (json_scan_text(body, JSON_SCAN_DEPTH_DEFAULT, &object, &flags) != 0 ||
        json_scan_kind(object) != JSON_SCAN_OBJECT) {
        return "the answer is no JSON object";
    }
    json_scan_get_all(object, wanted, COUNT);
    if (wanted[ALLOW].status != 0 || json_scan_bool(wanted[ALLOW].value, &answer.allow) != 0) {
        return "allow of the answer is not true or false";
    }
    answer.has_ttl = wanted[TTL].status == 0;
    if (answer.has_ttl &&
        (json_scan_kind(wanted[TTL].value) != JSON_SCAN_NUMBER ||
            json_scan_u64(wanted[TTL].value, &ttl) != 0 || ttl > HOOK_TTL_MAX_S)) {
        return "ttl of the answer is no number of seconds from 0 to 86400";
    }
    answer.ttl_s = (uint32_t)ttl;
    answer.result = wanted[RESULT].status == 0 ? wanted[RESULT].value : bytes_of(NULL, 0);
    *ret_answer = answer;
    return NULL;
}
