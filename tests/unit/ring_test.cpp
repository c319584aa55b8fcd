// SPDX-License-Identifier: Apache-2.0
#include "../../aio/context/ring.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "support/ring_header.hpp"
#include "support/threads.hpp"

namespace {

using doorbell::aio::io_event;
using doorbell::aio::ring;
using doorbell::test::ring_header;

class mapped_ring : public testing::Test {
 protected:
  void SetUp() override {
    std::error_code ec;
    ring_.map(16, ec);
    ASSERT_FALSE(ec) << ec.message();
  }

  [[nodiscard]] ring_header& header() const { return *static_cast<ring_header*>(ring_.address()); }

  void publish(std::int64_t res) {
    ring_.publish({nullptr, nullptr, res, 0});
    ring_.commit();
  }

  std::vector<std::int64_t> get(std::size_t most) {
    std::vector<io_event> events(most);
    events.resize(ring_.get(events));
    std::vector<std::int64_t> results;
    for (const auto& event : events) results.push_back(event.res);
    return results;
  }

  unsigned take_all_slots() {
    unsigned taken = 0;
    while (taken < ring_.capacity() && ring_.take_slot()) ++taken;
    return taken;
  }

  ring ring_;
};

using results = std::vector<std::int64_t>;

TEST_F(mapped_ring, fills_whole_pages_less_the_header) {
  const auto events_in_a_page = static_cast<unsigned>(::sysconf(_SC_PAGESIZE)) / sizeof(io_event);
  EXPECT_EQ(ring_.capacity() % events_in_a_page, events_in_a_page - 1);
  EXPECT_EQ(header().nr, ring_.capacity());
}

TEST_F(mapped_ring, has_the_header_that_programs_check) {
  EXPECT_EQ(header().magic, 0xa10a10a1U);
  EXPECT_EQ(header().compat_features, 1U);
  EXPECT_EQ(header().incompat_features, 0U);
  EXPECT_EQ(header().header_length, 32U);
}

TEST_F(mapped_ring, returns_events_in_the_order_of_publication) {
  publish(1);
  publish(2);
  EXPECT_EQ(get(8), (results{1, 2}));
  EXPECT_EQ(get(8), results{});
}

TEST_F(mapped_ring, an_event_is_not_visible_to_the_program_before_commit) {
  ring_.publish({nullptr, nullptr, 1, 0});
  EXPECT_EQ(header().tail, 0U);
  ring_.commit();
  EXPECT_EQ(header().tail, 1U);
}

TEST_F(mapped_ring, wraps_around) {
  for (std::int64_t round = 0; round < std::int64_t{3} * ring_.capacity(); ++round) {
    ASSERT_TRUE(ring_.take_slot());
    publish(round);
    ASSERT_EQ(get(8), results{round});
  }
}

TEST_F(mapped_ring, has_one_slot_less_than_its_capacity) { EXPECT_EQ(take_all_slots(), ring_.capacity() - 1); }

TEST_F(mapped_ring, a_slot_is_free_after_its_event_was_got_and_not_before) {
  take_all_slots();
  publish(1);
  EXPECT_FALSE(ring_.take_slot());
  EXPECT_EQ(get(8), results{1});
  EXPECT_TRUE(ring_.take_slot());
  EXPECT_FALSE(ring_.take_slot());
}

TEST_F(mapped_ring, a_head_moved_by_the_program_frees_one_slot_for_each_event) {
  take_all_slots();
  publish(1);
  publish(2);
  publish(3);
  header().head = 2;
  EXPECT_EQ(take_all_slots(), 2U);
  EXPECT_EQ(get(8), results{3});
  EXPECT_EQ(take_all_slots(), 1U);
}

TEST_F(mapped_ring, an_invalid_head_never_frees_more_slots_than_there_are_published_events) {
  take_all_slots();
  publish(1);
  unsigned taken = 0;
  for (const unsigned wild : {5U, 0xffffffffU, 126U, 1000000U, 1U, 0U}) {
    header().head = wild;
    taken += take_all_slots();
    (void)get(4);
  }
  EXPECT_LE(taken + take_all_slots(), 1U);
}

std::vector<void*> anonymous_shared_mappings() {
  std::vector<void*> found;
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);) {
    if (line.ends_with("/dev/zero (deleted)") || line.find("/memfd:doorbell-ring") != std::string::npos)
      found.push_back(reinterpret_cast<void*>(std::stoul(line, nullptr, 16)));
  }
  return found;
}

TEST_F(mapped_ring, has_not_moved_to_its_own_mapping) {
  const auto mappings = anonymous_shared_mappings();
  EXPECT_GE(mappings.size(), 2U);
  for (void* const each : mappings) EXPECT_FALSE(ring_.has_moved_to(each));
}

// Oracle: neither of two rings takes the other's memory for its own, although both check concurrently.
TEST_F(mapped_ring, has_not_moved_to_the_mapping_of_another_ring) {
  ring other;
  std::error_code ec;
  other.map(16, ec);
  ASSERT_FALSE(ec);
  void* const ours = ring_.address();
  void* const others = other.address();
  std::atomic<int> mistakes{0};
  doorbell::test::run_together(2, [&](std::size_t me) {
    for (int n = 0; n < 2000; ++n) mistakes += me == 0 ? ring_.has_moved_to(others) : other.has_moved_to(ours);
  });
  EXPECT_EQ(mistakes, 0);
}

// Oracle: a program that gets all events by calls finds another magic number from the 64th event on, until it moves
// head itself.
TEST_F(mapped_ring, changes_its_magic_number_while_it_is_left_to_calls) {
  const auto magic = header().magic;
  for (int n = 0; n < 64; ++n) {
    EXPECT_FALSE(ring_.leave_to_calls());
    EXPECT_EQ(header().magic, magic);
    ASSERT_TRUE(ring_.take_slot());
    publish(n);
    ASSERT_EQ(get(1), results{n});
  }
  EXPECT_TRUE(ring_.leave_to_calls());
  EXPECT_TRUE(ring_.leave_to_calls());
  EXPECT_NE(header().magic, magic);
  EXPECT_TRUE(ring::looks_like_one(reinterpret_cast<std::uintptr_t>(ring_.address())));
  ASSERT_TRUE(ring_.take_slot());
  publish(64);
  header().head = (header().head + 1) % header().nr;
  EXPECT_FALSE(ring_.leave_to_calls());
  EXPECT_EQ(header().magic, magic);
}

}  // namespace
