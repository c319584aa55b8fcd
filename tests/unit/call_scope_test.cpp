// SPDX-License-Identifier: Apache-2.0
//
// Calls inside a call. A call that a signal handler makes runs in the thread of the interrupted call, so the tests nest
// the scopes instead of raising signals.
#include <gtest/gtest.h>

#include <doorbell/base/call_scope.hpp>

namespace {

using doorbell::base::call_scope;
using doorbell::base::inside_of_call;
using doorbell::base::outside_of_call;
using doorbell::base::refusals_remembered;

bool is_a_call_refused() { return !call_scope{}; }

TEST(call_scope, a_call_inside_another_is_refused_until_the_outer_one_ends) {
  EXPECT_FALSE(inside_of_call::is_now());
  {
    const call_scope outer;
    EXPECT_TRUE(outer);
    EXPECT_TRUE(inside_of_call::is_now());
    EXPECT_TRUE(is_a_call_refused());
    EXPECT_TRUE(is_a_call_refused()) << "the end of a refused call does not end the outer one";
  }
  EXPECT_FALSE(inside_of_call::is_now());
  EXPECT_FALSE(is_a_call_refused());
}

TEST(call_scope, a_call_is_refused_while_an_inside_of_call_exists) {
  {
    const inside_of_call outer;
    EXPECT_TRUE(is_a_call_refused());
    {
      const inside_of_call inner;
      EXPECT_TRUE(is_a_call_refused());
    }
    EXPECT_TRUE(is_a_call_refused());
  }
  EXPECT_FALSE(is_a_call_refused());
}

TEST(call_scope, a_call_is_accepted_while_the_outer_call_runs_a_callback) {
  const call_scope outer;
  {
    const outside_of_call callback;
    EXPECT_FALSE(is_a_call_refused());
    {
      const inside_of_call part;
      EXPECT_TRUE(is_a_call_refused());
    }
    EXPECT_FALSE(is_a_call_refused());
  }
  EXPECT_TRUE(is_a_call_refused()) << "the outer call goes on";
}

TEST(call_scope, outside_of_call_without_an_outer_call_has_no_effect) {
  {
    const outside_of_call callback;
    EXPECT_FALSE(is_a_call_refused());
  }
  EXPECT_FALSE(inside_of_call::is_now());
}

TEST(call_scope, a_call_must_return_only_if_there_was_a_refusal_since_its_begin) {
  {
    const refusals_remembered refusals;
    const call_scope call;
    EXPECT_FALSE(refusals_remembered::must_return());
    EXPECT_TRUE(is_a_call_refused());
    EXPECT_TRUE(refusals_remembered::must_return());
  }
  const refusals_remembered refusals;
  EXPECT_FALSE(refusals_remembered::must_return());
}

TEST(call_scope, a_refusal_inside_an_accepted_call_of_a_handler_is_not_one_of_the_interrupted_call) {
  const refusals_remembered refusals;
  const call_scope interrupted;
  {
    const outside_of_call asleep;
    const refusals_remembered refusals_of_inner;
    const call_scope inner;
    EXPECT_TRUE(is_a_call_refused());
    EXPECT_TRUE(refusals_remembered::must_return());
  }
  EXPECT_FALSE(refusals_remembered::must_return());
}

TEST(call_scope, an_interrupted_call_must_return_if_a_call_that_remembers_refusals_was_refused) {
  const refusals_remembered refusals;
  const call_scope interrupted;
  {
    refusals_remembered refusals_of_inner;
    const call_scope inner;
    ASSERT_FALSE(inner);
    refusals_of_inner.was_refused();
  }
  EXPECT_TRUE(refusals_remembered::must_return());
}

TEST(call_scope, an_earlier_refusal_is_kept_and_not_seen_by_a_call_that_begins_after_it) {
  const refusals_remembered refusals;
  const call_scope interrupted;
  EXPECT_TRUE(is_a_call_refused());
  {
    const outside_of_call asleep;
    const refusals_remembered refusals_of_inner;
    const call_scope inner;
    EXPECT_FALSE(refusals_remembered::must_return());
  }
  EXPECT_TRUE(refusals_remembered::must_return());
}

}  // namespace
