//! Zipf's law over ranks: the first is drawn most, the second half as much, and so on.
//!
//! Histories and users draw from it. It holds one number per rank and never allocates while drawing.

use fastrand::Rng;

/// A Zipf distribution over `0..ranks`.
#[derive(Clone, Debug)]
pub(crate) struct Zipf {
    /// Cumulative shares; the last is 1.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// Rank `r` (from 0) has weight `1 / (r + 1)^exponent`.
    pub(crate) fn new(ranks: usize, exponent: f64) -> Zipf {
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=ranks)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        for share in &mut cumulative {
            *share /= sum;
        }
        Zipf { cumulative }
    }

    /// A rank; 0 when there are none.
    pub(crate) fn draw(&self, rng: &mut Rng) -> usize {
        let at = rng.f64();
        self.cumulative.partition_point(|share| *share <= at).min(self.cumulative.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_drawn_in_proportion() {
        let zipf = Zipf::new(4, 1.0);
        let mut rng = Rng::with_seed(1);
        let mut counts = [0_u32; 4];
        for _ in 0..250_000 {
            counts[zipf.draw(&mut rng)] += 1;
        }
        // 12 : 6 : 4 : 3
        for (count, share) in counts.iter().zip([12.0, 6.0, 4.0, 3.0]) {
            let expected = 250_000.0 * share / 25.0;
            assert!((f64::from(*count) - expected).abs() < expected * 0.03, "{counts:?}");
        }
    }

    #[test]
    fn no_ranks_and_one_rank_are_fine() {
        let mut rng = Rng::with_seed(1);
        assert_eq!(Zipf::new(0, 1.0).draw(&mut rng), 0);
        assert_eq!(Zipf::new(1, 1.0).draw(&mut rng), 0);
    }
}
