// SPDX-License-Identifier: Apache-2.0
//
// The gate for file I/O after the library has waited for the last time: it stays closed until the process is gone.
#include <doorbell/aio.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <system_error>
#include <thread>

#include "../../aio/context/process_end.hpp"
#include "support/by_engine.hpp"
#include "support/child.hpp"
#include "support/files.hpp"

namespace {

namespace aio = doorbell::aio;

void (*last_of_all)() = nullptr;

// Called after the library's destructor, which has the priority 101. g++ warns about priorities up to 100,
// which are reserved for the implementation.
#pragma GCC diagnostic push
#ifndef __clang__  // which has no such warning
#pragma GCC diagnostic ignored "-Wprio-ctor-dtor"
#endif
[[gnu::destructor(100)]] void call_last_of_all() {
  if (last_of_all != nullptr) last_of_all();
}
#pragma GCC diagnostic pop

bool is_closed_in_another_thread() {
  bool is_closed = false;
  std::thread{[&] { is_closed = aio::submission_gate::is_closed(); }}.join();
  return is_closed;
}

// Oracle: the gate is closed for other threads exactly while a pause exists, and for the pausing thread never.
TEST(submission_gate, is_closed_for_other_threads_during_a_pause) {
  doorbell::test::in_child([] {
    aio::expect_process_end();
    EXPECT_FALSE(is_closed_in_another_thread());
    {
      const aio::file_io_pause pause;
      EXPECT_TRUE(is_closed_in_another_thread());
      EXPECT_FALSE(aio::submission_gate::is_closed());
    }
    EXPECT_FALSE(is_closed_in_another_thread());
    EXPECT_FALSE(aio::submission_gate::is_closed());
  });
}

// Oracle: after the last pause, another thread is told not to wait any longer. The thread that ends the process may
// still submit, as may the destructors that it runs.
TEST(submission_gate, stays_closed_after_the_last_pause) {
  doorbell::test::in_child([] {
    aio::expect_process_end();
    {
      aio::file_io_pause last;
      last.keep();
    }
    EXPECT_TRUE(is_closed_in_another_thread());
    EXPECT_FALSE(aio::submission_gate::is_closed());
    std::thread{[] { EXPECT_FALSE(aio::submission_gate::wait_until_open()); }}.join();
  });
}

aio::context* ctx = nullptr;

void expect_refusal_in_another_thread() {
  bool is_refused = false;
  std::thread{[&] {
    const auto file = doorbell::test::temporary_file();
    auto write = doorbell::test::by_engine(aio::prep_pwrite(file.get(), "x", 1, 0));
    std::error_code ec;
    is_refused = ctx->submit({&write}, ec) == 0 && ec == std::errc::resource_unavailable_try_again;
  }}.join();
  ::_exit(is_refused ? EXIT_SUCCESS : EXIT_FAILURE);
}

// Oracle: submit accepts no write after exit has waited for the accepted ones, because the write might be lost.
TEST(submission_gate, refuses_a_write_after_exit_has_waited) {
  doorbell::test::in_child([] {
    ctx = new aio::context{8};
    last_of_all = &expect_refusal_in_another_thread;
    std::exit(EXIT_FAILURE);
  });
}

}  // namespace
