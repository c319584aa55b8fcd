// SPDX-License-Identifier: Apache-2.0
//
// depth_first: explores all schedules with at most `most_preemptions` preemptions, except those that differ only in the
// order of independent operations. (Coons, Musuvathi, McKinley: Bounded partial-order reduction, OOPSLA 2013; without
// the bound it is Flanagan and Godefroid's dynamic partial-order reduction.)
//
// Each schedule runs to its end. Wherever an operation could have come before an operation that it depends on, its
// thread is recorded there, to be tried later. With a bound this is not enough, because running the thread there may
// exceed the bound. Therefore it is also recorded where the thread that it would preempt began to run: a switch there
// costs no additional preemption.
#pragma once

#include <vector>

#include "strategy.hpp"

namespace doorbell::model {

class depth_first final : public strategy {
 public:
  enum class reduction { by_dependence, none };

  depth_first(unsigned most_preemptions, reduction how) noexcept : bound_{most_preemptions}, reduction_{how} {}

  /// Prepares the next execution. Call it after each. @return false if there is none.
  [[nodiscard]] bool advance();

  void begin() override { depth_ = 0; }
  [[nodiscard]] thread_id choose(const candidates& who) override;
  [[nodiscard]] unsigned pick(unsigned alternatives) override;
  void announced(std::span<thread> threads, thread& who, objects& all) override;
  void steps(std::span<thread> threads, thread& who, objects& all) override;
  void leaves(const thread& who, object& what) override;

  /// Whether the bound has excluded a schedule: a higher bound would explore more.
  [[nodiscard]] bool was_cut() const noexcept { return cut_; }

 private:
  struct node {
    candidates who{};
    thread_mask todo = 0;
    thread_mask done = 0;
    unsigned chosen = 0;        // thread or alternative
    unsigned preemptions = 0;   // before it
    unsigned alternatives = 0;  // not 0: the node is a pick() with so many alternatives, not a choice of a thread

    [[nodiscard]] bool is_pick() const noexcept { return alternatives != 0; }
    [[nodiscard]] unsigned preemptions_with(thread_id next) const noexcept {
      return preemptions + (!is_pick() && who.is_preemption(next) ? 1 : 0);
    }
  };

  [[nodiscard]] node& push();
  [[nodiscard]] bool try_another(node& at);
  void try_first(int step, thread_id who);
  void note(std::size_t place, thread_id who);

  const unsigned bound_;
  const reduction reduction_;
  std::vector<node> path_;
  std::size_t depth_ = 0;
  bool cut_ = false;
};

}  // namespace doorbell::model
