/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peal_app - Peal's own application on the session layer: tokens at CONNECT, events to user actors.
 */
#ifndef HUB_NODE_PEAL_APP_H
#define HUB_NODE_PEAL_APP_H

#include "hub/session/app.h"

struct hub;
struct hub_shard;

/* The application of `hub`, for session_config.app. */
struct app peal_app(struct hub *hub);

/* Tell clients whose token ends soon, and end those whose token has; once a second on each shard.
 */
void peal_app_check_expiry(struct hub_shard *shard);

#endif
