// SPDX-License-Identifier: Apache-2.0
//
// irqfd: a small device model with irqfds as in KVM: signalling an eventfd injects an interrupt into the guest.
//
//   irqfd --cycles 1000                                   runs 1000 cycles of assign and deassign
//   irqfd --socket /tmp/irqfd.sock                        waits for commands, which another process sends:
//   echo 'assign 5' | socat - UNIX-CONNECT:/tmp/irqfd.sock
//
//   guest           a thread: requests blocks, signals the kick, halts until an interrupt, verifies the blocks
//   device          a thread with an Asio loop: awaits the kick, reads by AIO, signals the line for each completion
//   irqfd_table     the interrupts: notifiers on the line, which inject in the signalling thread
//   control         a thread: a UNIX socket for commands that assign and deassign irqfds meanwhile
//
// It shows that no interrupt is injected after a deassign has returned, and that none is lost around an assign.
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

/// The path of the socket. If the options name none, it is in a new folder, which the destructor removes.
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

/// Blocks the signals that end the program, in this thread and in all threads that are started later, so that wait()
/// receives them.
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
  const auto& driver = ended.guest_driver();
  absl::PrintF("interrupts: %d\nafter deassign: %d\nblocks read: %d, wrong: %d\nengine: %s\n",
               ended.controller().total(), late, driver.blocks_read(), driver.wrong_blocks(), ended.engine());
  return late == 0 && driver.wrong_blocks() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int run_cycles(const options& how, std::uint64_t cycles) {
  const socket_place socket{how};
  machine all{how.image, how.depth, socket.path()};
  machine_operator client{socket.path()};
  client.cycle(cycles);
  all.stop();
  absl::PrintF("cycles: %d\n", cycles);
  return report(all, all.controller().late() + client.late());
}

int run_until_told(const options& how) {
  const ending_signals signals;
  machine all{how.image, how.depth, how.socket};
  absl::FPrintF(stderr, "listening on %s; ends with SIGINT\n", how.socket.string());
  signals.wait();
  all.stop();
  return report(all, all.controller().late());
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
