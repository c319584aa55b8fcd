// SPDX-License-Identifier: Apache-2.0
#include "progress.hpp"

#include <absl/strings/str_format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <utility>

#include "units.hpp"

namespace aio_copy {
namespace {

constexpr std::chrono::milliseconds redraw_interval{100};
constexpr int tenths_of_all = 10;

std::size_t terminal_width() {
  constexpr std::size_t usual = 80;
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : usual;
}

std::string bar(std::size_t width, double share) {
  const auto filled = static_cast<std::size_t>(static_cast<double>(width) * share);
  std::string drawn(filled, '=');
  if (filled < width) drawn += '>';
  drawn.resize(width, ' ');
  return drawn;
}

}  // namespace

progress::progress(std::string doing, std::int64_t total)
    : doing_{std::move(doing)}, total_{total}, on_terminal_{::isatty(STDOUT_FILENO) == 1} {}

progress::~progress() {
  if (on_terminal_) absl::PrintF("\r\x1b[K");
  std::fflush(stdout);
}

void progress::add(std::int64_t bytes) {
  done_ += bytes;
  on_terminal_ ? draw_bar() : print_line();
}

double progress::seconds() const { return std::chrono::duration<double>(clock::now() - start_).count(); }

double progress::rate() const {
  constexpr double shortest = 1e-9;
  return static_cast<double>(done_) / std::max(seconds(), shortest);
}

double progress::share() const { return total_ > 0 ? static_cast<double>(done_) / static_cast<double>(total_) : 1; }

std::string progress::figures() const {
  const auto left = static_cast<double>(total_ - done_) / std::max(rate(), 1.0);
  return absl::StrFormat("%s of %s, %s/s, %s left", format_bytes(static_cast<double>(done_)),
                         format_bytes(static_cast<double>(total_)), format_bytes(rate()), format_seconds(left));
}

void progress::draw_bar() {
  const auto now = clock::now();
  if (now - drawn_ < redraw_interval) return;
  drawn_ = now;
  constexpr std::size_t around = 12;  // brackets, per cent, spaces
  const auto text = figures();
  const auto taken = doing_.size() + text.size() + around;
  const auto width = terminal_width();
  const auto drawn = width > taken ? bar(width - taken, share()) : "";
  absl::PrintF("\r%s [%s] %3.0f%%  %s\x1b[K", doing_, drawn, share() * 100, text);
  std::fflush(stdout);
}

void progress::print_line() {
  const auto tenths = static_cast<int>(share() * tenths_of_all);
  if (tenths == tenths_) return;
  tenths_ = tenths;
  absl::PrintF("%s: %d%%, %s\n", doing_, tenths * tenths_of_all, figures());
  std::fflush(stdout);
}

}  // namespace aio_copy
