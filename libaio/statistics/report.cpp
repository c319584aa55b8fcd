// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "system_calls.hpp"

namespace doorbell::libaio {

report_text& report_text::operator<<(std::string_view text) noexcept {
  const auto fits = std::min(text.size(), bytes_.size() - size_);
  std::memcpy(bytes_.data() + size_, text.data(), fits);
  size_ += fits;
  return *this;
}

report_text& report_text::operator<<(std::uint64_t number) noexcept {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  return *this << std::string_view{digits.data(), static_cast<std::size_t>(end - digits.data())};
}

namespace {

using errors = std::array<counters::number, counters::errnos>;

constexpr std::array<std::string_view, counters::opcodes> opcode_names{"pread", "pwrite", "fsync",  "fdsync", "4",
                                                                       "poll",  "noop",   "preadv", "pwritev"};
constexpr std::array<std::string_view, calls> call_names{"io_setup", "io_destroy", "io_submit", "io_cancel",
                                                         "io_getevents"};
constexpr std::array<std::string_view, 4> answerers{"in io_submit", "by io_uring", "by the kernel's AIO", "by threads"};
constexpr std::array<std::string_view, 4> answerer_keys{"submit", "io_uring", "kernel_aio", "threads"};

struct percentile {
  std::string_view name;
  double part;
};
constexpr std::array<percentile, 4> percentiles{{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}};

std::uint64_t sum_of(const auto& numbers) noexcept {
  std::uint64_t sum = 0;
  for (const auto& each : numbers) sum += each;
  return sum;
}

void print_name(report_text& out, std::size_t error) noexcept {
  if (const char* const name = ::strerrorname_np(static_cast<int>(error)))
    out << name;
  else
    out << error;
}

/// The caller of a program chooses its name (argv[0]). A control character in it, for example a newline, would let the
/// caller add text to the report of a more privileged program.
void print_program(report_text& out, std::string_view special) noexcept {
  for (const char each : std::string_view{program_invocation_short_name}) {
    const bool is_control = static_cast<unsigned char>(each) < 0x20 || each == 0x7f;
    if (special.find(each) != std::string_view::npos) out << '\\';
    out << (is_control ? '?' : each);
  }
}

/// Prints a separator before each part except the first.
class between {
 public:
  explicit between(std::string_view what) noexcept : what_{what} {}
  friend report_text& operator<<(report_text& out, between& one) noexcept {
    if (one.is_first_)
      one.is_first_ = false;
    else
      out << one.what_;
    return out;
  }
  [[nodiscard]] bool nothing_said() const noexcept { return is_first_; }

 private:
  std::string_view what_;
  bool is_first_ = true;
};

// For people.

/// Prints the number in the largest unit in which it is at least 1, with one decimal unless this is the first unit.
template <std::size_t Units>
void print_with_unit(report_text& out, std::uint64_t number, std::uint64_t step,
                     const std::array<std::string_view, Units>& units) noexcept {
  std::uint64_t unit_is = 1;
  std::size_t unit = 0;
  for (; number / unit_is >= step && unit + 1 < Units; ++unit) unit_is *= step;
  if (unit == 0) {
    out << number;
  } else {
    const auto tenths = number / unit_is * 10 + (number % unit_is * 10 + unit_is / 2) / unit_is;
    out << tenths / 10 << '.' << tenths % 10;
  }
  out << ' ' << units[unit];
}

void print_bytes(report_text& out, std::uint64_t bytes) noexcept {
  constexpr std::array<std::string_view, 6> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  print_with_unit(out, bytes, 1024, units);
}

void print_time(report_text& out, std::uint64_t ns) noexcept {
  constexpr std::array<std::string_view, 4> units{"ns", "us", "ms", "s"};
  print_with_unit(out, ns, 1000, units);
}

void print_errors(report_text& out, const errors& table, between& comma, std::string_view before,
                  std::string_view space) noexcept {
  // equivalent fault (constant): nothing fails with 0
  for (std::size_t error = 0; error < table.size(); ++error) {
    if (table[error] == 0) continue;
    print_name(out << comma << before << space, error);
    out << ' ' << table[error].load();
  }
}

void print_requests(report_text& out, const counters& all) noexcept {
  out << sum_of(all.requests);
  between comma{", "};
  for (std::size_t opcode = 0; opcode < all.requests.size(); ++opcode)
    if (all.requests[opcode] > 0)
      out << (comma.nothing_said() ? ": " : "") << comma << opcode_names[opcode] << ' ' << all.requests[opcode].load();
}

void print_answers(report_text& out, const counters& all) noexcept {
  between comma{", "};
  for (std::size_t by = 0; by < answerers.size(); ++by)
    out << comma << all.answers_by[by].load() << ' ' << answerers[by];
}

void print_failures(report_text& out, const counters& all) noexcept {
  between comma{", "};
  print_errors(out, all.failed, comma, "", "");
  if (comma.nothing_said()) out << "none";
}

void print_refusals(report_text& out, const counters& all) noexcept {
  between comma{", "};
  for (std::size_t which = 0; which < calls; ++which)
    print_errors(out, all.refused[which], comma, call_names[which], " ");
  if (comma.nothing_said()) out << "none";
}

void print_latency(report_text& out, const counters& all) noexcept {
  for (const auto& [name, part] : percentiles) {
    out << name << ' ';
    print_time(out, static_cast<std::uint64_t>(all.latency(part).count()));
    out << ", ";
  }
  out << "max ";
  print_time(out, all.longest_ns);
}

// For programs.

void write_errors(report_text& out, const errors& table) noexcept {
  between comma{","};
  out << '{';
  // equivalent fault (constant): nothing fails with 0
  for (std::size_t error = 0; error < table.size(); ++error) {
    if (table[error] == 0) continue;
    print_name(out << comma << '"', error);
    out << R"(":)" << table[error].load();
  }
  out << '}';
}

void write_numbers(report_text& out, const auto& names, const auto& numbers, bool with_zeroes) noexcept {
  between comma{","};
  out << '{';
  for (std::size_t at = 0; at < numbers.size(); ++at)
    if (with_zeroes || numbers[at] > 0) out << comma << '"' << names[at] << R"(":)" << numbers[at].load();
  out << '}';
}

void write_refusals(report_text& out, const counters& all) noexcept {
  between comma{","};
  out << '{';
  for (std::size_t which = 0; which < calls; ++which) {
    if (sum_of(all.refused[which]) == 0) continue;
    write_errors(out << comma << '"' << call_names[which] << R"(":)", all.refused[which]);
  }
  out << '}';
}

void write_latency(report_text& out, const counters& all) noexcept {
  out << '{';
  for (const auto& [name, part] : percentiles)
    out << '"' << name << R"(":)" << static_cast<std::uint64_t>(all.latency(part).count()) << ',';
  out << R"("max":)" << all.longest_ns.load() << '}';
}

}  // namespace

void write_text(report_text& out, const counters& all) noexcept {
  print_program(out << "doorbell: ", "");
  out << ", process " << static_cast<std::uint64_t>(::getpid());
  out << "\n  contexts      " << all.contexts.made.load() << ", at most " << all.contexts.most.load() << " at a time";
  print_requests(out << "\n  requests      ", all);
  print_bytes(out << "\n  bytes         ", all.bytes_read);
  print_bytes(out << " read, ", all.bytes_written);
  print_answers(out << " written\n  answered      ", all);
  out << "\n  cancelled     " << all.cancelled.load();
  print_failures(out << "\n  failed        ", all);
  print_refusals(out << "\n  refused       ", all);
  out << "\n  in flight     at most " << all.most_in_flight.load();
  print_latency(out << "\n  latency       ", all);
  out << "\n  system calls  " << system_calls::made.load() << "; with the kernel's AIO " << all.kernel_calls.load()
      << '\n';
}

void write_no_call(report_text& out) noexcept {
  print_program(out << "doorbell: ", "");
  out << ", process " << static_cast<std::uint64_t>(::getpid())
      << ": no AIO call of this program has reached doorbell; doorbell-run --check reports how this program makes AIO "
         "calls, and whether doorbell reaches them\n";
}

void write_json(report_text& out, const counters& all) noexcept {
  print_program(out << R"({"program":")", R"("\)");
  out << R"(","pid":)" << static_cast<std::uint64_t>(::getpid()) << R"(,"contexts":)" << all.contexts.made.load()
      << R"(,"most_contexts":)" << all.contexts.most.load();
  write_numbers(out << R"(,"requests":)", opcode_names, all.requests, false);
  out << R"(,"bytes_read":)" << all.bytes_read.load() << R"(,"bytes_written":)" << all.bytes_written.load();
  write_numbers(out << R"(,"answered":)", answerer_keys, all.answers_by, true);
  write_errors(out << R"(,"cancelled":)" << all.cancelled.load() << R"(,"failed":)", all.failed);
  write_refusals(out << R"(,"refused":)", all);
  write_latency(out << R"(,"most_in_flight":)" << all.most_in_flight.load() << R"(,"latency_ns":)", all);
  out << R"(,"system_calls":)" << system_calls::made.load() << R"(,"kernel_aio_system_calls":)"
      << all.kernel_calls.load() << "}\n";
}

}  // namespace doorbell::libaio
