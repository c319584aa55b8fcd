// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

namespace doorbell::run {

/// The reason why the program cannot be started: the message, and the exit status, which has the meaning of env(1).
class failure : public std::runtime_error {
 public:
  static constexpr int of_doorbell_run = 125;
  static constexpr int cannot_be_run = 126;
  static constexpr int not_found = 127;

  failure(int status, const std::string& message) : std::runtime_error{message}, status_{status} {}

  [[nodiscard]] int status() const noexcept { return status_; }

 private:
  int status_;
};

}  // namespace doorbell::run
