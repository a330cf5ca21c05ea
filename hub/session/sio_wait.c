/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session/sio_wait.h"

#include "actors/recover/recovery_bus.h"
#include "codec/base/mem.h"
#include "hub/session/session_core.h"
#include "hub/session/sio_session.h"

struct wait {
    struct list link; /* session_extra.waits */
    struct session *session;
    struct recovery_fetch *fetch;
    size_t nsp_len;
    size_t raw_len;
    char text[]; /* the namespace, then the packet */
};

static struct bytes nsp_of(const struct wait *wait)
{
    return bytes_of(wait->text, wait->nsp_len);
}

static void on_done(struct recovery_fetch *fetch)
{
    struct wait *wait = fetch->context;
    struct session *session = wait->session;
    list_remove(&wait->link);
    if (!session->ended) {
        sio_session_waited(session, bytes_of(wait->text + wait->nsp_len, wait->raw_len));
        session_trim(session);
    }
    mem_free(wait);
}

void sio_wait_start(
    struct session *session, struct bytes nsp, struct bytes raw, struct recovery_fetch *fetch)
{
    struct wait *wait = mem_try_alloc(sizeof(*wait) + nsp.len + raw.len);
    if (!wait) {
        recovery_fetch_cancel(fetch);
        session_end(session, CLOSE_TRANSPORT);
        return;
    }
    *wait =
        (struct wait){.session = session, .fetch = fetch, .nsp_len = nsp.len, .raw_len = raw.len};
    memcpy(wait->text, nsp.at, nsp.len);
    memcpy(wait->text + nsp.len, raw.at, raw.len);
    list_init(&wait->link);
    list_append(&session_extra(session)->waits, &wait->link);
    fetch->done = on_done;
    fetch->context = wait;
}

bool sio_wait_any(const struct session_extra *extra)
{
    return !list_empty(&extra->waits);
}

bool sio_wait_has(const struct session_extra *extra, struct bytes nsp)
{
    list_for_each (link, &extra->waits) {
        if (bytes_eq(nsp_of(container_of(link, struct wait, link)), nsp)) {
            return true;
        }
    }
    return false;
}

void sio_wait_cancel(struct session_extra *extra)
{
    for (struct list *link; (link = list_pop(&extra->waits)) != NULL;) {
        struct wait *wait = container_of(link, struct wait, link);
        recovery_fetch_cancel(wait->fetch);
        mem_free(wait);
    }
}
