/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_session - private to the session layer: packets of /ws to a client that only listens.
 */
#include "hub/session/stream_session.h"

#include "hub/session/connect.h"
#include "hub/session/session_life.h"
#include "hub/session/stream_state.h"

/* The head of the answer has said it. */
static bool welcome(struct session *session, struct bytes nsp, struct socket *socket)
{
    return true;
}

/* It was accepted before its answer began: the token has expired since. */
static void refuse(
    struct session *session, struct bytes nsp, struct bytes message, const char *code)
{
    session_end(session, CLOSE_UNAUTHORIZED);
}

static void opened(struct session *session, struct socket *socket)
{
    const struct stream_session *stream = stream_of(session);
    const struct app *app = &session->part->config->app;
    if (!session_is_over(session) && !socket->closing) {
        session->part->shard->stats.streams_resumed += stream->wishes.place.len > 0;
        app->ops->listen(app->context, socket, &stream->wishes);
    }
}

/* A message of no packets: its transport makes a comment of it. */
static struct chunk *make_ping(void)
{
    struct builder nothing = {0};
    builder_str(&nothing, "[]");
    struct chunk *chunk = session_chunk(&nothing, false);
    builder_reset(&nothing);
    CHECK(chunk != NULL); /* a shard starts */
    return chunk;
}

const struct protocol stream_protocol = {
    .one_way = true,
    .arrived = connect_arrived,
    .welcome = welcome,
    .opened = opened,
    .refuse = refuse,
    .ping = make_ping,
};
