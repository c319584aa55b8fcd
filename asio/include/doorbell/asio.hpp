// SPDX-License-Identifier: Apache-2.0
//
// All of doorbell's I/O objects for Boost.Asio.
#pragma once

#include <doorbell/asio/detail/support/requires_boost.hpp>

#include <doorbell/asio/busy_poll.hpp>
#include <doorbell/asio/eventfd.hpp>
#include <doorbell/asio/file_base.hpp>
#include <doorbell/asio/random_access_file.hpp>
#include <doorbell/asio/stream_file.hpp>
#include <doorbell/asio/sync.hpp>
#include <doorbell/asio/watch.hpp>
