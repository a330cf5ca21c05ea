/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring holds records behind their lengths. Whoever logs copies under the lock; the thread
 * copies one record out under the lock and writes it without. O_NONBLOCK on the descriptor instead
 * was rejected: the flag is shared with every process that has the same terminal or pipe.
 */
#include "hub/node/log_writer.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "codec/base/log.h"
#include "codec/base/mem.h"

enum { RECORD_MAX = 32768, NS_PER_MS = 1000000, RING_LEAST = 2 * RECORD_MAX };

struct writer {
    uv_thread_t thread;
    uv_mutex_t lock;
    uv_cond_t more; /* something waits, or it is to end */
    uv_cond_t idle; /* nothing waits and nothing is being written */
    int fd;
    char *ring;
    size_t size;
    size_t head; /* where the oldest record begins */
    size_t used;
    uint64_t untold; /* records dropped since the last LOG-LOST */
    bool writing;
    bool ending;
    char record[RECORD_MAX]; /* the thread's own */
};

static struct writer *the_writer; /* set before other threads start, and after they have ended */
static atomic_ullong lost; /* relaxed: a counter */
static _Thread_local bool
    is_writer; /* this is the thread: what it says itself is written at once */

static void copy_in(struct writer *writer, const void *at, size_t len)
{
    size_t tail = (writer->head + writer->used) % writer->size;
    size_t first = len < writer->size - tail ? len : writer->size - tail;
    memcpy(writer->ring + tail, at, first);
    memcpy(writer->ring, (const char *)at + first, len - first);
    writer->used += len;
}

static void copy_out(struct writer *writer, void *at, size_t len)
{
    size_t first = len < writer->size - writer->head ? len : writer->size - writer->head;
    memcpy(at, writer->ring + writer->head, first);
    memcpy((char *)at + first, writer->ring, len - first);
    writer->head = (writer->head + len) % writer->size;
    writer->used -= len;
}

/* Write everything; what cannot be written, to a descriptor that is closed, is nobody's any more.
 */
static void write_out(int fd, const char *at, size_t len)
{
    while (len > 0) {
        ssize_t written = write(fd, at, len);
        if (written >= 0) {
            at += written;
            len -= (size_t)written;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            (void)poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return;
        }
    }
}

static void on_record(enum log_level level, const char *line, size_t len)
{
    struct writer *writer = the_writer;
    uint32_t size = (uint32_t)len;
    (void)level;
    if (is_writer) {
        write_out(writer->fd, line, len);
        return;
    }
    uv_mutex_lock(&writer->lock);
    if (len > RECORD_MAX || writer->size - writer->used < len + sizeof(size)) {
        writer->untold++;
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
    } else {
        copy_in(writer, &size, sizeof(size));
        copy_in(writer, line, len);
        uv_cond_signal(&writer->more);
    }
    uv_mutex_unlock(&writer->lock);
}

/* Wait for the next record and take it; 0: it is to end. Called with the lock. */
static size_t take(struct writer *writer)
{
    uint32_t len;
    writer->writing = false;
    while (writer->used == 0) {
        uv_cond_broadcast(&writer->idle);
        if (writer->ending) {
            return 0;
        }
        uv_cond_wait(&writer->more, &writer->lock);
    }
    copy_out(writer, &len, sizeof(len));
    copy_out(writer, writer->record, len);
    writer->writing = true;
    return len;
}

static void run(void *context)
{
    struct writer *writer = context;
    is_writer = true;
    uv_mutex_lock(&writer->lock);
    for (size_t len; (len = take(writer)) > 0;) {
        uv_mutex_unlock(&writer->lock);
        write_out(writer->fd, writer->record, len);
        uv_mutex_lock(&writer->lock);
        uint64_t dropped = writer->untold;
        writer->untold = 0;
        if (dropped > 0) { /* the reader goes on */
            uv_mutex_unlock(&writer->lock);
            log_warn("LOG-LOST", "records were dropped: who reads the log stood still", "lost=%llu",
                (unsigned long long)dropped);
            uv_mutex_lock(&writer->lock);
        }
    }
    uv_mutex_unlock(&writer->lock);
}

void log_writer_start(int fd, size_t ring_bytes)
{
    CHECK(the_writer == NULL && ring_bytes >= RING_LEAST);
    struct writer *writer = mem_alloc(sizeof(*writer));
    writer->fd = fd;
    writer->size = ring_bytes;
    writer->ring = mem_alloc(ring_bytes);
    CHECK(uv_mutex_init(&writer->lock) == 0 && uv_cond_init(&writer->more) == 0 &&
          uv_cond_init(&writer->idle) == 0);
    the_writer = writer;
    CHECK(uv_thread_create(&writer->thread, run, writer) == 0);
    log_set_sink(on_record);
}

void log_writer_stop(uint32_t wait_ms)
{
    struct writer *writer = the_writer;
    if (writer == NULL) {
        return;
    }
    uint64_t until = uv_hrtime() + (uint64_t)wait_ms * NS_PER_MS;
    uv_mutex_lock(&writer->lock);
    writer->ending = true;
    uv_cond_signal(&writer->more);
    bool idle = false;
    for (uint64_t now;
         !(idle = writer->used == 0 && !writer->writing) && (now = uv_hrtime()) < until;) {
        (void)uv_cond_timedwait(&writer->idle, &writer->lock, until - now);
    }
    uv_mutex_unlock(&writer->lock);
    log_set_sink(NULL);
    if (!idle) {
        return; /* its write never ends: the thread goes with the process */
    }
    uv_thread_join(&writer->thread);
    the_writer = NULL;
    uv_cond_destroy(&writer->idle);
    uv_cond_destroy(&writer->more);
    uv_mutex_destroy(&writer->lock);
    mem_free(writer->ring);
    mem_free(writer);
}

uint64_t log_writer_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}
