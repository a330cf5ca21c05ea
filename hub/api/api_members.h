/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_members - the end of what api_members.c keeps on a shard.
 */
#ifndef HUB_API_API_MEMBERS_H
#define HUB_API_API_MEMBERS_H

struct api_shard;

/* Answer what still waits for other nodes, and close the connections used for it. */
void api_members_stop(struct api_shard *shard);

#endif
