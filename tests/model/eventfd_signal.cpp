// SPDX-License-Identifier: Apache-2.0
//
// Adding a count to an eventfd of the program, while the program closes the library's descriptors and reuses their
// numbers, or while the process ends.
#include <doorbell/aio_calls.hpp>
#include <doorbell/base/unique_fd.hpp>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <system_error>

#include "context/process_end.hpp"
#include "model_engine.hpp"
#include "request/completion_target.hpp"
#include "scenario.hpp"
#include "seam/kernel.hpp"

namespace doorbell::model {
namespace {

using base::unique_fd;

/// A kernel eventfd of the program, and the library's duplicate.
class duplicated_eventfd {
 public:
  duplicated_eventfd() {
    std::error_code ec;
    target_.kernel_eventfd = aio::resfd_target::make(programs.get(), ec);
    REQUIRE(!ec);
    target_.eventfd = target_.kernel_eventfd->eventfd();
    allow_kernel_aio();
    let_program_close_ours();
  }

  void signal(std::uint64_t n = 1) const { target_.signal(n); }
  [[nodiscard]] int ours() const { return target_.kernel_eventfd->descriptor(); }
  [[nodiscard]] std::uint64_t count() const {
    std::uint64_t there = 0;
    return ::read(programs.get(), &there, sizeof there) == sizeof there ? there : 0;
  }

  const unique_fd programs{::eventfd(0, EFD_NONBLOCK)};

 private:
  aio::completion_target target_;
};

// Legal: the count arrives, or is dropped because the program has closed the library's descriptor.
// Forbidden: the library writes to the file that now has the number.
SCENARIO(resfd_number_of_duplicate_reused_for_a_file, 3,
         "if the program puts a file at the number of the library's duplicate, nothing is written to that file") {
  const duplicated_eventfd efd;
  const unique_fd file{::eventfd(0, EFD_NONBLOCK)};
  make_regular(file.get());
  together({{"library", [&] { efd.signal(); }},
            {"program", [&, ours = efd.ours()] { REQUIRE(::dup3(file.get(), ours, O_CLOEXEC) == ours); }}});
  let_background_rest();
  std::uint64_t written = 0;
  REQUIRE(::read(file.get(), &written, sizeof written) < 0);
  REQUIRE(efd.count() <= 1);
  REQUIRE(::close(efd.ours()) == 0);
}

SCENARIO(resfd_signalled_by_two, 2, "two threads that signal concurrently lose no count") {
  const duplicated_eventfd efd;
  together({{"library", [&] { efd.signal(2); }}, {"other", [&] { efd.signal(); }}});
  let_background_rest();
  REQUIRE(efd.count() == 3);
}

const int regular_file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

// Legal: the ending thread waits until the reaping thread has signalled, or reaps itself.
// Forbidden: the process may end before the eventfd has its count. Another process may wait for it.
SCENARIO(resfd_of_a_process_that_ends, 2,
         "the eventfds of a process's file I/O have been signalled before the process may end") {
  const unique_fd efd{::eventfd(0, EFD_NONBLOCK)};
  aio::aio_context_t ctx = 0;
  REQUIRE(aio::io_setup(2, &ctx) == 0);
  const auto disk = device::take_last();
  char buffer = 0;
  auto read = static_cast<aio::iocb_abi>(aio::prep_pread(regular_file, &buffer, 1, 0));
  read.flags = aio::iocb_abi::flag_resfd;
  read.resfd = static_cast<std::uint32_t>(efd.get());
  aio::iocb_abi* one = &read;
  REQUIRE(aio::io_submit(ctx, 1, &one) == 1);
  together({{"device", [&] { disk->complete_one(); }}, {"ending thread", [&] {
                                                          const aio::file_io_pause until_the_end;
                                                          std::uint64_t count = 0;
                                                          REQUIRE(::read(efd.get(), &count, sizeof count) ==
                                                                  sizeof count);
                                                          REQUIRE(count == 1);
                                                        }}});
  let_background_rest();
  REQUIRE(aio::io_destroy(ctx) == 0);
}

}  // namespace
}  // namespace doorbell::model
