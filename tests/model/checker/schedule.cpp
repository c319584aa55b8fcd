// SPDX-License-Identifier: Apache-2.0
#include "schedule.hpp"

#include <charconv>

namespace doorbell::model {
namespace {

std::optional<unsigned> number(std::string_view text) noexcept {
  unsigned value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<thread_id> thread_of(char letter) noexcept {
  for (thread_id id = 0; id < max_threads; ++id)
    if (letter_of(id) == letter) return id;
  return std::nullopt;
}

}  // namespace

std::string schedule::to_string() const {
  std::string text;
  for (std::size_t i = 0; i < entries_.size();) {
    std::size_t same = i + 1;
    if (!text.empty()) text += '.';
    if (entries_[i].is_pick) {
      text += '=' + std::to_string(entries_[i].value);
    } else {
      while (same < entries_.size() && entries_[same] == entries_[i]) ++same;
      text += letter_of(entries_[i].value);
      if (same - i > 1) text += std::to_string(same - i);
    }
    i = same;
  }
  return text;
}

std::optional<schedule> schedule::parse(std::string_view text) {
  schedule parsed;
  while (!text.empty()) {
    const auto word = text.substr(0, text.find('.'));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    if (word.empty()) return std::nullopt;
    const auto value = word.size() == 1 ? std::optional{1U} : number(word.substr(1));
    if (!value) return std::nullopt;
    if (word[0] == '=') {
      parsed.add_pick(*value);
      continue;
    }
    const auto thread = thread_of(word[0]);
    if (!thread) return std::nullopt;
    for (unsigned i = 0; i < *value; ++i) parsed.add_step(*thread);
  }
  return parsed;
}

}  // namespace doorbell::model
