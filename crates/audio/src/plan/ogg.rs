//! Ogg: handed to the parser as it is, since its pages check themselves. Comments come back through the parser.

use super::{Container, Exam, Plan};
use crate::source::ReadAt;
use crate::splice::Piece;

pub(super) fn plan<R: ReadAt>(exam: &mut Exam<'_, R>) -> Plan {
    Plan::of(
        Container::Ogg,
        vec![Piece::Range(exam.start, exam.end - exam.start)],
    )
}
