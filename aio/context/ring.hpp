// SPDX-License-Identifier: Apache-2.0
//
// ring: the memory at a context's handle, which holds events until they are fetched, and the accounting of its slots.
//
// The ring is mapped twice: at the handle, where the program may read, overwrite, move or unmap it, and once for the
// library, which the program's accesses to the handle do not affect. The program may read the ring itself and advance
// head; the library keeps tail and copies it to the header. A request takes a slot when it is submitted. The slot is
// free again when its event has been *fetched*, by a call or by the program itself, not when it is published. So
// requests in flight and unfetched events always fit, and the ring never overflows. Slots are counted here, never
// derived from the ring's fields alone: these only say how many events are still in the ring, and they can free at most
// as many slots as events have been published.
//
// A program that gets its events by calls does not notice if an event is put into the ring only during the call.
// leave_to_calls() reports whether the program's calls and head show such a program. Programs that read the ring
// themselves check the magic number first and make the call if it differs (libaio's io_getevents does); the library
// changes the number while events may be late.
//
// Thread safety: none; kioctx's ring_lock_ guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>

#include <doorbell/aio_iocb.hpp>
#include <doorbell/base/atomic.hpp>

namespace doorbell::aio {

struct ring_header;

class ring {
 public:
  ring() noexcept = default;
  ring(const ring&) = delete;
  ring& operator=(const ring&) = delete;
  ~ring() { unmap(); }

  /// Maps a ring for at least `nr_events` requests in flight. Errors: not_enough_memory.
  void map(unsigned nr_events, std::error_code& ec) noexcept;
  /// Also unmaps the memory at the handle, if it is still the ring: the program may have mapped something else there.
  void unmap() noexcept;

  /// The handle.
  [[nodiscard]] void* address() const noexcept { return address_; }
  /// Whether the program has moved the ring to `address` by mremap(2); from then on, `address` is the handle.
  [[nodiscard]] bool has_moved_to(void* address) noexcept;
  /// Whether there is a ring's header at `address`: of any ring, or a copy of one.
  [[nodiscard]] static bool looks_like_one(std::uintptr_t address) noexcept;
  /// The number of events that it has room for; one of them stays unused.
  [[nodiscard]] unsigned capacity() const noexcept { return capacity_; }

  /// Takes a slot for a request. @return false if there is none.
  [[nodiscard]] bool take_slot() noexcept;
  /// Returns the slot of a request that was not started.
  void return_slot() noexcept { ++slots_; }

  /// Stores an event, invisible until commit(). Inline, because building the event elsewhere and copying it costs
  /// several times as much.
  void publish(const io_event& event) noexcept {
    events_[tail_] = event;
    if (++tail_ == capacity_) tail_ = 0;
    ++published_;
  }
  void commit() noexcept;

  /// The number of events that have not been fetched.
  [[nodiscard]] std::size_t size() const noexcept { return used(head()); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  /// Whether the program gets all events by calls: many so far, and none by reading the ring. If so, changes the
  /// header's magic number until the program is found to read the ring itself.
  [[nodiscard]] bool leave_to_calls() noexcept;

  /// Fetches events. @return how many.
  [[nodiscard]] std::size_t get(std::span<io_event> events) noexcept;

 private:
  [[nodiscard]] bool is_at(const void* address) noexcept;

  [[nodiscard]] unsigned head() const noexcept;
  [[nodiscard]] unsigned used(unsigned head) const noexcept { return (tail_ + capacity_ - head) % capacity_; }
  void refill_slots() noexcept;
  void find_own_reads(unsigned head) noexcept;

  void* address_ = nullptr;        // the program's mapping: never dereferenced
  ring_header* header_ = nullptr;  // the library's mapping
  io_event* events_ = nullptr;
  std::size_t bytes_ = 0;
  unsigned capacity_ = 0;
  unsigned tail_ = 0;
  unsigned slots_ = 0;      // free slots
  unsigned published_ = 0;  // events whose slot is not known to be free again

  static constexpr unsigned enough_got = 64;
  unsigned got_ = 0;               // events that get() has fetched; at most enough_got
  unsigned head_after_get_ = 0;    // if head differs, the program has moved it, and reads the ring itself
  bool is_read_directly_ = false;  // the program reads the ring itself
  bool is_left_to_calls_ = false;  // the magic number is calls_only_magic
};

}  // namespace doorbell::aio
