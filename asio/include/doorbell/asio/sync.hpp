// SPDX-License-Identifier: Apache-2.0
//
// The objects on which coroutines and handlers synchronize: events, a condition variable and a semaphore.
#pragma once

#include <doorbell/asio/condition_variable.hpp>
#include <doorbell/asio/event.hpp>
#include <doorbell/asio/semaphore.hpp>
