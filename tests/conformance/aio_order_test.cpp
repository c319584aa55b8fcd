// SPDX-License-Identifier: Apache-2.0
//
// The effects of requests that must be complete when io_submit returns, as with the kernel: cached data has been read,
// and writes through the page cache are done, in order of submission, so that the program's next call sees them.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <memory>
#include <string>

#include "aio_row.hpp"

namespace doorbell::test {
namespace {

class aio_order : public aio_row {
 protected:
  iocb_abi write_of(const char* text, std::int64_t offset) const {
    return aio::prep_pwrite(file_.get(), text, std::char_traits<char>::length(text), offset);
  }
  [[nodiscard]] std::string content() const {
    std::array<char, 64> text{};
    const auto bytes = ::pread(file_.get(), text.data(), text.size(), 0);
    return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(bytes, 0))};
  }
  void open_for_appending() { EXPECT_EQ(::fcntl(file_.get(), F_SETFL, O_APPEND), 0); }

  const aio_context_t ctx_ = new_context();
};
ON_BOTH_SIDES(aio_order);

// Oracle: when io_submit returns, the data is in the page cache, although the request before the write waits.
TEST_P(aio_order, a_write_behind_a_poll_that_waits_is_carried_out_before_submit_returns) {
  const auto ctx = new_context();
  const auto file = temporary_file();
  iocb_abi waits = poll_of_pipe();
  const std::string text(text_.size(), 'w');
  for (std::int64_t n = 0; n < 20; ++n) {
    iocb_abi write = aio::prep_pwrite(file.get(), text.data(), text.size(), n * static_cast<std::int64_t>(text.size()));
    ASSERT_EQ(submit(ctx, {&waits, &write}), 2);
    ASSERT_EQ(::pread(file.get(), text_.data(), text_.size(), write.offset), static_cast<ssize_t>(text_.size())) << n;
    ASSERT_EQ(text_[0], 'w');
    fill_pipe();
    events(ctx, 2);
    ASSERT_EQ(::read(pipe_.read.get(), text_.data(), 1), 1);
  }
}

TEST_P(aio_order, cached_read_completes_before_submit_returns) {
  iocb_abi read = file_read();
  ASSERT_EQ(submit(ctx_, read), 1);
  EXPECT_EQ(events_there(ctx_).size(), 1U);
  EXPECT_EQ(std::string(read_into_.back().data(), 5), "hello");
}

TEST_P(aio_order, read_of_a_memory_file_completes_before_submit_returns) {
  file_.reset(::memfd_create("doorbell-test", MFD_CLOEXEC));
  ASSERT_EQ(::pwrite(file_.get(), "in memory", 9, 0), 9);
  iocb_abi read = file_read();
  ASSERT_EQ(submit(ctx_, read), 1);
  EXPECT_EQ(events_there(ctx_).size(), 1U);
  EXPECT_EQ(std::string(read_into_.back().data(), 5), "in me");
  EXPECT_EQ(result_of(ctx_, aio::prep_pread(file_.get(), text_.data(), 8, 5)), 4);
}

TEST_P(aio_order, written_data_is_in_the_file_when_submit_returns) {
  iocb_abi write = write_of("HELLO", 0);
  ASSERT_EQ(submit(ctx_, write), 1);
  EXPECT_EQ(content(), "HELLO, world");
  EXPECT_EQ(result(ctx_), 5);
}

TEST_P(aio_order, pwrite_after_submit_overwrites_the_submitted_write) {
  iocb_abi write = write_of("HELLO", 0);
  ASSERT_EQ(submit(ctx_, write), 1);
  ASSERT_EQ(::pwrite(file_.get(), "J", 1, 0), 1);
  EXPECT_EQ(result(ctx_), 5);
  EXPECT_EQ(content(), "JELLO, world");
}

TEST_P(aio_order, read_sees_an_earlier_write_of_the_same_submit) {
  iocb_abi write = write_of("HELLO", 0);
  iocb_abi read = file_read();
  ASSERT_EQ(submit(ctx_, {&write, &read}), 2);
  EXPECT_EQ(events(ctx_, 2).size(), 2U);
  EXPECT_EQ(std::string(read_into_.back().data(), 5), "HELLO");
}

TEST_P(aio_order, appends_are_in_order_of_submission_and_before_a_later_write_call) {
  open_for_appending();
  iocb_abi first = write_of("1", 0);
  iocb_abi second = write_of("2", 0);
  ASSERT_EQ(submit(ctx_, {&first, &second}), 2);
  ASSERT_EQ(::write(file_.get(), "3", 1), 1);
  EXPECT_EQ(events(ctx_, 2).size(), 2U);
  EXPECT_EQ(content(), "hello, world123");
}

TEST_P(aio_order, reuse_of_a_descriptor_does_not_redirect_a_submitted_write) {
  const auto other = temporary_file("other");
  iocb_abi write = write_of("HELLO", 0);
  const unique_fd kept{::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0)};
  ASSERT_EQ(submit(ctx_, write), 1);
  ASSERT_EQ(::dup3(other.get(), file_.get(), O_CLOEXEC), file_.get());
  EXPECT_EQ(result(ctx_), 5);
  EXPECT_EQ(content(), "other");
  ASSERT_EQ(::dup3(kept.get(), file_.get(), O_CLOEXEC), file_.get());
  EXPECT_EQ(content(), "HELLO, world");
}

// A request names its file by the descriptor only, which io_submit must look up for each request.
TEST_P(aio_order, descriptor_of_a_file_reused_for_a_pipe_reads_the_pipe) {
  for (int times = 0; times < 100; ++times) ASSERT_EQ(result_of(ctx_, file_read()), 5);
  ASSERT_EQ(::dup3(pipe_.read.get(), file_.get(), O_CLOEXEC), file_.get());
  fill_pipe();
  EXPECT_EQ(result_of(ctx_, file_read()), 1);
  ASSERT_EQ(::close(file_.release()), 0);
}

TEST_P(aio_order, closed_descriptor_of_a_file_is_ebadf) {
  iocb_abi read = file_read();
  for (int times = 0; times < 10; ++times) ASSERT_EQ(result_of(ctx_, read), 5);
  file_.reset();
  EXPECT_EQ(submit(ctx_, read), -EBADF);
}

TEST_P(aio_order, cached_file_that_is_not_open_for_reading_is_ebadf) {
  const std::string path = "/proc/self/fd/" + std::to_string(file_.get());
  const unique_fd writable{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  iocb_abi read = read_of(writable.get());
  EXPECT_EQ(submit(ctx_, read), -EBADF);
}

TEST_P(aio_order, cached_read_needs_a_slot) {
  const auto ctx = new_context(1);
  int taken = 0;
  while (submit(ctx, *std::make_unique<iocb_abi>(file_read())) == 1) ++taken;
  iocb_abi read = file_read();
  EXPECT_EQ(submit(ctx, read), -EAGAIN);
  EXPECT_EQ(std::string(read_into_.back().data(), 5), std::string(5, '\0'));
  EXPECT_EQ(events_there(ctx, taken).size(), static_cast<std::size_t>(taken));
  EXPECT_EQ(submit(ctx, read), 1);
}

// The first page is in the page cache, the others are on the disk only. In a file system without a disk, all pages are
// in memory.
TEST_P(aio_order, partly_cached_read_returns_all_bytes) {
  const std::string content(16384, 'c');
  const auto file = temporary_file(content);
  ASSERT_EQ(::fsync(file.get()), 0);
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_RANDOM), 0);
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  char first = 0;
  ASSERT_EQ(::pread(file.get(), &first, 1, 0), 1);
  std::string read(content.size(), '\0');
  EXPECT_EQ(result_of(ctx_, aio::prep_pread(file.get(), read.data(), read.size(), 0)), 16384);
  EXPECT_EQ(read, content);
}

TEST_P(aio_order, unmapped_buffer_is_efault_in_the_event) {
  iocb_abi read = aio::prep_pread(file_.get(), reinterpret_cast<void*>(4096), 5, 0);
  EXPECT_EQ(result_of(ctx_, read), -EFAULT);
}

TEST_P(aio_order, each_eventfd_is_signalled_once_per_request_that_names_it) {
  const auto one = kernel_eventfd();
  const auto other = kernel_eventfd();
  iocb_abi first = with_resfd(file_read(), one.get());
  iocb_abi second = with_resfd(file_read(), other.get());
  iocb_abi third = with_resfd(file_read(), one.get());
  iocb_abi silent = file_read();
  ASSERT_EQ(submit(ctx_, {&first, &second, &third, &silent, &first}), 5);
  EXPECT_EQ(events(ctx_, 5).size(), 5U);
  EXPECT_EQ(take_until(one.get(), 3), 3U);
  EXPECT_EQ(take_until(other.get(), 1), 1U);
}

/// For its lifetime: limits the size of files to one page, and counts SIGXFSZ by the thread that receives it, this one
/// or another.
class size_limit {
 public:
  size_limit() {
    struct sigaction action{};
    action.sa_handler = [](int) { (is_submitter ? here : elsewhere) += 1; };
    ::sigaction(SIGXFSZ, &action, &action_before_);
    ::getrlimit(RLIMIT_FSIZE, &limit_before_);
    const rlimit small{.rlim_cur = limit, .rlim_max = limit_before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    is_submitter = true;
    here = elsewhere = 0;
  }
  ~size_limit() {
    is_submitter = false;
    ::setrlimit(RLIMIT_FSIZE, &limit_before_);
    ::sigaction(SIGXFSZ, &action_before_, nullptr);
  }
  size_limit(const size_limit&) = delete;
  size_limit& operator=(const size_limit&) = delete;

  static int signals_here() { return here.exchange(0); }
  static int signals_elsewhere() { return elsewhere; }

  static constexpr std::int64_t limit = 4096;

 private:
  static inline std::atomic<int> here = 0;
  static inline std::atomic<int> elsewhere = 0;
  static inline thread_local bool is_submitter = false;

  struct sigaction action_before_{};
  rlimit limit_before_{};
};

/// Flags that make the kernel use another code path for a write.
struct way_to_write {
  const char* name;
  int open_flags = 0;
  std::int32_t rw_flags = 0;
  bool has_priority = false;
  bool appends = false;  // the file ends at the limit
};
constexpr std::array ways_to_write{
    way_to_write{"through the page cache"},
    way_to_write{"with a priority", 0, 0, true},
    way_to_write{"O_DSYNC", O_DSYNC},
    way_to_write{"O_SYNC", O_SYNC},
    way_to_write{"RWF_DSYNC", 0, RWF_DSYNC},
    way_to_write{"RWF_SYNC", 0, RWF_SYNC},
    way_to_write{"O_DIRECT", O_DIRECT},
    way_to_write{"O_DIRECT and O_DSYNC", O_DIRECT | O_DSYNC},
    way_to_write{"O_APPEND", O_APPEND, 0, false, true},
    way_to_write{"O_APPEND and O_DSYNC", O_APPEND | O_DSYNC, 0, false, true},
    way_to_write{"RWF_APPEND and RWF_DSYNC", 0, RWF_APPEND | RWF_DSYNC, false, true},
};

// The submitting thread receives the SIGXFSZ of the limit, inside io_submit, and can catch it there.
TEST_P(aio_order, write_beyond_the_size_limit_signals_the_submitting_thread) {
  constexpr std::size_t page = size_limit::limit;
  alignas(page) static const std::array<char, 2 * page> memory{};
  for (const auto& way : ways_to_write) {
    for (const bool with_eventfd : {false, true}) {
      SCOPED_TRACE(testing::Message{} << way.name << (with_eventfd ? ", with an eventfd" : ""));
      const auto original = temporary_file(way.appends ? std::string(size_limit::limit, 'x') : "");
      const unique_fd file{
          ::open(("/proc/self/fd/" + std::to_string(original.get())).c_str(), O_RDWR | O_CLOEXEC | way.open_flags)};
      if (!file) continue;  // no O_DIRECT in this file system
      const auto efd = kernel_eventfd();
      const auto write_at = [&](std::int64_t offset, std::size_t bytes) {
        iocb_abi made = aio::prep_pwrite(file.get(), memory.data(), bytes, way.appends ? 0 : offset);
        made.rw_flags = way.rw_flags;
        if (way.has_priority) {
          made.flags |= iocb_abi::flag_ioprio;
          made.reqprio = 2 << 13;
        }
        return with_eventfd ? with_resfd(made, efd.get()) : made;
      };
      const size_limit limited;
      iocb_abi beyond = write_at(size_limit::limit, page);
      ASSERT_EQ(submit(ctx_, beyond), 1);
      EXPECT_EQ(size_limit::signals_here(), 1);
      EXPECT_EQ(result(ctx_), -EFBIG);
      EXPECT_EQ(result_of(ctx_, write_at(size_limit::limit, 0)), 0);
      if (!way.appends) {
        EXPECT_EQ(result_of(ctx_, write_at(0, 2 * page)), std::int64_t{page});
      }
      EXPECT_EQ(size_limit::signals_here() + size_limit::signals_elsewhere(), 0);
    }
  }
}

}  // namespace
}  // namespace doorbell::test
