/* Carries TCP connections with a fixed delay each way and no other limit, as a long line would.
 *
 * proxy PORT DELAY_MS: what comes in on 127.0.0.1 goes to 127.0.0.1:PORT. It prints {"port": N} and ends when its
 * standard input ends. A connection to the far side is made three delays late, so that the greeting comes after as
 * many as over a real line: three for the TCP handshake and one for itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "loopback.h"

struct link;

struct side {
    int fd, ended, registered; /* ended: it will send no more */
    struct link *link;
    struct side *peer;
    char *out; /* what is due and not yet taken by the kernel */
    size_t have, room;
    int shut; /* the peer's end is due, once out is empty */
};

struct link {
    struct side near, far;
    int pending; /* events that name it */
    int dead;
};

struct event {
    int64_t due;
    struct event *next;
    struct side *to; /* whom it is for */
    int kind;
    size_t length;
    char data[];
};

enum { BYTES, END, DIAL };
struct line { struct event *first, **last; };
static struct line bytes, dials;
static int poll_fd, timer_fd, target;
static int64_t delay;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void put(struct line *line, struct side *to, int kind, int64_t wait, const char *data, size_t length)
{
    struct event *e = malloc(sizeof *e + length);
    *e = (struct event){.due = now() + wait, .to = to, .kind = kind, .length = length};
    if (length) memcpy(e->data, data, length);
    *line->last = e;
    line->last = &e->next;
    to->link->pending++;
}

static void watch(struct side *s, int how)
{
    struct epoll_event wanted = {.events = (s->ended ? 0 : EPOLLIN) | (s->have ? EPOLLOUT : 0), .data.ptr = s};
    epoll_ctl(poll_fd, how, s->fd, &wanted);
}

static void drop(struct link *l)
{
    if (!l->dead) {
        l->dead = 1;
        close(l->near.fd);
        if (l->far.fd >= 0) close(l->far.fd);
    }
}

static void push(struct side *s)
{
    size_t done = 0;
    if (s->fd < 0) return;
    while (done < s->have) {
        ssize_t put = write(s->fd, s->out + done, s->have - done);
        if (put < 0) {
            if (errno == EAGAIN) break;
            drop(s->link);
            return;
        }
        done += put;
    }
    int waited = s->have != 0;
    s->have -= done;
    memmove(s->out, s->out + done, s->have);
    if (waited || s->have) watch(s, EPOLL_CTL_MOD);
    if (!s->have && s->shut) shutdown(s->fd, SHUT_WR);
}

static void deliver(struct side *s, const char *data, size_t length)
{
    size_t put = 0;
    if (!s->have && s->fd >= 0) {
        ssize_t n = write(s->fd, data, length);
        if (n < 0 && errno != EAGAIN) { drop(s->link); return; }
        if (n > 0) put = n;
    }
    if (put == length) return;
    length -= put;
    if (s->have + length > s->room) s->out = realloc(s->out, s->room = 2 * (s->have + length));
    memcpy(s->out + s->have, data + put, length);
    s->have += length;
    if (s->fd >= 0) watch(s, EPOLL_CTL_MOD); /* or else it goes out when the far side is dialled: TLS clients speak first */
}

static void dial(struct side *far)
{
    int one = 1;
    struct sockaddr_in there = {
        .sin_family = AF_INET, .sin_port = htons(target), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    far->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(far->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(far->fd, (struct sockaddr *)&there, sizeof there) && errno != EINPROGRESS) drop(far->link);
    else watch(far, EPOLL_CTL_ADD);
}

static void due(struct line *line)
{
    int64_t until = now() + 50000; /* a timer is not finer than this */
    while (line->first && line->first->due <= until) {
        struct event *e = line->first;
        struct link *l = e->to->link;
        line->first = e->next;
        if (!line->first) line->last = &line->first;
        l->pending--;
        if (!l->dead) {
            if (e->kind == DIAL) dial(e->to);
            else if (e->kind == BYTES) deliver(e->to, e->data, e->length);
            else {
                e->to->shut = 1;
                push(e->to);
            }
            if (l->near.ended && l->far.ended && !l->pending && !l->near.have && !l->far.have) drop(l);
        }
        free(e);
    }
}

static void set_timer(void)
{
    int64_t at = bytes.first ? bytes.first->due : 0;
    if (dials.first && (!at || dials.first->due < at)) at = dials.first->due;
    struct itimerspec when = {.it_value = {at / 1000000000, at % 1000000000}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void hear(struct side *s)
{
    static char buffer[1 << 18];
    if (s->ended || s->link->dead) return;
    ssize_t got = read(s->fd, buffer, sizeof buffer);
    if (got > 0) put(&bytes, s->peer, BYTES, delay, buffer, got);
    else if (got == 0 || errno != EAGAIN) {
        s->ended = 1;
        watch(s, EPOLL_CTL_MOD);
        put(&bytes, s->peer, END, delay, NULL, 0);
    }
}

static void welcome(int listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct link *l = calloc(1, sizeof *l); /* never freed: a run has few, and events may name it */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        l->near = (struct side){.fd = fd, .link = l, .peer = &l->far};
        l->far = (struct side){.fd = -1, .link = l, .peer = &l->near};
        watch(&l->near, EPOLL_CTL_ADD);
        put(&dials, &l->far, DIAL, 3 * delay, NULL, 0);
    }
}

int main(int count, char **words)
{
    if (count != 3) return 2;
    target = atoi(words[1]);
    delay = (int64_t)(atof(words[2]) * 1e6);
    bytes.last = &bytes.first;
    dials.last = &dials.first;
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    static char parent, timer;
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &timer};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &wanted);
    int listener = listen_here(poll_fd, &parent);
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(poll_fd, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            void *what = events[i].data.ptr;
            uint64_t ticks;
            if (what == NULL) welcome(listener);
            else if (what == &parent) return 0;
            else if (what == &timer) { if (read(timer_fd, &ticks, sizeof ticks) < 0) {} }
            else {
                struct side *s = what;
                if (s->link->dead) continue;
                if ((events[i].events & EPOLLOUT) && s->have) push(s);
                if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) hear(s);
            }
        }
        due(&dials);
        due(&bytes);
        set_timer();
    }
}
