// SPDX-License-Identifier: Apache-2.0
//
// Every member of boost::asio::file_base, basic_file, basic_random_access_file and basic_stream_file that Boost 1.81
// documents, each overload with each kind of argument that it accepts. This source is compiled once with boost::asio's
// types and once with doorbell's. Both programs must print the same tables, which docs/asio.md contains. No file is
// opened: each expression is compiled in full and never evaluated.
#include <boost/asio.hpp>
#include <boost/asio/random_access_file.hpp>
#include <boost/asio/stream_file.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#ifdef DOORBELL_FILES
#include <doorbell/asio.hpp>
namespace files = doorbell::asio;
#else
namespace files = boost::asio;
#endif

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using files::file_base;

const volatile bool never = false;

/// @return the name of a type in the tables.
template <class File, class T>
constexpr std::string_view name_of() {
  using plain = std::remove_cvref_t<T>;
  if constexpr (std::is_void_v<T>)
    return "void";
  else if constexpr (std::is_same_v<T, bool>)
    return "bool";
  else if constexpr (std::is_same_v<T, int>)
    return "int";
  else if constexpr (std::is_same_v<T, std::uint64_t>)
    return "std::uint64_t";  // and std::size_t
  else if constexpr (std::is_same_v<T, error_code>)
    return "error_code";
  else if constexpr (std::is_same_v<T, file_base::flags>)
    return "flags";
  else if constexpr (std::is_same_v<T, file_base::flags&>)
    return "flags&";
  else if constexpr (std::is_same_v<T, file_base::seek_basis>)
    return "seek_basis";
  else if constexpr (std::is_same_v<plain, net::any_io_executor>)
    return std::is_reference_v<T> ? "const any_io_executor&" : "any_io_executor";
  else if constexpr (std::is_same_v<T, net::awaitable<std::size_t>>)
    return "awaitable<std::size_t>";
  else if constexpr (std::is_same_v<plain, File>)
    return std::is_reference_v<T> ? "File&" : "File";
  else
    static_assert(std::is_void_v<T>, "a type without a name");
}

// Escapes bars, which would begin the next column of the table.
std::string escaped(std::string_view expression) {
  std::string text;
  for (const char each : expression) text += each == '|' ? std::string{"\\|"} : std::string{each};
  return text;
}

void print_row(const char* expression, std::string_view result) {
  std::printf("| `%s` | `%.*s` |\n", escaped(expression).c_str(), static_cast<int>(result.size()), result.data());
}

/// The operands of the expressions. MEMBER makes their names available.
struct arguments {
  net::io_context context;
  net::any_io_executor executor;
  const char* path;
  std::string string;
  std::filesystem::path fs_path;
  file_base::flags flags;
  int descriptor;
  error_code ec;
  std::uint64_t bytes;
  std::uint64_t offset;
  net::mutable_buffer buffer;
  std::array<net::mutable_buffer, 2> buffers;
  net::const_buffer const_buffer;
  std::array<net::const_buffer, 2> const_buffers;
  void (*handler)(error_code, std::size_t);
};

/// An operand of expressions that are compiled and not evaluated.
template <class T>
[[noreturn]] T& none() {
  std::abort();
}

template <class File, class Other, class Expression>
void row(const char* text, Expression expression) {
  print_row(text, name_of<File, decltype(expression(none<File>(), none<Other>(), none<arguments>()))>());
  if (never) static_cast<void>(expression(none<File>(), none<Other>(), none<arguments>()));
}

void begin_table(const char* of) { std::printf("\n%s\n\n| expression | type |\n|---|---|\n", of); }

// Each macro prints the expression that it compiles.
#define MEMBER(...)                                                                                             \
  row<File, Other>(                                                                                             \
      #__VA_ARGS__,                                                                                             \
      []([[maybe_unused]] File& file, [[maybe_unused]] Other& other, arguments& given) -> decltype(auto) {      \
        [[maybe_unused]] auto& [context, executor, path, string, fs_path, flags, descriptor, ec, bytes, offset, \
                                buffer, buffers, const_buffer, const_buffers, handler] = given;                 \
        return __VA_ARGS__;                                                                                     \
      })
// NOLINTNEXTLINE(bugprone-macro-parentheses): a type has no parentheses
#define TYPE(name) print_row(#name, name_of<File, typename name>())
#define TRAIT(...) print_row(#__VA_ARGS__, (__VA_ARGS__) ? "true" : "false")

void print_file_base() {
  using File = files::random_access_file;
  using Other = File;
  begin_table("`file_base`, and what is derived from it:");
  MEMBER(file_base::read_only);
  MEMBER(file_base::write_only);
  MEMBER(file_base::read_write);
  MEMBER(file_base::append);
  MEMBER(file_base::create);
  MEMBER(file_base::exclusive);
  MEMBER(file_base::truncate);
  MEMBER(file_base::sync_all_on_write);
  MEMBER(file_base::seek_set);
  MEMBER(file_base::seek_cur);
  MEMBER(file_base::seek_end);
  MEMBER(flags | file_base::create);
  MEMBER(flags & file_base::create);
  MEMBER(flags ^ file_base::create);
  MEMBER(~flags);
  MEMBER(flags |= file_base::create);
  MEMBER(flags &= file_base::create);
  MEMBER(flags ^= file_base::create);
}

/// @tparam Other the same file class with another executor type, which converts to the executor of File.
template <class File, class Other>
void print_basic_file() {
  TYPE(File::executor_type);
  TYPE(File::native_handle_type);
  TYPE(File::template rebind_executor<net::any_io_executor>::other);
  MEMBER(File(executor));
  MEMBER(File(context));
  MEMBER(File(executor, path, flags));
  MEMBER(File(executor, string, flags));
  MEMBER(File(executor, fs_path, flags));
  MEMBER(File(context, path, flags));
  MEMBER(File(context, string, flags));
  MEMBER(File(context, fs_path, flags));
  MEMBER(File(context, path, net::file_base::read_only));
  MEMBER(File(executor, descriptor));
  MEMBER(File(context, descriptor));
  MEMBER(File(std::move(file)));
  MEMBER(File(std::move(other)));
  MEMBER(file = File(executor));
  MEMBER(file = std::move(other));
  TRAIT(std::is_convertible_v<Other, File>);
  TRAIT(std::is_convertible_v<File, Other>);
  TRAIT(std::is_convertible_v<net::io_context&, File>);
  TRAIT(std::is_convertible_v<net::any_io_executor, File>);
  TRAIT(std::is_copy_constructible_v<File>);
  TRAIT(std::is_copy_assignable_v<File>);
  TRAIT(std::is_nothrow_move_constructible_v<File>);
  TRAIT(std::is_base_of_v<file_base, File>);
  MEMBER(file.get_executor());
  MEMBER(file.open(path, flags));
  MEMBER(file.open(string, flags));
  MEMBER(file.open(fs_path, flags));
  MEMBER(file.open(path, net::file_base::read_only));
  MEMBER(file.open(path, net::file_base::write_only | net::file_base::create));
  MEMBER(file.open(path, flags, ec));
  MEMBER(file.open(string, flags, ec));
  MEMBER(file.open(fs_path, flags, ec));
  MEMBER(file.assign(descriptor));
  MEMBER(file.assign(descriptor, ec));
  MEMBER(std::as_const(file).is_open());
  MEMBER(file.close());
  MEMBER(file.close(ec));
  MEMBER(file.release());
  MEMBER(file.release(ec));
  MEMBER(file.native_handle());
  MEMBER(file.cancel());
  MEMBER(file.cancel(ec));
  MEMBER(std::as_const(file).size());
  MEMBER(std::as_const(file).size(ec));
  MEMBER(file.resize(bytes));
  MEMBER(file.resize(bytes, ec));
  MEMBER(file.sync_all());
  MEMBER(file.sync_all(ec));
  MEMBER(file.sync_data());
  MEMBER(file.sync_data(ec));
}

/// A class that a program derives from basic_file.
template <class Executor>
class derived_file : public files::basic_file<Executor> {
 public:
  using base = files::basic_file<Executor>;
  using base::base;
  derived_file(derived_file&&) noexcept = default;
  derived_file& operator=(derived_file&&) = default;
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  explicit(false) derived_file(derived_file<Other>&& other) : base(std::move(other)) {}
  template <class Other>
    requires std::is_convertible_v<Other, Executor>
  derived_file& operator=(derived_file<Other>&& other) {
    base::operator=(std::move(other));
    return *this;
  }
  ~derived_file() = default;
  template <class Other>
  struct rebind_executor {
    using other = derived_file<Other>;
  };
};

void print_random_access_file() {
  using File = files::basic_random_access_file<net::any_io_executor>;
  using Other = net::use_awaitable_t<>::as_default_on_t<File>;
  begin_table("`basic_random_access_file`, besides what is `basic_file`'s:");
  TRAIT(std::is_same_v<File, files::random_access_file>);
  TRAIT(std::is_base_of_v<files::basic_file<net::any_io_executor>, File>);
  MEMBER(file.read_some_at(offset, buffers));
  MEMBER(file.read_some_at(offset, buffer));
  MEMBER(file.read_some_at(offset, buffers, ec));
  MEMBER(file.write_some_at(offset, buffers));
  MEMBER(file.write_some_at(offset, const_buffers));
  MEMBER(file.write_some_at(offset, const_buffer));
  MEMBER(file.write_some_at(offset, const_buffers, ec));
  MEMBER(file.async_read_some_at(offset, buffers, handler));
  MEMBER(file.async_read_some_at(offset, buffer, net::use_awaitable));
  MEMBER(other.async_read_some_at(offset, buffers));
  MEMBER(file.async_write_some_at(offset, const_buffers, handler));
  MEMBER(file.async_write_some_at(offset, const_buffer, net::use_awaitable));
  MEMBER(other.async_write_some_at(offset, buffers));
  MEMBER(net::read_at(file, offset, buffers));
  MEMBER(net::write_at(file, offset, const_buffers));
  MEMBER(net::async_read_at(file, offset, buffers, handler));
  MEMBER(net::async_write_at(other, offset, const_buffers));
}

void print_stream_file() {
  using File = files::basic_stream_file<net::any_io_executor>;
  using Other = net::use_awaitable_t<>::as_default_on_t<File>;
  begin_table("`basic_stream_file`, besides what is `basic_file`'s:");
  TRAIT(std::is_same_v<File, files::stream_file>);
  TRAIT(std::is_base_of_v<files::basic_file<net::any_io_executor>, File>);
  MEMBER(file.seek(-1, file_base::seek_end));
  MEMBER(file.seek(-1, file_base::seek_end, ec));
  MEMBER(file.seek(-1, net::file_base::seek_end));
  MEMBER(file.read_some(buffers));
  MEMBER(file.read_some(buffer));
  MEMBER(file.read_some(buffers, ec));
  MEMBER(file.write_some(buffers));
  MEMBER(file.write_some(const_buffers));
  MEMBER(file.write_some(const_buffer));
  MEMBER(file.write_some(const_buffers, ec));
  MEMBER(file.async_read_some(buffers, handler));
  MEMBER(file.async_read_some(buffer, net::use_awaitable));
  MEMBER(other.async_read_some(buffers));
  MEMBER(file.async_write_some(const_buffers, handler));
  MEMBER(file.async_write_some(const_buffer, net::use_awaitable));
  MEMBER(other.async_write_some(buffers));
  MEMBER(net::read(file, buffers));
  MEMBER(net::write(file, const_buffers));
  MEMBER(net::async_read(file, buffers, handler));
  MEMBER(net::async_write(other, const_buffers));
}

}  // namespace

// usage: asio_file_members [basic_file | random_access_file | stream_file]
//
// The argument chooses the class for which the table of the members of basic_file is printed. The table is the same for
// each class.
int main(int argc, char** argv) {
  const std::string_view which = argc > 1 ? argv[1] : "basic_file";
  const auto all_of = [&](auto name, auto print) {
    if (which == name) print();
  };
  print_file_base();
  begin_table("`basic_file`, and each file that is derived from it:");
  using executor = net::any_io_executor;
  using other = net::io_context::executor_type;
  all_of("basic_file", print_basic_file<derived_file<executor>, derived_file<other>>);
  all_of("random_access_file", print_basic_file<files::random_access_file, files::basic_random_access_file<other>>);
  all_of("stream_file", print_basic_file<files::stream_file, files::basic_stream_file<other>>);
  print_random_access_file();
  print_stream_file();
  return 0;
}
