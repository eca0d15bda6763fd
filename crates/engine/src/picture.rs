//! The track's mel thumbnail: columns of window pictures, pooled as they come, in constant memory.
//!
//! Nobody knows a track's length while it is read. So each pooled column takes the mean of `span` source columns; when all
//! columns are full, neighbours are merged and `span` doubles. The result depends on the columns alone, not on batches.

use types::Thumbnail;

/// Columns of a thumbnail of a long track: between half of this and this.
const COLUMNS_MAX: usize = 64;

/// Pools columns of `rows` bytes.
#[derive(Debug)]
pub(crate) struct Pool {
    rows: usize,
    /// Source columns per pooled column.
    span: u32,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    sums: Vec<u64>,
    count: u32,
}

impl Pool {
    /// An empty picture of `rows` bands, at most 64.
    pub(crate) fn new(rows: usize) -> Self {
        debug_assert!(rows * COLUMNS_MAX <= Thumbnail::MAX_BYTES);
        Self {
            rows,
            span: 1,
            columns: Vec::new(),
        }
    }

    /// Adds the last `fresh` of `frames` frames of a window's picture; bytes that fill no whole column are left out.
    pub(crate) fn add_window(&mut self, picture: &[u8], fresh: u32, frames: u32) {
        if self.rows == 0 {
            return;
        }
        let columns = picture.len() / self.rows;
        let drawn = (columns * fresh as usize).div_ceil(frames.max(1) as usize);
        let skip = columns.saturating_sub(drawn);
        for column in picture.chunks_exact(self.rows).skip(skip) {
            self.add(column);
        }
    }

    fn add(&mut self, source: &[u8]) {
        let open = self
            .columns
            .last()
            .is_some_and(|column| column.count < self.span);
        if !open {
            self.make_room();
            self.columns.push(Column {
                sums: vec![0; self.rows],
                count: 0,
            });
        }
        let column = self
            .columns
            .last_mut()
            .expect("an open column stands at the end");
        column.count += 1;
        for (sum, &pixel) in column.sums.iter_mut().zip(source) {
            *sum += u64::from(pixel);
        }
    }

    fn make_room(&mut self) {
        if self.columns.len() < COLUMNS_MAX {
            return;
        }
        self.span = self.span.saturating_mul(2);
        let old = std::mem::take(&mut self.columns);
        let mut old = old.into_iter();
        while let Some(mut left) = old.next() {
            if let Some(right) = old.next() {
                left.merge(&right);
            }
            self.columns.push(left);
        }
    }

    /// The picture, row by row from the lowest band; none if nothing was drawn.
    pub(crate) fn finish(self) -> Option<Thumbnail> {
        let columns: Vec<Vec<u8>> = self.columns.iter().map(Column::means).collect();
        let levels: Vec<u8> = (0..self.rows)
            .flat_map(|row| columns.iter().map(move |column| column[row]))
            .collect();
        let size = |n: usize| u16::try_from(n).expect("at most 64 bands and columns");
        let picture = Thumbnail {
            bands: size(self.rows),
            columns: size(columns.len()),
            levels,
        };
        (!picture.levels.is_empty()).then_some(picture)
    }
}

impl Column {
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            *sum += more;
        }
    }

    /// Means of bytes, rounded to the nearest byte.
    fn means(&self) -> Vec<u8> {
        let count = u64::from(self.count.max(1));
        let mean =
            |sum: &u64| u8::try_from((sum + count / 2) / count).expect("a mean of bytes is a byte");
        self.sums.iter().map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled(columns: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let mut pool = Pool::new(1);
        for column in columns {
            pool.add_window(&[column], 1, 1);
        }
        pool.finish().unwrap().levels
    }

    #[test]
    fn a_short_track_keeps_its_columns() {
        assert_eq!(pooled([3, 1, 4, 1, 5]), [3, 1, 4, 1, 5]);
    }

    #[test]
    fn a_long_track_is_pooled_to_means_of_neighbours() {
        assert_eq!(
            pooled((0..128).map(|i| i / 2 * 2)),
            (0..64).map(|i| i * 2).collect::<Vec<u8>>()
        );
        assert!((32..=64).contains(&pooled((0..100_000).map(|_| 7)).len()));
        assert!(
            pooled((0..100_000).map(|_| 7))
                .iter()
                .all(|&pixel| pixel == 7)
        );
    }

    #[test]
    fn frames_that_an_earlier_window_had_are_not_drawn_again() {
        let mut pool = Pool::new(2);
        pool.add_window(&[1, 2, 3, 4], 10, 10);
        pool.add_window(&[5, 6, 7, 8], 5, 10);
        let levels = vec![1, 3, 7, 2, 4, 8];
        assert_eq!(
            pool.finish(),
            Some(Thumbnail {
                bands: 2,
                columns: 3,
                levels
            })
        );
    }

    #[test]
    fn an_engine_that_draws_nothing_gives_no_picture() {
        let mut pool = Pool::new(0);
        pool.add_window(&[], 1, 1);
        assert_eq!(pool.finish(), None);
    }
}
