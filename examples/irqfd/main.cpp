// SPDX-License-Identifier: Apache-2.0
//
// irqfd: a little device model, after what KVM calls irqfds: an eventfd that is signalled is an interrupt in the guest.
//
//   irqfd --cycles 1000                                   asks for so many cycles of assign and deassign by itself
//   irqfd --socket /tmp/irqfd.sock                        and then, from elsewhere:
//   echo 'assign 5' | socat - UNIX-CONNECT:/tmp/irqfd.sock
//
//   guest           a thread: asks for blocks, rings the kick, halts until an interrupt, verifies what it got
//   device          a thread, an Asio loop: awaits the kick, reads by AIO, signals the line for what has come
//   irqfd_table     the interrupts: notifiers on the line, which inject in the thread that signals it
//   control         a thread: a UNIX socket on which irqfds come and go while all this runs
//
// It shows that no interrupt comes after a deassign has returned, and that none is lost around an assign.
#include <absl/strings/str_format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <system_error>

#include "machine.hpp"
#include "operator.hpp"
#include "options.hpp"

namespace {

using namespace irqfd;

constexpr int exit_usage = 2;

/// A folder for the socket, if none is named.
class socket_place {
 public:
  explicit socket_place(const options& how) : path_{how.socket} {
    if (!path_.empty()) return;
    auto name = (std::filesystem::temp_directory_path() / "irqfd.XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      throw std::system_error{errno, std::generic_category(), "cannot make a folder for the socket"};
    folder_ = name;
    path_ = folder_ / "control";
  }
  ~socket_place() {
    std::error_code ec;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ec);
  }
  socket_place(const socket_place&) = delete;
  socket_place& operator=(const socket_place&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path folder_;
  std::filesystem::path path_;
};

/// Signals that end the program, kept for wait(). In all threads that are started later.
class ending_signals {
 public:
  ending_signals() {
    ::sigemptyset(&set_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&set_, signal);
    ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  void wait() const {
    int signal = 0;
    ::sigwait(&set_, &signal);
  }

 private:
  sigset_t set_{};
};

int report(const machine& ended, std::uint64_t late) {
  const auto& driver = ended.driver();
  absl::PrintF("interrupts: %d\nafter deassign: %d\nblocks read: %d, wrong: %d\nengine: %s\n", ended.vectors().total(),
               late, driver.blocks_read(), driver.wrong_blocks(), ended.engine());
  return late == 0 && driver.wrong_blocks() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int run_cycles(const options& how, std::uint64_t cycles) {
  const socket_place socket{how};
  machine all{how.image, how.depth, socket.path()};
  machine_operator somebody{socket.path()};
  somebody.cycle(cycles);
  all.stop();
  absl::PrintF("cycles: %d\n", cycles);
  return report(all, all.vectors().late() + somebody.late());
}

int run_until_told(const options& how) {
  const ending_signals signals;
  machine all{how.image, how.depth, how.socket};
  absl::FPrintF(stderr, "listening on %s; ends with SIGINT\n", how.socket.string());
  signals.wait();
  all.stop();
  return report(all, all.vectors().late());
}

int complain(const char* what) {
  std::fprintf(stderr, "irqfd: %s\n", what);
  return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto parsed = parse_options(argc, argv);
    if (!parsed) {
      std::fputs(usage, stdout);
      return EXIT_SUCCESS;
    }
    return parsed->cycles ? run_cycles(*parsed, *parsed->cycles) : run_until_told(*parsed);
  } catch (const usage_error& mistake) {
    complain(mistake.what());
    return exit_usage;
  } catch (const std::exception& failure) {
    return complain(failure.what());
  }
}
