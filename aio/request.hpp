// SPDX-License-Identifier: Apache-2.0
//
// request: one iocb in flight (the kernel's aio_kiocb).
//
// Two references from the start: the completion's, and the submitter's, since the completion may come, in another thread,
// before the submitter has put the request on the list of those that can be cancelled. Whoever drops the last frees.
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

#include "request_pool.hpp"
#include "request_watcher.hpp"
#include "resfd.hpp"
#include "threads_note.hpp"

namespace doorbell::aio {

struct request : boost::intrusive::list_base_hook<> {
  request(const iocb_abi& asked, const iocb_abi* at) noexcept : what{asked}, obj{at} {}
  /// In that memory of the pool's, or, where there is none, on the heap. @return null: nor there.
  static request* make(request_pool& pool, void* memory, const iocb_abi& asked, const iocb_abi* at) noexcept;

  void get() noexcept { references.get(); }
  void put() noexcept {
    if (references.put()) free(this);
  }

  /// Of one that nobody refers to any more. @return its memory, if it is the pool's, for the caller to give back.
  [[nodiscard]] static void* end(request& ended) noexcept;
  static void free(request* ended) noexcept;

  /// The buffers of a preadv or pwritev; the program's own array need not outlive submit.
  [[nodiscard]] std::span<const iovec> buffers() const noexcept {
    return {vectors != nullptr ? vectors.get() : few_vectors.data(), what.nbytes};
  }
  /// Room for so many of them. @return null: there is none.
  [[nodiscard]] iovec* room_for_vectors(std::size_t count) noexcept {
    if (count <= few_vectors.size()) return few_vectors.data();
    vectors.reset(new (std::nothrow) iovec[count]);
    return vectors.get();
  }

  iocb_abi what;  // as checked; constant from its start on
  const iocb_abi* const obj;
  request_pool* pool = nullptr;  // whose memory it is; null: the heap's
  std::array<iovec, 4> few_vectors;
  std::unique_ptr<iovec[]> vectors;  // of more
  ringing whom;
  /// When to try whether it is answered where it is submitted.
  enum class try_at_once : std::uint8_t { never, first, always } at_once = try_at_once::never;
  // If somebody watches.
  request_watcher::clock::time_point taken_at;
  /// Set by the thread that carries it out or reaps it.
  request_watcher::answered_by answered = request_watcher::answered_by::threads;
  base::kref references{2};
  /// Somebody asked for its end; otherwise -ECANCELED is the engine's own affair, and the request is started again.
  base::atomic<bool> cancelled{false};
  bool completed = false;   // guarded by kioctx's active_lock_
  bool is_endless = false;  // destroy()'s: waits for a pipe or a peer, in a ring that cannot be asked to end it

  /// Completes without anybody's help: a transfer of a file or a disk, not one that waits for a pipe or for a peer.
  bool ends_by_itself = false;
  bool is_direct = false;  ///< O_DIRECT
  /// By the kernel's own AIO: an O_DIRECT transfer that may block its submitter as in the kernel's io_submit(2).
  bool may_use_kernel_aio = false;
  /// Not checked, because only the kernel's AIO may start it, which checks it: its file, its list of buffers and, if
  /// kernel_may_signal, its eventfd are what the kernel finds. If the kernel refuses it, kioctx checks it and starts it
  /// again.
  bool is_left_to_kernel = false;
  /// The kernel's AIO may signal the program's eventfd itself, before the event is in the ring (kernel_aio.hpp).
  bool kernel_may_signal = false;
  /// It does so. Set before the start, and cleared if the kernel's AIO has not taken the request.
  bool is_signalled_by_kernel = false;
  /// Its completion in the kernel's AIO signals no descriptor of the engine.
  bool is_unannounced = false;
  dev_t device = 0;  ///< of the file
  ino_t inode = 0;
  /// Set before its start, if the threads of engine_failover carry it out.
  base::atomic<bool> is_with_threads{false};
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
