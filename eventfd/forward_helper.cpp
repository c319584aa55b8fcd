// SPDX-License-Identifier: Apache-2.0
#include "forward_helper.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <system_error>

#include <doorbell/base/atomic.hpp>
#include <doorbell/base/background_thread.hpp>
#include <doorbell/base/fork_aware_mutex.hpp>
#include <doorbell/base/futex.hpp>
#include <doorbell/base/process_generation.hpp>

namespace doorbell::forward_helper {
namespace {

constexpr std::chrono::seconds idle_time{5};
// Up to this number, post() starts a thread whenever none is idle. Further threads are started only by relieve().
constexpr unsigned usual_threads = 4;

class forward_threads {
 public:
  [[nodiscard]] bool post(job& work) noexcept {
    {
      const hold held{*this};
      if (waiting_ >= idle_ && threads_ < usual_threads && !start_locked() && threads_ == 0) return false;
      *last_ = &work;
      last_ = &work.next;
      ++waiting_;
      // equivalent fault (constant): that it changes is enough
      posted_.fetch_add(1, base::memory_order_relaxed);
    }
    base::futex_wake_one(&posted_);
    return true;
  }

  // Starts a thread for each waiting job, not only for the caller's: a new thread takes the job that has waited
  // longest.
  void relieve() noexcept {
    const hold held{*this};
    for (auto missing = waiting_ - std::min(waiting_, idle_); missing > 0 && start_locked(); --missing) {
    }
  }

 private:
  /// Holds the lock. In a child it first forgets the threads and jobs of the parent.
  class DOORBELL_SCOPED_LOCKABLE hold {
   public:
    explicit hold(forward_threads& held) noexcept DOORBELL_EXCLUSIVE_LOCK_FUNCTION(held.lock_) : held_{held} {
      held.lock_.lock();
      if (held.generation_ != base::process_generation()) held.begin_anew_locked();
    }
    ~hold() DOORBELL_UNLOCK_FUNCTION() { held_.lock_.unlock(); }
    hold(const hold&) = delete;
    hold& operator=(const hold&) = delete;

   private:
    forward_threads& held_;
  };

  void begin_anew_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    generation_ = base::process_generation();
    first_ = nullptr;
    last_ = &first_;
    waiting_ = threads_ = idle_ = 0;
  }

  [[nodiscard]] bool start_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    const auto body = [](void* self) noexcept { static_cast<forward_threads*>(self)->run(); };
    if (base::start_background_thread("doorbell-fwd", body, this)) return false;
    ++threads_;
    ++idle_;
    return true;
  }

  void run() noexcept {
    while (auto* const work = next()) {
      work->serve();
      const hold held{*this};
      ++idle_;
    }
  }

  /// Waits for a job. @return null: the thread must end.
  [[nodiscard]] job* next() noexcept {
    for (;;) {
      std::uint32_t seen = 0;  // equivalent fault (constant): it is set below
      {
        const hold held{*this};
        if (auto* const work = take_locked()) return work;
        seen = posted_.load(base::memory_order_relaxed);
      }
      const auto until = std::chrono::steady_clock::now() + idle_time;
      const bool is_over = base::futex_wait(posted_, seen, until) == base::futex_result::timed_out;
      const hold held{*this};
      if (!is_over || first_ != nullptr) continue;
      --idle_;
      --threads_;
      return nullptr;
    }
  }

  [[nodiscard]] job* take_locked() noexcept DOORBELL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    auto* const work = first_;
    if (work == nullptr) return nullptr;
    first_ = work->next;
    work->next = nullptr;
    if (first_ == nullptr) last_ = &first_;
    --waiting_;
    --idle_;
    return work;
  }

  base::fork_aware_mutex lock_;  // acquired last
  std::uint32_t generation_ DOORBELL_GUARDED_BY(lock_) = 0;
  job* first_ DOORBELL_GUARDED_BY(lock_) = nullptr;
  job** last_ DOORBELL_GUARDED_BY(lock_) = nullptr;
  unsigned waiting_ DOORBELL_GUARDED_BY(lock_) = 0;  // jobs in the list
  unsigned threads_ DOORBELL_GUARDED_BY(lock_) = 0;
  unsigned idle_ DOORBELL_GUARDED_BY(lock_) = 0;  // threads without a job, including those that have not begun
  base::atomic<std::uint32_t> posted_{0};         // the number of jobs posted; changes under the lock
};

// Initialized at compile time: a run-time initialization would have a lock, which a child could inherit locked. Never
// destroyed: threads may use it until the process ends.
constinit forward_threads process;

}  // namespace

bool post(job& work) noexcept { return process.post(work); }

void relieve() noexcept { process.relieve(); }

}  // namespace doorbell::forward_helper
