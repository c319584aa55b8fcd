// SPDX-License-Identifier: Apache-2.0
//
// A thread submits a write while another thread ends the process. libdoorbell-exit.so is preloaded behind libaio.so.1,
// so the hook of libdoorbell-exit.so runs after the process has waited for its file I/O. Oracle: from then on io_submit
// sleeps until the process has ended, and accepts no write, because the write would be lost.
#include <dlfcn.h>
#include <libaio.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "support/files.hpp"
#include "support/threads.hpp"

namespace {

std::atomic<bool> is_ending{false};
std::atomic<bool> is_accepted{false};
doorbell::test::sleeper submitter;

void submit_when_the_process_ends(io_context_t context, int file) {
  static char text = 'x';
  static iocb write;
  ::io_prep_pwrite(&write, file, &text, 1, 0);
  write.aio_rw_flags = RWF_DSYNC;  // it is not carried out inside io_submit
  iocb* list = &write;
  while (!is_ending) std::this_thread::yield();
  submitter.here();
  is_accepted = ::io_submit(context, 1, &list) == 1;
}

// Returns when the other thread has slept in its call for some time. Ends the process with an error if it has not
// slept, or if its call has returned.
void expect_no_submission() {
  is_ending = true;
  bool sleeps = submitter.wait_until_asleep();
  for (int n = 0; n < 50 && sleeps; ++n) {
    ::usleep(1000);
    sleeps = submitter.wait_until_asleep();
  }
  if (!sleeps || is_accepted) ::syscall(SYS_exit_group, EXIT_FAILURE);
}

}  // namespace

int main() {
  using hook = void (*)(void (*)());
  const auto before_exit = reinterpret_cast<hook>(::dlsym(RTLD_DEFAULT, "doorbell_before_exit"));
  io_context_t context = nullptr;
  if (before_exit == nullptr || ::io_setup(8, &context) != 0) return EXIT_FAILURE;
  before_exit(expect_no_submission);
  std::thread{submit_when_the_process_ends, context, doorbell::test::temporary_file().release()}.detach();
  ::_exit(EXIT_SUCCESS);
}
