// SPDX-License-Identifier: Apache-2.0
//
// unknown_descriptors: the program closes all descriptors that it does not know, or replaces them, and then uses
// numbers of them for files of its own. These must stay as they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace doorbell::soak {

class unknown_descriptors {
 public:
  /// @param first all lower numbers are descriptors of the program, which stay.
  explicit unknown_descriptors(int first) noexcept : first_{first} {}
  unknown_descriptors(const unknown_descriptors&) = delete;
  unknown_descriptors& operator=(const unknown_descriptors&) = delete;
  ~unknown_descriptors() { check_and_close_files(); }

  /// Takes all of them away, in one of five ways, and opens files. Checks and closes those of the time before.
  void take(std::minstd_rand& random);
  /// Requires that each of the files is open and that its content and its position are the program's.
  void check_and_close_files();

  /// How many files have been checked.
  [[nodiscard]] std::uint64_t checked() const noexcept { return checked_; }

 private:
  enum class kind : std::uint8_t { file, eventfd };
  struct own_file {
    int number;
    kind is;
    bool is_duplicate;
    std::uint64_t inode;
  };

  [[nodiscard]] std::vector<int> numbers_in_use() const;
  void open_at_lowest(kind what);
  void put_at(int number, const own_file& original);
  static void check(const own_file& one);
  static void check_count(const own_file& one);

  const int first_;
  std::vector<own_file> files_;
  std::uint64_t checked_ = 0;
};

}  // namespace doorbell::soak
