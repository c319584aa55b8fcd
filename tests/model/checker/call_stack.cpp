// SPDX-License-Identifier: Apache-2.0
#include "call_stack.hpp"

#include <link.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <sstream>
#include <string_view>

#include "scheduler.hpp"

namespace doorbell::model {
namespace {

/// Removes brackets of one kind, with the text in them and nested ones.
std::string without(std::string_view text, char open, char close) {
  std::string rest;
  int depth = 0;
  for (const char each : text) {
    if (each == open) ++depth;
    if (depth == 0) rest += each;
    if (each == close && depth > 0) --depth;
  }
  return rest;
}

std::string short_name(std::string name) {
  for (std::string_view lambda{"{lambda"}; name.find(lambda) != std::string::npos;) {
    const auto at = name.find(lambda);
    int depth = 0;
    auto end = at;
    for (; end < name.size(); ++end) {
      if (name[end] == '{') ++depth;
      if (name[end] == '}' && --depth == 0) break;
    }
    name.replace(at, end + 1 - at, "lambda");
  }
  for (const std::string_view call{"operator()"}; name.find(call) != std::string::npos;)
    name.replace(name.find(call), call.size(), "call");
  if (name.ends_with(" const")) name.erase(name.size() - 6);
  name = without(without(name, '(', ')'), '<', '>');
  if (const auto space = name.find_last_of(' '); space != std::string::npos) name.erase(0, space + 1);
  const auto last = name.rfind("::");
  if (last == std::string::npos || last == 0) return name;
  const auto before = name.rfind("::", last - 1);
  return before == std::string::npos ? name : name.substr(before + 2);
}

std::uintptr_t load_address() {
  std::uintptr_t address = 0;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t /*bytes*/, void* found) {
        *static_cast<std::uintptr_t*>(found) = info->dlpi_addr;
        return 1;  // the first is the program
      },
      &address);
  return address;
}

std::string output_of(const std::string& command) {
  struct close {
    void operator()(std::FILE* file) const noexcept { ::pclose(file); }
  };
  // NOLINTNEXTLINE(bugprone-command-processor): the command contains only numbers and no user input
  const std::unique_ptr<std::FILE, close> pipe{::popen(command.c_str(), "r")};
  std::string text;
  std::array<char, 4096> some{};
  while (pipe != nullptr) {
    const auto bytes = std::fread(some.data(), 1, some.size(), pipe.get());
    if (bytes == 0) break;
    text.append(some.data(), bytes);
  }
  return text;
}

source_place parse(std::string function, std::string_view where) {
  source_place place{.function = short_name(std::move(function)), .file = {}};
  const auto colon = where.rfind(':');
  if (colon == std::string_view::npos) return place;
  place.file = where.substr(0, colon);
  std::from_chars(where.data() + colon + 1, where.data() + where.size(), place.line);
  return place;
}

}  // namespace

std::vector<std::uintptr_t> call_stack() {
  std::vector<std::uintptr_t> found;
  auto& all = scheduler::one();
  const auto id = all.current().id;
  const auto& stacks = all.all_memory().all_stacks();
  const auto top = reinterpret_cast<std::uintptr_t>(stacks.top(id));
  auto frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  if (stacks.owner(reinterpret_cast<const void*>(frame)) != id) return found;  // on a fault's stack
  while (frame + 2 * sizeof frame <= top && found.size() < 64) {
    const auto* const record = reinterpret_cast<const std::uintptr_t*>(frame);
    if (record[1] == 0) break;
    found.push_back(record[1]);
    if (record[0] <= frame) break;
    frame = record[0];
  }
  return found;
}

std::map<std::uintptr_t, std::vector<source_place>> look_up(const std::vector<std::uintptr_t>& addresses) {
  std::map<std::uintptr_t, std::vector<source_place>> found;
  for (const auto address : addresses) found[address];
  std::ostringstream command;
  command << "addr2line -a -i -f -C -e /proc/" << ::getpid() << "/exe" << std::hex;
  // The call instruction is before the return address.
  for (const auto& [address, places] : found) command << " 0x" << address - load_address() - 1;
  command << " 2>/dev/null";
  std::istringstream lines{output_of(command.str())};
  auto at = found.begin();
  bool first = true;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0x")) {
      if (!first) ++at;
      first = false;
      if (at == found.end()) break;
      continue;
    }
    std::string where;
    if (at == found.end() || !std::getline(lines, where)) break;
    at->second.push_back(parse(std::move(line), where.substr(0, where.find(" ("))));
  }
  return found;
}

}  // namespace doorbell::model
