// SPDX-License-Identifier: Apache-2.0
//
// How a call failed, in either of its two forms, as a value that a test can compare.
#pragma once

#include <system_error>

namespace doorbell::test {

/// What `call(ec)` sets its error_code to. It finds an error there, which success has to clear.
template <class Call>
[[nodiscard]] std::error_code error_of(Call call) {
  auto ec = std::make_error_code(std::errc::not_supported);
  call(ec);
  return ec;
}

/// What the system_error thrown by `call()` carries; success, when none is.
template <class Call>
[[nodiscard]] std::error_code thrown_by(Call call) {
  try {
    call();
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

}  // namespace doorbell::test
