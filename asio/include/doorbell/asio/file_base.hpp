// SPDX-License-Identifier: Apache-2.0
//
// file_base: what all files have in common: how they are opened, and from where a position counts. The names and values are
// those of boost::asio::file_base.
#pragma once

#include <doorbell/asio/detail/requires_boost.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <type_traits>

namespace doorbell::asio {

class file_base {
 public:
  enum flags : unsigned {
    read_only = O_RDONLY,
    write_only = O_WRONLY,
    read_write = O_RDWR,
    append = O_APPEND,
    create = O_CREAT,
    exclusive = O_EXCL,
    truncate = O_TRUNC,
    sync_all_on_write = O_SYNC,
  };

  enum seek_basis { seek_set = SEEK_SET, seek_cur = SEEK_CUR, seek_end = SEEK_END };

  friend constexpr flags operator&(flags x, flags y) { return static_cast<flags>(unsigned{x} & unsigned{y}); }
  friend constexpr flags operator|(flags x, flags y) { return static_cast<flags>(unsigned{x} | unsigned{y}); }
  friend constexpr flags operator^(flags x, flags y) { return static_cast<flags>(unsigned{x} ^ unsigned{y}); }
  friend constexpr flags operator~(flags x) { return static_cast<flags>(~unsigned{x}); }
  friend constexpr flags& operator&=(flags& x, flags y) { return x = x & y; }
  friend constexpr flags& operator|=(flags& x, flags y) { return x = x | y; }
  friend constexpr flags& operator^=(flags& x, flags y) { return x = x ^ y; }

  /// How to open: `flags`, or whatever open(2) takes: `file_base::read_only | O_DIRECT`.
  class native_flags {
   public:
    explicit(false) constexpr native_flags(flags portable) noexcept : value_{static_cast<int>(portable)} {}
    template <class Number>
      requires std::is_integral_v<Number>
    explicit(false) constexpr native_flags(Number native) noexcept : value_{static_cast<int>(native)} {}
    [[nodiscard]] constexpr int value() const noexcept { return value_; }

   private:
    int value_;
  };

  /// The name of a file.
  class path_name {
   public:
    explicit(false) path_name(const char* name) noexcept : name_{name} {}
    explicit(false) path_name(const std::string& name) noexcept : name_{name.c_str()} {}
    [[nodiscard]] const char* c_str() const noexcept { return name_; }

   private:
    const char* name_;  // as long as the call that takes it
  };

 protected:
  ~file_base() = default;
};

}  // namespace doorbell::asio
