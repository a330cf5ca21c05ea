/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reload - other settings for a running node, without a lock on the way of a message.
 *
 * The tables are made and tried on the main thread; then every shard changes over in a turn of its
 * own (hub_shards_change), and the last one frees the old tables. Sessions that are there stay,
 * whatever their token was verified with.
 */
#ifndef HUB_NODE_RELOAD_H
#define HUB_NODE_RELOAD_H

#include <stdbool.h>

struct hub;

/*
 * Load the settings again from where they came from and put them into effect. When they are wrong,
 * or change what cannot change while the node runs, one line says so, nothing changes, and false is
 * returned. Main thread.
 */
bool reload_settings(struct hub *hub);

#endif
