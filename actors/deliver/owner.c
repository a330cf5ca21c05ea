/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows from the key of an owner (tenant and id), and finding one of its sockets.
 */
#include "actors/deliver/owner.h"

#include "actors/deliver/socket_state.h"
#include "actors/wire_name.h"

struct bytes owner_key(const struct socket_owner *owner)
{
    return owner->actor.behaviour->key_of(owner);
}

struct bytes owner_id(const struct socket_owner *owner)
{
    return wire_name_client(owner_key(owner));
}

struct bytes owner_space(const struct socket_owner *owner)
{
    struct bytes key = owner_key(owner);
    size_t id_len = wire_name_client(key).len;
    return bytes_of(key.at, id_len < key.len ? key.len - id_len - 1 : 0);
}

struct socket *owner_socket(const struct socket_owner *owner, uint32_t socket_id)
{
    list_for_each (link, &owner->sockets) {
        struct socket *socket = container_of(link, struct socket, user_link);
        if (socket->id == socket_id) {
            return socket->closing ? NULL : socket;
        }
    }
    return NULL;
}
