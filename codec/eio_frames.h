/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eio_frames - WebSocket frames that this program has made, turned into an Engine.IO payload.
 *
 * What goes out is encoded once, as WebSocket messages, and shared by all receivers; an answer to a
 * long-polling GET takes the packets out of their frames again.
 */
#ifndef CODEC_EIO_FRAMES_H
#define CODEC_EIO_FRAMES_H

#include <stddef.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/eio.h"

/*
 * Append the packets of `frames`: whole messages of one unmasked frame each, as a server sends
 * them. A text frame is a packet, a binary frame a binary message. Returns how many bytes were
 * used: all, or up to the frame that finds the payload full (EIO_ENCODER_PACKETS_MAX packets, or
 * `full_bytes`); STATUS_PROTO for what is no such frame; STATUS_TOO_LARGE when out of memory or at
 * the builder's limit.
 */
MUST_CHECK int eio_frames_append(struct eio_encoder *encoder, struct bytes frames);

#endif
