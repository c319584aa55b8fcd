// SPDX-License-Identifier: Apache-2.0
#include "trace.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <map>
#include <string_view>

#include "call_stack.hpp"
#include "schedule.hpp"

namespace doorbell::model {
namespace {

constexpr const char* failed_here = "***";

using places = std::vector<source_place>;

bool is_ours(const source_place& place) {
  return place.file.empty() || place.file.starts_with("?") || place.file.find("/model/checker/") != std::string::npos ||
         place.file.find("/model/seam/") != std::string::npos || place.file.ends_with("/model/scenario.hpp");
}

// Functions whose names add no information to that of the operation.
bool is_wrapper(const source_place& place) {
  return place.file.find("/doorbell/base/mutex.hpp") != std::string::npos || place.file.starts_with("/usr/");
}

bool is_scenario(const source_place& place) {
  return place.file.find("/tests/model/") != std::string::npos && !is_ours(place);
}

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string source_line(const source_place& place) {
  std::ifstream file{place.file};
  std::string text;
  for (unsigned i = 0; i < place.line; ++i) std::getline(file, text);
  const auto begin = text.find_first_not_of(' ');
  return begin == std::string::npos ? "" : text.substr(begin);
}

/// The name before ".load(" and the like.
std::string variable_in(const std::string& text) {
  constexpr std::array<std::string_view, 5> operations{".load(", ".store(", ".exchange(", ".fetch_",
                                                       ".compare_exchange"};
  for (const auto operation : operations) {
    const auto end = text.find(operation);
    if (end == std::string::npos) continue;
    auto begin = end;
    int brackets = 0;  // open ones, seen from the end
    while (begin > 0) {
      const char each = text[begin - 1];
      if (each == ')') ++brackets;
      if (each == '(' && --brackets < 0) break;
      if (std::isalnum(static_cast<unsigned char>(each)) == 0 &&
          std::string_view{"_.()"}.find(each) == std::string_view::npos)
        break;
      --begin;
    }
    return text.substr(begin, end - begin);
  }
  return "";
}

std::vector<std::string> wrap(const std::string& text, std::size_t width, std::size_t indent) {
  std::vector<std::string> lines;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::string margin(lines.empty() ? 0 : indent, ' ');
    const auto room = width - margin.size();
    auto end = std::min(text.size(), at + room);
    if (end < text.size())
      if (const auto space = text.rfind(' ', end); space != std::string::npos && space > at) end = space;
    lines.push_back(margin + text.substr(at, end - at));
    at = text.find_first_not_of(' ', end);
  }
  return lines;
}

/// The place, without functions of the model checker, and its caller outside base.
std::string place_of(const places& inward) {
  const auto here =
      std::ranges::find_if(inward, [](const auto& place) { return !is_ours(place) && !is_wrapper(place); });
  if (here == inward.end()) return "";
  std::string text = here->function;
  const auto by = std::find_if(here, inward.end(), [](const auto& place) {
    return !is_ours(place) && !is_wrapper(place) && place.file.find("/base/") == std::string::npos;
  });
  if (by != here && by != inward.end() && !is_scenario(*by)) text = by->function + " > " + text;
  return text;
}

/// A table with a column for each thread. A row fills one column.
class table {
 public:
  table(std::FILE* to, std::size_t columns) : to_{to}, columns_{columns}, width_{columns > 2 ? 40U : 54U} {}

  void row(const std::string& number, std::size_t column, const std::string& text, std::size_t indent) const {
    bool first = true;
    for (const auto& each : wrap(text, width_, indent)) {
      line(first ? number : "", column, each);
      first = false;
    }
  }
  void line(const std::string& number, std::size_t column, const std::string& text) const {
    std::string all = number;
    all.insert(0, 4 - std::min<std::size_t>(4, all.size()), ' ');
    for (std::size_t i = 0; i < columns_; ++i) {
      std::string cell = i == column ? text : "";
      cell.resize(std::max(width_, cell.size()), ' ');
      all += (i == 0 ? "  " : " | ") + cell;
    }
    all.erase(all.find_last_not_of(' ') + 1);
    std::fprintf(to_, "%s\n", all.c_str());
  }
  void header(const std::vector<std::string>& names) const {
    std::string all(4, ' ');
    for (std::size_t i = 0; i < columns_; ++i) {
      std::string cell{letter_of(static_cast<thread_id>(i + 1))};
      cell.append(": ").append(names[i]).resize(width_, ' ');
      all.append(i == 0 ? "  " : " | ").append(cell);
    }
    all.erase(all.find_last_not_of(' ') + 1);
    std::fprintf(to_, "%s\n", all.c_str());
    rule();
  }
  void rule() const { std::fprintf(to_, "%s\n", std::string(4 + columns_ * (width_ + 3), '-').c_str()); }
  [[nodiscard]] std::size_t width() const noexcept { return width_; }

 private:
  std::FILE* to_;
  std::size_t columns_;
  std::size_t width_;
};

}  // namespace

std::string value_text(std::uint64_t value, std::size_t bytes) {
  constexpr unsigned first_flag = 60;
  const bool below_zero = bytes == 8 && value > ~std::uint64_t{0} - 1000;
  if (below_zero) return "-" + std::to_string(~value + 1);
  std::string text;
  for (unsigned bit = 63; bit >= first_flag; --bit)
    if (value >> bit & 1) text.append("b").append(std::to_string(bit)).append("|");
  value &= (std::uint64_t{1} << first_flag) - 1;
  if (value < 1U << 20) return text + std::to_string(value);
  std::array<char, 24> digits{};
  std::snprintf(digits.data(), digits.size(), "0x%llx", static_cast<unsigned long long>(value));
  return text + digits.data();
}

std::string trace::text_of(const line& what, const std::vector<source_place>& inward) {
  const auto here =
      std::ranges::find_if(inward, [](const auto& place) { return !is_ours(place) && !is_wrapper(place); });
  std::string text;
  if (here != inward.end() && what.name != failed_here) {
    text = place_of(inward) + ": ";
    if (const auto variable = variable_in(source_line(*here)); !variable.empty()) text.append(variable).append(" ");
  }
  text += what.name;
  if (!what.what.empty()) text.append(" ").append(what.what);
  if (here != inward.end())
    text.append("  [").append(file_name(here->file)).append(":").append(std::to_string(here->line)).append("]");
  return text;
}

void trace::step(thread_id who, const char* name, bool together) {
  if (!together) return;
  lines_.push_back({.who = who, .name = name, .what = {}, .calls = call_stack()});
}

void trace::tell(const std::string& what) {
  if (!lines_.empty()) lines_.back().what = what;
}

void trace::end(thread_id who, const std::string& what) {
  if (ended_) return;
  ended_ = true;
  lines_.push_back({.who = who, .name = failed_here, .what = what, .calls = call_stack()});
}

void trace::print(std::FILE* to, const std::vector<std::string>& names) const {
  std::vector<std::uintptr_t> addresses;
  for (const auto& each : lines_) addresses.insert(addresses.end(), each.calls.begin(), each.calls.end());
  auto known = look_up(addresses);
  const table all{to, names.size()};
  all.header(names);
  std::map<thread_id, unsigned> last_line;
  unsigned number = 0;
  for (const auto& each : lines_) {
    ++number;
    const bool failed = each.name == failed_here;
    if ((each.who == 0 || each.name == "begin") && !failed) continue;
    places inward;
    for (const auto address : each.calls)
      for (const auto& place : known[address]) inward.push_back(place);
    if (each.who == 0) {  // the scenario itself, which has no column
      std::fprintf(to, "      %s\n", text_of(each, inward).c_str());
      continue;
    }
    const auto column = each.who - 1;
    const auto caller = std::ranges::find_if(inward, is_scenario);
    if (caller != inward.end() && last_line[each.who] != caller->line) {
      last_line[each.who] = caller->line;
      all.row("", column, "> " + source_line(*caller), 4);
    }
    all.row(failed ? "" : std::to_string(number), column, text_of(each, inward), 4);
  }
  all.rule();
}

}  // namespace doorbell::model
