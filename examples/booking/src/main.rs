//! Booking: an appointment service on Larder, and the load generator that shows what the cache is worth.

mod cached;
mod db;
mod domain;
mod error;
mod history;
mod service;
mod time;
mod workload;

fn main() {}
