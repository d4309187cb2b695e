//! How the cores of a machine can be divided among lanes, and which division wins.

/// A division of the cores: lanes side by side, and the threads that each may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Division {
    /// Lanes.
    pub lanes: u32,
    /// Threads of each.
    pub threads: u32,
}

/// A choice, mostly a division, with what it trains, in examples per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured<T = Division> {
    /// The choice.
    pub choice: T,
    /// The median of its rates.
    pub rate: f64,
    /// The slowest and the fastest.
    pub range: (f64, f64),
}

/// How much faster than more lanes fewer ones have to be: less is within the noise, and many lanes
/// of one thread are what a machine without a calibration does.
pub const ADVANTAGE: f64 = 1.03;

/// All divisions that use every core, from the most lanes to the fewest.
#[must_use]
pub fn divisions(cores: u32) -> Vec<Division> {
    let cores = cores.max(1);
    let divisors = (1..=cores).filter(|threads| cores.is_multiple_of(*threads));
    let divide = |threads| Division {
        lanes: cores / threads,
        threads,
    };
    divisors.map(divide).collect()
}

/// Measures each choice as often, in turn, so that what else the machine does meanwhile strikes all
/// of them.
///
/// # Errors
/// The measure's first.
pub fn compare<T: Copy, E>(
    choices: &[T],
    turns: usize,
    mut measure: impl FnMut(T) -> Result<f64, E>,
) -> Result<Vec<Measured<T>>, E> {
    let mut rates = vec![Vec::new(); choices.len()];
    for _ in 0..turns {
        for (choice, rates) in choices.iter().zip(&mut rates) {
            rates.push(measure(*choice)?);
        }
    }
    let of = |(choice, mut rates): (&T, Vec<f64>)| {
        rates.sort_by(f64::total_cmp);
        let at = |index: usize| rates.get(index).copied().unwrap_or_default();
        Measured {
            choice: *choice,
            rate: at(rates.len() / 2),
            range: (at(0), at(rates.len().saturating_sub(1))),
        }
    };
    Ok(choices.iter().zip(rates).map(of).collect())
}

/// The division to take: the one with the most lanes, unless one with fewer is clearly faster.
#[must_use]
pub fn best(measured: &[Measured]) -> Option<Division> {
    let mut rest = measured.iter();
    let mut best = rest.next()?;
    for other in rest {
        if other.rate > ADVANTAGE * best.rate {
            best = other;
        }
    }
    Some(best.choice)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn threads(divisions: &[Division]) -> Vec<u32> {
        divisions.iter().map(|division| division.threads).collect()
    }

    #[test]
    fn divisions_leave_no_core_idle() {
        assert_eq!(threads(&divisions(1)), [1]);
        assert_eq!(threads(&divisions(2)), [1, 2]);
        assert_eq!(threads(&divisions(12)), [1, 2, 3, 4, 6, 12]);
        assert!(divisions(12).iter().all(|d| d.lanes * d.threads == 12));
    }

    #[test]
    fn each_division_has_its_turn_before_any_has_its_second() {
        let mut seen = Vec::new();
        let measured = compare(&divisions(4), 2, |division| {
            seen.push(division.threads);
            Ok::<_, Infallible>(f64::from(division.threads) + seen.len() as f64)
        });
        let measured = measured.unwrap();
        assert_eq!(seen, [1, 2, 4, 1, 2, 4]);
        assert_eq!(measured[1].range, (4.0, 7.0));
    }

    #[test]
    fn an_outlier_does_not_decide_and_neither_does_noise() {
        let decide = |rates: [[f64; 3]; 2]| {
            let mut turns = [0, 0];
            let measured = compare(&divisions(2), 3, |division| {
                let which = (division.threads - 1) as usize;
                turns[which] += 1;
                Ok::<_, Infallible>(rates[which][turns[which] - 1])
            });
            best(&measured.unwrap()).unwrap().threads
        };
        assert_eq!(decide([[10.0, 10.0, 1.0], [9.0, 9.0, 9.0]]), 1);
        assert_eq!(decide([[10.0; 3], [10.2; 3]]), 1);
        assert_eq!(decide([[10.0; 3], [10.2, 12.0, 12.0]]), 2);
    }

    #[test]
    fn a_measure_that_fails_ends_the_comparison() {
        let failed = compare(&divisions(2), 2, |_| Err::<f64, _>("no"));
        assert_eq!(failed.unwrap_err(), "no");
    }
}
