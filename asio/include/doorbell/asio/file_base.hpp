// SPDX-License-Identifier: Apache-2.0
//
// file_base: the flags with which files are opened, and the bases of seek(). The names and values are those of
// boost::asio::file_base, whose enumerations are accepted wherever these are.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <concepts>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace doorbell::asio {
namespace detail {

// boost::asio::file_base exists only where Boost.Asio has files of its own, so its enumerations are recognized by the
// names of their enumerators.
template <class T>
concept flags_of_a_file_base = std::is_enum_v<T> && requires {
  { T::read_only } -> std::same_as<T>;
  { T::sync_all_on_write } -> std::same_as<T>;
};
template <class T>
concept seek_basis_of_a_file_base = std::is_enum_v<T> && requires {
  { T::seek_set } -> std::same_as<T>;
  { T::seek_end } -> std::same_as<T>;
};

}  // namespace detail

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

  /// How to open: `flags`, those of boost::asio::file_base, or any flags of open(2): `file_base::read_only | O_DIRECT`.
  class native_flags {
   public:
    template <class Flags>
      requires detail::flags_of_a_file_base<Flags> || std::is_integral_v<Flags>
    explicit(false) constexpr native_flags(Flags given) noexcept : value_{static_cast<int>(given)} {}
    [[nodiscard]] constexpr int value() const noexcept { return value_; }

   private:
    int value_;
  };

  /// The name of a file: any type that converts to const char* or std::string, such as std::filesystem::path.
  class path_name {
   public:
    explicit(false) path_name(const char* name) noexcept : name_{name} {}
    explicit(false) path_name(const std::string& name) noexcept : name_{name.c_str()} {}
    template <class Path>
      requires(!std::is_same_v<std::remove_cvref_t<Path>, path_name>) && std::is_convertible_v<Path, std::string> &&
              (!std::is_convertible_v<Path, const char*>)
    explicit(false) path_name(Path&& path) : converted_{std::forward<Path>(path)} {}
    template <class Path>
      requires(!std::is_same_v<std::remove_cvref_t<Path>, path_name>) && std::is_convertible_v<Path, const char*>
    explicit(false) path_name(Path&& path) : name_{std::forward<Path>(path)} {}

    [[nodiscard]] const char* c_str() const noexcept { return converted_ ? converted_->c_str() : name_; }

   private:
    const char* name_ = nullptr;  // points into an argument of the call that takes it
    std::optional<std::string> converted_;
  };

  /// A basis of seek(): `seek_basis`, or that of boost::asio::file_base.
  class any_seek_basis {
   public:
    template <class Basis>
      requires detail::seek_basis_of_a_file_base<Basis>
    explicit(false) constexpr any_seek_basis(Basis given) noexcept : value_{static_cast<int>(given)} {}
    /// SEEK_SET, SEEK_CUR or SEEK_END.
    [[nodiscard]] constexpr int value() const noexcept { return value_; }

   private:
    int value_;
  };

 protected:
  ~file_base() = default;
};

}  // namespace doorbell::asio
