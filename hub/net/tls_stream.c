/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's records over a BIO of our own: it reads what the call under way was given, and writes
 * to the desk, so that no connection has a buffer of its own for either.
 *
 * Order of this file: the BIO, failures, the handshake, records, life.
 */
#include "hub/net/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "hub/net/tls_context.h"

enum {
    OUT_MAX = 1 << 20,
    RECORD_HEAD = 5, /* RFC 8446 5.1: type, version, length */
    HELLO_HEAD = RECORD_HEAD + 4, /* and of a handshake message: type, length */
    HELLO_MAX = TLS_RECORD, /* those of browsers have about 2,000 bytes */
    TYPE_HANDSHAKE = 22,
    SILENT_MAX = 32, /* records of one read that bring nothing: key updates, tickets */
};

/* How far the peer's hello has come: until it is there, OpenSSL is shown whole records alone. */
enum hello {
    HELLO_AWAITED, /* also a second one, where we asked for another key (HelloRetryRequest) */
    HELLO_IN_PART, /* it goes on in the next record */
    HELLO_DONE,
};

/* A record of a hello, as far as it has come. */
struct tls_first {
    uint32_t len;
    uint32_t read; /* by OpenSSL */
    uint8_t at[];
};

struct tls_stream {
    SSL *ssl; /* NULL: the first record has not come */
    struct tls_context *context;
    struct tls_desk *desk; /* of the call under way */
    struct bytes input; /* of the call under way, what was not read yet */
    enum tls_state state;
    uint8_t hello; /* enum hello */
    bool again; /* the hello is the second one */
    uint16_t hello_left; /* bytes of it that are to come */
    struct tls_first *first; /* until OpenSSL has read it */
};

/* --- the BIO --- */

static BIO_METHOD *method;
static pthread_once_t made = PTHREAD_ONCE_INIT;

static int bio_write(BIO *bio, const char *at, int len)
{
    struct tls_stream *stream = BIO_get_data(bio);
    struct builder *out = &stream->desk->out;
    BIO_clear_retry_flags(bio);
    builder_add(out, bytes_of(at, (size_t)len));
    return builder_failed(out) ? -1 : len;
}

static int read_first(struct tls_stream *stream, char *at, uint32_t len)
{
    struct tls_first *first = stream->first;
    uint32_t left = first->len - first->read;
    uint32_t part = left < len ? left : len;
    memcpy(at, first->at + first->read, part);
    first->read += part;
    if (part == left) {
        mem_free(first);
        stream->first = NULL;
    }
    return (int)part;
}

static int bio_read(BIO *bio, char *at, int len)
{
    struct tls_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (stream->first != NULL) {
        return read_first(stream, at, (uint32_t)len);
    }
    size_t part = stream->input.len < (size_t)len ? stream->input.len : (size_t)len;
    if (part == 0 || stream->hello != HELLO_DONE) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(at, stream->input.at, part);
    stream->input = bytes_skip(stream->input, part);
    return (int)part;
}

static long bio_control(BIO *bio, int command, long number, void *at)
{
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "peal");
    CHECK(method != NULL && BIO_meth_set_write(method, bio_write) == 1 &&
          BIO_meth_set_read(method, bio_read) == 1 && BIO_meth_set_ctrl(method, bio_control) == 1 &&
          BIO_meth_set_create(method, bio_create) == 1);
}

/* Make OpenSSL's object; false: no memory. */
static bool make_ssl(struct tls_stream *stream)
{
    CHECK(pthread_once(&made, make_method) == 0);
    SSL *ssl = tls_context_connect(stream->context);
    BIO *bio = ssl != NULL ? BIO_new(method) : NULL;
    if (bio == NULL) {
        SSL_free(ssl);
        ERR_clear_error();
        return false;
    }
    BIO_set_data(bio, stream);
    SSL_set_bio(ssl, bio, bio);
    if (tls_context_calls(stream->context)) {
        SSL_set_connect_state(ssl);
    } else {
        SSL_set_accept_state(ssl);
    }
    stream->ssl = ssl;
    return true;
}

/* --- failures --- */

static enum tls_failure failure_of(unsigned long error)
{
    int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
    if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE) {
        return TLS_FAILED_MEMORY;
    }
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
        return TLS_FAILED_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SHARED_GROUPS:
        return TLS_FAILED_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return TLS_FAILED_PROTOCOL;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return TLS_FAILED_CERTIFICATE;
    default:
        return reason >= SSL_AD_REASON_OFFSET ? TLS_FAILED_ALERT : TLS_FAILED_MALFORMED;
    }
}

/* The end: `failure` counts while it shakes. */
static void fail(struct tls_stream *stream, enum tls_failure failure, const char *detail)
{
    struct tls_desk *desk = stream->desk;
    if (stream->state == TLS_SHAKING) {
        desk->counts.failed[failure]++;
    } else {
        desk->counts.broken++;
    }
    desk->failure = failure;
    snprintf(desk->detail, sizeof(desk->detail), "%s", detail != NULL ? detail : "");
    stream->state = TLS_BROKEN;
}

static void fail_ssl(struct tls_stream *stream)
{
    unsigned long error = ERR_peek_error();
    const char *detail = ERR_reason_error_string(error);
    if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
        ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        detail = X509_verify_cert_error_string(SSL_get_verify_result(stream->ssl));
    }
    fail(stream, failure_of(error), detail);
    ERR_clear_error();
}

/* --- the handshake --- */

static void answer_plain(struct tls_stream *stream)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
                                 "Content-Type: text/plain; charset=utf-8\r\n"
                                 "Content-Length: 25\r\n\r\nThis port speaks TLS only";
    builder_add(&stream->desk->out, bytes_of(answer, sizeof(answer) - 1));
    fail(stream, TLS_FAILED_PLAIN, NULL);
}

static size_t record_length(const uint8_t *head)
{
    return (size_t)head[3] << 8 | head[4];
}

/*
 * Note how long the hello is that begins in this record; false: it cannot be one. OpenSSL makes
 * room for as much as a hello says that it has, up to 128 KiB. Nothing stands behind it in its last
 * record: whoever sends it waits for an answer.
 */
static bool begin_hello(struct tls_stream *stream, const uint8_t *head)
{
    size_t record = record_length(head);
    size_t message = (size_t)head[6] << 16 | (size_t)head[7] << 8 | head[8];
    if (record < HELLO_HEAD - RECORD_HEAD || record > TLS_RECORD) {
        return false;
    }
    if (head[RECORD_HEAD] != 1) { /* OpenSSL refuses others before it makes room */
        stream->hello_left = (uint16_t)record;
        return true;
    }
    stream->hello_left = (uint16_t)(message + HELLO_HEAD - RECORD_HEAD);
    return message <= HELLO_MAX && record <= stream->hello_left;
}

/* Keep what has come of the first `len` bytes; whether all of them are there. */
static bool keep_first(struct tls_stream *stream, size_t len)
{
    struct tls_first *first = stream->first;
    size_t had = first != NULL ? first->len : 0;
    if (had >= len) {
        return true;
    }
    size_t part = stream->input.len < len - had ? stream->input.len : len - had;
    if (part > 0) {
        first = mem_try_realloc(first, sizeof(*first) + had + part);
        if (first == NULL) {
            fail(stream, TLS_FAILED_MEMORY, "no memory");
            return false;
        }
        memcpy(first->at + had, stream->input.at, part);
        first->len = (uint32_t)(had + part);
        first->read = 0;
        stream->first = first;
        stream->input = bytes_skip(stream->input, part);
    }
    return had + part == len;
}

/* Of no handshake: HTTP has its answer, anything else OpenSSL may refuse. */
static bool take_other(struct tls_stream *stream, uint8_t type)
{
    if (type >= 'A' && type <= 'Z') { /* a method */
        answer_plain(stream);
        return false;
    }
    return true;
}

/*
 * Take the next record; whether it is there whole, so that OpenSSL may read it: from the first one
 * on it takes 73 KB until its answer has been sent.
 */
static bool take_record(struct tls_stream *stream)
{
    bool begins = stream->hello == HELLO_AWAITED;
    bool headed = keep_first(stream, RECORD_HEAD);
    if (stream->first == NULL || stream->state == TLS_BROKEN) {
        return false;
    }
    uint8_t type = stream->first->at[0];
    if (type != TYPE_HANDSHAKE && begins && !stream->again) {
        return take_other(stream, type);
    }
    if (!headed || (type == TYPE_HANDSHAKE && begins && !keep_first(stream, HELLO_HEAD))) {
        return false;
    }
    size_t record = record_length(stream->first->at);
    bool good = type != TYPE_HANDSHAKE ? record <= TLS_RECORD
                : begins               ? begin_hello(stream, stream->first->at)
                                       : record > 0 && record <= stream->hello_left;
    if (!good) {
        fail(stream, TLS_FAILED_MALFORMED, "a first message of this length");
        return false;
    }
    return keep_first(stream, RECORD_HEAD + record);
}

static void shake(struct tls_stream *stream)
{
    ERR_clear_error();
    int done = SSL_do_handshake(stream->ssl);
    if (done == 1) {
        stream->state = TLS_READY;
        stream->desk->counts.full += SSL_session_reused(stream->ssl) ? 0 : 1;
        stream->desk->counts.resumed += SSL_session_reused(stream->ssl) ? 1 : 0;
    } else if (SSL_get_error(stream->ssl, done) != SSL_ERROR_WANT_READ) {
        fail_ssl(stream);
    }
}

/* Whether we ask for a hello with another key (RFC 8446 4.1.3: a ServerHello of this random). */
static bool asks_again(struct bytes answer)
{
    enum { RANDOM_AT = RECORD_HEAD + 4 + 2 };
    static const uint8_t random[] = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d,
        0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07,
        0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};
    return answer.len >= RANDOM_AT + sizeof(random) && answer.at[0] == TYPE_HANDSHAKE &&
           memcmp(answer.at + RANDOM_AT, random, sizeof(random)) == 0;
}

/* Have OpenSSL read the record that was taken, and see what it says to it. */
static void shake_record(struct tls_stream *stream)
{
    bool of_hello = stream->first->at[0] == TYPE_HANDSHAKE;
    size_t record = stream->first->len - (of_hello ? RECORD_HEAD : 0);
    size_t said = builder_bytes(&stream->desk->out).len;
    if (stream->ssl == NULL && !make_ssl(stream)) {
        fail(stream, TLS_FAILED_MEMORY, "no memory");
        return;
    }
    shake(stream);
    struct bytes answer = bytes_skip(builder_bytes(&stream->desk->out), said);
    if (answer.len > 0) {
        stream->again = asks_again(answer);
        stream->hello = stream->again ? HELLO_AWAITED : HELLO_DONE;
    } else if (of_hello) {
        stream->hello = HELLO_IN_PART;
        stream->hello_left -= (uint16_t)record;
    } else if (!stream->again && stream->state == TLS_SHAKING) {
        fail(stream, TLS_FAILED_MALFORMED, "a first record that is no handshake");
    }
}

/* Go on with the handshake: record by record until the hello has its answer. */
static void shake_all(struct tls_stream *stream)
{
    while (stream->state == TLS_SHAKING && stream->hello != HELLO_DONE && take_record(stream)) {
        shake_record(stream);
    }
    if (stream->state == TLS_SHAKING && stream->hello == HELLO_DONE && stream->input.len > 0) {
        shake(stream);
    }
}

bool tls_stream_begin(struct tls_stream *stream, struct tls_desk *desk, const char *name)
{
    builder_clear(&desk->out);
    stream->desk = desk;
    stream->input = bytes_of(NULL, 0);
    stream->hello = HELLO_DONE; /* it has none to wait for */
    if (!make_ssl(stream) || (name != NULL && !tls_context_expect(stream->ssl, name))) {
        fail(stream, TLS_FAILED_MEMORY, "no memory");
        return false;
    }
    shake(stream);
    return stream->state != TLS_BROKEN;
}

/* --- records --- */

static size_t read_records(struct tls_stream *stream, char *ret_plain)
{
    size_t len = 0;
    int got = 0;
    unsigned silent = 0;
    ERR_clear_error();
    while (len < TLS_PLAIN_ROOM) {
        got = SSL_read(stream->ssl, ret_plain + len, (int)(TLS_PLAIN_ROOM - len));
        if (got > 0) {
            len += (size_t)got;
        } else if (stream->input.len == 0 ||
                   SSL_get_error(stream->ssl, got) != SSL_ERROR_WANT_READ) {
            break;
        } else if (++silent > SILENT_MAX) {
            fail(stream, TLS_FAILED_MALFORMED, "too many records that say nothing");
            return 0;
        }
    }
    if (len == TLS_PLAIN_ROOM) { /* cannot be: see TLS_PLAIN_ROOM */
        fail(stream, TLS_FAILED_MALFORMED, "more than fits");
        return 0;
    }
    int error = SSL_get_error(stream->ssl, got);
    if (error == SSL_ERROR_ZERO_RETURN) {
        stream->state = TLS_CLOSED;
    } else if (error != SSL_ERROR_WANT_READ) {
        fail_ssl(stream);
    }
    return len;
}

size_t tls_stream_open(
    struct tls_stream *stream, struct tls_desk *desk, struct bytes input, char *ret_plain)
{
    builder_clear(&desk->out);
    stream->desk = desk;
    stream->input = input;
    shake_all(stream);
    size_t len = stream->state == TLS_READY ? read_records(stream, ret_plain) : 0;
    stream->input = bytes_of(NULL, 0);
    return len;
}

/* Short ranges become one record: each costs 22 bytes, and as much work as 200 bytes do. */
static struct bytes gather(struct tls_desk *desk, const struct iovec *ranges, size_t count)
{
    size_t len = 0;
    if (count == 1 || ranges[0].iov_len >= TLS_RECORD) {
        len = ranges[0].iov_len < TLS_RECORD ? ranges[0].iov_len : TLS_RECORD;
        return bytes_of(ranges[0].iov_base, len);
    }
    for (size_t i = 0; i < count && len < TLS_RECORD; i++) {
        size_t room = TLS_RECORD - len;
        size_t part = ranges[i].iov_len < room ? ranges[i].iov_len : room;
        memcpy(desk->record + len, ranges[i].iov_base, part);
        len += part;
    }
    return bytes_of(desk->record, len);
}

/* OpenSSL says nothing while a message of the peer (a key update) is there in part: nobody sends
 * one in parts, and what waits for the rest of it would wait for as long as the peer likes. */
static void fail_sealing(struct tls_stream *stream)
{
    if (builder_failed(&stream->desk->out)) {
        fail(stream, TLS_FAILED_MEMORY, "no memory");
    } else if (ERR_peek_error() != 0) {
        fail_ssl(stream);
    } else {
        fail(stream, TLS_FAILED_MALFORMED, "a message that has not come whole");
    }
}

size_t tls_stream_seal(
    struct tls_stream *stream, struct tls_desk *desk, const struct iovec *ranges, size_t count)
{
    struct bytes plain = gather(desk, ranges, count);
    builder_clear(&desk->out);
    stream->desk = desk;
    stream->input = bytes_of(NULL, 0);
    if (stream->state == TLS_SHAKING || stream->state == TLS_BROKEN) {
        return 0;
    }
    ERR_clear_error();
    int wrote = SSL_write(stream->ssl, plain.at, (int)plain.len);
    if (wrote != (int)plain.len) {
        fail_sealing(stream);
        return 0;
    }
    return plain.len;
}

void tls_stream_end(struct tls_stream *stream, struct tls_desk *desk)
{
    builder_clear(&desk->out);
    stream->desk = desk;
    stream->input = bytes_of(NULL, 0);
    if (stream->state == TLS_READY || stream->state == TLS_CLOSED) {
        ERR_clear_error();
        (void)SSL_shutdown(stream->ssl); /* 0: said, and not answered yet */
        ERR_clear_error();
    }
}

/* --- life --- */

struct tls_stream *tls_stream_create(struct tls_context *context, struct tls_desk *desk)
{
    struct tls_stream *stream = mem_try_calloc(1, sizeof(*stream));
    if (stream != NULL) {
        stream->context = tls_context_ref(context);
        desk->out.max = OUT_MAX;
        desk->counts.open++;
    }
    return stream;
}

void tls_stream_destroy(struct tls_stream *stream, struct tls_desk *desk)
{
    if (desk != NULL) {
        desk->counts.open--;
        desk->counts.failed[TLS_FAILED_GONE] += stream->state == TLS_SHAKING ? 1 : 0;
    }
    SSL_free(stream->ssl);
    mem_free(stream->first);
    tls_context_unref(stream->context);
    mem_free(stream);
}

void tls_stream_count(struct tls_desk *from, struct tls_desk *to)
{
    if (from != NULL) {
        from->counts.open--;
    }
    if (to != NULL) {
        to->counts.open++;
    }
}

enum tls_state tls_stream_state(const struct tls_stream *stream)
{
    return stream->state;
}

const char *tls_failure_label(enum tls_failure failure)
{
    static const char *const labels[] = {
#define X(name, label, text) label,
#include "hub/net/tls_failure.def"
#undef X
    };
    return labels[failure];
}

const char *tls_failure_text(enum tls_failure failure)
{
    static const char *const texts[] = {
#define X(name, label, text) text,
#include "hub/net/tls_failure.def"
#undef X
    };
    return texts[failure];
}
