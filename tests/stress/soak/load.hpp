// SPDX-License-Identifier: Apache-2.0
//
// A load: one kind of use, by a few threads, in rounds. Between two rounds the load holds no object, no request in
// flight, and no descriptor that it did not have before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include <doorbell/aio_engine.hpp>

namespace doorbell::soak {

class load {
 public:
  virtual ~load() = default;
  load(const load&) = delete;
  load& operator=(const load&) = delete;

  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  [[nodiscard]] virtual std::size_t threads() const noexcept = 0;

  // A round: prepare() in one thread, work() in all threads concurrently, end() in one thread. It takes milliseconds,
  // and waits only for threads of the same round.
  virtual void prepare() = 0;
  virtual void work(std::size_t thread) = 0;
  virtual void end() = 0;

 protected:
  load() = default;
};

/// Signals and reads of every kind, forwarding, descriptors, copies and closes: the sums are exact.
[[nodiscard]] std::unique_ptr<load> make_sums(std::uint64_t seed);
/// Notifiers that are registered and unregistered concurrently with signals and closes: each registration ends once.
[[nodiscard]] std::unique_ptr<load> make_notifiers(std::uint64_t seed);
/// AIO contexts: each request has one event and signals once, the content is right, no buffer is accessed after
/// destroy.
[[nodiscard]] std::unique_ptr<load> make_contexts(std::uint64_t seed, aio::engine_kind engine);
/// Asio loops that read eventfds, which threads and AIO completions signal.
[[nodiscard]] std::unique_ptr<load> make_loops(std::uint64_t seed);
/// Children forked while the other loads run: they use their own contexts.
[[nodiscard]] std::unique_ptr<load> make_forks();

}  // namespace doorbell::soak
