/*
 * vpnmesh-nfq: a delay line on one NFQUEUE, with loss (by chance or in bursts), jitter, reordering and a rate, for
 * kernels without netem.
 *
 * Packets never leave the kernel: the queue sends their metadata only (and the first bytes where their length counts),
 * this process keeps the ids in a heap by when they are due, and gives each its verdict when its time has come. But
 * where there is only delay, the kernel is asked to cut super-packets (GSO) into wire packets first, so that all strikes
 * wire packets as a wire does; with delay alone they stay whole, as in netem (docs/decisions/0003-nfqueue-engine.md,
 * 0125-conditions.md).
 *
 * It speaks netlink itself and needs no library. One thread, no allocation per packet. Linux 3.8 or newer.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000ULL
#define MILLISECOND_NS 1000000ULL
#define STATS_EVERY_NS (100 * MILLISECOND_NS)
/* a sleep never ends earlier than this from now: bounds wake-ups to 10,000 a second, and the delay error to 0.1 ms */
#define QUANTUM_NS 100000ULL
#define RECEIVE_BATCH 64
#define RECEIVE_BYTES 1024
#define VERDICT_BATCH 256
#define SOCKET_BYTES (64 << 20)
/* how much the queue of a limited rate holds, as time at that rate: as the shaper beside netem (vpnmesh/condition.py) */
#define QUEUE_NS (100 * MILLISECOND_NS)
/* a packet's length is told where it is longer than what is copied of it; the shortest IP packet has 20 bytes */
#define COPIED_BYTES 16
/* what a device counts besides the IP packet */
#define ETHERNET_BYTES 14

struct options {
	unsigned queue;
	double delay_ms;
	double jitter_ms;
	double loss_pct;
	double burst_packets; /* mean length of a burst of losses; 0: each packet is lost by itself */
	double reorder_pct;
	double rate_mbit;
	unsigned limit;
	uint64_t seed;
	double lifetime_s;
	const char *stats;
	const char *pidfile;
	bool foreground;
};

enum fate { PASSES, LOST, OVERFLOWS };

struct waiting {
	uint64_t due_ns;
	uint32_t id;
	enum fate fate;
};

/* a binary heap, the packet that is due first on top */
struct line {
	struct waiting *slots;
	size_t size, count;
};

struct counters {
	uint64_t queued, passed, dropped_loss, dropped_limit, dropped_rate, dropped_socket, enobufs, max_backlog, reordered;
	uint64_t late_ns_sum, late_ns_max;
};

struct engine {
	struct options options;
	int socket;
	uint32_t portid;
	uint64_t delay_ns, jitter_ns;
	double ns_per_byte; /* 0 without a rate */
	bool gso; /* super-packets come whole, and count as one */
	bool in_order; /* they leave as they came, so one verdict may cover many */
	/* a thing happens to a packet when a 64-bit draw is below its threshold */
	uint64_t loss_below, enter_below, leave_below, reorder_below;
	bool in_burst;
	uint64_t line_due_ns, wire_free_ns; /* when the last packet leaves the delay, and the wire after it is free */
	uint64_t random[4];
	struct line line;
	struct counters counters;
};

static volatile sig_atomic_t stop_asked, stats_asked, renew_asked;
static int ready_fd = -1;

/* ---- small things ---- */

__attribute__((noreturn, format(printf, 2, 3))) static void die(int code, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "vpnmesh-nfq: ");
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(code);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static uint64_t rotate_left(uint64_t value, int by)
{
	return (value << by) | (value >> (64 - by));
}

/* xoshiro256**, Blackman and Vigna 2018 (public domain): passes BigCrush, period 2^256 - 1 */
static uint64_t draw(uint64_t state[4])
{
	uint64_t result = rotate_left(state[1] * 5, 7) * 9;
	uint64_t shifted = state[1] << 17;

	state[2] ^= state[0];
	state[3] ^= state[1];
	state[1] ^= state[2];
	state[0] ^= state[3];
	state[2] ^= shifted;
	state[3] = rotate_left(state[3], 45);
	return result;
}

/* splitmix64 spreads a small seed over the whole state, as the authors of xoshiro advise */
static void seed_random(uint64_t state[4], uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t mixed = (seed += 0x9e3779b97f4a7c15ULL);

		mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
		mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
		state[i] = mixed ^ (mixed >> 31);
	}
}

static bool happens(struct engine *engine, uint64_t below)
{
	return below && draw(engine->random) < below;
}

static uint64_t threshold(double chance)
{
	return chance >= 1 ? UINT64_MAX : (uint64_t)(chance * 18446744073709551616.0);
}

/* ---- the line ---- */

static void line_grow(struct line *line)
{
	size_t size = line->size ? line->size * 2 : 4096;
	struct waiting *slots = realloc(line->slots, size * sizeof(*slots));

	if (!slots)
		die(1, "out of memory for %zu waiting packets", size);
	line->slots = slots;
	line->size = size;
}

/* packets due at once leave as they came; ids count up, and may wrap */
static bool before(const struct waiting *a, const struct waiting *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : (int32_t)(a->id - b->id) < 0;
}

static void line_push(struct line *line, struct waiting packet)
{
	size_t at = line->count;

	if (line->count == line->size)
		line_grow(line);
	line->count++;
	for (; at && before(&packet, &line->slots[(at - 1) / 2]); at = (at - 1) / 2)
		line->slots[at] = line->slots[(at - 1) / 2];
	line->slots[at] = packet;
}

static const struct waiting *line_first(const struct line *line)
{
	return &line->slots[0];
}

static void line_pop(struct line *line)
{
	struct waiting last = line->slots[--line->count];
	size_t at = 0;

	for (size_t child = 1; child < line->count; child = 2 * at + 1) {
		if (child + 1 < line->count && before(&line->slots[child + 1], &line->slots[child]))
			child++;
		if (!before(&line->slots[child], &last))
			break;
		line->slots[at] = line->slots[child];
		at = child;
	}
	line->slots[at] = last;
}

/* ---- netlink ---- */

struct request {
	char bytes[(VERDICT_BATCH + 1) * 64];
	size_t length;
};

static struct nlmsghdr *request_begin(struct request *request, int type, int flags, unsigned queue)
{
	struct nlmsghdr *header = (struct nlmsghdr *)(request->bytes + request->length);
	struct nfgenmsg *family = NLMSG_DATA(header);

	*header = (struct nlmsghdr){
		.nlmsg_len = NLMSG_LENGTH(sizeof(*family)),
		.nlmsg_type = (uint16_t)((NFNL_SUBSYS_QUEUE << 8) | type),
		.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
	};
	*family = (struct nfgenmsg){AF_UNSPEC, NFNETLINK_V0, htons((uint16_t)queue)};
	return header;
}

static void request_put(struct nlmsghdr *header, int type, const void *data, size_t length)
{
	struct nlattr *attribute = (struct nlattr *)((char *)header + NLMSG_ALIGN(header->nlmsg_len));

	attribute->nla_type = (uint16_t)type;
	attribute->nla_len = (uint16_t)(NLA_HDRLEN + length);
	memcpy((char *)attribute + NLA_HDRLEN, data, length);
	header->nlmsg_len = (uint32_t)(NLMSG_ALIGN(header->nlmsg_len) + NLA_ALIGN(attribute->nla_len));
}

static void request_end(struct request *request, const struct nlmsghdr *header)
{
	request->length += NLMSG_ALIGN(header->nlmsg_len);
}

static void request_send(const struct engine *engine, struct request *request)
{
	while (request->length && send(engine->socket, request->bytes, request->length, 0) < 0)
		if (errno != EINTR && errno != ENOBUFS)
			die(1, "verdicts: %s", strerror(errno));
	request->length = 0;
}

/* send one configuration message and wait for the kernel's answer */
static void configure(struct engine *engine, int attribute, const void *data, size_t length, const char *what)
{
	struct request request = {.length = 0};
	struct nlmsghdr *header = request_begin(&request, NFQNL_MSG_CONFIG, NLM_F_ACK, engine->options.queue);
	char answer[RECEIVE_BYTES];

	request_put(header, attribute, data, length);
	if (attribute == NFQA_CFG_FLAGS)
		request_put(header, NFQA_CFG_MASK, data, length); /* the flags that change are those that are set */
	request_end(&request, header);
	request_send(engine, &request);
	for (;;) {
		ssize_t got = recv(engine->socket, answer, sizeof(answer), 0);
		const struct nlmsghdr *reply = (const struct nlmsghdr *)answer;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
			die(1, "%s: no answer from the kernel (no NFQUEUE in it?)", what);
		if (reply->nlmsg_type != NLMSG_ERROR)
			continue; /* a packet that came before the answer; there is no rule yet, so there is none */
		int error = -((const struct nlmsgerr *)NLMSG_DATA(reply))->error;

		if (error == EPERM || error == EBUSY)
			die(1, "%s: queue %u is held by another process, or this one is not root: %s", what,
			    engine->options.queue, strerror(error));
		if (error)
			die(1, "%s: %s", what, strerror(error));
		return;
	}
}

/*
 * The kernel keeps the limit, as it can drop the newest packet without a search. Packets that are lost wait in
 * the kernel's queue too until their turn (a verdict for the newest would walk the whole list), so the
 * kernel gets room for them: of limit / (1 - p) waiting packets, limit are alive on average.
 */
static uint32_t kernel_limit(const struct options *options)
{
	double room = options->limit / (1.0 - options->loss_pct / 100.0);

	return room > UINT32_MAX ? UINT32_MAX : (uint32_t)(room + 0.5);
}

static void open_queue(struct engine *engine)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	socklen_t length = sizeof(address);
	int bytes = SOCKET_BYTES;
	struct nfqnl_msg_config_cmd bind_command = {.command = NFQNL_CFG_CMD_BIND, .pf = htons(AF_UNSPEC)};
	struct nfqnl_msg_config_params parameters = {.copy_range = 0, .copy_mode = NFQNL_COPY_META};
	struct nfqnl_msg_config_params with_length = {.copy_range = htonl(COPIED_BYTES), .copy_mode = NFQNL_COPY_PACKET};
	uint32_t maximum = htonl(kernel_limit(&engine->options));
	uint32_t gso = htonl(NFQA_CFG_F_GSO);

	engine->socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (engine->socket < 0)
		die(1, "netlink socket: %s", strerror(errno));
	if (bind(engine->socket, (struct sockaddr *)&address, sizeof(address)) ||
	    getsockname(engine->socket, (struct sockaddr *)&address, &length))
		die(1, "netlink bind: %s", strerror(errno));
	engine->portid = address.nl_pid;
	if (setsockopt(engine->socket, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		die(1, "SO_RCVBUFFORCE: %s (not root?)", strerror(errno));
	configure(engine, NFQA_CFG_CMD, &bind_command, sizeof(bind_command), "bind");
	configure(engine, NFQA_CFG_QUEUE_MAXLEN, &maximum, sizeof(maximum), "limit");
	if (engine->gso)
		configure(engine, NFQA_CFG_FLAGS, &gso, sizeof(gso), "GSO");
	configure(engine, NFQA_CFG_PARAMS, engine->ns_per_byte > 0 ? &with_length : &parameters, sizeof(parameters),
		  "copy mode");
}

/* ---- packets ---- */

/* whether the next packet is lost: by chance, or by a chain of two states that loses all in the bad one (Gilbert 1960) */
static bool next_is_lost(struct engine *engine)
{
	if (!engine->enter_below)
		return happens(engine, engine->loss_below);
	if (happens(engine, engine->in_burst ? engine->leave_below : engine->enter_below))
		engine->in_burst = !engine->in_burst;
	return engine->in_burst;
}

/* how long the next packet is delayed: evenly spread around the delay, never less than nothing */
static uint64_t next_delay_ns(struct engine *engine)
{
	uint64_t early = engine->jitter_ns;

	if (!early)
		return engine->delay_ns;
	/* the upper bits of the draw, scaled: no division, and no bias that matters */
	uint64_t later = (uint64_t)((double)(draw(engine->random) >> 11) / 9007199254740992.0 * 2.0 * (double)early);

	return engine->delay_ns + later > early ? engine->delay_ns + later - early : 0;
}

/*
 * When a packet leaves, and whether it does; as netem and a shaper after it would have it. A reordered one skips the
 * delay. With a rate packets keep their order, wait for the wire, and overflow its queue when they would wait too long.
 */
static struct waiting judge(struct engine *engine, uint32_t id, size_t bytes, uint64_t arrived_ns)
{
	struct waiting packet = {.id = id, .fate = next_is_lost(engine) ? LOST : PASSES};
	bool skips = happens(engine, engine->reorder_below);

	packet.due_ns = arrived_ns + next_delay_ns(engine);
	if (skips)
		packet.due_ns = arrived_ns;
	if (skips && packet.fate == PASSES)
		engine->counters.reordered++;
	if (!(engine->ns_per_byte > 0))
		return packet;
	if (!skips && packet.due_ns < engine->line_due_ns)
		packet.due_ns = engine->line_due_ns;
	if (!skips)
		engine->line_due_ns = packet.due_ns;
	if (packet.fate == LOST || skips)
		return packet;
	uint64_t begins_ns = packet.due_ns > engine->wire_free_ns ? packet.due_ns : engine->wire_free_ns;
	uint64_t ends_ns = begins_ns + (uint64_t)((double)(bytes + ETHERNET_BYTES) * engine->ns_per_byte);

	if (begins_ns - packet.due_ns > QUEUE_NS) {
		packet.fate = OVERFLOWS;
		ends_ns = engine->wire_free_ns;
	}
	packet.due_ns = engine->wire_free_ns = ends_ns;
	return packet;
}

static void take_in(struct engine *engine, const struct nlmsghdr *header, uint64_t arrived_ns)
{
	const char *attribute = (const char *)header + NLMSG_LENGTH(sizeof(struct nfgenmsg));
	const char *end = (const char *)header + header->nlmsg_len;
	struct nfqnl_msg_packet_hdr packet;
	uint32_t bytes = COPIED_BYTES;
	bool found = false;

	while (attribute + NLA_HDRLEN <= end) {
		const struct nlattr *head = (const struct nlattr *)attribute;

		if (head->nla_len < NLA_HDRLEN)
			break;
		if ((head->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR) {
			memcpy(&packet, attribute + NLA_HDRLEN, sizeof(packet));
			found = true;
		} else if ((head->nla_type & NLA_TYPE_MASK) == NFQA_CAP_LEN) {
			memcpy(&bytes, attribute + NLA_HDRLEN, sizeof(bytes));
			bytes = ntohl(bytes);
		}
		attribute += NLA_ALIGN(head->nla_len);
	}
	if (!found)
		return;
	line_push(&engine->line, judge(engine, ntohl(packet.packet_id), bytes, arrived_ns));
	engine->counters.queued++;
	if (engine->line.count > engine->counters.max_backlog)
		engine->counters.max_backlog = engine->line.count;
}

/* read what the kernel has queued; true when there may be more */
static bool receive(struct engine *engine)
{
	static char buffers[RECEIVE_BATCH][RECEIVE_BYTES];
	static struct iovec vectors[RECEIVE_BATCH];
	static struct mmsghdr messages[RECEIVE_BATCH];

	for (int i = 0; i < RECEIVE_BATCH; i++) {
		vectors[i] = (struct iovec){buffers[i], RECEIVE_BYTES};
		messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &vectors[i], .msg_iovlen = 1}};
	}
	int count = recvmmsg(engine->socket, messages, RECEIVE_BATCH, MSG_DONTWAIT, NULL);

	if (count < 0) {
		if (errno == ENOBUFS)
			engine->counters.enobufs++; /* the kernel dropped those packets, and counts them itself */
		else if (errno != EAGAIN && errno != EINTR)
			die(1, "receive: %s", strerror(errno));
		return errno == ENOBUFS;
	}
	uint64_t arrived_ns = now_ns();

	for (int i = 0; i < count; i++) {
		const struct nlmsghdr *header = (const struct nlmsghdr *)buffers[i];

		if (messages[i].msg_len >= NLMSG_LENGTH(sizeof(struct nfgenmsg)) &&
		    header->nlmsg_len <= messages[i].msg_len &&
		    header->nlmsg_type == ((NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET))
			take_in(engine, header, arrived_ns);
	}
	return count == RECEIVE_BATCH;
}

static void put_verdict(const struct engine *engine, struct request *request, int type, uint32_t verdict, uint32_t id)
{
	struct nfqnl_msg_verdict_hdr decision = {.verdict = htonl(verdict), .id = htonl(id)};
	struct nlmsghdr *header = request_begin(request, type, 0, engine->options.queue);

	request_put(header, NFQA_VERDICT_HDR, &decision, sizeof(decision));
	request_end(request, header);
}

static void note_lateness(struct counters *counters, uint64_t late_ns)
{
	counters->passed++;
	counters->late_ns_sum += late_ns;
	if (late_ns > counters->late_ns_max)
		counters->late_ns_max = late_ns;
}

static void count_drop(struct counters *counters, enum fate fate)
{
	if (fate == LOST)
		counters->dropped_loss++;
	else
		counters->dropped_rate++;
}

/*
 * Give the packets that have waited long enough their verdict; true when more are due. An accepting batch
 * verdict covers every id up to its own, so the lost ones of the batch get their drop first, in the same
 * message to the kernel. Where packets may overtake each other, each has a verdict of its own.
 */
static bool release(struct engine *engine, bool everything)
{
	static struct request request;
	uint64_t now = now_ns();
	uint32_t last_id = 0;
	bool accepted = false;
	int count = 0;

	while (engine->line.count && count < VERDICT_BATCH) {
		const struct waiting *first = line_first(&engine->line);
		uint64_t due_ns = first->due_ns;

		if (!everything && due_ns > now)
			break;
		if (first->fate != PASSES) {
			put_verdict(engine, &request, NFQNL_MSG_VERDICT, NF_DROP, first->id);
			count_drop(&engine->counters, first->fate);
		} else {
			if (!engine->in_order)
				put_verdict(engine, &request, NFQNL_MSG_VERDICT, NF_ACCEPT, first->id);
			last_id = first->id;
			accepted = engine->in_order;
			note_lateness(&engine->counters, now > due_ns ? now - due_ns : 0);
		}
		line_pop(&engine->line);
		count++;
	}
	if (accepted)
		put_verdict(engine, &request, NFQNL_MSG_VERDICT_BATCH, NF_ACCEPT, last_id);
	request_send(engine, &request);
	return count == VERDICT_BATCH;
}

/* ---- what others see ---- */

/* the kernel's own count of what it dropped for this queue: over the limit, and for want of socket memory */
static void read_kernel_drops(struct engine *engine)
{
	FILE *file = fopen("/proc/net/netfilter/nfnetlink_queue", "re");
	unsigned queue, over_limit, no_socket;
	char text[256];

	while (file && fgets(text, sizeof(text), file))
		if (sscanf(text, "%u %*u %*u %*u %*u %u %u", &queue, &over_limit, &no_socket) == 3 &&
		    queue == engine->options.queue) {
			engine->counters.dropped_limit = over_limit;
			engine->counters.dropped_socket = no_socket;
		}
	if (file)
		fclose(file);
}

static void write_stats(struct engine *engine)
{
	const struct options *options = &engine->options;
	const struct counters *counters = &engine->counters;
	char temporary[PATH_MAX];

	if (!options->stats)
		return;
	read_kernel_drops(engine);
	snprintf(temporary, sizeof(temporary), "%s.new", options->stats);
	FILE *file = fopen(temporary, "we");

	if (!file)
		return; /* the directory is gone: the reader sees a stale or missing file, traffic goes on */
	fprintf(file,
		"{\"schema\": 1, \"pid\": %d, \"portid\": %" PRIu32 ", \"queue\": %u, \"delay_ms\": %.9g, "
		"\"jitter_ms\": %.9g, \"loss_pct\": %.9g, \"burst_packets\": %.9g, \"reorder_pct\": %.9g, "
		"\"rate_mbit\": %.9g, \"reordered\": %" PRIu64 ", \"gso\": %s, \"limit\": %u, \"seed\": %" PRIu64 ", \"queued\": %" PRIu64 ", \"passed\": %" PRIu64
		", \"dropped_loss\": %" PRIu64 ", \"dropped_limit\": %" PRIu64 ", \"dropped_socket\": %" PRIu64
		", \"enobufs\": %" PRIu64 ", \"backlog\": %zu, \"max_backlog\": %" PRIu64
		", \"late_us_mean\": %.1f, \"late_us_max\": %.1f}\n",
		(int)getpid(), engine->portid, options->queue, options->delay_ms, options->jitter_ms, options->loss_pct,
		options->burst_packets, options->reorder_pct, options->rate_mbit, counters->reordered,
		engine->gso ? "true" : "false", options->limit, options->seed, counters->queued, counters->passed,
		counters->dropped_loss, counters->dropped_limit + counters->dropped_rate,
		counters->dropped_socket, counters->enobufs, engine->line.count, counters->max_backlog,
		counters->passed ? (double)counters->late_ns_sum / (double)counters->passed / 1000 : 0.0,
		(double)counters->late_ns_max / 1000);
	if (fclose(file) == 0)
		rename(temporary, options->stats);
	else
		unlink(temporary);
}

static void write_pidfile(const char *path)
{
	FILE *file = path ? fopen(path, "we") : NULL;

	if (path && (!file || fprintf(file, "%d\n", (int)getpid()) < 0 || fclose(file)))
		die(1, "pidfile %s: %s", path, strerror(errno));
}

/* ---- life ---- */

static void on_signal(int number)
{
	if (number == SIGUSR1)
		stats_asked = 1;
	else if (number == SIGHUP)
		renew_asked = 1;
	else
		stop_asked = 1;
}

/* signals are blocked except inside ppoll, so that none is lost between a look at the flags and the sleep */
static void catch_signals(sigset_t *while_asleep)
{
	const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t blocked;

	sigemptyset(&blocked);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		sigaddset(&blocked, numbers[i]);
		sigaction(numbers[i], &action, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &blocked, while_asleep);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		sigdelset(while_asleep, numbers[i]);
}

/* go to the background; the foreground half ends, with 0, only once the queue is bound */
static void go_background(void)
{
	int ends[2];
	char byte;

	if (pipe2(ends, O_CLOEXEC))
		die(1, "pipe: %s", strerror(errno));
	pid_t child = fork();

	if (child < 0)
		die(1, "fork: %s", strerror(errno));
	if (child) {
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) == 1 ? 0 : 1);
	}
	close(ends[0]);
	ready_fd = ends[1];
	setsid();
	if (chdir("/"))
		die(1, "chdir: %s", strerror(errno));
}

static void tell_ready(void)
{
	int null;

	if (ready_fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || write(ready_fd, "r", 1) != 1)
		_exit(1);
	close(ready_fd);
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void sleep_until(const struct engine *engine, uint64_t wake_ns, const sigset_t *while_asleep)
{
	struct pollfd readable = {.fd = engine->socket, .events = POLLIN};
	uint64_t now = now_ns();
	uint64_t span = wake_ns > now + QUANTUM_NS ? wake_ns - now : QUANTUM_NS;
	struct timespec timeout = {(time_t)(span / SECOND_NS), (long)(span % SECOND_NS)};

	ppoll(&readable, 1, &timeout, while_asleep);
}

static void run(struct engine *engine, const sigset_t *while_asleep)
{
	uint64_t lifetime_ns = (uint64_t)(engine->options.lifetime_s * (double)SECOND_NS);
	uint64_t end_ns = now_ns() + lifetime_ns;
	uint64_t stats_ns = 0;

	while (!stop_asked) {
		bool more = receive(engine);

		more |= release(engine, false);
		uint64_t now = now_ns();

		if (renew_asked) {
			renew_asked = 0;
			end_ns = now + lifetime_ns;
		}
		if (now >= end_ns)
			return;
		if (now >= stats_ns || stats_asked) {
			stats_asked = 0;
			write_stats(engine);
			stats_ns = now + STATS_EVERY_NS;
		}
		uint64_t wake_ns = earliest(end_ns, stats_ns);

		if (engine->line.count)
			wake_ns = earliest(wake_ns, line_first(&engine->line)->due_ns);
		/* with more to do, sleep not at all but let signals in */
		if (more)
			ppoll(NULL, 0, &(struct timespec){0, 0}, while_asleep);
		else
			sleep_until(engine, wake_ns, while_asleep);
	}
}

/* packets that wait are let go at once; what comes later finds no queue, and is dropped while a rule stands */
static void let_go(struct engine *engine)
{
	uint64_t give_up_ns = now_ns() + SECOND_NS;

	do {
		while (release(engine, true))
			;
	} while (receive(engine) && now_ns() < give_up_ns);
	while (release(engine, true))
		;
	write_stats(engine);
	if (engine->options.pidfile)
		unlink(engine->options.pidfile);
}

static double number(const char *name, const char *text, double low, double high)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= low && value <= high))
		die(2, "--%s: '%s' is not a number in [%g, %g]", name, text, low, high);
	return value;
}

static const char usage[] =
	"usage: vpnmesh-nfq --queue N [--delay-ms D] [--jitter-ms J] [--loss-pct P] [--burst-packets N]\n"
	"                   [--reorder-pct P] [--rate-mbit R] [--limit PACKETS] [--seed S]\n"
	"                   [--stats FILE] [--pidfile FILE] [--lifetime SECONDS] [--foreground]\n"
	"Delays, reorders, paces and drops the packets of one NFQUEUE. SIGTERM lets the waiting ones go and ends it,\n"
	"SIGUSR1 writes the statistics, SIGHUP starts the lifetime anew.\n";

static struct options read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{"queue", required_argument, NULL, 'q'},   {"delay-ms", required_argument, NULL, 'd'},
		{"loss-pct", required_argument, NULL, 'p'}, {"limit", required_argument, NULL, 'n'},
		{"jitter-ms", required_argument, NULL, 'j'}, {"burst-packets", required_argument, NULL, 'b'},
		{"reorder-pct", required_argument, NULL, 'o'}, {"rate-mbit", required_argument, NULL, 'r'},
		{"seed", required_argument, NULL, 's'},    {"stats", required_argument, NULL, 'f'},
		{"pidfile", required_argument, NULL, 'i'}, {"lifetime", required_argument, NULL, 't'},
		{"foreground", no_argument, NULL, 'g'},    {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct options options = {.queue = UINT_MAX, .limit = 10000, .seed = 1, .lifetime_s = 86400};
	int letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1)
		switch (letter) {
		case 'q': options.queue = (unsigned)number("queue", optarg, 0, 65535); break;
		case 'd': options.delay_ms = number("delay-ms", optarg, 0, 60000); break;
		/* 100 % is a firewall rule, not a lossy line */
		case 'p': options.loss_pct = number("loss-pct", optarg, 0, 99.999); break;
		case 'j': options.jitter_ms = number("jitter-ms", optarg, 0, 60000); break;
		case 'b': options.burst_packets = number("burst-packets", optarg, 1, 100000); break;
		case 'o': options.reorder_pct = number("reorder-pct", optarg, 0, 99.999); break;
		case 'r': options.rate_mbit = number("rate-mbit", optarg, 0.001, 1000000); break;
		case 'n': options.limit = (unsigned)number("limit", optarg, 1, 10000000); break;
		case 's': options.seed = (uint64_t)number("seed", optarg, 0, 9007199254740992.0); break;
		case 'f': options.stats = optarg; break;
		case 'i': options.pidfile = optarg; break;
		case 't': options.lifetime_s = number("lifetime", optarg, 0.001, 31536000); break;
		case 'g': options.foreground = true; break;
		case 'h': fputs(usage, stdout); exit(0);
		default: fputs(usage, stderr); exit(2);
		}
	if (options.queue == UINT_MAX || optind != argc) {
		fputs(usage, stderr);
		exit(2);
	}
	return options;
}

/* from what was asked to what is drawn against; a chain starts in its bad state as often as it is there later */
static void set_up(struct engine *engine)
{
	const struct options *options = &engine->options;
	double loss = options->loss_pct / 100.0;

	seed_random(engine->random, options->seed);
	engine->delay_ns = (uint64_t)(options->delay_ms * (double)MILLISECOND_NS);
	engine->jitter_ns = (uint64_t)(options->jitter_ms * (double)MILLISECOND_NS);
	engine->loss_below = threshold(loss);
	engine->reorder_below = threshold(options->reorder_pct / 100.0);
	if (options->rate_mbit > 0)
		engine->ns_per_byte = 8000.0 / options->rate_mbit;
	if (options->burst_packets > 0) {
		engine->leave_below = threshold(1.0 / options->burst_packets);
		engine->enter_below = threshold(loss / (1.0 - loss) / options->burst_packets);
		engine->in_burst = happens(engine, engine->loss_below);
	}
	engine->in_order = !options->reorder_pct && (!options->jitter_ms || options->rate_mbit > 0);
	engine->gso = !options->loss_pct && !options->jitter_ms && !options->reorder_pct && !(options->rate_mbit > 0);
}

int main(int argc, char **argv)
{
	static struct engine engine;
	sigset_t while_asleep;

	engine.options = read_options(argc, argv);
	set_up(&engine);
	line_grow(&engine.line);
	if (!engine.options.foreground)
		go_background();
	prctl(PR_SET_NAME, "vpnmesh-nfq");
	prctl(PR_SET_TIMERSLACK, 1);
	/* a wire does not wait for the hosts' processes; where this is refused, delays are later under load */
	sched_setscheduler(0, SCHED_RR, &(struct sched_param){.sched_priority = 1});
	open_queue(&engine);
	catch_signals(&while_asleep);
	write_pidfile(engine.options.pidfile);
	write_stats(&engine);
	tell_ready();
	run(&engine, &while_asleep);
	let_go(&engine);
	return 0;
}
