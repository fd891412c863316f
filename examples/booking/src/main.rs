//! Booking.
fn main() {}
