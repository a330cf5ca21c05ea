/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_login - what is said on a new connection before it can be used, and whether the answers are
 * as they should be.
 */
#ifndef HUB_REDIS_REDIS_LOGIN_H
#define HUB_REDIS_REDIS_LOGIN_H

#include <stddef.h>

#include "actors/bus.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/redis/redis_fifo.h"

struct redis_target;

enum { REDIS_STEPS_MAX = 5, REDIS_STEP_ARGS = 3, REDIS_WHY_MAX = 256 };

struct redis_step {
    enum redis_purpose purpose;
    size_t argc;
    struct bytes argv[REDIS_STEP_ARGS];
};

/* All steps, the last of which is a PING; they borrow from what is given and from `db`, which is
 * written. */
struct redis_login {
    size_t count;
    struct redis_step steps[REDIS_STEPS_MAX];
    char db[12];
};

/* Write the steps for a connection to `target` that is called `name`. */
void redis_login_write(
    const struct redis_target *target, const char *name, struct redis_login *ret_login);

/* Look at the answer to the step of `purpose`: 0, or a status with a sentence in `ret_why`. */
MUST_CHECK int redis_login_judge(
    enum redis_purpose purpose, const struct bus_reply *reply, char ret_why[REDIS_WHY_MAX]);

#endif
