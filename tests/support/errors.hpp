// SPDX-License-Identifier: Apache-2.0
//
// The error of a call, in either of its two forms, as a value that a test can compare.
#pragma once

#include <system_error>

namespace doorbell::test {

/// The value to which `call(ec)` sets its error_code. Before the call it contains an error, which a successful call
/// must clear.
template <class Call>
[[nodiscard]] std::error_code error_of(Call call) {
  auto ec = std::make_error_code(std::errc::not_supported);
  call(ec);
  return ec;
}

/// The code of the system_error that `call()` throws; success if it throws none.
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
