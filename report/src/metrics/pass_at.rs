//! pass@k over independent samples.

/// The probability that at least one of `k` samples is correct, if `correct` of `n` are: 1
/// − C(n−c, k) / C(n, k), unbiased (Chen et al., 2021). Unlike [`super::solved()`], k
/// counts independent samples, not turns.
pub(crate) fn pass_at(k: usize, n: usize, correct: usize) -> f64 {
    if n - correct < k {
        return 1.0;
    }
    1.0 - (n - correct + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_chance_over_all_choices() {
        assert_eq!(pass_at(4, 5, 2), 1.0);
        assert_eq!(pass_at(5, 5, 0), 0.0);
        assert_eq!(pass_at(1, 1, 1), 1.0);
        for n in 1..8 {
            for correct in 0..=n {
                for k in 1..=n {
                    let chosen = |mask: &u32| mask.count_ones() as usize == k;
                    let choices: Vec<u32> = (0..1 << n).filter(chosen).collect();
                    let good = choices.iter().filter(|m| *m & ((1 << correct) - 1) != 0).count();
                    let exact = good as f64 / choices.len() as f64;
                    assert!((pass_at(k, n, correct) - exact).abs() < 1e-12, "{k} {n} {correct}");
                }
            }
        }
    }
}
