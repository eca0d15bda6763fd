//! On which line of a CSV a row begins, as an editor counts. Asked by the reading of labels for each row and each refusal; reads no row.

/// Where rows begin. The reader's own count stops within a `\r\n` and before lines that are empty.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    /// Bytes that were looked at.
    seen: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    /// None passed yet.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            seen: 0,
            line: 1,
        }
    }

    /// The line of the row that the reader places here; rows are asked for in their order.
    pub(super) fn of(&mut self, place: Option<&csv::Position>) -> u64 {
        let byte = place.map_or(0, csv::Position::byte);
        let byte = usize::try_from(byte).unwrap_or(usize::MAX);
        let rest = self.bytes.get(byte..).unwrap_or_default();
        let blank = rest
            .iter()
            .take_while(|byte| matches!(byte, b'\n' | b'\r'))
            .count();
        let start = byte.saturating_add(blank);
        let passed = self.bytes.get(self.seen..start).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.seen = self.seen.max(start);
        self.line
    }
}
