/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_writer - the thread that writes the log, so that a reader that stands still stops nobody
 * else.
 *
 * Records go into a ring of bounded size; where it is full they are dropped and counted, and a
 * record (LOG-LOST) says how many when the reader goes on.
 */
#ifndef HUB_NODE_LOG_WRITER_H
#define HUB_NODE_LOG_WRITER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Write what is logged to `fd` from a thread of its own, with at most `ring_bytes` (at least 64
 * KiB) waiting. Once, before other threads start.
 */
void log_writer_start(int fd, size_t ring_bytes);

/*
 * Wait for at most `wait_ms` until everything is written, and write directly again. When the reader
 * still stands still what waits is given up. Only when no other thread logs any more; without
 * log_writer_start nothing.
 */
void log_writer_stop(uint32_t wait_ms);

/* How many records were dropped. Any thread. */
uint64_t log_writer_lost(void);

#endif
