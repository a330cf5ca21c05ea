/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AUTH, SELECT, a name, and behind sentinels whether it is the master.
 */
#include "hub/redis/redis_login.h"

#include <stdio.h>

#include "codec/base/status.h"
#include "hub/redis/redis_target.h"
#include "hub/redis/redis_text.h"

static struct redis_step *add(struct redis_login *login, enum redis_purpose purpose)
{
    struct redis_step *step = &login->steps[login->count++];
    *step = (struct redis_step){.purpose = purpose};
    return step;
}

static void put(struct redis_step *step, struct bytes word)
{
    step->argv[step->argc++] = word;
}

void redis_login_write(
    const struct redis_target *target, const char *name, struct redis_login *ret_login)
{
    const struct redis_url *url = &target->url;
    ret_login->count = 0;
    if (url->has_password) {
        struct redis_step *auth = add(ret_login, REDIS_FOR_AUTH);
        put(auth, BYTES("AUTH"));
        if (url->user[0] != '\0') {
            put(auth, bytes_str(url->user));
        }
        put(auth, bytes_str(url->password));
    }
    if (url->db != 0) {
        snprintf(ret_login->db, sizeof(ret_login->db), "%u", url->db);
        struct redis_step *select = add(ret_login, REDIS_FOR_SELECT);
        put(select, BYTES("SELECT"));
        put(select, bytes_str(ret_login->db));
    }
    struct redis_step *named = add(ret_login, REDIS_FOR_NAME);
    put(named, BYTES("CLIENT"));
    put(named, BYTES("SETNAME"));
    put(named, bytes_str(name));
    if (url->kind == REDIS_SENTINEL) {
        put(add(ret_login, REDIS_FOR_ROLE), BYTES("ROLE"));
    }
    put(add(ret_login, REDIS_FOR_PING), BYTES("PING"));
}

static const char *refusal_of(enum redis_purpose purpose)
{
    switch (purpose) {
    case REDIS_FOR_AUTH:
        return "the server refuses user or password";
    case REDIS_FOR_SELECT:
        return "the server refuses the database";
    case REDIS_FOR_ROLE:
        return "the server does not say its role";
    case REDIS_FOR_CALLER:
    case REDIS_FOR_NAME:
    case REDIS_FOR_PING:
        break;
    }
    return "the server is not ready";
}

static int judge_role(const struct bus_reply *reply, char ret_why[REDIS_WHY_MAX])
{
    if (reply->type != BUS_ARRAY || reply->count < 1 || reply->items[0]->type != BUS_STRING) {
        snprintf(ret_why, REDIS_WHY_MAX, "an answer of the wrong type");
        return STATUS_PROTO;
    }
    if (!bytes_eq(reply->items[0]->text, BYTES("master"))) {
        snprintf(ret_why, REDIS_WHY_MAX,
            "the server is a replica, though a sentinel names it as the master");
        return STATUS_UNAVAILABLE;
    }
    return 0;
}

int redis_login_judge(
    enum redis_purpose purpose, const struct bus_reply *reply, char ret_why[REDIS_WHY_MAX])
{
    if (reply->type == BUS_ERROR) {
        if (purpose == REDIS_FOR_NAME) {
            return 0;
        }
        int len = reply->text.len < 120 ? (int)reply->text.len : 120;
        snprintf(ret_why, REDIS_WHY_MAX, "%s: %.*s", refusal_of(purpose), len, reply->text.at);
        return redis_text_status(reply->text);
    }
    if (purpose == REDIS_FOR_ROLE) {
        return judge_role(reply, ret_why);
    }
    if (reply->type != BUS_STATUS) {
        snprintf(ret_why, REDIS_WHY_MAX, "an answer of the wrong type");
        return STATUS_PROTO;
    }
    return 0;
}
