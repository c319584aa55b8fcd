# SPDX-License-Identifier: Apache-2.0
#
# Tests that are not run in qemu-user, grouped by reason. CMake includes this file, and so does ctest, because the names
# of a program's test cases are known only when ctest runs.
cmake_policy(VERSION 3.25)

set(not_emulated
  # qemu-user does not support io_uring.
  unit.engine_choice.is_io_uring_where_the_system_allows_it
  unit.engine_choice.is_the_one_that_the_environment_names
  unit.engine_choice.a_context_may_choose_its_own
  # qemu-user does not support seccomp(2), which these tests use to make system calls fail.
  unit.engine_choice.is_threads_where_io_uring_is_refused
  unit.engine_choice.is_threads_where_a_ring_is_too_expensive
  unit.engine_choice.is_threads_where_rings_can_be_made_but_not_entered
  unit.engine_choice.is_threads_where_a_second_ring_is_refused
  unit.engine_choice.is_io_uring_again_after_a_shortage_has_passed
  unit.engine_choice.is_io_uring_or_an_error_if_the_environment_names_io_uring
  unit.worker_pool.push_fails_if_there_is_no_worker_and_none_can_be_started
  unit.worker_pool.push_succeeds_with_one_worker_if_no_more_can_be_started
  unit.threads.strict.invalid_pointers_are_efault_where_process_vm_calls_are_refused
  unit.threads.strict.vectors_are_read_where_process_vm_calls_are_refused
  # mremap(2) with an old size of 0 fails with ENOMEM, so the memory of a ring is a file's, and setup needs a descriptor
  # (aio/context/ring.cpp).
  unit.threads.aio_limits.setup_without_descriptors_fails_until_there_are_enough
  # The emulator has mappings of its own, and does not pass RLIMIT_AS on to the host.
  unit.threads.aio_limits.setup_without_mappings_fails_until_there_are_enough
  unit.threads.aio_limits.setup_without_memory_fails
  unit.background_thread.is_started_where_there_is_no_room_for_its_stack
  unit.elf_file.a_file_that_cannot_be_mapped_is_not_opened
  # The emulator has threads of its own, and waits for the program's first one.
  unit.background_thread.reports_when_only_background_threads_are_left
  # /proc tells the number of the host's system call.
  unit.forward_helper.ends_after_its_idle_time_and_is_started_again
  unit.forward_helper.waits_for_room_again_after_a_read_of_the_forwarding_eventfd
  # preadv2(2) fails with ENOSYS, so submit never reads inline.
  conformance.threads.both/aio_order.cached_read_needs_a_slot/doorbell
  conformance.threads.both/aio_order.cached_read_completes_before_submit_returns/doorbell
  conformance.by_number.threads.both/aio_order.cached_read_needs_a_slot/doorbell
  conformance.by_number.threads.both/aio_order.cached_read_completes_before_submit_returns/doorbell
  # readv(2) of no bytes returns 0 even for a file that does not support reads.
  conformance.threads.both/aio_transfer.file_without_reads_is_einval/doorbell
  conformance.by_number.threads.both/aio_transfer.file_without_reads_is_einval/doorbell
  # read(2) fails with EFAULT if the end of the buffer is not mapped, even if the file ends before that.
  conformance.threads.both/aio_transfer.length_above_the_maximum_is_truncated_and_not_refused/doorbell
  conformance.by_number.threads.both/aio_transfer.length_above_the_maximum_is_truncated_and_not_refused/doorbell
  # These tests fork while other threads start and map memory. Occasionally the child then waits forever for a lock of
  # the emulator.
  unit.threads.aio_fork.children_forked_while_other_threads_use_contexts_can_use_contexts
  unit.threads.aio_first_use.a_child_forked_during_its_parents_first_setup_can_use_contexts
  # fcntl(2) fails with EINVAL for F_SETSIG, with which the library marks its eventfds and epolls. Without the mark it
  # cannot tell them from those of the program.
  unit.private_fd.does_not_close_a_file_of_the_program_at_its_number
  unit.private_fd.duplicate_of_an_eventfd_is_distinguished_from_another_eventfd
  unit.private_fd.is_recognized_as_the_librarys_by_each_of_its_numbers
  unit.private_fd.duplicate_refers_to_its_file_although_the_epoll_that_identified_it_is_lost
  unit.private_fd.duplicate_replaced_by_a_newer_one_does_not_refer_to_its_file
  unit.forward.does_not_touch_an_eventfd_that_replaced_its_duplicate
  unit.threads.descriptors_closed.requests_signal_new_eventfds/dup2_of_eventfds
  # write(2) from an address without memory fails with EFAULT whatever its length is, so that eventfds are recognised by
  # /proc only.
  unit.eventfd_recognition.recognizes_eventfds_in_each_state_by_both_methods
  unit.eventfd_recognition.needs_no_privileges
  unit.kernel_eventfd_add.adds_as_much_as_there_is_room_for/without_proc
  unit.kernel_eventfd_add.adds_to_a_count_of_0/without_proc
  unit.kernel_eventfd_add.adds_a_large_count_in_a_few_calls/without_proc
  unit.threads.aio_resfd_restricted.eventfds_are_signalled_and_other_files_refused/without_proc
  unit.threads.aio_resfd_restricted.without_kernel_aio_a_full_eventfd_gets_the_rest_when_it_is_read/without_proc
  # execve(2) is executed by the host's kernel, which cannot start a program for another processor.
  dropin.threads.process.becomes_another_program_with_io_in_flight
  dropin.threads.process.passes_many_arguments_to_another_program
  # sh, ls, python3, printf and true are the host's programs, and doorbell-run correctly refuses programs for another
  # processor.
  dropin.doorbell_run.scripts
  dropin.doorbell_run.statistics_of_children_without_calls
  dropin.doorbell_run.environment
  dropin.doorbell_run.arguments_status_and_signals
  dropin.doorbell_run.programs_that_gain_rights
  dropin.doorbell_run.environment_of_set_user_id_programs
  dropin.doorbell_run.programs_with_capabilities
  dropin.doorbell_run.programs_by_path
  dropin.doorbell_run.chains_of_scripts
  dropin.doorbell_run.files_of_other_owners
  dropin.doorbell_run.preload_that_is_empty
  dropin.doorbell_run.environment_of_an_engine
  dropin.doorbell_run.environment_of_statistics
  dropin.doorbell_run.folder_that_is_gone
  dropin.doorbell_run.statistics_of_calls_by_number
  dropin.doorbell_run.statistics_of_getevents_on_an_empty_ring
  dropin.doorbell_run.statistics_of_calls_without_a_system_call
  dropin.doorbell_run.statistics_of_failed_execs
  dropin.doorbell_run.statistics_that_are_interrupted
  dropin.doorbell_run.statistics_that_are_interrupted_in_part
  # The emulator itself needs descriptors.
  dropin.doorbell_run.check_with_few_descriptors)

function(disable_what_is_not_emulated)
  foreach(test IN LISTS ARGN)
    string(REGEX REPLACE " +#.*" "" name "${test}")  # gtest_discover_tests() appends a parameter's value
    if(name IN_LIST not_emulated)
      set_tests_properties("${test}" PROPERTIES DISABLED ON)
    endif()
  endforeach()
endfunction()
