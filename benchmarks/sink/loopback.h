/* How a program of this folder begins: it listens on a free port of 127.0.0.1, says which, and ends with its standard input. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

/* Connections come as events whose data is NULL, the end of standard input as one whose data is ``parent``. */
static int listen_here(int poll_fd, void *parent)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    if (bind(listener, (struct sockaddr *)&here, size) || listen(listener, 512) ||
        getsockname(listener, (struct sockaddr *)&here, &size)) {
        perror("listening on 127.0.0.1");
        exit(1);
    }
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &wanted);
    wanted.data.ptr = parent;
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &wanted);
    printf("{\"port\": %d}\n", ntohs(here.sin_port));
    fflush(stdout);
    return listener;
}
