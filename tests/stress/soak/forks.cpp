// SPDX-License-Identifier: Apache-2.0
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <optional>
#include <system_error>

#include <doorbell/aio.hpp>
#include <doorbell/eventfd.hpp>

#include "invariant.hpp"
#include "load.hpp"
#include "support/by_engine.hpp"
#include "support/files.hpp"

namespace doorbell::soak {
namespace {

using namespace std::chrono_literals;

class forks final : public load {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "forks"; }
  [[nodiscard]] std::size_t threads() const noexcept override { return 1; }

  void prepare() override { parents_.emplace(8U); }

  void work(std::size_t /*thread*/) override {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(patience_in_seconds);
      ::_exit(child_is_whole() ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    int status = 0;
    require(child > 0 && ::waitpid(child, &status, 0) == child, "a child can be forked");
    require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child uses its own contexts, and ends", status);
    // A pause between two forks: each fork copies the memory of all loads.
    std::error_code timed_out;
    pause_.read_for(50ms, timed_out);
  }

  void end() override { parents_.reset(); }

 private:
  static constexpr unsigned patience_in_seconds = 40;

  [[nodiscard]] bool child_is_whole() const noexcept {
    try {
      return parents_->handle() == 0 && works(aio::engine_kind::automatic) && works(aio::engine_kind::threads);
    } catch (const std::exception&) {
      return false;
    }
  }

  [[nodiscard]] bool works(aio::engine_kind engine) const {
    const eventfd efd;
    aio::context ctx{8, engine};
    std::array<char, 8> text{};
    auto read = test::by_engine(aio::prep_pread(file_.get(), text.data(), text.size(), 0));
    read.set_eventfd(efd);
    std::array<aio::io_event, 1> events{};
    return ctx.submit({&read}) == 1 && efd.read_for(20s) == 1 && ctx.get_events(1, events, 20s).size() == 1 &&
           events[0].res == 6;
  }

  const base::unique_fd file_ = test::temporary_file("soaked");
  const eventfd pause_;
  std::optional<aio::context> parents_;
};

}  // namespace

std::unique_ptr<load> make_forks() { return std::make_unique<forks>(); }

}  // namespace doorbell::soak
