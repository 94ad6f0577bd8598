/* The physical limit: prepared octets go out over kept connections, and what comes back is counted and not understood.
 *
 * replay PORT CONNECTIONS MESSAGES DEPTH FILE: FILE is the content with CRLF. DEPTH 0 is DATA, one message a round
 * trip; more is that many transactions in flight with BDAT. It prints {"accepted": N, "seconds": S, "cpu": S}.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { REPLIES = 4, MOST = 4096 };

struct connection {
    int fd, lines, at_start, begun, ended;
    char *out;
    size_t have, sent;
    int waits;
};

static char envelope[512], *block;
static size_t envelope_size, block_size;
static long left, accepted;
static int poll_fd, depth;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *why)
{
    fprintf(stderr, "replay: %s\n", why);
    exit(1);
}

static void push(struct connection *c)
{
    while (c->sent < c->have) {
        ssize_t put = write(c->fd, c->out + c->sent, c->have - c->sent);
        if (put < 0) {
            if (errno == EAGAIN) break;
            fail(strerror(errno));
        }
        c->sent += put;
    }
    if (c->sent == c->have) c->sent = c->have = 0;
    if ((c->have != 0) != c->waits) {
        c->waits = c->have != 0;
        struct epoll_event wanted = {.events = EPOLLIN | (c->waits ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &wanted);
    }
}

static void add(struct connection *c, const char *data, size_t size)
{
    memcpy(c->out + c->have, data, size);
    c->have += size;
}

/* One reply line: which one it is follows from its number alone. */
static void line(struct connection *c, char first)
{
    if (first != '2' && first != '3') fail("a message was refused");
    c->lines++;
    if (depth) { /* MAIL RCPT BDAT RSET */
        if (c->lines % REPLIES == 3) accepted++, c->ended++;
    } else { /* MAIL RCPT DATA end */
        if (c->lines % REPLIES == 0) accepted++;
        if (c->lines % REPLIES == 3) {
            int more = left > 0; /* the next envelope goes out behind this content */
            left -= more;
            add(c, block, block_size - (more ? 0 : envelope_size));
        }
    }
    while (depth && left > 0 && c->begun - c->ended < depth) left--, c->begun++, add(c, block, block_size);
}

int main(int count, char **words)
{
    if (count != 6) return 2;
    int connections = atoi(words[2]);
    long messages = atol(words[3]);
    depth = atoi(words[4]);
    FILE *file = fopen(words[5], "rb");
    if (!file) fail("no content");
    char *content = malloc(1 << 20);
    size_t size = fread(content, 1, 1 << 20, file);
    fclose(file);
    const char *mail = "MAIL FROM:<sender@example.com>\r\nRCPT TO:<someone@example.org>\r\n";
    block = malloc(size + 1024);
    if (depth) {
        block_size = sprintf(block, "%sBDAT %zu LAST\r\n", mail, size);
        memcpy(block + block_size, content, size);
        memcpy(block + block_size + size, "RSET\r\n", 6);
        block_size += size + 6;
    } else {
        envelope_size = sprintf(envelope, "%sDATA\r\n", mail);
        memcpy(block, content, size);
        memcpy(block + size, ".\r\n", 3);
        memcpy(block + size + 3, envelope, envelope_size);
        block_size = size + 3 + envelope_size;
    }
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct connection *all = calloc(connections, sizeof *all);
    struct sockaddr_in there = {
        .sin_family = AF_INET, .sin_port = htons(atoi(words[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < connections; i++) {
        struct connection *c = all + i;
        char buffer[4096];
        int one = 1;
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(c->fd, (struct sockaddr *)&there, sizeof there)) fail("cannot connect");
        if (read(c->fd, buffer, sizeof buffer) <= 0) fail("no greeting");
        if (write(c->fd, "EHLO replay.test\r\n", 18) != 18) fail("EHLO");
        for (size_t have = 0;;) {
            ssize_t got = read(c->fd, buffer + have, sizeof buffer - have);
            if (got <= 0) fail("no answer to EHLO");
            have += got;
            char *last = NULL, *at = buffer;
            for (char *nl; (nl = memchr(at, '\n', buffer + have - at)); at = nl + 1) last = at;
            if (last && last[3] == ' ' && buffer[have - 1] == '\n') break;
        }
        c->out = malloc((depth + 2) * block_size + 1024);
        c->at_start = 1;
    }
    left = messages;
    double started = seconds();
    for (int i = 0; i < connections; i++) {
        struct connection *c = all + i;
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &wanted);
        if (depth) while (left > 0 && c->begun < depth) left--, c->begun++, add(c, block, block_size);
        else if (left > 0) left--, add(c, envelope, envelope_size);
        push(c);
    }
    while (accepted < messages) {
        struct epoll_event events[64];
        static char buffer[MOST * 16];
        int ready = epoll_wait(poll_fd, events, 64, 20000);
        if (ready <= 0) fail("no answer");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLIN) {
                ssize_t got = read(c->fd, buffer, sizeof buffer);
                if (got <= 0) fail("the server has gone");
                for (char *at = buffer, *end = buffer + got; at < end;) {
                    if (c->at_start) line(c, *at);
                    char *newline = memchr(at, '\n', end - at);
                    c->at_start = newline != NULL;
                    at = newline ? newline + 1 : end;
                }
            }
            if (c->have) push(c);
        }
    }
    double took = seconds() - started;
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    for (int i = 0; i < connections; i++) close(all[i].fd);
    printf("{\"accepted\": %ld, \"refused\": 0, \"seconds\": %.6f, \"cpu\": %.6f}\n", accepted, took, cpu);
    return 0;
}
