/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_app - what Peal's application gives to clients that only listen: rooms, the inbox from
 * where they were, and the place that their next request brings back.
 */
#ifndef HUB_NODE_STREAM_APP_H
#define HUB_NODE_STREAM_APP_H

#include <stdbool.h>

#include "hub/session/app.h"

struct recovery_claim;

/* Add to `claim` which socket the client goes on with, as its place says. */
void stream_app_claim(const struct app_wishes *wishes, struct recovery_claim *claim);

/* Rows of app_ops. */
void stream_app_listen(void *context, struct socket *socket, const struct app_wishes *wishes);
void stream_app_place(
    void *context, struct socket *socket, const struct app_wishes *wishes, struct builder *out);
bool stream_app_wants(void *context, const struct app_wishes *wishes, struct bytes name);

#endif
