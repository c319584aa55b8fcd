// SPDX-License-Identifier: Apache-2.0
#include "ring.hpp"

#include <doorbell/base/unique_fd.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "../system/ring_header.hpp"
#include "../system/tsan_annotations.hpp"
#include "../system/user_memory.hpp"

namespace doorbell::aio {

namespace {

constexpr unsigned calls_only_magic = 0xa10a10a2;
constexpr int protection = PROT_READ | PROT_WRITE;

// qemu-user does not support mremap(2) with an old size of 0. This fallback replaces the memory at `address` with that
// of a memfd, which can be mapped a second time.
void* map_once_more_as_file(void* address, std::size_t bytes) noexcept {
  const base::unique_fd file{::memfd_create("doorbell-ring", MFD_CLOEXEC)};
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) return MAP_FAILED;
  void* const ours = ::mmap(nullptr, bytes, protection, MAP_SHARED, file.get(), 0);
  if (ours == MAP_FAILED) return MAP_FAILED;
  if (::mmap(address, bytes, protection, MAP_SHARED | MAP_FIXED, file.get(), 0) != MAP_FAILED) return ours;
  ::munmap(ours, bytes);
  return MAP_FAILED;
}

/// Maps shared memory a second time; its content may be lost. Errors: not_enough_memory.
void* map_once_more(void* address, std::size_t bytes, std::error_code& ec) noexcept {
  // With an old size of 0, mremap(2) of a shared mapping adds a second mapping and keeps the first.
  void* ours = ::mremap(address, 0, bytes, MREMAP_MAYMOVE);
  if (ours != MAP_FAILED) return ours;
  const int error = errno;
  ours = map_once_more_as_file(address, bytes);
  if (ours == MAP_FAILED) ec.assign(error, std::system_category());
  return ours;
}

}  // namespace

void ring::map(unsigned nr_events, std::error_code& ec) noexcept {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  // Two more than asked for: one slot stays empty, so that full and empty differ; the kernel adds another one.
  const auto wanted = sizeof(ring_header) + (std::size_t{nr_events} + 2) * sizeof(io_event);
  // equivalent fault (constant): header and events have 32 bytes each, so one byte does not change the number of pages
  const auto bytes = (wanted + page - 1) / page * page;
  void* const memory = ::mmap(nullptr, bytes, protection, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    ec.assign(errno, std::system_category());
    return;
  }
  void* const ours = map_once_more(memory, bytes, ec);
  if (ours == MAP_FAILED) {
    ::munmap(memory, bytes);
    return;
  }
  tsan_annotations::mapped();
  ::madvise(ours, bytes, MADV_DONTFORK);
  address_ = memory;
  bytes_ = bytes;
  capacity_ = static_cast<unsigned>((bytes - sizeof(ring_header)) / sizeof(io_event));
  slots_ = capacity_ - 1;
  header_ = new (ours) ring_header{.id = 0,
                                   .nr = capacity_,
                                   .head = 0,
                                   .tail = 0,
                                   .magic = ring_magic,
                                   .compatible_features = 1,
                                   .incompatible_features = 0,
                                   .header_length = sizeof(ring_header)};
  events_ = reinterpret_cast<io_event*>(header_ + 1);
}

void ring::unmap() noexcept {
  if (header_ == nullptr) return;
  tsan_annotations::unmap();
  if (is_at(address_)) ::munmap(address_, bytes_);
  ::munmap(header_, bytes_);
  header_ = nullptr;
}

// Stores two marks through our mapping, one after the other, and reads each at `address`. Other memory may contain the
// first mark by chance, but does not change to the second one. No two rings of a process store the same mark.
bool ring::is_at(const void* address) noexcept {
  static base::atomic<unsigned> marks{0};
  base::atomic_ref<unsigned> id{header_->id};
  const auto before = id.load(base::memory_order_relaxed);
  bool same = true;
  for (int times = 0; times < 2; ++times) {
    // equivalent fault (constant): marks differ by whatever is added
    const auto mark = marks.fetch_add(1, base::memory_order_relaxed) + 1;
    id.store(mark, base::memory_order_seq_cst);
    unsigned seen = 0;
    same = same && read_memory(address, &seen, sizeof seen) && seen == mark;
  }
  id.store(before, base::memory_order_relaxed);
  return same;
}

bool ring::looks_like_one(std::uintptr_t address) noexcept {
  ring_header there{};
  const auto* const at = reinterpret_cast<const void*>(address);
  return plausible(at, sizeof there) && read_memory(at, &there, sizeof there) &&
         (there.magic == ring_magic || there.magic == calls_only_magic);
}

// Our own mapping is refused, too: it may lie where another ring was, whose handle a thread may still use.
bool ring::has_moved_to(void* address) noexcept {
  if (address == address_ || address == header_ || !is_at(address)) return false;
  address_ = address;
  return true;
}

// The program may store any value, so head is taken modulo the capacity. Acquire: the program has read the events
// before it moved head.
unsigned ring::head() const noexcept {
  return base::atomic_ref<unsigned>{header_->head}.load(base::memory_order_acquire) % capacity_;
}

bool ring::take_slot() noexcept {
  if (slots_ == 0) refill_slots();
  if (slots_ == 0) return false;
  --slots_;
  return true;
}

void ring::refill_slots() noexcept {
  const auto head = this->head();
  find_own_reads(head);
  const auto still_there = std::min(used(head), published_);
  slots_ += published_ - still_there;
  published_ = still_there;
}

// Release pairs with the acquire of a program that reads tail and then the events.
void ring::commit() noexcept { base::atomic_ref<unsigned>{header_->tail}.store(tail_, base::memory_order_release); }

void ring::find_own_reads(unsigned head) noexcept {
  if (head == head_after_get_ || is_read_directly_) return;
  is_read_directly_ = true;
  if (!is_left_to_calls_) return;
  is_left_to_calls_ = false;
  base::atomic_ref<unsigned>{header_->magic}.store(ring_magic, base::memory_order_release);
}

// The magic number changes before a request is started whose event may be late, so the program reads the new number.
bool ring::leave_to_calls() noexcept {
  if (got_ < enough_got) return false;
  find_own_reads(head());
  if (is_read_directly_ || is_left_to_calls_) return is_left_to_calls_;
  is_left_to_calls_ = true;
  base::atomic_ref<unsigned>{header_->magic}.store(calls_only_magic, base::memory_order_release);
  return true;
}

std::size_t ring::get(std::span<io_event> events) noexcept {
  const auto head = this->head();
  find_own_reads(head);
  const auto count = std::min<std::size_t>(events.size(), used(head));
  const auto first = std::min<std::size_t>(count, capacity_ - head);
  std::copy_n(events_ + head, first, events.begin());
  std::copy_n(events_, count - first, events.begin() + static_cast<std::ptrdiff_t>(first));
  if (count > 0) {
    const auto next = static_cast<unsigned>((head + count) % capacity_);
    base::atomic_ref<unsigned>{header_->head}.store(next, base::memory_order_release);
    head_after_get_ = next;
    got_ = static_cast<unsigned>(std::min<std::size_t>(got_ + count, enough_got));
  }
  return count;
}

}  // namespace doorbell::aio
