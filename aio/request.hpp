// SPDX-License-Identifier: Apache-2.0
//
// request: one iocb in flight (the kernel's aio_kiocb).
//
// Two references from the start: the completion's, and the submitter's, since the completion may come, in another thread,
// before the submitter has put the request on the list of those that can be cancelled. Whoever drops the last frees.
#pragma once

#include <boost/intrusive/list.hpp>

#include <cstdint>
#include <memory>

#include <doorbell/aio_iocb.hpp>
#include <doorbell/base/atomic.hpp>
#include <doorbell/base/kref.hpp>

#include "resfd.hpp"
#include "threads_note.hpp"

namespace doorbell::aio {

struct request : boost::intrusive::list_base_hook<> {
  request(const iocb_abi& asked, const iocb_abi* at) noexcept : what{asked}, obj{at} {}

  void get() noexcept { references.get(); }
  void put() noexcept {
    if (references.put()) delete this;
  }
  friend void intrusive_ptr_add_ref(request* one) noexcept { one->get(); }
  friend void intrusive_ptr_release(request* one) noexcept { one->put(); }

  /// The buffers of a preadv or pwritev; the program's own array need not outlive submit.
  [[nodiscard]] std::span<const iovec> buffers() const noexcept { return {vectors.get(), what.nbytes}; }

  iocb_abi what;  // as checked; constant from its start on
  const iocb_abi* const obj;
  std::unique_ptr<iovec[]> vectors;
  ringing whom;
  /// When to try whether it is answered where it is submitted.
  enum class try_at_once : std::uint8_t { never, first, always } at_once = try_at_once::never;
  base::kref references{2};
  /// Somebody asked for its end; otherwise -ECANCELED is the engine's own affair, and the request is started again.
  base::atomic<bool> cancelled{false};
  bool completed = false;  // guarded by kioctx's active_lock_

  threads_note by_threads;
  boost::intrusive::list_member_hook<> place;  // in a request_queue
};

/// Where an engine keeps requests; each is in one at a time.
using request_queue = boost::intrusive::list<
    request, boost::intrusive::member_hook<request, boost::intrusive::list_member_hook<>, &request::place>,
    boost::intrusive::constant_time_size<false>>;

/// What an engine answers.
struct completion {
  request* done;
  std::int64_t res;
};

}  // namespace doorbell::aio
