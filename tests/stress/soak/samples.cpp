// SPDX-License-Identifier: Apache-2.0
#include "samples.hpp"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <span>
#include <string>

#include "support/inventory.hpp"
#include "support/sanitizer.hpp"

// A function of the sanitizers. g++ 12 has no header that declares it.
// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" [[gnu::weak]] std::size_t __sanitizer_get_current_allocated_bytes();

namespace doorbell::soak {
namespace {

constexpr std::size_t kib = 1024;

/// A difference above this is growth.
struct allowance {
  std::size_t absolute;
  std::size_t per_cent;
  std::chrono::duration<double> from;  // only in runs of at least this length
};

constexpr std::array<const char*, counted_things> names{"heap KiB", "resident KiB", "mappings",   "rings",
                                                        "threads",  "helpers",      "descriptors"};

// The number of helpers depends on demand, and a slow disk requires more of them: 32 at most, which a short run may
// reach late. The heap has caches, and mappings are merged and split. A sanitizer keeps freed memory, and its own
// records grow.
constexpr std::array<allowance, counted_things> allowances{
    allowance{.absolute = 256, .per_cent = 2, .from = {}},
    allowance{.absolute = test::sanitized ? 64 * kib : 4 * kib,
              .per_cent = test::sanitized ? 15 : 3,
              .from = std::chrono::minutes{2}},
    allowance{.absolute = 16, .per_cent = 5, .from = std::chrono::minutes{2}},
    allowance{.absolute = 0, .per_cent = 0, .from = {}},
    allowance{.absolute = 0, .per_cent = 0, .from = {}},
    allowance{.absolute = 8, .per_cent = 0, .from = std::chrono::minutes{2}},
    allowance{.absolute = 0, .per_cent = 0, .from = {}}};

std::size_t heap_bytes() {
  if (&__sanitizer_get_current_allocated_bytes != nullptr) return __sanitizer_get_current_allocated_bytes();
  const auto all = ::mallinfo2();
  return all.uordblks + all.hblkhd;
}

std::size_t resident_kib() {
  std::ifstream file{"/proc/self/statm"};
  std::size_t all = 0;
  std::size_t resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / kib;
}

std::size_t all_mappings() {
  std::ifstream maps{"/proc/self/maps"};
  return static_cast<std::size_t>(std::count(std::istreambuf_iterator<char>{maps}, {}, '\n'));
}

std::size_t all_threads() {
  const std::filesystem::directory_iterator tasks{"/proc/self/task"};
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

std::size_t least(std::span<const sample> some, counted what) {
  std::size_t least = std::numeric_limits<std::size_t>::max();
  for (const auto& each : some) least = std::min(least, each.of(what));
  return least;
}

}  // namespace

sample sample::take() {
  const auto seen = test::inventory::now();
  const auto threads = all_threads();
  sample made;
  made.count = {heap_bytes() / kib, resident_kib(), all_mappings(),
                seen.mappings,      seen.threads,   threads - std::min(threads, seen.threads),
                seen.descriptors};
  return made;
}

void samples::print_table(std::FILE* out) const {
  constexpr std::size_t most_rows = 20;
  std::fprintf(out, "%8s %12s", "seconds", "rounds");
  for (const auto* name : names) std::fprintf(out, " %12s", name);
  std::fputc('\n', out);
  const auto rows = std::min(most_rows, all_.size());
  for (std::size_t row = 0; row < rows; ++row) {
    // Selects rows at even distances, with the first and the last.
    const auto& one = all_.at(rows > 1 ? row * (all_.size() - 1) / (rows - 1) : 0);
    std::fprintf(out, "%8.1f %12llu", one.at.count(), static_cast<unsigned long long>(one.rounds));
    for (const auto count : one.count) std::fprintf(out, " %12zu", count);
    std::fputc('\n', out);
  }
}

// Compares the minima of the periods: a temporary use returns to its minimum from time to time, a leak never does.
bool samples::print_verdict(std::FILE* out, periods compared) const {
  const bool by_thirds = compared == periods::second_and_last_third;
  const auto length = all_.size() / (by_thirds ? 3 : 10);
  if (length == 0) {
    std::fputs("too short to tell whether it is flat\n", out);
    return true;
  }
  const auto before = std::span{all_}.subspan(by_thirds ? length : 0, length);
  const auto after = std::span{all_}.last(length);
  bool flat = true;
  for (std::size_t at = 0; at < counted_things; ++at) {
    const auto what = static_cast<counted>(at);
    const auto had = least(before, what);
    const auto has = least(after, what);
    auto allowed = allowances.at(at);
    // In the first tenth, some of the library's descriptors may be missing: the program has closed them, and the
    // library has not needed them again yet.
    if (!by_thirds && what == counted::descriptors) allowed.absolute += 6;
    if (all_.back().at < allowed.from || has <= had + allowed.absolute + had * allowed.per_cent / 100) continue;
    std::fprintf(out, "not flat: %s grew from %zu to %zu\n", names.at(at), had, has);
    flat = false;
  }
  if (flat) std::fputs("flat\n", out);
  return flat;
}

}  // namespace doorbell::soak
