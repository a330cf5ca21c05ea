/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect - private to the session layer: how a client joins a namespace, all steps in one place.
 */
#include "hub/session/connect.h"

#include "actors/identity.h"
#include "actors/recover/recovery.h"
#include "actors/recover/recovery_bus.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/session/deadlines.h"
#include "hub/session/session_core.h"
#include "hub/session/session_life.h"
#include "hub/session/session_socket.h"

static void decide(struct session *session, struct app_connect *asked);

static void refuse(
    struct session *session, struct bytes nsp, struct bytes message, const char *code)
{
    session_protocol(session)->refuse(session, nsp, message, code);
}

/* --- accept, attach, welcome --------------------------------------------------------------- */

/*
 * A session belongs to one user, whatever the application says: it lives on that user's shard. One
 * that asks as another ends.
 */
static bool is_another_user(const struct session *session, const struct app_verdict *verdict)
{
    const struct identity *known = session->identity;
    return known && !bytes_eq(identity_key(known), identity_key(verdict->identity));
}

static void accept(struct session *session, struct bytes nsp, const struct app_verdict *verdict)
{
    if (is_another_user(session, verdict)) {
        identity_unref(verdict->identity);
        recovery_drop(verdict->claimed);
        session_end(session, CLOSE_PARSE);
        return;
    }
    struct socket *socket;
    int status = session_add_socket(session, nsp, verdict, &socket);
    if (status == STATUS_NOMEM) {
        session_end(session, CLOSE_NO_MEMORY);
        return;
    }
    if (status != 0) {
        refuse(session, nsp, BYTES("Too many namespaces"), NULL);
        return;
    }
    bool told = session_protocol(session)->welcome(session, nsp, socket);
    deadlines_arm(session);
    const struct app *app = &session->part->config->app;
    app->ops->opened(app->context, socket);
    if (session_protocol(session)->opened != NULL) {
        session_protocol(session)->opened(session, socket);
    }
    if (!told) { /* behind what another namespace has waiting: the client begins again */
        session_end(session, CLOSE_SLOW);
    }
}

/* --- move, wait ---------------------------------------------------------------------------- */

/* Go to the user's shard, with what is asked and who asks. */
static void move(
    struct session *session, const struct app_connect *asked, const struct app_verdict *verdict)
{
    struct session_connect *kept = session_connect_keep(session, asked, verdict->identity);
    if (kept == NULL) {
        session_end(session, CLOSE_NO_MEMORY);
        return;
    }
    session_extra(session)->moving = kept;
    session_move(session, verdict->shard);
}

/* Go on with what was kept, which is freed. `session` may be on its way to another thread when this
 * returns. */
static void go_on(struct session *session, struct session_connect *kept, bool final)
{
    struct app_connect asked = session_connect_asked(kept);
    asked.final = final;
    kept->identity = NULL;
    decide(session, &asked);
    session_connect_drop(kept);
}

void connect_arrived(struct session *session)
{
    struct session_connect *kept = session->extra->moving;
    session->extra->moving = NULL;
    bool may_wait = session->kind == SESSION_ENGINE || session->kind == SESSION_STREAM;
    go_on(session, kept, !may_wait);
}

static void on_found(struct recovery_fetch *fetch)
{
    struct session_connect *kept = fetch->context;
    struct session *session = kept->session;
    list_remove(&kept->link);
    kept->fetch = NULL;
    if (session->phase == SESSION_OPEN) {
        session_trim(session);
        go_on(session, kept, true);
    } else {
        session_connect_drop(kept);
    }
}

/* Ask again when the other nodes have been asked. */
static void wait(
    struct session *session, const struct app_connect *asked, const struct app_verdict *verdict)
{
    struct session_connect *kept = session_connect_keep(session, asked, verdict->identity);
    if (kept == NULL) {
        recovery_fetch_cancel(verdict->fetch);
        session_end(session, CLOSE_TRANSPORT);
        return;
    }
    kept->fetch = verdict->fetch;
    kept->fetch->done = on_found;
    kept->fetch->context = kept;
    list_append(&session_extra(session)->waits, &kept->link);
}

/* --- ask, decide --------------------------------------------------------------------------- */

/* Do what the application says; what `verdict` holds is taken over. */
static void follow(
    struct session *session, const struct app_connect *asked, struct app_verdict *verdict)
{
    switch (verdict->kind) {
    case APP_ACCEPT:
        accept(session, asked->nsp, verdict);
        break;
    case APP_REFUSE:
        if (verdict->code == ERROR_UNAVAILABLE) { /* a client takes a refusal for final */
            session_end(session, CLOSE_NO_MEMORY);
            break;
        }
        refuse(session, asked->nsp, bytes_str(verdict->message),
            verdict->code != ERROR_NONE ? errors_text(verdict->code) : NULL);
        break;
    case APP_MOVE:
        move(session, asked, verdict);
        break;
    case APP_WAIT:
        wait(session, asked, verdict);
        break;
    }
}

/* What the application needs to know: what is asked, and what the handshake's request carried. */
static struct app_connect request_of(
    struct session *session, const struct app_connect *asked, char remote[46])
{
    struct app_connect request = {0};
    if (session->extra && session->extra->tokens) {
        request = session->extra->request;
    } else {
        session_transport(session)->remote(session, remote);
        request.remote = bytes_str(remote);
    }
    request.session = session;
    request.nsp = asked->nsp;
    request.auth = asked->auth;
    request.identity = asked->identity;
    request.final = asked->final;
    return request;
}

static bool waits(const struct session *session, struct bytes nsp)
{
    if (session->extra != NULL) {
        list_for_each (link, &session->extra->waits) {
            const struct session_connect *kept = container_of(link, struct session_connect, link);
            if (bytes_eq(session_connect_asked(kept).nsp, nsp)) {
                return true;
            }
        }
    }
    return false;
}

/*
 * `asked`: the namespace, the payload, who it is if that is known (taken over: it belongs to the
 * shard that the session is on afterwards), and whether it is the last time.
 */
static void decide(struct session *session, struct app_connect *asked)
{
    const struct app *app = &session->part->config->app;
    struct identity *known = asked->identity;
    if (waits(session, asked->nsp) || session_find_socket(session, asked->nsp)) {
        session_end(session, CLOSE_PARSE);
    } else if (session->reason != 0) { /* it was sent away for good */
        refuse(session, asked->nsp, bytes_str(close_text(session->reason)),
            close_name(session->reason));
    } else if (!app->ops->has_namespace(app->context, asked->nsp)) {
        refuse(session, asked->nsp, BYTES("Invalid namespace"), NULL);
    } else {
        char remote[46];
        struct app_connect request = request_of(session, asked, remote);
        struct app_verdict verdict =
            app->ops->connect(app->context, session->part->shard, &request);
        identity_unref(known);
        follow(session, asked, &verdict);
        return;
    }
    identity_unref(known);
}

void connect_ask(struct session *session, struct bytes nsp, struct bytes auth)
{
    decide(session, &(struct app_connect){.nsp = nsp, .auth = auth});
}

void connect_decided(struct session *session, struct app_verdict *verdict)
{
    follow(session, &(struct app_connect){.nsp = BYTES("/")}, verdict);
}
