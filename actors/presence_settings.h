/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_settings - what actors/presence needs to know of the configuration; a part of
 * actor_config.
 */
#ifndef ACTORS_PRESENCE_SETTINGS_H
#define ACTORS_PRESENCE_SETTINGS_H

#include <stdint.h>

/* Whom a user may see, in the order of the words of presence.visibility. */
enum presence_visibility {
    PRESENCE_VISIBLE_NOBODY, /* oneself */
    PRESENCE_VISIBLE_ROOMS, /* who is in a room with presence = list, too */
    PRESENCE_VISIBLE_TENANT, /* everybody of one's tenant */
    PRESENCE_VISIBLE_ALL,
};

struct presence_settings {
    enum presence_visibility visibility;
    uint32_t linger_ms; /* who goes is told so then, unless he comes back */
};

#endif
