// SPDX-License-Identifier: Apache-2.0
//
// The counters of libaio.so.1, and its reports of them. The reports are compared as a whole.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "../../libaio/statistics/counters.hpp"
#include "../../libaio/statistics/report.hpp"
#include "../../libaio/statistics/system_calls.hpp"
#include "support/child.hpp"

namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using doorbell::aio::iocb_abi;
using doorbell::aio::opcode;
using doorbell::libaio::call;
using doorbell::libaio::counters;
using doorbell::libaio::report_text;
using doorbell::libaio::system_calls;
using answered_by = counters::answered_by;

iocb_abi request(std::uint16_t code) {
  iocb_abi made;
  made.lio_opcode = code;
  return made;
}
iocb_abi request(opcode code) { return request(static_cast<std::uint16_t>(code)); }

void carry_out(counters& all, opcode code, std::int64_t res, answered_by carrier = answered_by::submit,
               counters::clock::duration after = 1us) {
  all.taken(request(code));
  all.answered(request(code), res, carrier, after);
}

TEST(statistics, contexts_made_and_the_highest_number_of_open_contexts_are_counted) {
  counters all;
  for (int n = 0; n < 3; ++n) all.called(call::setup, 0, true);
  all.called(call::setup, -EAGAIN, true);
  all.called(call::destroy, -EINVAL, true);
  all.called(call::destroy, 0, true);
  all.called(call::destroy, 0, true);
  all.called(call::submit, 0, true);
  EXPECT_EQ(all.contexts.made, 3U);
  EXPECT_EQ(all.contexts.open, 1);
  EXPECT_EQ(all.contexts.most, 3U);
  all.called(call::setup, 0, true);
  EXPECT_EQ(all.contexts.made, 4U);
  EXPECT_EQ(all.contexts.most, 3U);
  EXPECT_EQ(all.kernel_calls, 9U);
  all.called(call::getevents, 0, false);
  EXPECT_EQ(all.kernel_calls, 9U);
}

TEST(statistics, a_destroy_of_a_context_that_was_not_counted_offsets_a_later_setup) {
  counters all;
  all.called(call::destroy, 0, true);
  all.called(call::setup, 0, true);
  EXPECT_EQ(all.contexts.most, 0U);
}

TEST(statistics, refusals_are_counted_by_call_and_errno) {
  constexpr std::array which{call::setup, call::destroy, call::submit, call::cancel, call::getevents};
  for (std::size_t n = 0; n < which.size(); ++n) {
    counters all;
    EXPECT_TRUE(all.is_empty());
    all.called(which[n], 1, true);
    EXPECT_TRUE(all.is_empty());
    all.called(which[n], -EINVAL, true);
    EXPECT_FALSE(all.is_empty());
    all.called(which[n], -EINVAL, true);
    all.called(which[n], -EINPROGRESS, true);
    EXPECT_EQ(all.refused[n][EINVAL], 2U);
    EXPECT_EQ(all.refused[n][EINPROGRESS], which[n] == call::cancel ? 0U : 1U);  // no refusal of a cancel
    EXPECT_EQ(all.refused[n][0], 0U);
  }
}

TEST(statistics, a_process_that_has_made_a_context_is_not_empty) {
  counters all;
  all.called(call::setup, 0, true);
  EXPECT_FALSE(all.is_empty());
}

TEST(statistics, errors_above_the_highest_errno_are_counted_with_it) {
  counters all;
  for (const std::int64_t error : {132, 133, 134, 4095}) carry_out(all, opcode::pread, -error);
  EXPECT_EQ(all.failed[132], 1U);
  EXPECT_EQ(all.failed[133], 3U);
}

TEST(statistics, requests_are_counted_by_opcode) {
  counters all;
  for (std::uint16_t code = 0; code < 12; ++code) all.taken(request(code));
  for (std::size_t code = 0; code < 8; ++code) EXPECT_EQ(all.requests[code], 1U) << code;
  EXPECT_EQ(all.requests[8], 4U);
  EXPECT_EQ(all.in_flight, 12);
  EXPECT_EQ(all.most_in_flight, 12U);
  all.given_back(request(7));
  all.given_back(request(8));
  all.given_back(request(11));
  EXPECT_EQ(all.requests[7], 0U);
  EXPECT_EQ(all.requests[8], 2U);
  EXPECT_EQ(all.in_flight, 9);
  EXPECT_EQ(all.most_in_flight, 12U);
  all.answered(request(opcode::fsync), 0, answered_by::threads, 1us);
  EXPECT_EQ(all.in_flight, 8);
}

TEST(statistics, results_are_bytes_or_cancellations_or_failures) {
  counters all;
  carry_out(all, opcode::pread, 1);
  carry_out(all, opcode::preadv, 2);
  carry_out(all, opcode::pwrite, 4);
  carry_out(all, opcode::pwritev, 8);
  carry_out(all, opcode::poll, 16);  // the result of a poll is events, not bytes
  carry_out(all, opcode::fsync, 0);
  carry_out(all, opcode::pread, 0);
  EXPECT_EQ(all.bytes_read, 3U);
  EXPECT_EQ(all.bytes_written, 12U);
  EXPECT_EQ(all.cancelled, 0U);
  EXPECT_EQ(all.failed[0], 0U);
  carry_out(all, opcode::poll, 0);
  EXPECT_EQ(all.cancelled, 1U);
  carry_out(all, opcode::pread, -ECANCELED);
  EXPECT_EQ(all.cancelled, 2U);
  EXPECT_EQ(all.failed[ECANCELED], 0U);
  carry_out(all, opcode::poll, -EIO);
  carry_out(all, opcode::pwrite, -EIO);
  EXPECT_EQ(all.cancelled, 2U);
  EXPECT_EQ(all.failed[EIO], 2U);
  EXPECT_EQ(all.bytes_read, 3U);
  EXPECT_EQ(all.bytes_written, 12U);
}

TEST(statistics, a_percentile_is_the_latency_of_the_slowest_request_in_it) {
  counters all;
  EXPECT_EQ(all.latency(0.5), 0ns);
  carry_out(all, opcode::fsync, 0, answered_by::submit, 10us);
  carry_out(all, opcode::fsync, 0, answered_by::submit, 1ms);
  EXPECT_GE(all.latency(0.5), 10us);
  EXPECT_LE(all.latency(0.5), 10.3us);
  EXPECT_EQ(all.latency(0.51), 1ms);
  EXPECT_EQ(all.latency(1.0), 1ms);
  carry_out(all, opcode::fsync, 0, answered_by::submit, 30us);
  EXPECT_EQ(all.longest_ns, 1'000'000U);
  EXPECT_GE(all.latency(0.5), 30us);
  EXPECT_LE(all.latency(0.5), 30.7us);
}

TEST(statistics, a_latency_of_zero_or_less_counts_as_zero) {
  counters all;
  carry_out(all, opcode::fsync, 0, answered_by::submit, 0ns);
  EXPECT_EQ(all.longest_ns, 0U);
  EXPECT_EQ(all.latency(1.0), 0ns);
  carry_out(all, opcode::fsync, 0, answered_by::submit, -1ns);  // a clock that went backward
  EXPECT_EQ(all.longest_ns, 0U);
}

/// Counts some requests of each kind, so that each counter has another value.
void fill(counters& all) {
  for (int n = 0; n < 3; ++n) all.called(call::setup, 0, true);
  all.called(call::destroy, 0, true);
  all.called(call::setup, 0, false);
  for (int n = 0; n < 2; ++n) all.called(call::setup, -EAGAIN, true);
  all.called(call::destroy, -EINVAL, true);
  for (int n = 0; n < 5; ++n) all.called(call::submit, -EFAULT, true);
  for (int n = 0; n < 6; ++n) all.called(call::submit, -133, true);
  all.called(call::cancel, -EINPROGRESS, true);
  all.called(call::getevents, -EINTR, true);
  for (int n = 0; n < 2; ++n) carry_out(all, opcode::pread, 1024, answered_by::submit, 100ns);
  for (int n = 0; n < 3; ++n) carry_out(all, opcode::pwrite, 1'000'000, answered_by::io_uring, 1500ns);
  for (int n = 0; n < 4; ++n) carry_out(all, opcode::preadv, 10, answered_by::kernel_aio, 2ms);
  for (int n = 0; n < 5; ++n) carry_out(all, opcode::pwritev, -EIO, answered_by::threads, 3s);
  for (int n = 0; n < 6; ++n) carry_out(all, opcode::poll, 0, answered_by::threads, 3s);
  carry_out(all, opcode::fsync, 0, answered_by::threads, 3s);
  carry_out(all, opcode::fdsync, -ENOSPC, answered_by::threads, 3s);
  for (int n = 0; n < 7; ++n) all.taken(request(opcode::fsync));
  system_calls::made = 12345;
}

/// Changes the name of the program within a scope.
class named {
 public:
  explicit named(std::string name) : name_{std::move(name)} { program_invocation_short_name = name_.data(); }
  ~named() { program_invocation_short_name = before_; }
  named(const named&) = delete;
  named& operator=(const named&) = delete;

 private:
  std::string name_;
  char* const before_ = program_invocation_short_name;
};

template <class Write>
std::string report(Write write) {
  static report_text out;
  out = {};
  write(out);
  return std::string{out.view()};
}

TEST(statistics, a_report_for_people_has_all_numbers_with_units) {
  const named program{"a program"};
  counters all;
  fill(all);
  EXPECT_EQ(report([&](auto& out) { write_text(out, all); }), "doorbell: a program, process " +
                                                                  std::to_string(::getpid()) +
                                                                  R"(
  contexts      4, at most 3 at a time
  requests      29: pread 2, pwrite 3, fsync 8, fdsync 1, poll 6, preadv 4, pwritev 5
  bytes         2.0 KiB read, 2.9 MiB written
  answered      2 in io_submit, 3 by io_uring, 4 by the kernel's AIO, 13 by threads
  cancelled     6
  failed        EIO 5, ENOSPC 1
  refused       io_setup EAGAIN 2, io_destroy EINVAL 1, io_submit EFAULT 5, io_submit EHWPOISON 6, io_getevents EINTR 1
  in flight     at most 7
  latency       p50 3.0 s, p90 3.0 s, p99 3.0 s, p99.9 3.0 s, max 3.0 s
  system calls  12345; with the kernel's AIO 20
)");
}

TEST(statistics, a_report_for_programs_has_all_numbers_exactly) {
  const named program{R"(a "\ program)"};
  counters all;
  fill(all);
  EXPECT_EQ(report([&](auto& out) { write_json(out, all); }),
            R"({"program":"a \"\\ program","pid":)" + std::to_string(::getpid()) +
                R"(,"contexts":4,"most_contexts":3,"requests":{"pread":2,"pwrite":3,"fsync":8,"fdsync":1,"poll":6,)"
                R"("preadv":4,"pwritev":5},"bytes_read":2088,"bytes_written":3000000,"answered":{"submit":2,)"
                R"("io_uring":3,"kernel_aio":4,"threads":13},"cancelled":6,"failed":{"EIO":5,"ENOSPC":1},)"
                R"("refused":{"io_setup":{"EAGAIN":2},"io_destroy":{"EINVAL":1},)"
                R"("io_submit":{"EFAULT":5,"EHWPOISON":6},"io_getevents":{"EINTR":1}},"most_in_flight":7,)"
                R"("latency_ns":{"p50":3000000000,"p90":3000000000,"p99":3000000000,"p99.9":3000000000,)"
                R"("max":3000000000},"system_calls":12345,"kernel_aio_system_calls":20})"
                "\n");
}

// fill() sets each number, so that other tests see it in the reports and see that reset() clears it.
TEST(statistics, no_number_of_a_full_report_is_zero) {
  counters all;
  fill(all);
  const auto text = report([&](auto& out) { write_json(out, all); });
  for (const auto* const zero : {":0,", ":0}", ":{}"}) EXPECT_EQ(text.find(zero), std::string::npos) << text;
}

TEST(statistics, the_manual_page_names_each_member_of_a_report_for_programs) {
  std::ifstream file{DOCUMENTS "/doorbell-run.1"};
  const std::string manual{std::istreambuf_iterator<char>{file}, {}};
  const named program{"none"};
  const counters all;
  const auto text = report([&](auto& out) { write_json(out, all); });
  int depth = 0;
  int members = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    depth += (text[at] == '{') - (text[at] == '}');
    const bool begins_member = (text[at] == '{' || text[at] == ',') && text[at + 1] == '"';
    if (depth != 1 || !begins_member) continue;
    const auto name = text.substr(at + 2, text.find('"', at + 2) - at - 2);
    EXPECT_NE(manual.find(' ' + name + ' '), std::string::npos) << name;
    ++members;
  }
  EXPECT_GE(members, 15);
}

TEST(statistics, a_report_without_calls_has_all_its_lines) {
  const named program{"none"};
  system_calls::made = 0;
  const counters all;
  const auto process = std::to_string(::getpid());
  EXPECT_EQ(report([&](auto& out) { write_text(out, all); }), "doorbell: none, process " + process + R"(
  contexts      0, at most 0 at a time
  requests      0
  bytes         0 B read, 0 B written
  answered      0 in io_submit, 0 by io_uring, 0 by the kernel's AIO, 0 by threads
  cancelled     0
  failed        none
  refused       none
  in flight     at most 0
  latency       p50 0 ns, p90 0 ns, p99 0 ns, p99.9 0 ns, max 0 ns
  system calls  0; with the kernel's AIO 0
)");
  EXPECT_EQ(report([&](auto& out) { write_json(out, all); }),
            R"({"program":"none","pid":)" + process +
                R"(,"contexts":0,"most_contexts":0,"requests":{},"bytes_read":0,"bytes_written":0,)"
                R"("answered":{"submit":0,"io_uring":0,"kernel_aio":0,"threads":0},"cancelled":0,"failed":{},)"
                R"("refused":{},"most_in_flight":0,"latency_ns":{"p50":0,"p90":0,"p99":0,"p99.9":0,"max":0},)"
                R"("system_calls":0,"kernel_aio_system_calls":0})"
                "\n");
  EXPECT_EQ(report([](auto& out) { write_no_call(out); }),
            "doorbell: none, process " + process +
                ": no AIO call of this program has reached doorbell; doorbell-run --check reports how this program "
                "makes AIO calls, and whether doorbell reaches them\n");
}

TEST(statistics, an_error_without_a_name_is_a_number_in_a_report) {
  counters all;
  carry_out(all, opcode::pread, -41);
  EXPECT_NE(report([&](auto& out) { write_text(out, all); }).find("\n  failed        41 1\n"), std::string::npos);
  EXPECT_NE(report([&](auto& out) { write_json(out, all); }).find(R"("failed":{"41":1})"), std::string::npos);
}

TEST(statistics, the_name_of_a_program_cannot_imitate_a_report) {
  const counters all;
  const named program{"a\x01\nb\x1f c\x7f\xc3\xa4"s};
  const auto text = report([&](auto& out) { write_text(out, all); });
  EXPECT_TRUE(text.starts_with("doorbell: a??b? c?\xc3\xa4, process ")) << text;
}

TEST(statistics, numbers_have_the_largest_unit_in_which_they_are_at_least_one) {
  struct row {
    std::uint64_t bytes;
    std::string_view text;
  };
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  for (const auto& [bytes, text] :
       {row{1023, "1023 B"}, row{1024, "1.0 KiB"}, row{1075, "1.0 KiB"}, row{1076, "1.1 KiB"},
        row{1024UL * 1024 - 1, "1024.0 KiB"}, row{1024UL * 1024, "1.0 MiB"}, row{1UL << 40, "1.0 TiB"},
        row{1UL << 60, "1024.0 PiB"}, row{most, "16384.0 PiB"}}) {
    counters all;
    all.bytes_read = bytes;
    const auto report_of_it = report([&](auto& out) { write_text(out, all); });
    EXPECT_NE(report_of_it.find("\n  bytes         " + std::string{text} + " read, 0 B written\n"), std::string::npos)
        << report_of_it;
  }
  for (const auto& [ns, text] :
       {row{999, "999 ns"}, row{1000, "1.0 us"}, row{1'949'999, "1.9 ms"}, row{1'950'000, "2.0 ms"},
        row{1'000'000'000, "1.0 s"}, row{7'200'000'000'000, "7200.0 s"}}) {
    counters all;
    all.longest_ns = ns;
    const auto report_of_it = report([&](auto& out) { write_text(out, all); });
    EXPECT_NE(report_of_it.find(", max " + std::string{text} + "\n"), std::string::npos) << report_of_it;
  }
}

TEST(statistics, a_report_that_is_too_long_is_cut) {
  static report_text out;
  out = {};
  const std::string part(1000, 'x');
  for (int n = 0; n < 65; ++n) out << part;
  EXPECT_EQ(out.view().size(), 65000U);
  out << part << 'y';
  EXPECT_EQ(out.view(), std::string(65536, 'x'));
}

TEST(statistics, a_reset_clears_all_counters) {
  const named program{"none"};
  const auto both = [](const counters& each) {
    return report([&](auto& out) {
      write_text(out, each);
      write_json(out, each);
    });
  };
  counters all;
  fill(all);
  all.reset();
  EXPECT_EQ(both(all), both(counters{}));
  EXPECT_TRUE(all.is_empty());
  EXPECT_EQ(all.in_flight, 0);
  EXPECT_EQ(all.contexts.open, 0);
  counters fresh;
  for (auto* const each : {&all, &fresh}) {
    carry_out(*each, opcode::fsync, 0, answered_by::submit, 1us);
    carry_out(*each, opcode::fsync, 0, answered_by::submit, 4s);
  }
  EXPECT_EQ(both(all), both(fresh));
}

TEST(statistics, the_last_process_of_a_family_learns_that_none_has_called) {
  counters all;
  all.expect_child();
  all.expect_child();
  EXPECT_FALSE(all.leave_family());
  all.return_to_family();
  EXPECT_FALSE(all.leave_family());
  EXPECT_FALSE(all.leave_family());
  EXPECT_TRUE(all.leave_family());
}

TEST(statistics, a_call_of_a_child_counts_for_the_family) {
  counters all;
  all.expect_child();
  doorbell::test::in_child([&] {
    all.called(call::getevents, 0, false);
    EXPECT_FALSE(all.leave_family());
  });
  EXPECT_FALSE(all.leave_family());
  counters others;
  EXPECT_TRUE(others.leave_family());
}

}  // namespace
