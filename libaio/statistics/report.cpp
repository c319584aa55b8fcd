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
  const auto* const end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  return *this << std::string_view{digits.data(), static_cast<std::size_t>(end - digits.data())};
}

namespace {

using errors = std::array<counters::number, counters::errnos>;

// A new number makes this assertion fail. Print the number in write_text() and in write_json(), and count it here.
constexpr std::size_t single_numbers = 10;  // among them the three of `contexts`
static_assert(sizeof(counted_numbers) ==
                  sizeof(counters::number) * (single_numbers + counters::opcodes + counters::answerers +
                                              counters::errnos + calls * counters::errnos),
              "a number is new: print it, then count it in single_numbers");

// Names of enumerators, without default: the compiler reports an enumerator without a name. A number that is no
// enumerator has an empty name.

constexpr std::string_view name_of(aio::opcode which) noexcept {
  switch (which) {
    case aio::opcode::pread:
      return "pread";
    case aio::opcode::pwrite:
      return "pwrite";
    case aio::opcode::fsync:
      return "fsync";
    case aio::opcode::fdsync:
      return "fdsync";
    case aio::opcode::poll:
      return "poll";
    case aio::opcode::preadv:
      return "preadv";
    case aio::opcode::pwritev:
      return "pwritev";
  }
  return {};
}

constexpr std::string_view name_of(call which) noexcept {
  switch (which) {
    case call::setup:
      return "io_setup";
    case call::destroy:
      return "io_destroy";
    case call::submit:
      return "io_submit";
    case call::cancel:
      return "io_cancel";
    case call::getevents:
      return "io_getevents";
  }
  return {};
}

constexpr std::string_view name_of(counters::answered_by which) noexcept {
  switch (which) {
    case counters::answered_by::submit:
      return "submit";
    case counters::answered_by::io_uring:
      return "io_uring";
    case counters::answered_by::kernel_aio:
      return "kernel_aio";
    case counters::answered_by::threads:
      return "threads";
  }
  return {};
}

constexpr std::string_view text_of(counters::answered_by which) noexcept {
  switch (which) {
    case counters::answered_by::submit:
      return "in io_submit";
    case counters::answered_by::io_uring:
      return "by io_uring";
    case counters::answered_by::kernel_aio:
      return "by the kernel's AIO";
    case counters::answered_by::threads:
      return "by threads";
  }
  return {};
}

/// @return the names of the numbers below `Size`. It does not compile if an enumerator is not below `Size`.
template <class Enumeration, std::size_t Size>
consteval std::array<std::string_view, Size> table_of_names() {
  constexpr std::size_t no_enumerator_from = 64;
  static_assert(
      [] {
        for (auto number = Size; number < no_enumerator_from; ++number)
          if (!name_of(static_cast<Enumeration>(number)).empty()) return false;
        return true;
      }(),
      "counters.hpp has no room for the last enumerator");
  std::array<std::string_view, Size> names;
  for (std::size_t number = 0; number < Size; ++number) names[number] = name_of(static_cast<Enumeration>(number));
  return names;
}

constexpr auto opcode_names = table_of_names<aio::opcode, counters::opcodes>();
constexpr auto call_names = table_of_names<call, calls>();
constexpr auto answerer_keys = table_of_names<counters::answered_by, counters::answerers>();

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
  for (std::size_t by = 0; by < counters::answerers; ++by)
    out << comma << all.answers_by[by].load() << ' ' << text_of(static_cast<counters::answered_by>(by));
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
