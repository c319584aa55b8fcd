// SPDX-License-Identifier: Apache-2.0
//
// Litmus tests of the model checker's weak memory: the small programs of the literature, each with all outcomes that
// C++ allows. The exception is load buffering, for which C++ allows one more outcome. The names are those of Alglave,
// Maranget, Tautschnig: Herding cats, TOPLAS 2014.
#include <doorbell/base/atomic.hpp>

#include "scenario.hpp"

namespace doorbell::model {
namespace {

using base::memory_order_acq_rel;
using base::memory_order_acquire;
using base::memory_order_relaxed;
using base::memory_order_release;
using base::memory_order_seq_cst;
using std::memory_order;
using variable = base::atomic<int>;

// Each of two threads stores to its variable, and reads the other thread's variable.
void store_buffering(memory_order stores, memory_order loads) {
  variable x{0};
  variable y{0};
  int first = 0;
  int second = 0;
  together({{"first",
             [&] {
               x.store(1, stores);
               first = y.load(loads);
             }},
            {"second", [&] {
               y.store(1, stores);
               second = x.load(loads);
             }}});
  outcome({first, second});
}

// The writer stores data, and then a flag. The reader reads the flag, and then the data.
void message_passing(memory_order publishes, memory_order looks) {
  variable data{0};
  variable there{0};
  int saw_it = 0;
  int read = 0;
  together({{"writer",
             [&] {
               data.store(1, memory_order_relaxed);
               there.store(1, publishes);
             }},
            {"reader", [&] {
               saw_it = there.load(looks);
               read = data.load(memory_order_relaxed);
             }}});
  outcome({saw_it, read});
}

// Two readers of two variables, in opposite order.
void independent_reads(memory_order stores, memory_order loads) {
  variable x{0};
  variable y{0};
  int seen[4] = {};
  together({{"x's writer", [&] { x.store(1, stores); }},
            {"y's writer", [&] { y.store(1, stores); }},
            {"first reader",
             [&] {
               seen[0] = x.load(loads);
               seen[1] = y.load(loads);
             }},
            {"second reader", [&] {
               seen[2] = y.load(loads);
               seen[3] = x.load(loads);
             }}});
  outcome({seen[0], seen[1], seen[2], seen[3]});
}

// A thread reads a value of the first thread, and passes it on to a third thread.
void write_to_read_causality(memory_order passes, memory_order looks) {
  variable x{0};
  variable y{0};
  int passed = 0;
  int looked = 0;
  int read = 0;
  together({{"writer", [&] { x.store(1, memory_order_relaxed); }},
            {"between",
             [&] {
               passed = x.load(memory_order_relaxed);
               y.store(1, passes);
             }},
            {"reader", [&] {
               looked = y.load(looks);
               read = x.load(memory_order_relaxed);
             }}});
  outcome({passed, looked, read});
}

// A release store, an operation of another thread on the same atomic, and a third thread that acquires its result.
template <class Between>
void release_sequence(const Between& between) {
  variable data{0};
  variable there{0};
  int saw = 0;
  int read = 0;
  together({{"writer",
             [&] {
               data.store(1, memory_order_relaxed);
               there.store(1, memory_order_release);
             }},
            {"other", [&] { between(there); }},
            {"reader", [&] {
               saw = there.load(memory_order_acquire);
               read = data.load(memory_order_relaxed);
             }}});
  outcome({saw, read});
}

// Each thread stores to both variables, in opposite orders. The outcome is the final values.
void two_writes_each(memory_order order) {
  variable x{0};
  variable y{0};
  together({{"first",
             [&] {
               x.store(1, order);
               y.store(2, order);
             }},
            {"second", [&] {
               y.store(1, order);
               x.store(2, order);
             }}});
  outcome({x.load(), y.load()});
}

// S: the second thread stores to x after it has read y, which the first thread stores after its store to x.
void store_after_read(memory_order publishes, memory_order looks) {
  variable x{0};
  variable y{0};
  int saw = 0;
  together({{"first",
             [&] {
               x.store(2, memory_order_relaxed);
               y.store(1, publishes);
             }},
            {"second", [&] {
               saw = y.load(looks);
               x.store(1, memory_order_relaxed);
             }}});
  outcome({saw, x.load()});
}

// R: both threads store to y. The first stores to x before, and the second reads x afterwards.
void read_after_store(memory_order stores, memory_order loads) {
  variable x{0};
  variable y{0};
  int read = 0;
  together({{"first",
             [&] {
               x.store(1, stores);
               y.store(1, stores);
             }},
            {"second", [&] {
               y.store(2, stores);
               read = x.load(loads);
             }}});
  outcome({y.load(), read});
}

}  // namespace

LITMUS(litmus_sb_release_acquire, "00 01 10 11", "with release and acquire both threads may miss the other's store") {
  store_buffering(memory_order_release, memory_order_acquire);
}

LITMUS(litmus_sb_seq_cst, "01 10 11", "with seq_cst at least one thread sees the other's store") {
  store_buffering(memory_order_seq_cst, memory_order_seq_cst);
}

LITMUS(litmus_sb_seq_cst_stores, "00 01 10 11", "seq_cst stores alone do not order a store before a load") {
  store_buffering(memory_order_seq_cst, memory_order_acquire);
}

LITMUS(litmus_sb_seq_cst_loads, "00 01 10 11", "seq_cst loads alone do not order a store before a load") {
  store_buffering(memory_order_release, memory_order_seq_cst);
}

LITMUS(litmus_sb_exchanges, "00 01 10 11", "a read-modify-write that acquires and releases is not a fence") {
  variable x{0};
  variable y{0};
  int first = 0;
  int second = 0;
  together({{"first",
             [&] {
               x.exchange(1, memory_order_acq_rel);
               first = y.load(memory_order_acquire);
             }},
            {"second", [&] {
               y.exchange(1, memory_order_acq_rel);
               second = x.load(memory_order_acquire);
             }}});
  outcome({first, second});
}

LITMUS(litmus_mp_relaxed, "00 01 10 11", "with relaxed order a reader that sees the flag may miss the data") {
  message_passing(memory_order_relaxed, memory_order_relaxed);
}

LITMUS(litmus_mp_release_acquire, "00 01 11", "with release and acquire a reader that sees the flag sees the data") {
  message_passing(memory_order_release, memory_order_acquire);
}

LITMUS(litmus_mp_release_alone, "00 01 10 11", "a release without an acquire orders nothing") {
  message_passing(memory_order_release, memory_order_relaxed);
}

LITMUS(litmus_mp_acquire_alone, "00 01 10 11", "an acquire without a release orders nothing") {
  message_passing(memory_order_relaxed, memory_order_acquire);
}

LITMUS(litmus_corr, "00 01 02 11 12 22", "two reads of one atomic return values in modification order") {
  variable x{0};
  int first = 0;
  int second = 0;
  together({{"writer",
             [&] {
               x.store(1, memory_order_relaxed);
               x.store(2, memory_order_relaxed);
             }},
            {"reader", [&] {
               first = x.load(memory_order_relaxed);
               second = x.load(memory_order_relaxed);
             }}});
  outcome({first, second});
}

// The outcomes in which one reader sees 1 and then 2, and the other reader 2 and then 1, are forbidden.
LITMUS(litmus_coherence, "00 01 10 11", "two readers of one atomic do not disagree about the order of two stores") {
  variable x{0};
  int seen[4] = {};
  const auto read = [&](int at) {
    seen[at] = x.load(memory_order_relaxed);
    seen[at + 1] = x.load(memory_order_relaxed);
  };
  together({{"first writer", [&] { x.store(1, memory_order_relaxed); }},
            {"second writer", [&] { x.store(2, memory_order_relaxed); }},
            {"first reader", [&] { read(0); }},
            {"second reader", [&] { read(2); }}});
  const auto in_order = [&](int at) { return seen[at] == 1 && seen[at + 1] == 2; };
  const auto reversed = [&](int at) { return seen[at] == 2 && seen[at + 1] == 1; };
  REQUIRE(!(in_order(0) && reversed(2)) && !(reversed(0) && in_order(2)));
  outcome({in_order(0) ? 1 : 0, in_order(2) ? 1 : 0});
}

LITMUS(litmus_iriw_acquire, "0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 1010 1011 1100 1101 1110 1111",
       "two readers may see two stores in different orders") {
  independent_reads(memory_order_release, memory_order_acquire);
}

LITMUS(litmus_iriw_seq_cst, "0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 1011 1100 1101 1110 1111",
       "with seq_cst two readers see two stores in the same order") {
  independent_reads(memory_order_seq_cst, memory_order_seq_cst);
}

LITMUS(litmus_wrc_release_acquire, "000 001 010 011 100 101 111",
       "with release and acquire a value that is passed on is visible to the third thread") {
  write_to_read_causality(memory_order_release, memory_order_acquire);
}

LITMUS(litmus_wrc_relaxed, "000 001 010 011 100 101 110 111",
       "with relaxed order a value that is passed on may be missed by the third thread") {
  write_to_read_causality(memory_order_relaxed, memory_order_relaxed);
}

LITMUS(litmus_release_sequence, "00 01 10 11 21", "a read-modify-write in between continues the release sequence") {
  release_sequence([](variable& there) { there.fetch_add(1, memory_order_relaxed); });
}

LITMUS(litmus_release_sequence_broken, "00 01 11 20 21", "a store in between ends the release sequence") {
  release_sequence([](variable& there) { there.store(2, memory_order_relaxed); });
}

LITMUS(litmus_2_2w_relaxed, "11 12 21 22", "with relaxed order the first stores of both threads may come last") {
  two_writes_each(memory_order_relaxed);
}

LITMUS(litmus_2_2w_release, "11 12 21 22",
       "with release, which no thread acquires, the first stores of both threads may come last") {
  two_writes_each(memory_order_release);
}

LITMUS(litmus_2_2w_seq_cst, "12 21 22", "with seq_cst the first stores do not both come last") {
  two_writes_each(memory_order_seq_cst);
}

LITMUS(litmus_s_relaxed, "01 02 11 12",
       "with relaxed order the store after the read may come before the other thread's first store") {
  store_after_read(memory_order_relaxed, memory_order_relaxed);
}

LITMUS(litmus_s_release_acquire, "01 02 11",
       "with release and acquire the store after the read comes after the other thread's first store") {
  store_after_read(memory_order_release, memory_order_acquire);
}

LITMUS(litmus_r_release_acquire, "10 11 20 21",
       "with release and acquire the order of the stores to y does not make the store to x visible") {
  read_after_store(memory_order_release, memory_order_acquire);
}

LITMUS(litmus_r_seq_cst, "10 11 21", "with seq_cst the order of the stores to y makes the store to x visible") {
  read_after_store(memory_order_seq_cst, memory_order_seq_cst);
}

LITMUS(litmus_lb_is_not_modelled, "00 01 10",
       "C++ also allows both loads to return 1, from later stores; the model checker has no such execution") {
  variable x{0};
  variable y{0};
  int first = 0;
  int second = 0;
  together({{"first",
             [&] {
               first = x.load(memory_order_relaxed);
               y.store(1, memory_order_relaxed);
             }},
            {"second", [&] {
               second = y.load(memory_order_relaxed);
               x.store(1, memory_order_relaxed);
             }}});
  outcome({first, second});
}

LITMUS(litmus_atomicity, "012 102", "two additions do not read the same value") {
  variable x{0};
  int first = 0;
  int second = 0;
  together({{"first", [&] { first = x.fetch_add(1, memory_order_relaxed); }},
            {"second", [&] { second = x.fetch_add(1, memory_order_relaxed); }}});
  outcome({first, second, x.load()});
}

LITMUS(litmus_addition_and_stores, "02 12 23",
       "an addition reads the store that directly precedes it in modification order") {
  variable x{0};
  int before = 0;
  together({{"adder", [&] { before = x.fetch_add(1, memory_order_relaxed); }}, {"writer", [&] {
                                                                                  x.store(1, memory_order_relaxed);
                                                                                  x.store(2, memory_order_relaxed);
                                                                                }}});
  outcome({before, x.load()});
}

LITMUS(litmus_failed_exchange, "0 1 2", "a compare-exchange that fails is a load, and may read an older value") {
  variable x{0};
  int expected = 5;
  together({{"writer",
             [&] {
               x.store(1, memory_order_relaxed);
               x.store(2, memory_order_relaxed);
             }},
            {"exchanger", [&] { x.compare_exchange_strong(expected, 6, memory_order_relaxed); }}});
  outcome({expected});
}

}  // namespace doorbell::model
