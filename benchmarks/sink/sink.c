/* An SMTP server that throws every message away and counts it: one thread, epoll, PIPELINING, CHUNKING, TLS.
 *
 * sink [--no-pipelining] [--no-chunking] [--tls CERT KEY]
 *
 * It listens on 127.0.0.1 and prints {"port": N}. It ends when its standard input ends, and then prints what it counted.
 * RCPT for a local part that begins with "refused" is answered 550.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "loopback.h"
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

enum { IN = 1 << 18, OUT = 1 << 17 };
enum mode { COMMAND, DATA, CHUNK };

struct connection {
    int fd;
    enum mode mode;
    int mail, recipients, last, broken, closing, waits_to_write;
    size_t chunk; /* octets of a BDAT that are still to come */
    size_t have, out, sent;
    char in[IN], reply[OUT];
#ifdef WITH_TLS
    SSL *ssl;
#endif
};

static struct { unsigned long connections, messages, recipients, refused, octets, resumed, reads, writes; } counted;
static int pipelining = 1, chunking = 1, poll_fd;
#ifdef WITH_TLS
static SSL_CTX *tls;
#endif

static void say(struct connection *c, const char *text)
{
    size_t length = strlen(text);
    if (c->out + length > OUT)
        c->closing = 1; /* nobody may make us hold more than this */
    else {
        memcpy(c->reply + c->out, text, length);
        c->out += length;
    }
}

static void reset(struct connection *c) { c->mail = c->recipients = c->broken = 0; }

static void message_ends(struct connection *c)
{
    counted.messages++;
    counted.recipients += c->recipients;
    say(c, "250 2.0.0 Ok: queued\r\n");
    reset(c);
}

static int is(const char *line, const char *verb) { return strncasecmp(line, verb, strlen(verb)) == 0; }

static void command(struct connection *c, char *line)
{
    if (is(line, "MAIL FROM:")) {
        if (c->mail || c->broken) { say(c, "503 5.5.1 nested MAIL\r\n"); return; }
        c->mail = 1;
        say(c, "250 2.1.0 Ok\r\n");
    } else if (is(line, "RCPT TO:")) {
        if (!c->mail) { say(c, "503 5.5.1 need MAIL\r\n"); return; }
        if (is(line + 8, "<refused")) {
            counted.refused++;
            say(c, "550 5.1.1 no such user\r\n");
            return;
        }
        c->recipients++;
        say(c, "250 2.1.5 Ok\r\n");
    } else if (is(line, "DATA")) {
        if (!c->recipients) { say(c, "554 5.5.1 no valid recipients\r\n"); return; }
        c->mode = DATA;
        say(c, "354 End data with <CR><LF>.<CR><LF>\r\n");
    } else if (is(line, "BDAT ") && chunking) {
        char *rest;
        c->chunk = strtoul(line + 5, &rest, 10);
        c->last = strcasestr(rest, "LAST") != NULL;
        if (!c->recipients || c->broken) c->broken = 1;
        c->mode = CHUNK;
    } else if (is(line, "RSET")) {
        reset(c);
        say(c, "250 2.0.0 Ok\r\n");
    } else if (is(line, "EHLO")) {
        reset(c);
        say(c, "250-sink.test\r\n250-8BITMIME\r\n250-SIZE 4294967296\r\n250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n");
        if (pipelining) say(c, "250-PIPELINING\r\n");
        if (chunking) say(c, "250-CHUNKING\r\n250-BINARYMIME\r\n");
        say(c, "250 HELP\r\n");
    } else if (is(line, "HELO")) {
        say(c, "250 sink.test\r\n");
    } else if (is(line, "NOOP")) {
        say(c, "250 2.0.0 Ok\r\n");
    } else if (is(line, "QUIT")) {
        say(c, "221 2.0.0 Bye\r\n");
        c->closing = 1;
    } else
        say(c, "500 5.5.2 unrecognised\r\n");
}

/* Consumes what is complete; the rest stays for the next read. */
static void consume(struct connection *c)
{
    char *at = c->in, *end = c->in + c->have;
    while (at < end && !c->closing) {
        if (c->mode == COMMAND) {
            char *newline = memchr(at, '\n', end - at);
            if (!newline) {
                if (end - at > 65536) c->closing = 1;
                break;
            }
            *newline = 0;
            command(c, at);
            *newline = '\n';
            /* The line end of DATA is the one that a lone dot may follow. */
            at = c->mode == DATA && newline > at && newline[-1] == '\r' ? newline - 1 : newline + 1;
        } else if (c->mode == DATA) {
            char *found = memmem(at, end - at, "\r\n.\r\n", 5);
            if (!found) {
                if (end - at > 4) at = end - 4;
                break;
            }
            at = found + 5;
            c->mode = COMMAND;
            message_ends(c);
        } else {
            size_t here = (size_t)(end - at) < c->chunk ? (size_t)(end - at) : c->chunk;
            at += here;
            c->chunk -= here;
            if (c->chunk) break;
        }
        if (c->mode == CHUNK && c->chunk == 0) {
            c->mode = COMMAND;
            if (c->broken) say(c, "503 5.5.1 no valid recipients; RSET\r\n");
            else if (c->last) message_ends(c);
            else say(c, "250 2.0.0 chunk\r\n");
        }
    }
    c->have = end - at;
    memmove(c->in, at, c->have);
}

static ssize_t take(struct connection *c, void *to, size_t room)
{
#ifdef WITH_TLS
    if (c->ssl) {
        int got = SSL_read(c->ssl, to, room);
        if (got > 0) return got;
        int why = SSL_get_error(c->ssl, got);
        ERR_clear_error();
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) { errno = EAGAIN; return -1; }
        return 0;
    }
#endif
    return read(c->fd, to, room);
}

static ssize_t give(struct connection *c, const void *from, size_t length)
{
#ifdef WITH_TLS
    if (c->ssl) {
        int put = SSL_write(c->ssl, from, length);
        if (put > 0) return put;
        int why = SSL_get_error(c->ssl, put);
        ERR_clear_error();
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) { errno = EAGAIN; return -1; }
        return 0;
    }
#endif
    return write(c->fd, from, length);
}

static int flush(struct connection *c)
{
    while (c->sent < c->out) {
        counted.writes++;
        ssize_t put = give(c, c->reply + c->sent, c->out - c->sent);
        if (put <= 0) {
            if (put < 0 && errno == EAGAIN) break;
            return -1;
        }
        c->sent += put;
    }
    if (c->sent == c->out) c->sent = c->out = 0;
    if ((c->out != 0) != c->waits_to_write) {
        c->waits_to_write = c->out != 0;
        struct epoll_event wanted = {.events = EPOLLIN | (c->waits_to_write ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &wanted);
    }
    return c->closing && !c->out ? -1 : 0;
}

static int serve(struct connection *c)
{
    for (;;) {
        counted.reads++;
        ssize_t got = take(c, c->in + c->have, IN - c->have);
        if (got <= 0) return got < 0 && errno == EAGAIN ? flush(c) : -1;
        counted.octets += got;
        c->have += got;
        consume(c);
        if (c->have == IN) return -1;
        int full = c->have + (size_t)got >= IN / 2;
#ifdef WITH_TLS
        if (c->ssl && !c->closing) continue; /* what OpenSSL holds is not told by epoll */
#endif
        if (!full || c->closing) return flush(c);
        if (flush(c) < 0) return -1;
    }
}

static void end(struct connection *c)
{
#ifdef WITH_TLS
    if (c->ssl) SSL_free(c->ssl);
#endif
    close(c->fd);
    free(c);
}

static void welcome(int listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->fd = fd;
        counted.connections++;
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &wanted);
        say(c, "220 sink.test ESMTP\r\n");
#ifdef WITH_TLS
        if (tls) {
            c->ssl = SSL_new(tls);
            SSL_set_fd(c->ssl, fd);
            SSL_set_accept_state(c->ssl);
            SSL_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
            continue; /* the greeting leaves with the end of the handshake */
        }
#endif
        if (flush(c) < 0) end(c);
    }
}

int main(int count, char **words)
{
    for (int i = 1; i < count; i++) {
        if (!strcmp(words[i], "--no-pipelining")) pipelining = 0;
        else if (!strcmp(words[i], "--no-chunking")) chunking = 0;
#ifdef WITH_TLS
        else if (!strcmp(words[i], "--tls") && i + 2 < count) {
            tls = SSL_CTX_new(TLS_server_method());
            if (SSL_CTX_use_certificate_chain_file(tls, words[i + 1]) != 1 ||
                SSL_CTX_use_PrivateKey_file(tls, words[i + 2], SSL_FILETYPE_PEM) != 1) {
                ERR_print_errors_fp(stderr);
                return 1;
            }
            SSL_CTX_set_session_id_context(tls, (const unsigned char *)"sink", 4);
            i += 2;
        }
#endif
        else {
            fprintf(stderr, "sink: what is %s?\n", words[i]);
            return 2;
        }
    }
    static char parent;
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_here(poll_fd, &parent);
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(poll_fd, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == NULL) welcome(listener);
            else if (events[i].data.ptr == &parent) {
                printf("{\"messages\": %lu, \"recipients\": %lu, \"refused\": %lu, \"connections\": %lu, \"octets\": %lu, "
                       "\"reads\": %lu, \"writes\": %lu}\n",
                       counted.messages, counted.recipients, counted.refused, counted.connections, counted.octets,
                       counted.reads, counted.writes);
                fflush(stdout);
                return 0;
            } else {
                struct connection *c = events[i].data.ptr;
                if (((events[i].events & EPOLLOUT) && flush(c) < 0) || serve(c) < 0) end(c);
            }
        }
    }
}
