# SPDX-License-Identifier: Apache-2.0
#
# Tests that are not run in qemu-user, by reason. Also for ctest, which learns the names of a program's cases only when it runs.
cmake_policy(VERSION 3.25)

set(not_emulated
  # There is no io_uring.
  unit.engine_choice.is_io_uring_where_the_system_allows_it
  unit.engine_choice.is_what_the_environment_says
  unit.engine_choice.a_context_may_ask_for_its_own
  # There is no seccomp(2), by which system calls are made to fail.
  unit.engine_choice.is_threads_where_io_uring_is_refused
  unit.engine_choice.a_shortage_is_an_error_and_no_reason_for_threads
  unit.engine_choice.io_uring_by_the_environment_is_io_uring_or_nothing
  unit.no_threads_to_be_had.says_how_many_it_could_start
  unit.worker_pool.says_so_when_it_has_no_worker_and_gets_none
  unit.worker_pool.one_worker_is_enough_when_there_are_no_more
  unit.threads.strict.so_they_are_where_a_sandbox_forbids_to_look
  unit.threads.strict.vectors_are_read_where_a_sandbox_forbids_to_look
  # mremap(2) of nothing is ENOMEM, so a ring is a file's memory, and to make it takes a descriptor (aio/ring.cpp).
  unit.threads.aio_limits.setup_without_descriptors
  # Mappings are the emulator's, too, and RLIMIT_AS is not passed on to the host.
  unit.threads.aio_limits.setup_without_mappings
  unit.threads.aio_limits.setup_without_memory
  # preadv2(2) is ENOSYS: nothing is read by submit itself.
  conformance.threads.both/aio_order.what_is_in_memory_needs_a_slot_too/doorbell
  # readv(2) of no bytes is 0, also from what knows no reads.
  conformance.threads.both/aio_transfer.what_knows_no_reads_is_einval/doorbell
  # read(2) is EFAULT where the buffer's end is no memory, also when the file ends before.
  conformance.threads.both/aio_transfer.a_length_that_no_transfer_has_is_cut_and_not_refused/doorbell
  # It forks while other threads start and map memory: now and then the child waits for a lock of the emulator's own, for good.
  unit.threads.aio_first_use.a_child_forked_during_its_parents_first_setup_is_whole
  # execve(2) is the host's, whose kernel does not know the program's processor.
  dropin.threads.process.becomes_another_program_with_io_in_flight
  # sh, printf and true are the host's, which doorbell-run for another processor rightly refuses.
  dropin.doorbell_run.scripts
  dropin.doorbell_run.environment
  dropin.doorbell_run.arguments_status_and_signals
  dropin.doorbell_run.programs_that_gain_rights
  dropin.doorbell_run.programs_with_capabilities)

function(disable_what_is_not_emulated)
  foreach(test IN LISTS ARGN)
    string(REGEX REPLACE " +#.*" "" name "${test}")  # of some, the parameter's value comes behind
    if(name IN_LIST not_emulated)
      set_tests_properties("${test}" PROPERTIES DISABLED ON)
    endif()
  endforeach()
endfunction()
