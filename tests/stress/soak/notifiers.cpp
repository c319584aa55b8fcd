// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <atomic>
#include <random>
#include <system_error>

#include <doorbell/eventfd.hpp>
#include <doorbell/notifier.hpp>

#include "invariant.hpp"
#include "load.hpp"

namespace doorbell::soak {
namespace {

/// A notifier that all threads register and unregister, with counts of the results.
struct shared_notifier {
  std::atomic<long long> registered{0};
  std::atomic<long long> by_us{0};
  std::atomic<long long> by_hup{0};
  std::atomic<long long> releases{0};
  std::atomic<int> running{0};
  notifier watcher{[this](eventfd_ctx&) { run_alone(); },
                   [this] {
                     ++releases;
                     run_alone();
                   }};

  void run_alone() {
    require(running.fetch_add(1) == 0, "no two callbacks of a notifier run concurrently");
    running.fetch_sub(1);
  }
  void register_with(const eventfd& efd, notifier::sharing how) {
    std::error_code ec;
    watcher.register_with(efd, how, ec);
    if (!ec) ++registered;
  }
  void account_for(decoupled who) {
    if (who == decoupled::by_us) ++by_us;
    if (who == decoupled::by_hup) ++by_hup;
  }
};

class notifiers final : public load {
 public:
  explicit notifiers(std::uint64_t seed) {
    for (auto& each : random_) each.seed(static_cast<std::minstd_rand::result_type>(seed++));
  }
  [[nodiscard]] std::string_view name() const noexcept override { return "notifiers"; }
  [[nodiscard]] std::size_t threads() const noexcept override { return random_.size(); }

  void prepare() override {}

  void work(std::size_t thread) override {
    auto& random = random_.at(thread);
    eventfd efd{0, EFD_NONBLOCK};
    for (int step = 0; step < steps; ++step) {
      auto& one = all_.at(random() % all_.size());
      std::uint64_t taken = 0;
      std::error_code nothing;
      switch (random() % 8) {
        case 0:
        case 1:
          one.register_with(efd, notifier::sharing::every);
          break;
        case 2:
          one.register_with(efd, notifier::sharing::exclusive);
          break;
        case 3:
          one.account_for(one.watcher.unregister());
          break;
        case 4:
          one.account_for(one.watcher.unregister_and_read(taken, nothing));
          break;
        case 5:
          efd = eventfd{0, EFD_NONBLOCK};
          break;
        default:
          efd.signal();
      }
    }
  }

  void end() override {
    for (auto& one : all_) {
      one.account_for(one.watcher.unregister());
      require(one.by_us + one.by_hup == one.registered, "a registration ends once",
              one.registered - one.by_us - one.by_hup);
      require(one.releases == one.by_hup, "release runs once for each registration that a close ended",
              one.releases - one.by_hup);
    }
  }

 private:
  static constexpr int steps = 1000;

  std::array<shared_notifier, 3> all_;
  std::array<std::minstd_rand, 3> random_;
};

}  // namespace

std::unique_ptr<load> make_notifiers(std::uint64_t seed) { return std::make_unique<notifiers>(seed); }

}  // namespace doorbell::soak
