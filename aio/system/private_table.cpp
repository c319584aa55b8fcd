// SPDX-License-Identifier: Apache-2.0
#include "private_table.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include "raw_calls.hpp"

namespace doorbell::aio {
namespace {

constexpr unsigned unshare_table = 2;  // CLOSE_RANGE_UNSHARE
constexpr unsigned last_number = ~0U;
constexpr std::size_t most_kept = 4;

constinit thread_local bool has_private_table = false;

bool close_range(unsigned first, unsigned last, unsigned flags) noexcept {
#if defined(SYS_close_range)
  return ::syscall(SYS_close_range, first, last, flags) == 0;
#else
  constexpr long number = 436;
  return ::syscall(number, first, last, flags) == 0;
#endif
}

unsigned table_size() noexcept {
  rlimit limit{};
  constexpr rlim_t usual_maximum = 1U << 20U;
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<unsigned>(std::min(limit.rlim_max, usual_maximum))
                                                 : static_cast<unsigned>(usual_maximum);
}

void close_numbers(unsigned first, unsigned last) noexcept {
  if (first > last || close_range(first, last, 0)) return;
  for (unsigned fd = first; fd <= std::min(last, table_size()); ++fd) raw::close(static_cast<int>(fd));
}

}  // namespace

// Tries close_range(2) first: it does not copy the descriptors of the range, which it would only close, and containers
// that refuse unshare(2) allow it.
std::error_code enter_private_table(std::span<const int> kept) noexcept {
  std::array<unsigned, most_kept> numbers{};
  const auto count = std::min(kept.size(), numbers.size());
  std::transform(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(count), numbers.begin(),
                 [](int fd) { return static_cast<unsigned>(fd); });
  const auto sorted = std::span{numbers}.first(count);
  std::ranges::sort(sorted);
  const unsigned above = sorted.back() + 1;
  if (!close_range(above, last_number, unshare_table)) {
    if (::unshare(CLONE_FILES) != 0) return {errno, std::system_category()};
    close_numbers(above, last_number);
  }
  unsigned next = 0;
  for (const auto number : sorted) {
    if (number > next) close_numbers(next, number - 1);
    next = number + 1;
  }
  has_private_table = true;
  return {};
}

bool is_in_private_table() noexcept { return has_private_table; }
void note_private_table() noexcept { has_private_table = true; }

}  // namespace doorbell::aio
