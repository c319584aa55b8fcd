// SPDX-License-Identifier: Apache-2.0
#include "guest.hpp"

#include <utility>

namespace irqfd {

guest::guest(disk_queue& queue, const disk_image& disk, interrupts& pending, doorbell::eventfd kick)
    : queue_{queue}, disk_{disk}, interrupts_{pending}, kick_{std::move(kick)}, asked_for_(queue.depth()) {}

void guest::run() {
  const auto kick = std::move(kick_);
  for (std::size_t slot = 0; slot < queue_.depth(); ++slot) ask(slot);
  kick.signal(queue_.depth());
  while (in_flight_ > 0) {
    const auto vectors = interrupts_.halt();
    if ((vectors & (1U << disk_vector)) == 0) continue;  // another vector, or the nudge of stop()
    if (const auto asked = take_completions(); asked > 0) kick.signal(asked);
  }
}

void guest::stop() {
  stopping_ = true;
  interrupts_.nudge();
}

void guest::ask(std::size_t slot) {
  asked_for_[slot] = random_() % disk_.blocks();
  queue_.available.push({slot, asked_for_[slot]});
  ++in_flight_;
}

/// @return the number of new requests, which take the place of completed ones.
std::size_t guest::take_completions() {
  std::size_t asked = 0;
  while (const auto done = queue_.used.pop()) {
    --in_flight_;
    ++blocks_read_;
    if (done->result != block_size || !disk_.holds(asked_for_[done->slot], queue_.buffer(done->slot))) ++wrong_blocks_;
    if (stopping_) continue;
    ask(done->slot);
    ++asked;
  }
  return asked;
}

}  // namespace irqfd
