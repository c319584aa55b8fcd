// SPDX-License-Identifier: Apache-2.0
//
// file_canceller: what a cancellation slot calls to end one operation on a file.
//
// Thread safety: emitted from the strand of the operation, as Asio has it. Lifetime: in the slot; it may outlive the file, and the
// execution context, and then does nothing.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <memory>

#include <boost/asio/cancellation_type.hpp>

#include <doorbell/asio/detail/file_service.hpp>
#include <doorbell/asio/detail/open_file.hpp>

namespace doorbell::asio::detail {

class file_canceller {
 public:
  explicit file_canceller(const std::shared_ptr<open_file>& file) noexcept : file_{file} {}

  // Its address is the key, which no two operations share: the next one connected to that slot takes this one's place.
  void operator()(boost::asio::cancellation_type_t type) const {
    if (type == boost::asio::cancellation_type::none) return;
    const auto file = file_.lock();
    if (file != nullptr && file->service() != nullptr) file->service()->cancel(*file, this);
  }

 private:
  const std::weak_ptr<open_file> file_;
};

/// @return the key of an operation on that file, connected to the slot; null when there is nobody to cancel it.
template <class Slot>
[[nodiscard]] const void* connect(Slot slot, const std::shared_ptr<open_file>& file) {
  if (!slot.is_connected()) return nullptr;
  return &slot.template emplace<file_canceller>(file);
}

}  // namespace doorbell::asio::detail
