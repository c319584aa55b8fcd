// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/process_generation.hpp>

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <tuple>

namespace doorbell::base::seam {
namespace {

/// The last number used by this process and its ancestors. A child inherits it, unlike the page.
constinit atomic<std::uint32_t> last{process_page::first};

/// False until begin(): the page is 0 then, as it is in a child.
constinit bool has_begun = false;

/// The page's number before the last fork(). Concurrent forks store the same number.
constinit atomic<std::uint32_t> at_fork{0};

std::uint32_t next_number() noexcept {
  // equivalent fault (constant): the numbers only need to differ
  auto number = last.fetch_add(1, memory_order_relaxed) + 1;
  if (number == 0) number = last.fetch_add(1, memory_order_relaxed) + 1;
  return number;
}

void note_before_fork() noexcept {
  at_fork.store(process_page::here.number.load(memory_order_relaxed), memory_order_relaxed);
}

// Registered first, so it runs before the other handlers of the library, which read the number. The child still has its
// parent's number if the page was not cleared: the kernel does not know MADV_WIPEONFORK, or an emulator such as
// qemu-user accepts it and does nothing. Otherwise the number is 0, or a handler of the program has read it, and it is
// the child's.
void change_in_child() noexcept {
  if (process_page::here.number.load(memory_order_relaxed) == at_fork.load(memory_order_relaxed))
    process_page::here.number.store(next_number(), memory_order_release);
}

// The kernel clears whole pages of anonymous memory, to which .bss belongs. The variable has pages of its own unless
// pages are larger than expected, or the linker has moved it into the program (a copy relocation) without its
// alignment.
bool has_own_page() noexcept {
  return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) <= sizeof(process_page) &&
         reinterpret_cast<std::uintptr_t>(&process_page::here) % alignof(process_page) == 0;
}

[[gnu::constructor(101)]] void begin() noexcept {
  // equivalent fault (call): the first thread that asks would publish a number
  process_page::here.number.store(process_page::first, memory_order_relaxed);
  has_begun = true;
  if (has_own_page()) std::ignore = ::madvise(&process_page::here, sizeof(process_page), MADV_WIPEONFORK);
  ::pthread_atfork(note_before_fork, nullptr, change_in_child);
}

}  // namespace

constinit process_page process_page::here{};

// Acquire pairs with the release of the thread that published the number.
std::uint32_t process_page::generation_of_child() noexcept {
  const auto known = number.load(memory_order_acquire);
  if (known != 0) return known;
  return has_begun ? notice_child() : first;
}

// The number is taken before it is published. A child that this process forks in between inherits `last` with that
// number already used, takes a greater one, and so never has the number of an ancestor. If several threads take
// numbers, one of them publishes, and the other numbers are not used.
std::uint32_t process_page::notice_child() noexcept {
  const auto next = next_number();
  std::uint32_t known = 0;
  // Release pairs with the acquire in generation_of_child().
  if (number.compare_exchange_strong(known, next, memory_order_acq_rel, memory_order_acquire)) return next;
  return known;
}

}  // namespace doorbell::base::seam
