/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_extra - private to the session layer: what only some sessions need, or only for a while.
 */
#include "hub/session/session_extra.h"

#include "actors/identity.h"
#include "actors/recover/recovery_bus.h"
#include "codec/base/mem.h"
#include "hub/session/session_core.h"

struct session_extra *session_extra_create(void)
{
    struct session_extra *extra = mem_alloc(sizeof(*extra));
    list_init(&extra->sockets);
    list_init(&extra->waits);
    return extra;
}

struct session_extra *session_extra(struct session *session)
{
    if (!session->extra) {
        session->extra = session_extra_create();
    }
    return session->extra;
}

static void forget_request(struct session_extra *extra)
{
    extra->request = (struct app_connect){0};
    if (extra->tokens) {
        explicit_bzero(extra->tokens, extra->tokens_len);
        mem_free(extra->tokens);
        extra->tokens = NULL;
    }
}

static void drop_assembly(struct session_assembly *assembly)
{
    buf_unref(assembly->text);
    for (unsigned i = 0; i < assembly->count; i++) {
        buf_unref(assembly->attachments[i]);
    }
    *assembly = (struct session_assembly){0};
}

void session_extra_destroy(struct session_extra *extra)
{
    if (!extra) {
        return;
    }
    CHECK(list_empty(&extra->sockets));
    forget_request(extra);
    drop_assembly(&extra->assembly);
    for (struct list *link; (link = list_pop(&extra->waits)) != NULL;) {
        session_connect_drop(container_of(link, struct session_connect, link));
    }
    session_connect_drop(extra->moving);
    mem_free(extra);
}

void session_forget_request(struct session *session)
{
    if (session->extra) {
        forget_request(session->extra);
    }
}

void session_drop_assembly(struct session *session)
{
    if (session->extra) {
        drop_assembly(&session->extra->assembly);
    }
}

void session_trim(struct session *session)
{
    struct session_extra *extra = session->extra;
    if (extra && list_empty(&extra->sockets) && extra->connect_due_ms == 0 &&
        extra->refusals == 0 && !extra->tokens && !extra->moving && !extra->assembly.text &&
        list_empty(&extra->waits)) {
        session->extra = NULL;
        session_extra_destroy(extra);
    }
}

/* --- a CONNECT that is kept ---------------------------------------------------------------- */

struct session_connect *session_connect_keep(
    struct session *session, const struct app_connect *asked, struct identity *identity)
{
    struct session_connect *kept = mem_try_alloc(sizeof(*kept) + asked->nsp.len + asked->auth.len);
    if (kept == NULL) {
        identity_unref(identity);
        return NULL;
    }
    *kept = (struct session_connect){.session = session,
        .identity = identity,
        .nsp_len = asked->nsp.len,
        .auth_len = asked->auth.len};
    list_init(&kept->link);
    memcpy(kept->text, asked->nsp.at, asked->nsp.len);
    if (asked->auth.len > 0) {
        memcpy(kept->text + asked->nsp.len, asked->auth.at, asked->auth.len);
    }
    return kept;
}

struct app_connect session_connect_asked(const struct session_connect *kept)
{
    return (struct app_connect){
        .nsp = bytes_of(kept->text, kept->nsp_len),
        .auth = bytes_of(kept->text + kept->nsp_len, kept->auth_len),
        .identity = kept->identity,
    };
}

void session_connect_drop(struct session_connect *kept)
{
    if (kept != NULL) {
        if (kept->fetch != NULL) {
            recovery_fetch_cancel(kept->fetch);
        }
        identity_unref(kept->identity);
        mem_free(kept);
    }
}
