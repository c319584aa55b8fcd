// SPDX-License-Identifier: Apache-2.0
//
// unknown_descriptors: the program closes or replaces all descriptors that it does not know, and reuses some of their
// numbers for its own files. The library must not change these files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace doorbell::soak {

class unknown_descriptors {
 public:
  /// @param first all lower numbers are descriptors of the program, which stay open.
  explicit unknown_descriptors(int first) noexcept : first_{first} {}
  unknown_descriptors(const unknown_descriptors&) = delete;
  unknown_descriptors& operator=(const unknown_descriptors&) = delete;
  ~unknown_descriptors() { check_and_close_files(); }

  /// Closes or replaces all unknown descriptors, in one of five ways, and opens files. Before, checks and closes the
  /// files of the previous call.
  void take(std::minstd_rand& random);
  /// Requires that each of the files is open and has the content and position that the program has given it.
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
