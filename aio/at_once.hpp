// SPDX-License-Identifier: Apache-2.0
//
// What is carried out in the thread that submits it: what does not wait for a disk.
//
//   reads of what is in the page cache or in memory     always; also those that end at the end of the file, or fault
//   writes to files in memory (tmpfs)                   always
//   writes into the page cache                          for the calls by handle, whose programs know the kernel's AIO
//
// The kernel's AIO writes into the page cache inside io_submit(2), too. That it is written when the call returns is what
// programs order their later writes by, and append by, and a file size limit's SIGXFSZ goes to the thread that submits. It
// may have to wait there, for room among the pages that are dirty; so those who submit through aio::context, event loops
// among them, have it done by the engine.
//
// What would wait for the disk by what it asks (O_DIRECT, O_SYNC, O_DSYNC), and a read of what is not in memory, goes to the
// engine.
#pragma once

#include <cstdint>
#include <optional>

#include "check.hpp"
#include "file_hints.hpp"
#include "request.hpp"

namespace doorbell::aio {

/// Whether a request, not yet checked, is a read with nothing special about it, so that a look at its bytes is a check.
[[nodiscard]] bool is_plain_read(const iocb_abi& asked) noexcept;

/// Whether DOORBELL_READS=block asks for what the kernel's io_submit(2) does: reads by the page cache are carried out
/// before it returns, however long the disk takes.
[[nodiscard]] bool reads_block() noexcept;

/// Carries out a plain read of a file that is what `hint` says. @return the event's res; nothing: it would have had to wait,
/// or is refused, or something is unclear, and nothing has been done.
[[nodiscard]] std::optional<std::int64_t> read_at_once(const iocb_abi& asked, file_hints::kind hint,
                                                       file_hints& hints) noexcept;

/// When submit tries to carry a checked request out itself: reads of what may be in memory, if all requests of the same
/// call before them are complete; writes, and reads that block, always, in their order.
/// @param as_the_kernel whether it is asked of a call by handle.
/// @param was_tried whether submit has tried it before the check, if it is a plain read.
[[nodiscard]] request::try_at_once when_to_try(const request& checked, const file_facts& file, bool as_the_kernel,
                                               bool was_tried, file_hints& hints) noexcept;

/// Tries it. @return as read_at_once(); a write, or a read that blocks, always says something.
[[nodiscard]] std::optional<std::int64_t> carry_out_at_once(const request& checked, file_hints& hints) noexcept;

}  // namespace doorbell::aio
