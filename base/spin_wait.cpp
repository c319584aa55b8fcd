// SPDX-License-Identifier: Apache-2.0
#include "spin_wait.hpp"

namespace doorbell::base::spin_wait {
namespace {

constexpr int most = 512;              // about 14 us on an AMD EPYC, 20 us on an Intel Xeon
constexpr unsigned most_halvings = 9;  // leaves one look
constexpr unsigned try_again_after = 64;

constinit thread_local unsigned slept_in_a_row = 0;

}  // namespace

int looks() noexcept { return most >> (slept_in_a_row < most_halvings ? slept_in_a_row : most_halvings); }

void ended(bool in_time) noexcept {
  slept_in_a_row = in_time || slept_in_a_row == try_again_after ? 0 : slept_in_a_row + 1;
}

}  // namespace doorbell::base::spin_wait
