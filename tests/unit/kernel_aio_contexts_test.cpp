// SPDX-License-Identifier: Apache-2.0
//
// The contexts of the kernel's AIO that the library makes for its own use: how many the process has, and when it makes
// no more.
#include <doorbell/aio_calls.hpp>

#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "direct_transfers.hpp"
#include "support/child.hpp"
#include "support/cloned_child.hpp"
#include "support/refused_calls.hpp"
#include "support/sanitizer.hpp"

namespace {

using doorbell::test::block_size;
using doorbell::test::by_handle;
using doorbell::test::in_child;

/// The number of the process's contexts in the kernel. The kernel maps a ring for each.
std::size_t contexts_in_kernel() {
  std::ifstream maps{"/proc/self/maps"};
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find("[aio]") != std::string::npos;
  return count;
}

class contexts_of_kernel : public doorbell::test::direct {
 protected:
  void use(const by_handle& ctx) const { EXPECT_EQ(ctx.result_of(read_of(0, memory[0])), block_size); }
};

constexpr unsigned size_of_spares = 8;
constexpr unsigned larger_size = 500;  // such a context is not kept for later

// Oracle: the kernel has as many contexts after many rounds as after the first.
TEST_F(contexts_of_kernel, are_used_again_or_destroyed) {
  for (const unsigned size : {size_of_spares, larger_size}) {
    SCOPED_TRACE(size);
    const auto use_one = [&] { use(by_handle{size}); };
    use_one();
    const auto after_one = contexts_in_kernel();
    for (int n = 0; n < 5; ++n) use_one();
    EXPECT_EQ(contexts_in_kernel(), after_one);
  }
}

// Oracle: of many contexts that are used together, four are kept, and all others are destroyed.
TEST_F(contexts_of_kernel, are_kept_for_later_up_to_four) {
  constexpr std::size_t many = 8;
  constexpr std::size_t most_spares = 4;
  std::vector<std::unique_ptr<by_handle>> together;
  for (std::size_t n = 0; n < many; ++n) use(*together.emplace_back(std::make_unique<by_handle>(size_of_spares)));
  EXPECT_GE(contexts_in_kernel(), many);
  together.clear();
  EXPECT_LE(contexts_in_kernel(), most_spares);
  for (std::size_t n = 0; n < many; ++n) use(*together.emplace_back(std::make_unique<by_handle>(size_of_spares)));
}

// Oracle: after a refusal, a new context of the library gets none in the kernel. After a shortage it gets one.
TEST_F(contexts_of_kernel, are_made_after_a_shortage_and_not_after_a_refusal) {
  if (!doorbell::test::can_refuse()) GTEST_SKIP() << "no seccomp";
  for (const int error : {EPERM, ENOSYS, EACCES, EAGAIN, ENOMEM}) {
    SCOPED_TRACE(error);
    in_child([&] {
      const bool is_refusal = error == EPERM || error == ENOSYS || error == EACCES;
      const by_handle known{size_of_spares};
      use(known);
      const auto before = contexts_in_kernel();
      doorbell::test::refuse(SYS_io_submit, error);
      use(known);
      use(by_handle{size_of_spares});
      EXPECT_EQ(contexts_in_kernel(), before + (is_refusal ? 0 : 1));
    });
  }
}

// The parent keeps a context for later. Oracle: the child creates another one, instead of using the parent's.
TEST_F(contexts_of_kernel, are_not_used_by_a_child) {
  const auto use_one = [&] {
    const auto before = contexts_in_kernel();
    use(by_handle{size_of_spares});
    EXPECT_EQ(contexts_in_kernel(), before + 1);
  };
  use(by_handle{size_of_spares});
  in_child(use_one);
  // The fork handlers of a sanitizer do not run for a direct clone(2).
  if (!doorbell::test::sanitized) doorbell::test::in_cloned_child(use_one);
}

}  // namespace
