// SPDX-License-Identifier: Apache-2.0
//
// The tests' calls of libaio. The tests are programs that were linked with Debian's libaio, without knowledge of
// doorbell.
#pragma once

#include <libaio.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>

namespace doorbell::test {

/// A context for a scope. Its calls return libaio's results.
class queue {
 public:
  explicit queue(int nr_events = 8) : status_{::io_setup(nr_events, &handle_)} {}
  ~queue() {
    if (status_ == 0) ::io_destroy(handle_);
  }
  queue(const queue&) = delete;
  queue& operator=(const queue&) = delete;

  /// The result of io_setup.
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] io_context_t handle() const { return handle_; }

  int submit(iocb& request) {
    iocb* list = &request;
    return ::io_submit(handle_, 1, &list);
  }

  /// Waits for one event.
  int next(io_event& event) { return ::io_getevents(handle_, 1, 1, &event, nullptr); }

  /// Submits a request and waits for it.
  /// @return its event's res, or a negative errno if there was no event
  long result_of(iocb& request) {
    if (const int submitted = submit(request); submitted != 1) return submitted < 0 ? submitted : -EAGAIN;
    io_event event{};
    if (const int got = next(event); got != 1) return got < 0 ? got : -ENODATA;
    return event.obj == &request ? static_cast<long>(event.res) : -EBADMSG;
  }

  long read(int fd, void* into, std::size_t bytes, long long offset) {
    iocb request;
    ::io_prep_pread(&request, fd, into, bytes, offset);
    return result_of(request);
  }

  long write(int fd, const void* from, std::size_t bytes, long long offset) {
    iocb request;
    ::io_prep_pwrite(&request, fd, const_cast<void*>(from), bytes, offset);
    return result_of(request);
  }

 private:
  io_context_t handle_ = nullptr;
  int status_;
};

}  // namespace doorbell::test
