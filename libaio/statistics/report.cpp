// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iomanip>
#include <sstream>
#include <string_view>

#include "system_calls.hpp"

namespace doorbell::libaio {
namespace {

using errors = std::array<counters::number, counters::errnos>;

constexpr std::array<std::string_view, counters::opcodes> opcode_names{"pread", "pwrite", "fsync",  "fdsync", "4",
                                                                       "poll",  "noop",   "preadv", "pwritev"};
constexpr std::array<std::string_view, calls> call_names{"io_setup", "io_destroy", "io_submit", "io_cancel",
                                                         "io_getevents"};
constexpr std::array<std::string_view, 3> answerers{"in io_submit", "by io_uring", "by threads"};
constexpr std::array<std::string_view, 3> answerer_keys{"submit", "io_uring", "threads"};

struct percentile {
  std::string_view name;
  double part;
};
constexpr std::array<percentile, 4> percentiles{{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}};

std::uint64_t sum_of(const auto& numbers) {
  std::uint64_t sum = 0;
  for (const auto& each : numbers) sum += each;
  return sum;
}

std::string name_of(std::size_t error) {
  const char* const name = ::strerrorname_np(static_cast<int>(error));
  return name != nullptr ? name : std::to_string(error);
}

/// The caller of a program chooses its name (argv[0]). A control character in it, for example the end of a line, would let
/// the caller add text of its own to the report of a more privileged program.
std::string printable(std::string_view text) {
  std::string result{text};
  for (auto& each : result)
    if (static_cast<unsigned char>(each) < 0x20 || each == 0x7f) each = '?';
  return result;
}

/// Says what is between two parts, from the second on.
class between {
 public:
  explicit between(std::string_view what) : what_{what} {}
  friend std::ostream& operator<<(std::ostream& out, between& one) {
    if (one.is_first_)
      one.is_first_ = false;
    else
      out << one.what_;
    return out;
  }
  [[nodiscard]] bool nothing_said() const { return is_first_; }

 private:
  std::string_view what_;
  bool is_first_ = true;
};

// For people.

/// A number with the largest of the units in which it is at least 1.
template <std::size_t Units>
void print_with_unit(std::ostream& out, std::uint64_t number, double step,
                     const std::array<std::string_view, Units>& units) {
  auto scaled = static_cast<double>(number);
  std::size_t unit = 0;
  for (; scaled >= step && unit + 1 < Units; ++unit) scaled /= step;
  out << std::fixed << std::setprecision(unit == 0 ? 0 : 1) << scaled << ' ' << units[unit];
}

void print_bytes(std::ostream& out, std::uint64_t bytes) {
  constexpr std::array<std::string_view, 6> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  print_with_unit(out, bytes, 1024, units);
}

void print_time(std::ostream& out, std::uint64_t ns) {
  constexpr std::array<std::string_view, 4> units{"ns", "us", "ms", "s"};
  print_with_unit(out, ns, 1000, units);
}

void print_errors(std::ostream& out, const errors& table, between& comma, std::string_view before) {
  for (std::size_t error = 0; error < table.size(); ++error)
    if (table[error] > 0) out << comma << before << name_of(error) << ' ' << table[error];
}

void print_requests(std::ostream& out, const counters& all) {
  out << sum_of(all.requests);
  between colon{", "};
  for (std::size_t opcode = 0; opcode < all.requests.size(); ++opcode)
    if (all.requests[opcode] > 0)
      out << (colon.nothing_said() ? ": " : "") << colon << opcode_names[opcode] << ' ' << all.requests[opcode];
}

void print_answers(std::ostream& out, const counters& all) {
  between comma{", "};
  for (std::size_t whom = 0; whom < answerers.size(); ++whom)
    out << comma << all.answered_by_whom[whom] << ' ' << answerers[whom];
}

void print_failures(std::ostream& out, const counters& all) {
  between comma{", "};
  print_errors(out, all.failed, comma, "");
  if (comma.nothing_said()) out << "none";
}

void print_refusals(std::ostream& out, const counters& all) {
  between comma{", "};
  for (std::size_t which = 0; which < calls; ++which)
    print_errors(out, all.refused[which], comma, std::string{call_names[which]}.append(" "));
  if (comma.nothing_said()) out << "none";
}

void print_latency(std::ostream& out, const counters& all) {
  for (const auto& [name, part] : percentiles) {
    out << name << ' ';
    print_time(out, static_cast<std::uint64_t>(all.latency(part).count()));
    out << ", ";
  }
  out << "max ";
  print_time(out, all.longest_ns);
}

// For programs.

void write_errors(std::ostream& out, const errors& table) {
  between comma{","};
  out << '{';
  for (std::size_t error = 0; error < table.size(); ++error)
    if (table[error] > 0) out << comma << std::quoted(name_of(error)) << ':' << table[error];
  out << '}';
}

void write_numbers(std::ostream& out, const auto& names, const auto& numbers, bool with_zeroes) {
  between comma{","};
  out << '{';
  for (std::size_t at = 0; at < numbers.size(); ++at)
    if (with_zeroes || numbers[at] > 0) out << comma << std::quoted(names[at]) << ':' << numbers[at];
  out << '}';
}

void write_refusals(std::ostream& out, const counters& all) {
  between comma{","};
  out << '{';
  for (std::size_t which = 0; which < calls; ++which) {
    if (sum_of(all.refused[which]) == 0) continue;
    out << comma << std::quoted(call_names[which]) << ':';
    write_errors(out, all.refused[which]);
  }
  out << '}';
}

void write_latency(std::ostream& out, const counters& all) {
  out << '{';
  for (const auto& [name, part] : percentiles) out << std::quoted(name) << ':' << all.latency(part).count() << ',';
  out << R"("max":)" << all.longest_ns << '}';
}

}  // namespace

std::string as_text(const counters& all) {
  std::ostringstream out;
  out << "doorbell: " << printable(program_invocation_short_name) << ", process " << ::getpid();
  out << "\n  contexts      " << all.contexts.made << ", at most " << all.contexts.most << " at a time";
  print_requests(out << "\n  requests      ", all);
  print_bytes(out << "\n  bytes         ", all.bytes_read);
  print_bytes(out << " read, ", all.bytes_written);
  print_answers(out << " written\n  answered      ", all);
  out << "\n  cancelled     " << all.cancelled;
  print_failures(out << "\n  failed        ", all);
  print_refusals(out << "\n  refused       ", all);
  out << "\n  in flight     at most " << all.most_in_flight;
  print_latency(out << "\n  latency       ", all);
  out << "\n  system calls  " << system_calls::made << "; with the kernel's AIO " << all.kernel_calls << '\n';
  return out.str();
}

std::string as_json(const counters& all) {
  std::ostringstream out;
  out << R"({"program":)" << std::quoted(printable(program_invocation_short_name)) << R"(,"pid":)" << ::getpid()
      << R"(,"contexts":)" << all.contexts.made << R"(,"most_contexts":)" << all.contexts.most;
  write_numbers(out << R"(,"requests":)", opcode_names, all.requests, false);
  out << R"(,"bytes_read":)" << all.bytes_read << R"(,"bytes_written":)" << all.bytes_written;
  write_numbers(out << R"(,"answered":)", answerer_keys, all.answered_by_whom, true);
  write_errors(out << R"(,"cancelled":)" << all.cancelled << R"(,"failed":)", all.failed);
  write_refusals(out << R"(,"refused":)", all);
  write_latency(out << R"(,"most_in_flight":)" << all.most_in_flight << R"(,"latency_ns":)", all);
  out << R"(,"system_calls":)" << system_calls::made << R"(,"kernel_aio_system_calls":)" << all.kernel_calls << "}\n";
  return out.str();
}

}  // namespace doorbell::libaio
