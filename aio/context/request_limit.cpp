// SPDX-License-Identifier: Apache-2.0
#include "request_limit.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

namespace doorbell::aio {
namespace {

constexpr std::uint64_t kernels_default = 65536;

std::optional<std::uint64_t> number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> from_environment() noexcept {
  const char* const text = ::secure_getenv("DOORBELL_AIO_MAX_NR");
  return text != nullptr ? number(text) : std::nullopt;
}

std::optional<std::uint64_t> from_kernel() {
  std::ifstream file{"/proc/sys/fs/aio-max-nr"};
  std::uint64_t value = 0;
  return file >> value ? std::optional{value} : std::nullopt;
}

std::uint64_t configured() {
  if (const auto asked = from_environment()) return *asked;
  return from_kernel().value_or(kernels_default);
}

}  // namespace

request_limit& request_limit::process() noexcept {
  static constinit request_limit one{not_known_yet};
  return one;
}

// Several threads may compute the maximum concurrently. A lock would remain locked for ever in a child that is forked
// while another thread holds it.
std::uint64_t request_limit::max() noexcept {
  auto known = max_.load(base::memory_order_relaxed);
  if (known == not_known_yet) {
    known = std::min(configured(), not_known_yet - 1);
    max_.store(known, base::memory_order_relaxed);
  }
  return known;
}

bool request_limit::charge(std::uint64_t requests) noexcept {
  const auto max = this->max();
  auto charged = charged_.load(base::memory_order_relaxed);
  do {
    if (requests > max || charged > max - requests) return false;
  } while (!charged_.compare_exchange_weak(charged, charged + requests, base::memory_order_relaxed));
  return true;
}

}  // namespace doorbell::aio
