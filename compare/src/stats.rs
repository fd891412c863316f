//! The little statistics the tables need. Pure functions; they know nothing of caches or clocks.

/// The median of a sample: the middle value, or the mean of the two middle ones.
///
/// `None` for an empty sample. Values that are not numbers sort last and so never hide a real middle.
pub(crate) fn median(sample: &[f64]) -> Option<f64> {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    sorted.get(middle.wrapping_sub(1)).map(|lower| (lower + upper) / 2.0)
}

/// The part of `rounds` in which something happened, between 0 and 1; zero rounds have no share.
pub(crate) fn share(happened: u32, rounds: u32) -> Option<f64> {
    (rounds > 0).then(|| f64::from(happened) / f64::from(rounds))
}

/// Rounds to `digits` decimals, so that a table of nanoseconds does not pretend to picoseconds.
pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_nothing_is_nothing() {
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn median_of_an_odd_sample_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[7.0]), Some(7.0));
    }

    #[test]
    fn median_of_an_even_sample_is_the_mean_of_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn one_wild_round_does_not_move_the_median() {
        assert_eq!(median(&[25.0, 26.0, 24.0, 25.0, 9_000.0]), Some(25.0));
    }

    #[test]
    fn a_value_that_is_not_a_number_sorts_last() {
        assert_eq!(median(&[f64::NAN, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn share_counts_from_none_to_all_and_refuses_zero_rounds() {
        assert_eq!(share(0, 200), Some(0.0));
        assert_eq!(share(50, 200), Some(0.25));
        assert_eq!(share(200, 200), Some(1.0));
        assert_eq!(share(0, 0), None);
    }

    #[test]
    fn rounding_keeps_the_asked_decimals() {
        assert!((rounded(24.5678, 1) - 24.6).abs() < 1e-9);
        assert!((rounded(24.4, 0) - 24.0).abs() < 1e-9);
    }
}
