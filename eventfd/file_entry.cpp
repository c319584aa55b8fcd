// SPDX-License-Identifier: Apache-2.0
#include "file_entry.hpp"

#include <doorbell/base/fork_aware_mutex.hpp>
#include <doorbell/base/publication.hpp>

namespace doorbell {

struct eventfd_ctx::file_entry::list {
  base::fork_aware_mutex mutex;
  file_entry* first DOORBELL_GUARDED_BY(mutex) = nullptr;

  static list& process() noexcept {
    static constinit list only;
    return only;
  }

  /// Rebuilds the backward links, which another thread of the parent may have been changing at the fork.
  void repair() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    file_entry* before = nullptr;
    for (auto* each = first; each != nullptr; each = each->next_) {
      each->previous_ = before;
      before = each;
    }
  }
};

eventfd_ctx::file_entry::file_entry(eventfd_ctx& ctx, base::wake_function wake) noexcept
    : process_entry{wake}, ctx_{ctx} {
  auto& all = list::process();
  const base::fork_aware_lock held{all.mutex};
  if (held.was_taken_over()) all.repair();
  next_ = all.first;
  if (next_ != nullptr) next_->previous_ = this;
  base::publish(all.first, this);
}

eventfd_ctx::file_entry::~file_entry() {
  auto& all = list::process();
  const base::fork_aware_lock held{all.mutex};
  if (held.was_taken_over()) all.repair();
  base::publish(previous_ != nullptr ? previous_->next_ : all.first, next_);
  if (next_ != nullptr) next_->previous_ = previous_;
}

// lock() does the work: it finds that the queue is inherited. An entry that is on no queue had not been added yet, or
// was about to be deleted, by a thread of the parent; in the second case its eventfd may have been freed.
void eventfd_ctx::file_entry::begin_all_in_child() noexcept {
  auto& all = list::process();
  const base::fork_aware_lock held{all.mutex};
  all.repair();
  for (auto* each = all.first; each != nullptr; each = each->next_)
    if (each->linked()) const eventfd_ctx_lock begun{each->ctx_};
}

}  // namespace doorbell
