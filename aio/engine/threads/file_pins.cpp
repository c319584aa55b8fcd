// SPDX-License-Identifier: Apache-2.0
#include "file_pins.hpp"

#include <sys/resource.h>

#include <cerrno>
#include <new>

#include "../../system/private_table.hpp"
#include "../../system/raw_calls.hpp"

namespace doorbell::aio {
namespace {

// Descriptors in the I/O threads' table that are not files of requests: the receiving end, the wakeup eventfd, the
// epoll, the engines' eventfds.
constexpr rlim_t reserved_numbers = 8;

constexpr int most_failures = 2;

// RLIMIT_NOFILE of the process also limits the I/O threads' table.
bool is_full(std::size_t files) noexcept {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && files + reserved_numbers > limit.rlim_cur;
}

}  // namespace

file_pins::ticket file_pins::pin(int fd, sharing share, std::error_code& ec, when_full then) noexcept {
  file_key key{};
  if (share == sharing::allowed && !identify(fd, key)) {
    ec.assign(errno, std::system_category());
    return 0;
  }
  for (;;) {
    {
      const base::mutex_lock held{lock_};
      // Under the lock: once a thread has detected the loss and has retired the I/O threads, the I/O threads end when
      // they find no pin. So either they find the pin that is added here, or this thread detects the loss.
      if (wakeup_.is_lost()) {
        ec = std::make_error_code(std::errc::not_connected);
        return 0;
      }
      if (const auto known = share == sharing::allowed ? find_locked(key) : 0; known != 0) {
        ++pins_.find(known)->second.uses;
        return known;
      }
      const auto added = add_locked(fd, share, key, ec);
      if (ec != std::errc::resource_unavailable_try_again || then == when_full::fail) return added;
    }
    // The channel is full. The poller's thread receives the files.
    wakeup_.wake();
    channel_.wait_for_room();
    ec.clear();
  }
}

// @return false, and errno, if `fd` is no descriptor.
bool file_pins::identify(int fd, file_key& key) noexcept {
  struct stat status{};
  const int flags = raw::get_flags(fd);
  if (flags < 0 || raw::get_status(fd, status) != 0) return false;
  key = {.fd = fd, .flags = flags, .device = status.st_dev, .inode = status.st_ino};
  return true;
}

file_pins::ticket file_pins::find_locked(const file_key& key) const noexcept {
  const auto at = shared_.find(key);
  return at == shared_.end() ? 0 : at->second;
}

// The lock is held from the insertion until the message is sent, so that an I/O thread that receives the file finds its
// entry.
file_pins::ticket file_pins::add_locked(int fd, sharing share, const file_key& key, std::error_code& ec) noexcept {
  if (is_full(pins_.size())) {
    ec = std::make_error_code(std::errc::too_many_files_open);
    return 0;
  }
  const auto made = ++last_;
  try {
    pins_.emplace(made, pinned_file{.is_shared = share == sharing::allowed, .key = key});
    if (share == sharing::allowed) shared_.emplace(key, made);
  } catch (const std::bad_alloc&) {
    ec = std::make_error_code(std::errc::not_enough_memory);
  }
  if (!ec) ec = channel_.send(made, fd);
  if (ec) {
    if (share == sharing::allowed) shared_.erase(key);
    pins_.erase(made);
    return 0;
  }
  // If the program has changed what `fd` refers to meanwhile, the file that was sent may not be that of the key.
  file_key sent{};
  if (share == sharing::allowed && (!identify(fd, sent) || sent != key)) {
    shared_.erase(key);
    pins_.find(made)->second.is_shared = false;
  }
  return made;
}

// The program may have lowered the limit after a file was sent, and may change it at any moment: it may have raised the
// limit again between the failure and the check. So only a second failure means that the file cannot be received at
// all.
file_pins::receipt file_pins::receive_locked() noexcept {
  auto got = channel_.receive();
  for (int failures = 1; got && got->fd < 0; ++failures) {
    if (is_full(pins_.size())) return receipt::no_room;
    if (failures == most_failures) {
      channel_.drop();
      break;
    }
    got = channel_.receive();
  }
  if (!got) return receipt::none;
  const auto at = pins_.find(got->word);
  if (at == pins_.end()) {
    if (got->fd >= 0) raw::close(got->fd);
    return receipt::done;
  }
  at->second.is_received = true;
  at->second.number = got->fd;
  return receipt::done;  // equivalent fault (returned): receipt::done is 0
}

int file_pins::number(ticket pinned) noexcept {
  const base::mutex_lock held{lock_};
  const auto at = pins_.find(pinned);
  if (at == pins_.end()) return -1;
  while (!at->second.is_received) {
    const auto got = receive_locked();
    if (got == receipt::no_room) return no_room;
    if (got == receipt::none) break;
  }
  return at->second.number;
}

void file_pins::replace(ticket pinned, int number) noexcept {
  const base::mutex_lock held{lock_};
  auto& file = pins_.find(pinned)->second;
  raw::close(file.number);
  file.number = number;
}

void file_pins::note_epoll(ticket pinned, int epoll) noexcept {
  const base::mutex_lock held{lock_};
  if (const auto at = pins_.find(pinned); at != pins_.end()) at->second.epoll = epoll;
}

void file_pins::unpin(ticket pinned) noexcept {
  if (pinned == 0) return;
  bool is_left_to_io_threads = false;
  {
    const base::mutex_lock held{lock_};
    const auto at = pins_.find(pinned);
    if (at == pins_.end() || --at->second.uses > 0) return;
    if (at->second.is_shared) shared_.erase(at->second.key);
    if (is_in_private_table()) {
      end_locked(at);
    } else {
      at->second.is_shared = false;
      is_left_to_io_threads = has_unused_ = true;
    }
  }
  if (is_left_to_io_threads) wakeup_.wake();
}

void file_pins::end_locked(pin_map::iterator pinned) noexcept {
  auto& file = pinned->second;
  while (!file.is_received && receive_locked() == receipt::done) {
  }
  if (file.number >= 0) {
    if (file.epoll >= 0) raw::control_epoll(file.epoll, EPOLL_CTL_DEL, file.number, nullptr);
    raw::close(file.number);
  }
  pins_.erase(pinned);
}

void file_pins::sweep() noexcept {
  const base::mutex_lock held{lock_};
  while (receive_locked() == receipt::done) {
  }
  if (!has_unused_) return;  // equivalent fault (dropped): no pin is without uses then
  has_unused_ = false;
  for (auto at = pins_.begin(); at != pins_.end();) {
    const auto each = at++;
    if (each->second.uses == 0) end_locked(each);
  }
  swept_.notify_all();
}

void file_pins::wait_until_swept() noexcept {
  const base::mutex_lock held{lock_};
  while (has_unused_) swept_.wait(lock_);
}

std::size_t file_pins::size() noexcept {
  const base::mutex_lock held{lock_};
  return pins_.size();
}

}  // namespace doorbell::aio
