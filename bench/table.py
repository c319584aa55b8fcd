# SPDX-License-Identifier: Apache-2.0
"""The table of speeds: which benchmark stands for which row, and what it is measured against.

A row is data. To add one: write the benchmark, and a Row here that names it.
"""
from dataclasses import dataclass


@dataclass(frozen=True)
class Against:
    """What `ours` is compared with in the same run: both medians, or, for two sides of one benchmark, both in each repetition."""

    name: str  # what the table calls it
    benchmark: str  # its full name in the program; SIDE@NAME: one side of those that a benchmark measures by turns
    at_least: float | None = None  # ours must be so many times as fast
    at_most: float | None = None  # ours must take no more than so many times as long; neither: only shown


@dataclass(frozen=True)
class Row:
    number: int
    work: str
    program: str
    ours: str
    against: tuple[Against, ...]
    is_extra: bool = False  # not of the list of targets: the same in another setting

    @property
    def label(self):
        return f"{self.number}+" if self.is_extra else str(self.number)


# Asio's loop on epoll is its default, and what row 18 is about. Program, what its benchmarks are called, what the table says.
ASIO_LOOPS = (("files", "epoll_loop", ""), ("files_on_uring", "io_uring_loop", ", loop on io_uring"))
DEFAULT_LOOP = ASIO_LOOPS[0]


def asio_file_rows(asio_loop):
    program, loop, where = asio_loop
    is_extra = asio_loop != DEFAULT_LOOP
    for kind, what in (("hot", "hot page cache"), ("direct", "O_DIRECT")):
        for depth in (1, 32):
            benchmark = f"{loop}/{kind}/depth:{depth}/real_time"
            yield Row(18, f"Asio file reads, {what}, depth {depth}{where}", program, f"doorbell@{benchmark}", (
                Against("Boost.Asio's random_access_file", f"boost@{benchmark}", at_least=1.0),
            ), is_extra)
    benchmark = f"{loop}/busy_direct/real_time"
    yield Row(18, f"Asio file reads, O_DIRECT, depth 1{where}, busy_poll", program, f"doorbell@{benchmark}", (
        Against("Boost.Asio's random_access_file", f"boost@{benchmark}", at_least=1.0),
        Against("the same, run by poll()", f"boost_by_poll@{benchmark}", at_least=1.0),
    ), is_extra)


ROWS = (
    Row(1, "signal, nobody waits", "signal", "signal/doorbell", (
        Against("write(2) on a kernel eventfd", "signal/kernel", at_least=20),
        Against("one atomic RMW", "signal/rmw", at_most=1.6),
    )),
    Row(2, "signal + read", "signal", "signal_read/doorbell", (
        Against("write + read on a kernel eventfd", "signal_read/kernel", at_least=25),
        Against("two RMWs", "signal_read/two_rmw"),
    )),
    Row(3, "create + close", "signal", "create_close/doorbell", (
        Against("eventfd(2) + close(2)", "create_close/kernel", at_least=20),
        Against("malloc + free", "create_close/malloc_free"),
    )),
    Row(4, "signal with one notifier", "notify", "notify/doorbell", (
        Against("boost::signals2 emit", "notify/signals2", at_least=2),
        Against("lock + indirect call + unlock", "notify/lock_call_unlock", at_most=2.5),
    )),
    Row(5, "register + unregister: constructor, destructor", "notify", "register/doorbell_constructed", (
        Against("std::stop_callback", "register/stop_callback", at_least=1),
        Against("boost::signals2 connect + disconnect", "register/signals2", at_least=5),
        Against("lock + link + unlink + unlock", "register/lock_link_unlink_unlock"),
    )),
    Row(5, "the same notifier again: register_with(), unregister()", "notify", "register/doorbell", (
        Against("std::stop_callback", "register/stop_callback"),
        Against("boost::signals2 connect + disconnect", "register/signals2", at_least=5),
    )),
    Row(6, "flood: one thread signals, an Asio loop in another counts", "flood", "flood/doorbell/real_time", (
        Against("asio::post for each event", "flood/asio_post/real_time", at_least=8),
        Against("kernel eventfd in a stream_descriptor", "flood/descriptor/real_time", at_least=20),
        Against("uv_async_send, which loses counts", "flood/uv_async_send/real_time"),
        Against("RMW on a shared line", "flood/rmw_shared_line/real_time"),
    )),
    Row(7, "ping-pong between two Asio loops, on two CPUs", "ping_pong", "doorbell@ping_pong/far_cpu:1/real_time", (
        Against("kernel eventfds in stream_descriptors", "descriptor@ping_pong/far_cpu:1/real_time", at_least=1),
        Against("futex ping-pong", "futex@ping_pong/far_cpu:1/real_time"),
    )),
    Row(7, "ping-pong between two Asio loops, on one CPU", "ping_pong", "doorbell@ping_pong/far_cpu:0/real_time", (
        Against("kernel eventfds in stream_descriptors", "descriptor@ping_pong/far_cpu:0/real_time", at_least=1),
        Against("futex ping-pong", "futex@ping_pong/far_cpu:0/real_time"),
    )),
    Row(8, "2 producers on 1 eventfd", "producers", "producers_on_1/doorbell/real_time/threads:2", (
        Against("the same on a kernel eventfd", "producers_on_1/kernel/real_time/threads:2", at_least=10),
    )),
    Row(8, "2 producers on 2 eventfds", "producers", "producers_on_2/doorbell/real_time/threads:2", (
        Against("the same on kernel eventfds", "producers_on_2/kernel/real_time/threads:2", at_least=10),
        Against("1 producer on 1 of ours", "producers_on_1/doorbell/real_time/threads:1", at_least=1.8),
    )),
    Row(9, "kioctx lookup + put", "contexts", "lookup/doorbell/real_time/threads:1", (
        Against("std::atomic<shared_ptr> load", "lookup/shared_ptr/real_time/threads:1", at_least=1),
        Against("RCU read section", "lookup/rcu_section/real_time"),
    )),
    Row(9, "kioctx lookup + put, 2 threads", "contexts", "lookup/doorbell/real_time/threads:2", (
        Against("std::atomic<shared_ptr> load", "lookup/shared_ptr/real_time/threads:2", at_least=1),
        Against("1 thread of ours", "lookup/doorbell/real_time/threads:1", at_least=1.8),
    )),
    Row(9, "tryget_live + put", "contexts", "take/tryget_live", (
        Against("get + put", "take/get", at_most=1.05),
    )),
    Row(10, "io_setup + io_destroy, idle", "contexts", "setup_destroy/doorbell/real_time", (
        Against("the kernel's", "setup_destroy/kernel/real_time", at_least=100),
    )),
    Row(12, "drop-in, 4k random reads, hot page cache, depth 1", "fio", "fio/hot/depth:1/doorbell", (
        Against("kernel AIO", "fio/hot/depth:1/kernel", at_least=1.5),
        Against("fio's io_uring engine", "fio/hot/depth:1/io_uring", at_least=1.0),
        Against("pread loop", "fio/hot/depth:1/pread"),
    )),
    Row(12, "the same, depth 32", "fio", "fio/hot/depth:32/doorbell", (
        Against("kernel AIO", "fio/hot/depth:32/kernel", at_least=1.4),
        Against("fio's io_uring engine", "fio/hot/depth:32/io_uring", at_least=1.0),
    )),
    Row(12, "the same, depth 32 in batches of 16", "fio", "fio/hot/batches_of_16/doorbell", (
        Against("kernel AIO", "fio/hot/batches_of_16/kernel", at_least=1.0),
        Against("fio's io_uring engine", "fio/hot/batches_of_16/io_uring", at_least=1.0),
    )),
    Row(12, "the same by threads, depth 1", "fio", "fio/hot/depth:1/threads", (
        Against("kernel AIO", "fio/hot/depth:1/kernel", at_least=1.3),
    )),
    Row(13, "drop-in, 4k random reads, tmpfs, depth 1", "fio", "fio/tmpfs/depth:1/doorbell", (
        Against("kernel AIO", "fio/tmpfs/depth:1/kernel", at_least=1.3),
        Against("fio's io_uring engine", "fio/tmpfs/depth:1/io_uring"),
        Against("pread loop", "fio/tmpfs/depth:1/pread"),
    )),
    Row(13, "the same, depth 32", "fio", "fio/tmpfs/depth:32/doorbell", (
        Against("kernel AIO", "fio/tmpfs/depth:32/kernel", at_least=1.3),
        Against("fio's io_uring engine", "fio/tmpfs/depth:32/io_uring"),
    )),
    Row(14, "drop-in, 4k random reads, cold page cache, depth 32", "fio", "fio/cold/depth:32/doorbell", (
        Against("kernel AIO", "fio/cold/depth:32/kernel", at_least=3.5),
        Against("fio's io_uring engine", "fio/cold/depth:32/io_uring", at_least=0.95),
    )),
    *(Row(15, f"drop-in, 4k random reads, O_DIRECT, depth {depth}", "fio", f"fio/direct/depth:{depth}/doorbell", (
        Against("kernel AIO", f"fio/direct/depth:{depth}/kernel", at_least=0.97),
        Against("fio's io_uring engine", f"fio/direct/depth:{depth}/io_uring"),
    )) for depth in (1, 32, 128)),
    Row(16, "drop-in, time in io_submit, cold page cache", "fio", "fio/submit/depth:32/doorbell", (
        Against("kernel AIO", "fio/submit/depth:32/kernel", at_least=10),
    )),
    *(Row(17, f"drop-in, resfd polled, ring reaped by the program, depth {depth}", "fio",
          f"fio/client/depth:{depth}/doorbell", (
              Against("kernel AIO", f"fio/client/depth:{depth}/kernel", at_least=1.0),
          )) for depth in (1, 32)),
    *(row for asio_loop in ASIO_LOOPS for row in asio_file_rows(asio_loop)),
)

SETTINGS = """\
- Every process has a second thread, asleep: glibc's short cuts for processes of one thread are off for everybody.
- Kernel eventfd: blocking, straight system calls (no cancellation points); in Asio a non-blocking `stream_descriptor`.
- boost::signals2: default settings, so with its mutex. `dummy_mutex` would be faster and is not thread-safe.
- std::stop_callback: on one std::stop_source, with a token at hand. It registers in its constructor, and so it is compared
  with the notifier's. A notifier that stays and is registered again pays for two atomic operations more, with which
  register_with() and unregister() of several threads at once settle who does it; that makes six, as in a stop_callback.
- Asio: one thread for each io_context, which has the concurrency hint 1. Ping-pong: threads pinned to their CPUs.
- Asio's files: any_io_executor, 4 KiB at random of 64 MiB. Boost.Asio's carries out one read of a file at a time, so it has one for each
  that is outstanding; doorbell's has one for all. busy_poll: of 100 us, which is longer than the disk takes. Boost.Asio has no such
  setting; its loop does not sleep either when a program calls io_context::poll() over and over, in the place of run().
- 18+ is no row of the list of targets, which is about Asio's loop as it is by default: the same files, with BOOST_ASIO_DISABLE_EPOLL.
- malloc is glibc's. Everything is compiled by g++ as the release preset says (-O3); doorbell is linked statically.
- Times are of the CPU for one thread's work, and real time where several threads take part (rows 6 to 10)."""
