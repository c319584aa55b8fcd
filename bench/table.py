# SPDX-License-Identifier: Apache-2.0
"""The table of speeds: the benchmark and the peers of each row.

A row is data. To add one: write the benchmark, and a Row here that names it.
"""
from dataclasses import dataclass


@dataclass(frozen=True)
class Against:
    """A peer or limit that `ours` is compared with in the same run. The ratio is that of the two medians, or, for two
    sides of one benchmark, the median of the ratios of the repetitions."""

    name: str  # in the table
    benchmark: str  # its full name in the program; SIDE@NAME: one side of a benchmark that measures several alternately
    at_least: float | None = None  # ours must be this many times as fast
    at_most: float | None = None  # ours must take at most this many times as long; neither: no target
    # "limit": what the hardware, libc or one bare system call takes. "own": doorbell itself, with fewer threads or by
    # another function.
    kind: str = "peer"
    brief: str = ""  # a shorter name, for the picture

    @property
    def short_name(self):
        return self.brief or self.name


@dataclass(frozen=True)
class Row:
    number: int
    work: str
    program: str
    ours: str
    against: tuple[Against, ...]
    is_extra: bool = False  # the work of the row with this number, in another setting
    brief: str = ""  # a shorter name, for the picture, below the title of its group
    is_key: bool = False  # README.md shows it

    @property
    def label(self):
        return f"{self.number}+" if self.is_extra else str(self.number)

    @property
    def short_work(self):
        return self.brief or self.work

    @property
    def group(self):
        if self.is_extra:
            return EXTRA_GROUP
        return next(title for title, numbers in GROUPS.items() if self.number in numbers)


# The titles in the picture, in its order.
GROUPS = {
    "eventfd": (1, 2, 3, 6, 7, 8),
    "notifier": (4, 5),
    "AIO context": (9, 10),
    "libaio drop-in: 4k random reads (20: and writes) with fio": (12, 13, 14, 15, 16, 17, 20),
    "Files in a Boost.Asio loop on epoll: 4k random reads": (18,),
}
EXTRA_GROUP = "Files in a Boost.Asio loop on io_uring: 4k random reads"


# Row 18 measures Asio's default loop, on epoll. Each entry: the program, the name of its benchmarks, the words in the
# table.
ASIO_LOOPS = (("files", "epoll_loop", ""), ("files_on_uring", "io_uring_loop", ", loop on io_uring"))
DEFAULT_LOOP = ASIO_LOOPS[0]


def asio_file_rows(asio_loop):
    program, loop, where = asio_loop
    is_extra = asio_loop != DEFAULT_LOOP
    for kind, what in (("hot", "hot page cache"), ("direct", "O_DIRECT")):
        for depth in (1, 32):
            benchmark = f"{loop}/{kind}/depth:{depth}/real_time"
            yield Row(18, f"Asio file reads, {what}, depth {depth}{where}", program, f"doorbell@{benchmark}", (
                Against("Boost.Asio's random_access_file", f"boost@{benchmark}", at_least=1.0, brief="Boost.Asio's"),
            ), is_extra, f"{what}, depth {depth}")
    benchmark = f"{loop}/busy_direct/real_time"
    yield Row(18, f"Asio file reads, O_DIRECT, depth 1{where}, busy_poll", program, f"doorbell@{benchmark}", (
        Against("Boost.Asio's random_access_file", f"boost@{benchmark}", at_least=1.0, brief="Boost.Asio's"),
        Against("the same, run by poll()", f"boost_by_poll@{benchmark}", at_least=1.0, brief="the same, by poll()"),
    ), is_extra, "O_DIRECT, depth 1, busy_poll")


ROWS = (
    Row(1, "signal, no waiter", "signal", "signal/doorbell", (
        Against("write(2) on a kernel eventfd", "signal/kernel", at_least=20, brief="write(2)"),
        Against("one atomic RMW", "signal/rmw", at_most=1.6, kind="limit"),
    ), is_key=True),
    Row(2, "signal + read", "signal", "signal_read/doorbell", (
        Against("write + read on a kernel eventfd", "signal_read/kernel", at_least=25, brief="write + read"),
        Against("two RMWs", "signal_read/two_rmw", kind="limit"),
    )),
    Row(3, "create + close", "signal", "create_close/doorbell", (
        Against("eventfd(2) + close(2)", "create_close/kernel", at_least=20, brief="eventfd + close"),
        Against("malloc + free", "create_close/malloc_free", kind="limit"),
    )),
    Row(4, "signal with one notifier", "notify", "notify/doorbell", (
        Against("boost::signals2 emit", "notify/signals2", at_least=2, brief="signals2"),
        Against("lock + indirect call + unlock", "notify/lock_call_unlock", at_most=2.5, kind="limit"),
    )),
    Row(5, "register + unregister: constructor, destructor", "notify", "register/doorbell_constructed", (
        Against("std::stop_callback", "register/stop_callback", at_least=1, brief="stop_callback"),
        Against("boost::signals2 connect + disconnect", "register/signals2", at_least=5, brief="signals2"),
        Against("lock + link + unlink + unlock", "register/lock_link_unlink_unlock", kind="limit"),
    ), brief="register + unregister"),
    Row(5, "the same notifier again: register_with(), unregister()", "notify", "register/doorbell", (
        Against("std::stop_callback", "register/stop_callback", brief="stop_callback"),
        Against("boost::signals2 connect + disconnect", "register/signals2", at_least=5, brief="signals2"),
    ), brief="the same notifier again"),
    Row(6, "flood: one thread signals, an Asio loop in another counts", "flood", "flood/doorbell/real_time", (
        Against("asio::post for each event", "flood/asio_post/real_time", at_least=8, brief="asio::post"),
        Against("kernel eventfd in a stream_descriptor", "flood/descriptor/real_time",
                at_least=20, brief="stream_descriptor"),
        Against("uv_async_send, which loses counts", "flood/uv_async_send/real_time", brief="uv_async_send"),
        Against("RMW on a shared line", "flood/rmw_shared_line/real_time", kind="limit"),
    ), brief="flood: signals to an Asio loop", is_key=True),
    Row(7, "ping-pong between two Asio loops, on two CPUs", "ping_pong", "doorbell@ping_pong/far_cpu:1/real_time", (
        Against("kernel eventfds in stream_descriptors", "descriptor@ping_pong/far_cpu:1/real_time",
                at_least=1, brief="stream_descriptor"),
        Against("futex ping-pong", "futex@ping_pong/far_cpu:1/real_time", kind="limit"),
    ), brief="ping-pong, Asio loops, 2 CPUs"),
    Row(7, "ping-pong between two Asio loops, on one CPU", "ping_pong", "doorbell@ping_pong/far_cpu:0/real_time", (
        Against("kernel eventfds in stream_descriptors", "descriptor@ping_pong/far_cpu:0/real_time",
                at_least=1, brief="stream_descriptor"),
        Against("futex ping-pong", "futex@ping_pong/far_cpu:0/real_time", kind="limit"),
    ), brief="ping-pong, Asio loops, 1 CPU"),
    Row(8, "2 producers on 1 eventfd", "producers", "producers_on_1/doorbell/real_time/threads:2", (
        Against("the same on a kernel eventfd", "producers_on_1/kernel/real_time/threads:2",
                at_least=10, brief="kernel eventfd"),
    )),
    Row(8, "2 producers on 2 eventfds", "producers", "producers_on_2/doorbell/real_time/threads:2", (
        Against("the same on kernel eventfds", "producers_on_2/kernel/real_time/threads:2",
                at_least=10, brief="kernel eventfds"),
        Against("1 producer on 1 of ours", "producers_on_1/doorbell/real_time/threads:1", at_least=1.8, kind="own"),
    )),
    Row(9, "kioctx lookup + put", "contexts", "lookup/doorbell/real_time/threads:1", (
        Against("std::atomic<shared_ptr> load", "lookup/shared_ptr/real_time/threads:1",
                at_least=1, brief="shared_ptr load"),
        Against("RCU read section", "lookup/rcu_section/real_time", kind="limit"),
    )),
    Row(9, "kioctx lookup + put, 2 threads", "contexts", "lookup/doorbell/real_time/threads:2", (
        Against("std::atomic<shared_ptr> load", "lookup/shared_ptr/real_time/threads:2",
                at_least=1, brief="shared_ptr load"),
        Against("1 thread of ours", "lookup/doorbell/real_time/threads:1", at_least=1.8, kind="own"),
    )),
    Row(9, "tryget_live + put", "contexts", "take/tryget_live", (
        Against("get + put", "take/get", at_most=1.05, kind="own"),
    )),
    Row(10, "io_setup + io_destroy, idle", "contexts", "setup_destroy/doorbell/real_time", (
        Against("the kernel's", "setup_destroy/kernel/real_time", at_least=100, brief="kernel AIO"),
    ), is_key=True),
    Row(12, "drop-in, 4k random reads, hot page cache, depth 1", "fio", "fio/hot/depth:1/doorbell", (
        Against("kernel AIO", "fio/hot/depth:1/kernel", at_least=1.5),
        Against("fio's io_uring engine", "fio/hot/depth:1/io_uring", at_least=1.0),
        Against("pread loop", "fio/hot/depth:1/pread", kind="limit"),
    ), brief="hot page cache, depth 1"),
    Row(12, "drop-in, 4k random reads, hot page cache, depth 32", "fio", "fio/hot/depth:32/doorbell", (
        Against("kernel AIO", "fio/hot/depth:32/kernel", at_least=1.4),
        Against("fio's io_uring engine", "fio/hot/depth:32/io_uring", at_least=1.0),
    ), brief="hot page cache, depth 32"),
    Row(12, "drop-in, 4k random reads, hot page cache, depth 32 in batches of 16", "fio",
        "fio/hot/batches_of_16/doorbell", (
        Against("kernel AIO", "fio/hot/batches_of_16/kernel", at_least=1.0),
        Against("fio's io_uring engine", "fio/hot/batches_of_16/io_uring", at_least=1.0),
    ), brief="hot, depth 32, batches of 16", is_key=True),
    Row(12, "drop-in, 4k random reads, hot page cache, depth 1, engine threads", "fio", "fio/hot/depth:1/threads", (
        Against("kernel AIO", "fio/hot/depth:1/kernel", at_least=1.3),
    ), brief="hot, depth 1, engine threads"),
    Row(13, "drop-in, 4k random reads, tmpfs, depth 1", "fio", "fio/tmpfs/depth:1/doorbell", (
        Against("kernel AIO", "fio/tmpfs/depth:1/kernel", at_least=1.3),
        Against("fio's io_uring engine", "fio/tmpfs/depth:1/io_uring"),
        Against("pread loop", "fio/tmpfs/depth:1/pread", kind="limit"),
    ), brief="tmpfs, depth 1"),
    Row(13, "drop-in, 4k random reads, tmpfs, depth 32", "fio", "fio/tmpfs/depth:32/doorbell", (
        Against("kernel AIO", "fio/tmpfs/depth:32/kernel", at_least=1.3),
        Against("fio's io_uring engine", "fio/tmpfs/depth:32/io_uring"),
    ), brief="tmpfs, depth 32"),
    Row(14, "drop-in, 4k random reads, cold page cache, depth 32", "fio", "fio/cold/depth:32/doorbell", (
        Against("kernel AIO", "fio/cold/depth:32/kernel", at_least=3.5),
        Against("fio's io_uring engine", "fio/cold/depth:32/io_uring", at_least=0.95),
    ), brief="cold page cache, depth 32", is_key=True),
    *(Row(15, f"drop-in, 4k random reads, O_DIRECT, depth {depth}", "fio", f"fio/direct/depth:{depth}/doorbell", (
        Against("kernel AIO", f"fio/direct/depth:{depth}/kernel", at_least=0.97),
        Against("fio's io_uring engine", f"fio/direct/depth:{depth}/io_uring"),
    ), brief=f"O_DIRECT, depth {depth}", is_key=depth == 32) for depth in (1, 32, 128)),
    Row(16, "drop-in, time in io_submit, cold page cache", "fio", "fio/submit/depth:32/doorbell", (
        Against("kernel AIO", "fio/submit/depth:32/kernel", at_least=10),
    ), brief="time in io_submit, cold cache"),
    *(Row(17, f"drop-in, resfd polled, ring reaped by the program, depth {depth}", "fio",
          f"fio/client/depth:{depth}/doorbell", (
              Against("kernel AIO", f"fio/client/depth:{depth}/kernel", at_least=1.0),
          ), brief=f"polled eventfd, depth {depth}") for depth in (1, 32)),
    *(Row(17, f"drop-in, O_DIRECT, eventfd and epoll, {how}, depth {depth}", "fio",
          f"fio/{work}/depth:{depth}/doorbell", (
        Against("kernel AIO", f"fio/{work}/depth:{depth}/kernel", at_least=0.97),
    ), brief=f"O_DIRECT and epoll, {how}, depth {depth}") for work, how in (
        ("direct_calls", "events by io_getevents"),
        ("direct_calls_by_4_threads", "events by io_getevents, 4 threads"),
        ("direct_ring", "ring reaped by the program"),
    ) for depth in (1, 4, 32, 128)),
    *(Row(20, f"drop-in, 4k random {kind}s, O_DIRECT, 4 jobs at depth 64, engine threads", "fio",
          f"fio/four_jobs/{kind}/threads", (
              Against("kernel AIO", f"fio/four_jobs/{kind}/kernel", at_least=0.8),
          ), brief=f"O_DIRECT {kind}s, 4 jobs, threads") for kind in ("read", "write")),
    *(row for asio_loop in ASIO_LOOPS for row in asio_file_rows(asio_loop)),
)

SETTINGS = """\
- Every process has a second thread, which sleeps: glibc's optimizations for single-threaded processes are off on both
  sides.
- Kernel eventfd: blocking, direct system calls (no cancellation points); in Asio a non-blocking `stream_descriptor`.
- boost::signals2: default settings, which include its mutex. `dummy_mutex` would be faster and is not thread-safe.
- std::stop_callback: on one std::stop_source, with an existing token. It registers in its constructor, so it is
  compared with the notifier's constructor and destructor. register_with() and unregister() lock the notifier's mutex in
  addition, so that concurrent calls agree on which of them acts.
- Asio: one thread for each io_context, with the concurrency hint 1. Ping-pong: threads pinned to their CPUs.
- Asio's files: any_io_executor, 4 KiB at random offsets of 64 MiB. A Boost.Asio file executes one read at a time, so
  there is one file object for each outstanding read; doorbell uses one object for all. busy_poll: 100 us, longer than
  the disk takes. Boost.Asio has no such setting; its loop does not sleep either when a program calls
  io_context::poll() repeatedly instead of run().
- 18+ repeats row 18 with BOOST_ASIO_DISABLE_EPOLL: Asio's loop then waits with io_uring, and not with epoll.
- malloc is glibc's. Everything is compiled by g++ with the release preset (-O3); doorbell is linked statically.
- Times are CPU time in rows 1 to 5 and for "tryget_live + put" in row 9, and real time in all other rows."""
