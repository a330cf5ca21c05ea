/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frees a bus when the last of its handles is closed, and tells who waits for that.
 */
#include "hub/redis/redis_bus.h"

#include "codec/base/mem.h"

void redis_bus_release(struct redis_bus *bus)
{
    if (--bus->handles > 0) {
        return;
    }
    redis_closed_fn fn = bus->on_closed;
    void *context = bus->closed_context;
    if (bus->own_input != NULL) {
        redis_input_finish(bus->own_input);
        mem_free(bus->own_input);
    }
    redis_target_finish(&bus->target);
    mem_free(bus);
    if (fn != NULL) {
        fn(context);
    }
}
