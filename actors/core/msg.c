/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and freeing messages, which is all that can be done with one before it is sent.
 */
#include "actors/core/msg.h"

#include "codec/base/mem.h"

void *msg_create(size_t size, const struct msg_kind *kind)
{
    CHECK(size >= sizeof(struct msg));
    struct msg *msg = mem_alloc(size);
    msg->kind = kind;
    return msg;
}

void msg_destroy(struct msg *msg)
{
    if (msg == NULL) {
        return;
    }
    if (msg->kind->drop != NULL) {
        msg->kind->drop(msg);
    }
    mem_free(msg);
}
