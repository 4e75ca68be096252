/* The floor of capture: epoll, recvmmsg, append with arrival times, and nothing else.
 *
 * floor FIRST_PORT PORTS PORTS_A_RECORDING FOLDER: receives on 127.0.0.1, on every second port from FIRST_PORT on,
 * and appends each datagram with its length and arrival time to the file of its recording, until it is killed. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, DATAGRAM = 2048, RECEIVE_BUFFER = 4 << 20, EVENTS = 256 };

struct record {
    uint64_t arrival_ns;
    uint32_t length;
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_on(int port)
{
    int size = RECEIVE_BUFFER;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (udp < 0 || bind(udp, (struct sockaddr *)&address, sizeof address) < 0)
        fail("socket");
    setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return udp;
}

static char payload[BATCH][DATAGRAM];
static struct record records[BATCH];
static struct iovec in[BATCH], out[2 * BATCH];
static struct mmsghdr messages[BATCH];

static void copy(int udp, int file)
{
    struct timespec now;
    int count = recvmmsg(udp, messages, BATCH, 0, NULL);
    if (count <= 0)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    for (int i = 0; i < count; i++) {
        records[i].arrival_ns = now.tv_sec * 1000000000ull + now.tv_nsec;
        records[i].length = messages[i].msg_len;
        out[2 * i + 1].iov_len = messages[i].msg_len;
    }
    if (writev(file, out, 2 * count) < 0)
        fail("writev");
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    int first = atoi(argv[1]), ports = atoi(argv[2]), ports_a_recording = atoi(argv[3]);
    int *files = calloc(ports, sizeof *files), *sockets = calloc(ports, sizeof *sockets);
    int epoll = epoll_create1(0), file = -1;
    struct epoll_event events[EVENTS];
    for (int i = 0; i < BATCH; i++) {
        in[i] = (struct iovec){payload[i], DATAGRAM};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
        out[2 * i] = (struct iovec){&records[i], sizeof records[i]};
        out[2 * i + 1].iov_base = payload[i];
    }
    for (int i = 0; i < ports; i++) {
        char path[4096];
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        snprintf(path, sizeof path, "%s/%d.floor", argv[4], i / ports_a_recording);
        if (i % ports_a_recording == 0 && (file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0640)) < 0)
            fail(path);
        files[i] = file;
        sockets[i] = listen_on(first + 2 * i);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[i], &event) < 0)
            fail("epoll_ctl");
    }
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++)
            copy(sockets[events[i].data.u32], files[events[i].data.u32]);
    }
}
