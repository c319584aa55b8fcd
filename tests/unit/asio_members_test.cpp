// SPDX-License-Identifier: Apache-2.0
//
// The members of all I/O objects that report errors, each in the form that throws and in the form that takes an error
// code: on closed objects, on open objects, and in a callback of a notifier.
#include <doorbell/asio.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <doorbell/notifier.hpp>

#include "support/fds.hpp"
#include "support/files.hpp"
#include "support/inventory.hpp"

namespace {

namespace net = boost::asio;
using boost::system::error_code;
using doorbell::asio::file_base;
using net::error::already_open;
using net::error::bad_descriptor;
using net::error::would_block;

/// An error that no member reports in these tests. Each member has to replace or to clear it.
const error_code stale = net::error::broken_pipe;

/// Calls a member. Oracle: if it returns an error code, this is the one that `ec` has received.
template <class Call>
std::uint64_t number_of(Call call, const error_code& ec = {}) {
  if constexpr (std::is_same_v<decltype(call()), error_code>) {
    const error_code returned = call();
    EXPECT_EQ(returned, ec);
    return 0;
  } else if constexpr (std::is_convertible_v<decltype(call()), std::uint64_t>) {
    return static_cast<std::uint64_t>(call());
  } else {
    call();
    return 0;
  }
}

/// A member in both forms. A call returns the result of the member, or 0 if that is not a number.
class member {
 public:
  /// @param on_error the result of the member if there is an error.
  template <class Telling, class Throwing>
  member(const char* name, Telling telling, Throwing throwing, std::uint64_t on_error = 0)
      : name_{name},
        telling_{[telling](error_code& ec) { return number_of([&] { return telling(ec); }, ec); }},
        throwing_{[throwing] { return number_of(throwing); }},
        on_error_{on_error} {}

  void expect(const error_code& expected) const {
    SCOPED_TRACE(name_);
    auto ec = stale;
    const auto returned = telling_(ec);
    EXPECT_EQ(ec, expected);
    if (expected) {
      EXPECT_EQ(returned, on_error_);
    }
  }
  void expect_throws(const error_code& expected) const {
    SCOPED_TRACE(name_);
    error_code thrown;
    try {
      throwing_();
    } catch (const boost::system::system_error& error) {
      thrown = error.code();
    }
    EXPECT_EQ(thrown, expected);
  }
  void expect_both(const error_code& expected) const {
    expect(expected);
    expect_throws(expected);
  }
  /// Expects this result of both forms, and no error.
  void expect_returns(std::uint64_t expected) const {
    SCOPED_TRACE(name_);
    auto ec = stale;
    EXPECT_EQ(telling_(ec), expected);
    EXPECT_EQ(ec, error_code{});
    EXPECT_EQ(throwing_(), expected);
  }

 private:
  const char* name_;
  std::function<std::uint64_t(error_code&)> telling_;
  std::function<std::uint64_t()> throwing_;
  std::uint64_t on_error_;
};

using members = std::vector<member>;
constexpr auto no_descriptor = static_cast<std::uint64_t>(-1);

class asio_members : public testing::Test {
 protected:
  asio_members() { watch.assign(shared, doorbell::test::kernel_eventfd().release()); }

  void close_all() {
    efd.close();
    watch.close();
    once.close();
    stays.close();
    changed.close();
    permits.close();
  }

  // Members that succeed on open objects, any number of times.
  [[nodiscard]] members that_take_a_lock() {
    return {
        {"eventfd::cancel", [&](auto& ec) { return efd.cancel(ec); }, [&] { efd.cancel(); }},
        {"watch::cancel", [&](auto& ec) { return watch.cancel(ec); }, [&] { watch.cancel(); }},
        {"auto_reset_event::set", [&](auto& ec) { return once.set(ec); }, [&] { once.set(); }},
        {"auto_reset_event::reset", [&](auto& ec) { return once.reset(ec); }, [&] { once.reset(); }},
        {"auto_reset_event::cancel", [&](auto& ec) { return once.cancel(ec); }, [&] { once.cancel(); }},
        {"manual_reset_event::set", [&](auto& ec) { return stays.set(ec); }, [&] { stays.set(); }},
        {"manual_reset_event::reset", [&](auto& ec) { return stays.reset(ec); }, [&] { stays.reset(); }},
        {"condition_variable::notify_one", [&](auto& ec) { return changed.notify_one(ec); },
         [&] { changed.notify_one(); }},
        {"condition_variable::notify_all", [&](auto& ec) { return changed.notify_all(ec); },
         [&] { changed.notify_all(); }},
        {"semaphore::try_acquire", [&](auto& ec) { return permits.try_acquire(ec); },
         [&] { return permits.try_acquire(); }},
        {"semaphore::cancel", [&](auto& ec) { return permits.cancel(ec); }, [&] { permits.cancel(); }},
    };
  }
  [[nodiscard]] members that_signal() {
    return {
        {"eventfd::signal", [&](auto& ec) { return efd.signal(1, ec); }, [&] { efd.signal(); }},
        {"semaphore::release", [&](auto& ec) { return permits.release(1, ec); }, [&] { permits.release(); }},
    };
  }
  // Members that succeed once on an open object, and never in a callback.
  [[nodiscard]] members that_close() {
    return {
        {"eventfd::close", [&](auto& ec) { return efd.close(ec); }, [&] { efd.close(); }},
        {"eventfd::release", [&](auto& ec) { return efd.release(ec).is_open(); },
         [&] { return efd.release().is_open(); }},
        {"watch::close", [&](auto& ec) { return watch.close(ec); }, [&] { watch.close(); }},
        {"watch::release", [&](auto& ec) { return watch.release(ec); }, [&] { return watch.release(); }, no_descriptor},
        {"auto_reset_event::close", [&](auto& ec) { return once.close(ec); }, [&] { once.close(); }},
        {"semaphore::close", [&](auto& ec) { return permits.close(ec); }, [&] { permits.close(); }},
    };
  }
  [[nodiscard]] member read() {
    return {"eventfd::read", [&](auto& ec) { return efd.read(ec); }, [&] { return efd.read(); }};
  }
  [[nodiscard]] members that_assign() {
    return {
        {"eventfd::assign, listen_only", [&](auto& ec) { return efd.assign(shared, doorbell::asio::listen_only, ec); },
         [&] { efd.assign(shared, doorbell::asio::listen_only); }},
        {"eventfd::assign, hold_handle", [&](auto& ec) { return efd.assign(shared, doorbell::asio::hold_handle, ec); },
         [&] { efd.assign(shared, doorbell::asio::hold_handle); }},
        {"watch::assign", [&](auto& ec) { return watch.assign(shared, source.get(), ec); },
         [&] { watch.assign(shared, source.get()); }},
    };
  }

  net::io_context io;
  const doorbell::eventfd shared;
  const doorbell::test::unique_fd source = doorbell::test::kernel_eventfd();
  doorbell::asio::eventfd efd{io, 1};
  doorbell::asio::watch watch{io};
  doorbell::asio::auto_reset_event once{io};
  doorbell::asio::manual_reset_event stays{io};
  doorbell::asio::condition_variable changed{io};
  doorbell::asio::semaphore permits{io, 9};
};

TEST_F(asio_members, of_closed_objects_report_bad_descriptor) {
  close_all();
  for (const auto& list : {that_take_a_lock(), that_signal(), that_close(), members{read()}})
    for (const auto& each : list) each.expect_both(bad_descriptor);
  EXPECT_FALSE(stays.is_set());
  EXPECT_EQ(watch.native_handle(), -1);
  EXPECT_EQ(efd.context(), nullptr);
}

TEST_F(asio_members, of_open_objects_clear_the_error_code) {
  for (const auto& list : {that_take_a_lock(), that_signal()})
    for (const auto& each : list) each.expect_both({});
  for (const auto& each : that_assign()) each.expect_both(already_open);
  watch.close();
  member{"watch::assign", [&](auto& ec) { return watch.assign(shared, -1, ec); }, [&] { watch.assign(shared, -1); }}
      .expect_both(bad_descriptor);
  efd.read();
  read().expect_both(would_block);
  while (permits.try_acquire()) {
  }
  member{"semaphore::try_acquire", [&](auto& ec) { return permits.try_acquire(ec); },
         [&] { return permits.try_acquire(); }}
      .expect_returns(0);
  permits.release(2);
  member{"semaphore::try_acquire", [&](auto& ec) { return permits.try_acquire(ec); },
         [&] { return permits.try_acquire(); }}
      .expect_returns(1);
}

TEST_F(asio_members, closing_clears_the_error_code_and_closes) {
  const auto closing = that_close();
  closing[0].expect({});
  efd.assign(shared, doorbell::asio::hold_handle);
  closing[1].expect({});
  closing[2].expect({});
  closing[4].expect({});
  closing[5].expect({});
  // closing[3], watch::release, is not called here, because closing[2] has closed `watch`. A release of the open watch
  // is tested below.
  EXPECT_FALSE(efd.is_open() || watch.is_open() || once.is_open() || permits.is_open());
  for (const auto& each : that_assign()) {
    each.expect({});
    if (efd.is_open()) efd.close();
  }
  EXPECT_EQ(watch.release(), source.get()) << "the descriptor still belongs to the test";
}

// Oracle: in a callback each member that takes a lock is refused in both forms, and the objects are not changed.
TEST_F(asio_members, in_a_callback_report_resource_deadlock_would_occur_unless_they_signal) {
  const auto deadlock = boost::system::errc::make_error_code(boost::system::errc::resource_deadlock_would_occur);
  const doorbell::eventfd other;
  doorbell::asio::watch closed{io};
  int called = 0;
  const doorbell::notifier inside{other, [&](auto&) {
                                    ++called;
                                    for (const auto& list : {that_take_a_lock(), that_close(), members{read()}})
                                      for (const auto& each : list) each.expect_both(deadlock);
                                    for (const auto& each : that_signal()) each.expect_both({});
                                    member{"watch::assign",
                                           [&](auto& ec) { return closed.assign(shared, source.get(), ec); },
                                           [&] { closed.assign(shared, source.get()); }}
                                        .expect_both(deadlock);
                                  }};
  other.signal();
  EXPECT_EQ(called, 1);
  EXPECT_TRUE(efd.is_open() && watch.is_open() && once.is_open() && permits.is_open());
  EXPECT_FALSE(closed.is_open());
  EXPECT_EQ(efd.read(), 3U);
}

// The members of files.

class asio_file_members : public testing::Test {
 protected:
  [[nodiscard]] std::string name() { return "/proc/self/fd/" + std::to_string(there_.get()); }

  [[nodiscard]] members of_both(auto& object) {
    return {
        {"size", [&](auto& ec) { return object.size(ec); }, [&] { return object.size(); }},
        {"resize", [&](auto& ec) { return object.resize(4, ec); }, [&] { object.resize(4); }},
        {"sync_all", [&](auto& ec) { return object.sync_all(ec); }, [&] { object.sync_all(); }},
        {"sync_data", [&](auto& ec) { return object.sync_data(ec); }, [&] { object.sync_data(); }},
        {"cancel", [&](auto& ec) { return object.cancel(ec); }, [&] { object.cancel(); }},
    };
  }
  [[nodiscard]] members that_transfer() {
    return {
        {"write_some_at", [&](auto& ec) { return file_.write_some_at(1, net::buffer("xyz", 3), ec); },
         [&] { return file_.write_some_at(1, net::buffer("xyz", 3)); }},
        {"read_some_at", [&](auto& ec) { return file_.read_some_at(1, net::buffer(room_), ec); },
         [&] { return file_.read_some_at(1, net::buffer(room_)); }},
        {"seek", [&](auto& ec) { return stream_.seek(1, file_base::seek_set, ec); },
         [&] { return stream_.seek(1, file_base::seek_set); }},
        {"write_some",
         [&](auto& ec) {
           seek();
           return stream_.write_some(net::buffer("xyz", 3), ec);
         },
         [&] {
           seek();
           return stream_.write_some(net::buffer("xyz", 3));
         }},
        {"read_some",
         [&](auto& ec) {
           seek();
           return stream_.read_some(net::buffer(room_), ec);
         },
         [&] {
           seek();
           return stream_.read_some(net::buffer(room_));
         }},
    };
  }
  [[nodiscard]] members that_open(auto& object) {
    return {
        {"open", [&](auto& ec) { return object.open(name(), file_base::read_write, ec); },
         [&] { object.open(name(), file_base::read_write); }},
        {"assign", [&](auto& ec) { return object.assign(there_.get(), ec); }, [&] { object.assign(there_.get()); }},
    };
  }
  void seek() {
    error_code ignored;
    stream_.seek(1, file_base::seek_set, ignored);
  }
  void open() {
    file_.open(name(), file_base::read_write);
    stream_.open(name(), file_base::read_write);
  }

  net::io_context io_;
  const doorbell::test::unique_fd there_ = doorbell::test::temporary_file("abcd");
  doorbell::asio::random_access_file file_{io_};
  doorbell::asio::stream_file stream_{io_};
  std::array<char, 3> room_{};
};

TEST_F(asio_file_members, of_closed_files_report_bad_descriptor_except_close_and_release) {
  for (const auto& list : {of_both(file_), of_both(stream_), that_transfer()})
    for (const auto& each : list) each.expect_both(bad_descriptor);
  member{"close", [&](auto& ec) { return file_.close(ec); }, [&] { file_.close(); }}.expect_both({});
  member{"release", [&](auto& ec) { return file_.release(ec); }, [&] { return file_.release(); }}.expect_returns(
      no_descriptor);
  EXPECT_EQ(file_.native_handle(), -1);
}

TEST_F(asio_file_members, of_open_files_clear_the_error_code_and_return_their_results) {
  open();
  for (const auto& list : {of_both(file_), of_both(stream_)})
    for (const auto& each : list) each.expect_both({});
  EXPECT_EQ(file_.size(), 4U);
  const auto transfers = that_transfer();
  const std::array<std::uint64_t, 5> expected{3, 3, 1, 3, 3};
  for (std::size_t i = 0; i < transfers.size(); ++i) transfers[i].expect_returns(expected.at(i));
  EXPECT_EQ(std::string(room_.data(), room_.size()), "xyz");
  for (const auto& list : {that_open(file_), that_open(stream_)})
    for (const auto& each : list) each.expect_both(already_open);
  member{"close", [&](auto& ec) { return file_.close(ec); }, [&] { file_.close(); }}.expect({});
  EXPECT_FALSE(file_.is_open());
  auto ec = stale;
  const doorbell::test::unique_fd released{stream_.release(ec)};
  EXPECT_FALSE(ec);
  EXPECT_TRUE(doorbell::test::is_open(released.get()));
}

TEST_F(asio_file_members, opening_reports_the_error_of_the_system) {
  const error_code missing{ENOENT, boost::system::system_category()};
  member{"open", [&](auto& ec) { return file_.open("/no/such/file", file_base::read_only, ec); },
         [&] { file_.open("/no/such/file", file_base::read_only); }}
      .expect_both(missing);
  member{"assign", [&](auto& ec) { return stream_.assign(-1, ec); }, [&] { stream_.assign(-1); }}.expect_both(
      bad_descriptor);
  EXPECT_FALSE(file_.is_open() || stream_.is_open());
  for (const auto& each : that_open(file_)) {
    each.expect({});
    EXPECT_TRUE(file_.is_open());
    EXPECT_EQ(file_.read_some_at(0, net::buffer(room_)), 3U);
    // The assigned descriptor still belongs to the test.
    if (file_.native_handle() == there_.get()) {
      EXPECT_EQ(file_.release(), there_.get());
    } else {
      file_.close();
    }
  }
}

// O_PATH opens a descriptor that cannot be read, and so the object cannot use it. Oracle: it is closed, and the error
// is reported.
TEST_F(asio_file_members, opening_leaves_no_descriptor_open_if_it_cannot_be_used) {
  const doorbell::test::nothing_left_behind checks;
  for (const auto& each :
       {member{"open", [&](auto& ec) { return file_.open(name(), O_PATH, ec); }, [&] { file_.open(name(), O_PATH); }},
        member{"open", [&](auto& ec) { return stream_.open(name(), O_PATH, ec); },
               [&] { stream_.open(name(), O_PATH); }}})
    each.expect_both(bad_descriptor);
  EXPECT_FALSE(file_.is_open() || stream_.is_open());
}

TEST_F(asio_file_members, of_files_opened_by_their_constructors_access_them) {
  const auto reads = [&](auto file) {
    EXPECT_EQ(file.get_executor(), net::any_io_executor{io_.get_executor()});
    return file.size();
  };
  using doorbell::asio::random_access_file;
  using doorbell::asio::stream_file;
  const auto given = [&] { return ::dup(there_.get()); };
  EXPECT_EQ(reads(random_access_file{io_, name(), file_base::read_only}), 4U);
  EXPECT_EQ(reads(random_access_file{io_.get_executor(), name(), file_base::read_only}), 4U);
  EXPECT_EQ(reads(random_access_file{io_, given()}), 4U);
  EXPECT_EQ(reads(random_access_file{io_.get_executor(), given()}), 4U);
  EXPECT_EQ(reads(stream_file{io_, name(), file_base::read_only}), 4U);
  EXPECT_EQ(reads(stream_file{io_.get_executor(), name(), file_base::read_only}), 4U);
  EXPECT_EQ(reads(stream_file{io_, given()}), 4U);
  EXPECT_EQ(reads(stream_file{io_.get_executor(), given()}), 4U);
}

}  // namespace
