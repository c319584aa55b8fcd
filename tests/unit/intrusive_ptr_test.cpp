// SPDX-License-Identifier: Apache-2.0
#include <doorbell/base/intrusive_ptr.hpp>

#include <gtest/gtest.h>

#include <utility>

namespace {

/// Incomplete here: the declaration of an intrusive_ptr does not need the complete type.
class counted;
using counted_ptr = doorbell::base::intrusive_ptr<counted>;
struct holder {
  counted_ptr held;
};

class counted {
 public:
  void get() noexcept { ++references; }
  void put() noexcept { --references; }
  int references = 0;
};

TEST(intrusive_ptr, without_an_object_is_null) {
  const counted_ptr none;
  const counted_ptr also_none = nullptr;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.get(), nullptr);
  EXPECT_TRUE(none == nullptr);
  EXPECT_TRUE(none == also_none);
}

TEST(intrusive_ptr, holds_one_reference_while_it_lives) {
  counted object;
  {
    const counted_ptr one{&object};
    EXPECT_EQ(object.references, 1);
    EXPECT_EQ(one.get(), &object);
    EXPECT_EQ(&*one, &object);
    EXPECT_EQ(one->references, 1);
    EXPECT_TRUE(one == &object);
    EXPECT_TRUE(one != nullptr);
  }
  EXPECT_EQ(object.references, 0);
}

TEST(intrusive_ptr, takes_over_a_reference_without_adding_one) {
  counted object;
  object.get();
  {
    const counted_ptr one{&object, false};
  }
  EXPECT_EQ(object.references, 0);
}

TEST(intrusive_ptr, copies_hold_one_reference_each) {
  counted object;
  const counted_ptr one{&object};
  const counted_ptr other{one};
  EXPECT_EQ(object.references, 2);
  EXPECT_TRUE(one == other);
}

TEST(intrusive_ptr, moved_from_is_null_and_the_count_stays) {
  counted object;
  counted_ptr one{&object};
  const counted_ptr other{std::move(one)};
  EXPECT_EQ(one.get(), nullptr);  // NOLINT(bugprone-use-after-move): tests the moved-from state
  EXPECT_EQ(other.get(), &object);
  EXPECT_EQ(object.references, 1);
}

TEST(intrusive_ptr, assigned_drops_its_previous_reference) {
  counted first;
  counted second;
  counted_ptr one{&first};
  one = &second;
  EXPECT_EQ(first.references, 0);
  EXPECT_EQ(second.references, 1);
  one = nullptr;
  EXPECT_EQ(second.references, 0);
}

TEST(intrusive_ptr, assigned_to_itself_keeps_the_reference) {
  counted object;
  counted_ptr one{&object};
  const auto& same = one;
  one = same;
  EXPECT_EQ(object.references, 1);
  EXPECT_EQ(one.get(), &object);
}

TEST(intrusive_ptr, reset_drops_the_reference) {
  counted object;
  counted_ptr one{&object};
  one.reset();
  EXPECT_EQ(object.references, 0);
  EXPECT_FALSE(one);
}

TEST(intrusive_ptr, detached_leaves_the_reference_to_the_caller) {
  counted object;
  {
    counted_ptr one{&object};
    EXPECT_EQ(one.detach(), &object);
    EXPECT_FALSE(one);
  }
  EXPECT_EQ(object.references, 1);
}

TEST(intrusive_ptr, swap_exchanges_the_objects_and_changes_no_count) {
  counted first;
  counted second;
  holder one{counted_ptr{&first}};
  holder other{counted_ptr{&second}};
  one.held.swap(other.held);
  EXPECT_EQ(one.held.get(), &second);
  EXPECT_EQ(other.held.get(), &first);
  EXPECT_EQ(first.references, 1);
  EXPECT_EQ(second.references, 1);
}

}  // namespace
