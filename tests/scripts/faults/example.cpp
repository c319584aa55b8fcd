// SPDX-License-Identifier: Apache-2.0
//
// example.expected lists the faults that sanitizers/run_faults generates for this file. No build compiles the file.
#include <fcntl.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#define TWICE(x) ((x) + (x))

namespace example {

constexpr int limit = 10;
static_assert(limit > 9);

class depth {
 public:
  explicit depth(int& count) : count_{count} { ++count_; }
  ~depth() { --count_; }

 private:
  int& count_;
};

class counter {
 public:
  bool add(int amount) {
    const depth inside{depth_};
    if (amount < 0 || sum_ + amount > limit) return false;
    sum_ += amount;
    notify();
    return true;
  }

  int sum() const {
    if (depth_ != 0) return -1;
    return sum_;
  }

  void notify() { changes_.fetch_add(1, std::memory_order_release); }

 private:
  int depth_ = 0;
  int sum_ = 0;
  std::atomic<int> changes_{0};
};

void annotate(const counter&) {}

[[noreturn]] void give_up() { std::abort(); }

constexpr int square(int x) { return x * x + 1; }

int flags_of(bool writes) { return O_CLOEXEC | O_NONBLOCK | (writes ? O_WRONLY : O_RDONLY); }

int check(int value) {
  switch (value) {
    case 1:
      return -EINVAL;
    case TWICE(2):
      return TWICE(3);
    default:
      break;
  }
  char buffer[4] = {};
  buffer[0] = static_cast<char>(value);  // equivalent fault: the buffer is not read
  // equivalent fault (negated): the loop ends in either case
  while (value == 7) value = 2;
  return value != 2 ? -EAGAIN : 0;
}

std::error_code refuse(int value) {
  if constexpr (limit > 5) value += limit;
  if (value > 20) return std::make_error_code(std::errc::no_space_on_device);
  return {};
}

template <class T>
T* first(T* begin, T* end) {
  for (auto* each = begin; each != end; ++each)
    if (*each) return each;
  return nullptr;
}

int run() {
  counter total;
  if (total.sum() != 0) give_up();
  const auto more = [&](int amount) { return total.add(amount) && total.sum() >= 3; };
  int numbers[] = {0, 5};
  annotate(total);
  more(3);
  return total.sum() + check(1) + flags_of(false) + refuse(1).value() + (first(numbers, numbers + 2) != nullptr);
}

}  // namespace example

int main() { return example::run() != (3 - EINVAL + (O_CLOEXEC | O_NONBLOCK) + 1); }
