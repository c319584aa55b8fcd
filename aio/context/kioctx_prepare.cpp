// SPDX-License-Identifier: Apache-2.0
//
// Makes requests from iocbs, and checks them.
#include <sys/stat.h>

#include <array>
#include <type_traits>

#include "../io/check.hpp"
#include "../io/inline_io.hpp"
#include "../request/iocb_eventfd.hpp"
#include "../request/operation.hpp"
#include "../system/user_memory.hpp"
#include "kioctx.hpp"

namespace doorbell::aio {
namespace {

// Finds the facts about the file of an iocb. If they are not known, looks them up and stores them in `room`. Errors:
// bad_file_descriptor.
const file_facts& find_file(const iocb_abi& asked, file_facts& room, std::error_code& ec) noexcept {
  ec = look_up_file(asked, room);
  return room;
}
const file_facts& find_file(const iocb& asked, file_facts& room, std::error_code& ec) noexcept {
  const auto& known = asked.file();
  return known ? *known : find_file(static_cast<const iocb_abi&>(asked), room, ec);
}

// If a write extends its file, the kernel's io_submit(2) returns only when the write has been carried out. Programs
// that use the calls by handle expect that; those that use aio::context do not, so the kernel's AIO gets only their
// reads.
bool may_use_kernel_aio(const request& checked, const file_facts& file, bool as_the_kernel) noexcept {
  const bool is_file = S_ISREG(file.type) || S_ISBLK(file.type);
  return is_file && file.is_direct && (is_read(checked.iocb) || (as_the_kernel && is_write(checked.iocb)));
}

// For an eventfd, io_submit(2) reports only EBADF or EINVAL. A shortage of descriptors, threads or memory is the
// library's.
bool is_shortage(const std::error_code& ec) noexcept {
  return ec && ec != std::errc::bad_file_descriptor && ec != std::errc::invalid_argument;
}

}  // namespace

// Slots, memory and lookups that one submit shares among all its requests.
struct kioctx::provisions {
  explicit provisions(resfd_lookup& of_this_submit) noexcept : numbers{of_this_submit} {}

  resfd_lookup& numbers;
  std::size_t slots = 0;
  bool is_front = true;  // the next request is the one at which answer_hot_reads() has stopped
  enum class answer : std::uint8_t { unknown, no, yes };
  answer has_calls_only = answer::unknown;  // the program gets all events by calls; found out when a request needs it
  std::size_t memories = 0;
  std::array<void*, submit_batch> memory;
};

// @return how many requests were prepared, up to the first iocb that is refused.
template <class Iocb>
std::size_t kioctx::prepare(std::span<Iocb* const> iocbs, std::span<request*> made, resfd_lookup& numbers,
                            std::error_code& ec) noexcept {
  provisions left{numbers};
  left.slots = take_slots(iocbs.size());
  left.memories = requests_.take(std::span{left.memory}.first(iocbs.size()));
  std::size_t count = 0;
  for (; count < iocbs.size() && (made[count] = prepare(iocbs[count], left, ec)) != nullptr; ++count)
    left.is_front = false;
  // equivalent fault (comparison): without slots, publish_hot() stores the tail that the ring has
  if (left.slots > 0) publish_hot({}, left.slots);
  requests_.give_back(std::span{left.memory}.first(left.memories));
  return count;
}

template std::size_t kioctx::prepare(std::span<iocb* const>, std::span<request*>, resfd_lookup&,
                                     std::error_code&) noexcept;
template std::size_t kioctx::prepare(std::span<iocb_abi* const>, std::span<request*>, resfd_lookup&,
                                     std::error_code&) noexcept;

// @return null if there is no slot, or no memory.
request* kioctx::make_request(const iocb_abi& asked, provisions& left) noexcept {
  if (left.slots == 0) return nullptr;
  void* const memory = left.memories > 0 ? left.memory[--left.memories] : nullptr;
  auto* const made = request::make(requests_, memory, asked, &asked);
  if (made != nullptr) --left.slots;
  return made;
}

template <class Iocb>
request* kioctx::prepare(Iocb* asked, provisions& left, std::error_code& ec) noexcept {
  if (!is_writable(asked, sizeof *asked)) {
    ec = std::make_error_code(std::errc::bad_address);
    return nullptr;
  }
  ec = check_layout(*asked);
  if (ec) return nullptr;
  auto* const made = make_request(*asked, left);
  if (made == nullptr) {
    ec = std::make_error_code(std::errc::resource_unavailable_try_again);
    return nullptr;
  }
  if constexpr (std::is_same_v<Iocb, iocb_abi>)
    // equivalent fault (dropped): check() prepares the same request, which takes longer
    if (leave_to_kernel(*asked, *made, left)) return made;
  ec = check(*asked, *made, left);
  if (!ec) return made;
  abandon(*made);
  return nullptr;
}

// The kernel's checks in the kernel's order, from the descriptor on; the layout and the slot are checked before.
template <class Iocb>
std::error_code kioctx::check(Iocb& asked, request& made, provisions& left) noexcept {
  std::error_code ec;
  file_facts looked_up;
  const auto& file = find_file(asked, looked_up, ec);
  if (!ec && has_eventfd(asked)) {
    ec = find_eventfd(asked, made.target, left.numbers);
    if (!ec) ensure_reaper(ec);
    if (std::is_same_v<Iocb, iocb_abi> && is_shortage(ec))
      ec = std::make_error_code(std::errc::resource_unavailable_try_again);
  }
  if (ec) return ec;
  asked.key = 0;
  ec = check_operation(made, file, std::is_same_v<Iocb, iocb_abi>);
  if (ec) return ec;
  made.ends_by_itself = !is_poll(made.iocb) && (file.type == S_IFREG || file.type == S_IFBLK || file.type == S_IFDIR);
  made.is_direct = file.is_direct;
  made.may_use_kernel_aio = may_use_kernel_aio(made, file, std::is_same_v<Iocb, iocb_abi>);
  made.kernel_may_signal = kernel_may_signal(made, left);
  made.device = file.device;
  made.inode = file.inode;
  made.inline_io = when_to_try(made, file, std::is_same_v<Iocb, iocb_abi>, left.is_front, hints_);
  return {};
}

// Whether the kernel may start the request without our checks: the kernel finds the file by its number, as it would for
// a context of its own. If the program gets all events by calls, the kernel also signals the program's eventfd, and a
// call puts the event into the ring. Otherwise the kernel signals an eventfd of the library, and the reaper publishes
// the event and signals the program's eventfd. If the file is no longer open for O_DIRECT, the library notices after a
// few dozen requests; until then the kernel carries them out in io_submit(2).
bool kioctx::leave_to_kernel(iocb_abi& asked, request& made, provisions& left) noexcept {
  const bool is_plain =
      (is_read(asked) || is_write(asked)) && asked.rw_flags == 0 && (asked.flags & ~iocb_abi::flag_resfd) == 0;
  if (!is_plain || hints_.of(asked.fildes) != file_hints::kind::direct) return false;
  if (!has_eventfd(asked)) {
    if (!calls_for_events() || is_polled_.load(base::memory_order_relaxed)) return false;
  } else if (has_calls_only(left)) {
    made.kernel_may_signal = true;
  } else if (!find_eventfd_for_reaper(asked, made, left)) {
    return false;
  }
  asked.key = 0;
  made.ends_by_itself = true;
  made.is_direct = true;
  made.may_use_kernel_aio = true;
  made.is_left_to_kernel = true;
  return true;
}

// @return false on an error; check() then finds and reports it.
bool kioctx::find_eventfd_for_reaper(const iocb_abi& asked, request& made, provisions& left) noexcept {
  auto ec = find_eventfd(asked, made.target, left.numbers);
  if (!ec) ensure_reaper(ec);
  return !ec;
}

// Checks and starts requests that the kernel has refused, because of an error that check() finds or for lack of room.
// The other requests of this submit are checked as well, since the kernel is likely to refuse them, too.
// @return how many are started; `ec` is set to the error of the next one, if it has one.
std::size_t kioctx::start_checked(std::span<iocb_abi* const> iocbs, std::span<request* const> refused,
                                  resfd_lookup& numbers, std::error_code& ec) noexcept {
  provisions left{numbers};
  left.is_front = false;
  std::size_t checked = 0;
  std::error_code error;
  while (checked < refused.size() && refused[checked]->is_left_to_kernel) {
    auto& made = *refused[checked];
    made.is_left_to_kernel = false;
    made.kernel_may_signal = false;
    error = check(*iocbs[checked], made, left);
    if (error) break;
    ++checked;
  }
  const auto started = start(error ? refused.first(checked) : refused);
  if (error && started == checked) ec = error;
  return started;
}

// A program that reads the ring itself must find the event when the eventfd is signalled, and a program that has asked
// for the context's descriptor must get its events announced there. For these, the library signals the eventfd.
bool kioctx::has_calls_only(provisions& left) noexcept {
  using answer = provisions::answer;
  // equivalent fault (negated): without an answer, the library signals the eventfds, which costs time
  if (left.has_calls_only == answer::unknown) {
    const base::mutex_lock held{ring_lock_};
    const bool found = !is_polled_.load(base::memory_order_relaxed) && ring_.leave_to_calls();
    left.has_calls_only = found ? answer::yes : answer::no;
  }
  return left.has_calls_only == answer::yes;
}

bool kioctx::kernel_may_signal(const request& checked, provisions& left) noexcept {
  return checked.may_use_kernel_aio && checked.target.kernel_eventfd != nullptr && has_calls_only(left);
}

}  // namespace doorbell::aio
