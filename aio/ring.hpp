// SPDX-License-Identifier: Apache-2.0
//
// ring: the memory at a context's handle, where events lie until they are got, and the accounting of its slots.
//
// Mapped twice: once at the handle, for the program to read, scribble over, move or unmap, and once for us, where none of
// that can hurt. The program may read the ring itself and move head on; tail is ours, kept here and copied out. A request takes a slot
// when it is submitted; the slot is free again when its event has been *got*, by whomever, not when it is published. So
// what is in flight and what has not been got always fit, and the ring never overflows. Slots are counted here, never
// derived from the ring's fields alone: of those, only "how many are still in it" is believed, and what it can add is
// bounded by what has been published.
//
// A program that gets its events by calls does not notice if an event is put in only by the call. leave_to_calls() says
// whether that is so, as far as the program's calls and head show. Programs that look into the ring verify the magic
// number first and, if it is another one, make the call (libaio's io_getevents does); while events may be late, it is
// another one.
//
// Thread safety: none, kioctx's ring_lock_ guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>

#include <doorbell/aio_iocb.hpp>
#include <doorbell/base/atomic.hpp>

namespace doorbell::aio {

class ring {
 public:
  ring() noexcept = default;
  ring(const ring&) = delete;
  ring& operator=(const ring&) = delete;
  ~ring() { unmap(); }

  /// Maps a ring for at least `nr_events` requests in flight. Errors: not_enough_memory.
  void map(unsigned nr_events, std::error_code& ec) noexcept;
  /// Also at the handle, if it is still there: the program may have put something else in its place.
  void unmap() noexcept;

  /// The handle.
  [[nodiscard]] void* address() const noexcept { return address_; }
  /// Whether the program has moved the ring, by mremap(2), to `address`; from then on that is the handle.
  [[nodiscard]] bool has_moved_to(void* address) noexcept;
  /// Whether there is a ring's header at `address`; anybody's, or a copy of one.
  [[nodiscard]] static bool looks_like_one(std::uintptr_t address) noexcept;
  /// How many events it has room for, one of which stays empty.
  [[nodiscard]] unsigned capacity() const noexcept { return capacity_; }

  /// Takes a slot for a request. @return false when there is none.
  [[nodiscard]] bool take_slot() noexcept;
  /// Gives back the slot of a request that was not started.
  void return_slot() noexcept { ++slots_; }

  /// Puts an event in, invisible until commit(). Inline: put together elsewhere and copied, it costs several times as much.
  void publish(const io_event& event) noexcept {
    events_[tail_] = event;
    if (++tail_ == capacity_) tail_ = 0;
    ++published_;
  }
  void commit() noexcept;

  [[nodiscard]] bool empty() const noexcept { return used(head()) == 0; }

  /// Whether the program gets all events by calls: many so far, and none by itself. Then the header's magic number
  /// becomes another one, until the program is found to read the ring itself.
  [[nodiscard]] bool leave_to_calls() noexcept;

  /// Gets events. @return how many.
  [[nodiscard]] std::size_t get(std::span<io_event> events) noexcept;

 private:
  struct header;

  [[nodiscard]] bool is_at(const void* address) noexcept;

  [[nodiscard]] unsigned head() const noexcept;
  [[nodiscard]] unsigned used(unsigned head) const noexcept { return (tail_ + capacity_ - head) % capacity_; }
  void refill_slots() noexcept;
  void find_own_reads(unsigned head) noexcept;

  void* address_ = nullptr;   // the program's mapping: never read or written through
  header* header_ = nullptr;  // ours
  io_event* events_ = nullptr;
  std::size_t bytes_ = 0;
  unsigned capacity_ = 0;
  unsigned tail_ = 0;
  unsigned slots_ = 0;      // free ones
  unsigned published_ = 0;  // events whose slot has not been given back

  static constexpr unsigned enough_got = 64;
  unsigned got_ = 0;               // events, by get(); at most enough_got
  unsigned head_after_get_ = 0;    // if the program moves it, it reads the ring itself
  bool is_read_directly_ = false;  // it has done so
  bool is_left_to_calls_ = false;  // the magic number says it
};

}  // namespace doorbell::aio
