// SPDX-License-Identifier: Apache-2.0
//
// request: one iocb in flight (the kernel's aio_kiocb).
//
// A request starts with two references: the completion's and the submitter's. The completion may come, in another
// thread, before the submitter has put the request on the list of requests that can be cancelled. Dropping the last
// reference frees the request.
#pragma once

#include <boost/intrusive/list.hpp>

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

#include <doorbell/aio_iocb.hpp>
#include <doorbell/base/atomic.hpp>
#include <doorbell/base/kref.hpp>

#include "completion_target.hpp"
#include "request_observer.hpp"
#include "request_pool.hpp"
#include "threads_request_state.hpp"

namespace doorbell::aio {

struct request : boost::intrusive::list_base_hook<> {
  request(const iocb_abi& asked, const iocb_abi* at) noexcept : iocb{asked}, user_iocb{at} {}
  /// Makes a request in `memory` from the pool, or on the heap if `memory` is null. @return null if the heap has none.
  static request* make(request_pool& pool, void* memory, const iocb_abi& asked, const iocb_abi* at) noexcept;

  void get() noexcept { references.get(); }
  void put() noexcept {
    if (references.put()) free(this);
  }

  /// Destroys a request without references. @return its memory if it is the pool's; the caller returns it to the pool.
  [[nodiscard]] static void* end(request& ended) noexcept;
  static void free(request* ended) noexcept;

  /// The buffers of a preadv or pwritev; the program's own array need not outlive submit.
  [[nodiscard]] std::span<const iovec> buffers() const noexcept {
    return {vectors != nullptr ? vectors.get() : few_vectors.data(), iocb.nbytes};
  }
  /// Memory for `count` buffers. @return null if there is none.
  [[nodiscard]] iovec* room_for_vectors(std::size_t count) noexcept {
    if (count <= few_vectors.size()) return few_vectors.data();
    vectors.reset(new (std::nothrow) iovec[count]);
    return vectors.get();
  }

  iocb_abi iocb;  // as checked; constant once the request has started
  const iocb_abi* const user_iocb;
  request_pool* pool = nullptr;  // owner of its memory; null: the heap
  std::array<iovec, 4> few_vectors;
  std::unique_ptr<iovec[]> vectors;  // for more buffers than few_vectors holds
  completion_target target;
  /// When submit tries to carry it out inline.
  enum class inline_policy : std::uint8_t { never, first, always } inline_io = inline_policy::never;
  // Set only if there is a request_observer.
  request_observer::clock::time_point taken_at;
  /// Set by the thread that carries it out or reaps it.
  request_observer::answered_by answered = request_observer::answered_by::threads;
  base::kref references{2};
  /// A cancellation was requested. Otherwise -ECANCELED has another cause in the engine, and the request is started
  /// again.
  base::atomic<bool> cancelled{false};
  bool completed = false;   // guarded by kioctx's active_lock_
  bool is_endless = false;  // for destroy(): waits for a pipe or a peer, in a ring that cannot be asked to cancel it

  /// Completes without action of another program: a transfer of a file or a disk, not one that waits for a pipe or a
  /// peer.
  bool ends_by_itself = false;
  bool is_direct = false;  ///< O_DIRECT
  /// Suits the kernel's AIO: an O_DIRECT transfer that may block its submitter as the kernel's io_submit(2) does.
  bool may_use_kernel_aio = false;
  /// Not checked by the library. Only the kernel's AIO may start it, which does the checks: it looks up the file, the
  /// list of buffers and, if kernel_may_signal, the eventfd. If the kernel refuses the request, kioctx checks it and
  /// starts it again.
  bool is_left_to_kernel = false;
  /// The kernel's AIO may signal the program's eventfd itself, before the event is in the ring (kernel_aio.hpp).
  bool kernel_may_signal = false;
  /// The kernel's AIO signals it. Set before the start, and cleared if the kernel's AIO has not taken the request.
  bool is_signalled_by_kernel = false;
  /// Its completion in the kernel's AIO signals no descriptor of the engine.
  bool is_unnotified = false;
  dev_t device = 0;  ///< of the file
  ino_t inode = 0;
  /// Set before its start if the threads of engine_failover carry it out.
  base::atomic<bool> is_with_threads{false};
  threads_request_state by_threads;
  boost::intrusive::list_member_hook<> place;  // in a request_queue
};

/// A queue in which an engine keeps requests; each request is in at most one.
using request_queue = boost::intrusive::list<
    request, boost::intrusive::member_hook<request, boost::intrusive::list_member_hook<>, &request::place>,
    boost::intrusive::constant_time_size<false>>;

/// The result of a request, as the engine reports it.
struct completion {
  request* done;
  std::int64_t res;
};

}  // namespace doorbell::aio
