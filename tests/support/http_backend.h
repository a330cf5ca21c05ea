/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_backend - a backend on a port of 127.0.0.1 that answers, and misbehaves, as the path says;
 * and names that resolve as tests want.
 *
 * /answer: 200 with the text set by http_backend_say, else the body that came; /status/503;
 * /redirect: 302 to /answer; /silent: nothing; /endless: a body without end; /heads: a head without
 * end; /large: 2 MiB announced; /short: less than announced; /reset: 200 with a text, and a reset
 * behind it; /noise: no HTTP; /hang-up: closed;
 * /held: 200 when http_backend_release was called.
 *
 * Of names under `.test` each program with this file says the addresses itself: one.test is
 * 127.0.0.1, two.test 192.0.2.1 and then 127.0.0.1, inside.test 10.0.0.1 and 169.254.169.254,
 * none.test has none, and slow.test is 127.0.0.1 once http_backend_release was called.
 */
#ifndef TESTS_SUPPORT_HTTP_BACKEND_H
#define TESTS_SUPPORT_HTTP_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

/* Start it; one in a process at a time. Returns the port. */
uint16_t http_backend_start(void);

/* Stop it; every connection ends. */
void http_backend_stop(void);

/* What /answer says from now on; NULL: the body that came. Kept by the caller. */
void http_backend_say(const char *text);

/* Let what is held go, now and later. */
void http_backend_release(void);

/* How many connections came so far, how many requests, and how many of these are held now. */
unsigned http_backend_connections(void);
unsigned http_backend_requests(void);
unsigned http_backend_held(void);

/* How many names were looked up and are not found yet. */
unsigned http_backend_lookups(void);

/* A copy of the last whole request, head and body; the caller frees it. */
char *http_backend_last(void);

#endif
