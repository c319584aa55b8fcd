// SPDX-License-Identifier: Apache-2.0
//
// If libaio.so.1 is preloaded, makes the kernel's AIO fail in this program, so that only the library can execute
// requests.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "support/refused_calls.hpp"

namespace {

class kernel_aio_refused : public testing::Environment {
 public:
  void SetUp() override {
    const char* const preloaded = std::getenv("LD_PRELOAD");
    if (preloaded == nullptr || std::string_view{preloaded}.find("libaio.so.1") == std::string_view::npos) return;
    doorbell::test::refuse_kernel_aio();
  }
};

const auto* const environment = testing::AddGlobalTestEnvironment(new kernel_aio_refused);

}  // namespace
