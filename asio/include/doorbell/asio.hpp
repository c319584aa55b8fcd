// SPDX-License-Identifier: Apache-2.0
//
// doorbell's I/O objects for Boost.Asio's event loops.
#pragma once

#include <doorbell/asio/eventfd.hpp>
#include <doorbell/asio/watch.hpp>
