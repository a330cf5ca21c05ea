/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_core - private to the session layer: what every floor does with the state of a session.
 *
 * Order of this file: what only some sessions need, the sockets, sending.
 */
#include "hub/session/session_core.h"

#include "actors/identity.h"
#include "actors/recover/recovery_bus.h"
#include "codec/base/mem.h"
#include "codec/ws_frame.h"

/* --- what only some sessions need ------------------------------------------------------------ */

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

/* --- the sockets ----------------------------------------------------------------------------- */

static struct session_socket *further_of(struct list *link)
{
    return container_of(link, struct session_socket, link);
}

void session_each_socket(struct session *session, session_socket_fn fn, void *context)
{
    if (session->has_first) {
        fn(session, &session->first, context);
    }
    if (session->extra) {
        list_for_each_safe (link, next, &session->extra->sockets) {
            fn(session, &further_of(link)->socket, context);
        }
    }
}

bool session_has_socket(const struct session *session)
{
    return session->has_first || (session->extra && !list_empty(&session->extra->sockets));
}

unsigned session_count_sockets(const struct session *session)
{
    unsigned count = session->has_first;
    if (session->extra) {
        list_for_each (link, &session->extra->sockets) {
            count++;
        }
    }
    return count;
}

struct socket *session_find_socket(struct session *session, struct bytes nsp)
{
    if (session->has_first && bytes_eq(socket_nsp(&session->first), nsp)) {
        return &session->first;
    }
    if (session->extra) {
        list_for_each (link, &session->extra->sockets) {
            if (bytes_eq(socket_nsp(&further_of(link)->socket), nsp)) {
                return &further_of(link)->socket;
            }
        }
    }
    return NULL;
}

struct socket *session_place_socket(struct session *session)
{
    if (!session->has_first) {
        session->has_first = 1;
        memset(&session->first, 0, sizeof(session->first));
        return &session->first;
    }
    struct session_socket *further = mem_try_calloc(1, sizeof(*further));
    if (further == NULL) {
        return NULL;
    }
    further->session = session;
    list_init(&further->link);
    list_append(&session_extra(session)->sockets, &further->link);
    return &further->socket;
}

void session_remove_socket(struct session *session, struct socket *socket)
{
    if (socket == &session->first) {
        session->has_first = 0;
        return;
    }
    struct session_socket *further = container_of(socket, struct session_socket, socket);
    list_remove(&further->link);
    mem_free(further);
}

void session_drop_socket(struct session *session, struct socket *socket, enum close_reason reason)
{
    const struct app *app = &session->part->config->app;
    socket->closing = true;
    app->ops->closed(app->context, socket, reason);
    CHECK(!socket->user); /* the application has called socket_detach */
    session_remove_socket(session, socket);
}

struct drop {
    bool only_closing;
    enum close_reason reason;
};

static void drop(struct session *session, struct socket *socket, void *context)
{
    const struct drop *how = context;
    if (!how->only_closing || socket->closing) {
        session_drop_socket(session, socket, how->reason);
    }
}

void session_drop_sockets(struct session *session, bool only_closing, enum close_reason reason)
{
    struct drop how = {.only_closing = only_closing, .reason = reason};
    session_each_socket(session, drop, &how);
}

static void set_outbox(struct session *session, struct socket *socket, void *context)
{
    socket->outbox = session_outbox(session);
}

void session_set_outbox(struct session *session)
{
    session_each_socket(session, set_outbox, NULL);
}

void session_tell_sockets(struct session *session, void (*tell)(struct socket *socket))
{
    if (session->has_first) {
        tell(&session->first);
    }
    if (session->extra) {
        list_for_each (link, &session->extra->sockets) {
            tell(&further_of(link)->socket);
        }
    }
}

static void mark_closing(struct socket *socket)
{
    socket->closing = true;
}

void session_mark_closing(struct session *session)
{
    session_tell_sockets(session, mark_closing);
}

/* --- sending --------------------------------------------------------------------------------- */

struct chunk *session_chunk(const struct builder *body, bool binary)
{
    if (builder_failed(body)) {
        return NULL;
    }
    struct bytes payload = builder_bytes(body);
    char head[WS_FRAME_HEAD_MAX];
    size_t head_len = ws_frame_write_head(head, binary ? WS_BINARY : WS_TEXT, false, payload.len);
    struct builder frame = {.max = WS_FRAME_HEAD_MAX + payload.len};
    builder_add(&frame, bytes_of(head, head_len));
    builder_add(&frame, payload);
    return chunk_take(&frame);
}

bool session_send_chunk(struct session *session, struct chunk *chunk)
{
    return outbox_append(
        session_outbox(session), &session->part->shard->dirty_outboxes, chunk, 0, chunk->len);
}

bool session_send_made(struct session *session, struct chunk *chunk)
{
    if (!chunk) {
        return false;
    }
    bool sent = session_send_chunk(session, chunk);
    chunk_unref(chunk);
    return sent;
}

bool session_send_text(struct session *session, struct builder *text)
{
    struct chunk *chunk = session_chunk(text, false);
    builder_reset(text);
    return session_send_made(session, chunk);
}
