// SPDX-License-Identifier: Apache-2.0
//
// When the library is to be in this program, the kernel's AIO is refused to it: what works then, the library has done.
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "support/refused_calls.hpp"

namespace {

class kernel_aio_refused : public testing::Environment {
 public:
  void SetUp() override {
    const char* const preloaded = std::getenv("LD_PRELOAD");
    if (preloaded == nullptr || std::string_view{preloaded}.find("libaio.so.1") == std::string_view::npos) return;
    for (const long call :
         {SYS_io_setup, SYS_io_destroy, SYS_io_submit, SYS_io_cancel, SYS_io_getevents, SYS_io_pgetevents})
      doorbell::test::refuse(call, ENOSYS);
  }
};

const auto* const environment = testing::AddGlobalTestEnvironment(new kernel_aio_refused);

}  // namespace
