//! Logistic regression on a few features, by Newton's method: Platt's calibration, the residual's terms, the fusion, and the guards and the
//! coarse baseline of training.
//!
//! Pure arithmetic in double precision; the same rows give the same fit.

/// Newton steps; the fit stops earlier once nothing moves. Logistic fits that converge at all do so within ten.
const STEPS_MAX: usize = 50;

/// A change of every weight below this ends the fit.
const STILL: f64 = 1e-9;

/// A fitted regression over standardised features.
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// Weights of the standardised features, then the intercept.
    weights: Vec<f64>,
}

impl Logistic {
    /// Fits `rows` to targets between 0 and 1, with a ridge of `ridge` per row on all weights but the intercept.
    ///
    /// A feature that never varies gets weight zero. Without rows the fit answers zero for everything.
    #[must_use]
    pub fn fit(rows: &[Vec<f64>], targets: &[f64], ridge: f64) -> Self {
        let width = rows.first().map_or(0, Vec::len);
        let (mean, scale) = moments(rows, width);
        let standard: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| standardised(row, &mean, &scale))
            .collect();
        let mut weights = vec![0.0; width + 1];
        for _ in 0..STEPS_MAX {
            let step = newton_step(&standard, targets, &weights, ridge * rows.len() as f64);
            weights
                .iter_mut()
                .zip(&step)
                .for_each(|(weight, step)| *weight -= step);
            if step.iter().all(|step| step.abs() < STILL) {
                break;
            }
        }
        Self {
            mean,
            scale,
            weights,
        }
    }

    /// Natural-log odds of a row.
    #[must_use]
    pub fn score(&self, row: &[f64]) -> f64 {
        dot(&standardised(row, &self.mean, &self.scale), &self.weights)
    }

    /// Slope and intercept on the raw feature of a fit of one feature.
    #[must_use]
    pub fn line(&self) -> (f64, f64) {
        let slope = self.weights[0] / self.scale[0];
        (slope, self.weights[1] - slope * self.mean[0])
    }

    /// Each feature's weight, mean and deviation: the row's score is the sum of `weight * (value - mean) / deviation`, and the
    /// intercept.
    pub fn terms(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let moments = self.mean.iter().zip(&self.scale);
        moments
            .zip(&self.weights)
            .map(|((mean, scale), weight)| (*weight, *mean, *scale))
    }

    /// The weights on the raw features, then the intercept.
    #[must_use]
    pub fn raw(&self) -> (Vec<f64>, f64) {
        let weights: Vec<f64> = self
            .terms()
            .map(|(weight, _, scale)| weight / scale)
            .collect();
        let shift: f64 = dot(&weights, &self.mean);
        (weights, self.weights.last().map_or(0.0, |own| own - shift))
    }
}

fn moments(rows: &[Vec<f64>], width: usize) -> (Vec<f64>, Vec<f64>) {
    let count = rows.len().max(1) as f64;
    let column_mean = |column: usize| rows.iter().map(|row| row[column]).sum::<f64>() / count;
    let mean: Vec<f64> = (0..width).map(column_mean).collect();
    let deviation = |column: usize| {
        (rows
            .iter()
            .map(|row| (row[column] - mean[column]).powi(2))
            .sum::<f64>()
            / count)
            .sqrt()
    };
    let scale = (0..width)
        .map(deviation)
        .map(|d| if d > 1e-12 { d } else { 1.0 })
        .collect();
    (mean, scale)
}

/// The row, centred and scaled, with a one for the intercept.
fn standardised(row: &[f64], mean: &[f64], scale: &[f64]) -> Vec<f64> {
    row.iter()
        .zip(mean)
        .zip(scale)
        .map(|((x, m), s)| (x - m) / s)
        .chain(std::iter::once(1.0))
        .collect()
}

fn newton_step(rows: &[Vec<f64>], targets: &[f64], weights: &[f64], ridge: f64) -> Vec<f64> {
    let width = weights.len();
    let mut gradient = vec![0.0; width];
    let mut curvature = vec![vec![0.0; width]; width];
    for (row, target) in rows.iter().zip(targets) {
        let p = 1.0 / (1.0 + (-dot(row, weights)).exp());
        let weight = (p * (1.0 - p)).max(1e-9);
        for i in 0..width {
            gradient[i] += (p - target) * row[i];
            for j in 0..width {
                curvature[i][j] += weight * row[i] * row[j];
            }
        }
    }
    for i in 0..width {
        let held = if i + 1 < width { ridge } else { 0.0 };
        gradient[i] += held * weights[i];
        curvature[i][i] += held + 1e-9;
    }
    solve(curvature, gradient)
}

/// Solves a small symmetric system by elimination with row pivots.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let width = right.len();
    for column in 0..width {
        let pivot = (column..width)
            .max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))
            .unwrap_or(column);
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let (done, below) = matrix.split_at_mut(column + 1);
        for (row, values) in below.iter_mut().enumerate() {
            let factor = values[column] / done[column][column];
            let pairs = values.iter_mut().zip(&done[column]);
            pairs.for_each(|(value, above)| *value -= factor * above);
            right[column + 1 + row] -= factor * right[column];
        }
    }
    for row in (0..width).rev() {
        let known: f64 = (row + 1..width).map(|k| matrix[row][k] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    /// A number between 0 and 1.
    fn uniform(dice: &mut Dice) -> f64 {
        dice.below(1 << 24) as f64 / f64::from(1 << 24)
    }

    #[test]
    fn the_fit_finds_the_line_that_made_the_labels() {
        let mut dice = Dice::new(1, "line");
        let rows: Vec<Vec<f64>> = (0..20_000)
            .map(|_| vec![8.0 * uniform(&mut dice) - 1.0])
            .collect();
        let odds = |x: f64| 1.5 * x - 4.0;
        let targets: Vec<f64> = rows
            .iter()
            .map(|row| {
                let chance = 1.0 / (1.0 + (-odds(row[0])).exp());
                f64::from(u8::from(uniform(&mut dice) < chance))
            })
            .collect();
        let fit = Logistic::fit(&rows, &targets, 0.0);
        let (slope, intercept) = fit.line();
        assert!(
            (slope - 1.5).abs() < 0.1 && (intercept + 4.0).abs() < 0.3,
            "{slope} {intercept}"
        );
        let (weights, raw) = fit.raw();
        assert!((weights[0] - slope).abs() < 1e-9 && (raw - intercept).abs() < 1e-9);
    }

    #[test]
    fn a_feature_that_never_varies_and_separable_rows_do_no_harm() {
        let rows = vec![
            vec![1.0, -1.0],
            vec![1.0, -0.5],
            vec![1.0, 0.5],
            vec![1.0, 1.0],
        ];
        let fit = Logistic::fit(&rows, &[0.0, 0.0, 1.0, 1.0], 1e-2);
        assert!(fit.score(&[1.0, 1.0]) > 0.0 && fit.score(&[1.0, -1.0]) < 0.0);
        assert!(fit.score(&[1.0, 1.0]).is_finite());
    }
}
