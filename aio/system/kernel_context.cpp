// SPDX-License-Identifier: Apache-2.0
#include "kernel_context.hpp"

#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "kernel_call.hpp"
#include "tsan_annotations.hpp"

namespace doorbell::aio::kernel_context {
namespace {

bool is_understood(const ring_header& ring) noexcept {
  return ring.magic == ring_magic && ring.incompatible_features == 0 && ring.header_length == sizeof ring;
}

/// The contexts that this copy of doorbell has created. A handle of the program's that is no longer valid may be the
/// address of one of them. Contexts for which there is no space here are only counted.
constinit std::array<base::atomic<handle>, 256> own_contexts{};
constinit base::atomic<unsigned> other_own_contexts{0};

void note_own(handle context) noexcept {
  for (auto& each : own_contexts) {
    handle none = 0;
    if (each.compare_exchange_strong(none, context, base::memory_order_acq_rel)) return;
  }
  other_own_contexts.fetch_add(1, base::memory_order_acq_rel);
}

void forget_own(handle context) noexcept {
  for (auto& each : own_contexts) {
    handle its = context;
    if (each.compare_exchange_strong(its, 0, base::memory_order_acq_rel)) return;
  }
  other_own_contexts.fetch_sub(1, base::memory_order_acq_rel);
}

constinit base::atomic<bool> refused{false};

}  // namespace

handle create(unsigned nr) noexcept {
  handle made = 0;
  if (kernel_call(SYS_io_setup, nr, &made) != 0) return 0;
  tsan_annotations::mapped();
  if (is_understood(ring_of(made))) {
    note_own(made);
    return made;
  }
  kernel_call(SYS_io_destroy, made);
  errno = ENOSYS;
  return 0;
}

void destroy(handle context) noexcept {
  tsan_annotations::unmap();
  kernel_call(SYS_io_destroy, context);
  forget_own(context);
}

long submit(handle context, std::span<iocb_abi* const> iocbs) noexcept {
  return kernel_call(SYS_io_submit, context, static_cast<long>(iocbs.size()), iocbs.data());
}

bool is_own(handle context) noexcept {
  return other_own_contexts.load(base::memory_order_acquire) > 0 ||
         std::ranges::any_of(own_contexts,
                             [&](const auto& each) { return each.load(base::memory_order_acquire) == context; });
}

bool is_refused() noexcept { return refused.load(base::memory_order_relaxed); }

bool note_refusal() noexcept {
  const bool is_refusal = errno == ENOSYS || errno == EPERM || errno == EACCES;
  if (is_refusal) refused.store(true, base::memory_order_relaxed);
  return is_refusal;
}

void forget_all_in_child() noexcept {
  for (auto& each : own_contexts) each.store(0, base::memory_order_relaxed);
  other_own_contexts.store(0, base::memory_order_relaxed);
}

}  // namespace doorbell::aio::kernel_context
