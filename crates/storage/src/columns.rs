//! Between rows of ours and Arrow's columns: a few helpers that both kinds of row share.
//!
//! Writing collects arrays under names; reading looks arrays up by name and type and says which one is not as written.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{Field, Fields, Schema};

/// Columns on their way to a batch.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Writing {
    /// Adds a column that every row has.
    pub(crate) fn every(&mut self, name: &str, array: impl Array + 'static) {
        self.add(name, array, false);
    }

    /// Adds a column that rows may lack.
    pub(crate) fn some(&mut self, name: &str, array: impl Array + 'static) {
        self.add(name, array, true);
    }

    fn add(&mut self, name: &str, array: impl Array + 'static, nullable: bool) {
        self.fields
            .push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(Arc::new(array));
    }

    pub(crate) fn finish(self) -> RecordBatch {
        let schema = Arc::new(Schema::new(self.fields));
        RecordBatch::try_new(schema, self.arrays)
            .expect("each column was made from the same rows, under its own type")
    }
}

/// A column of texts that rows may lack.
pub(crate) fn texts<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> StringArray {
    StringArray::from_iter(texts)
}

/// A list per row: how long each is, and all their items one after another.
pub(crate) fn lists(lengths: impl Iterator<Item = usize>, items: ArrayRef) -> ListArray {
    let field = Arc::new(Field::new("item", items.data_type().clone(), false));
    ListArray::new(field, OffsetBuffer::from_lengths(lengths), items, None)
}

/// A struct per row.
pub(crate) fn structs(fields: Vec<(&str, ArrayRef)>) -> StructArray {
    let (names, arrays): (Vec<_>, Vec<_>) = fields
        .into_iter()
        .map(|(name, array)| (Field::new(name, array.data_type().clone(), false), array))
        .unzip();
    StructArray::new(Fields::from(names), arrays, None)
}

/// A batch being read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a>(pub(crate) &'a RecordBatch);

impl<'a> Reading<'a> {
    /// The column of that name and type.
    pub(crate) fn column<T: Array + 'static>(self, name: &str) -> Result<&'a T, String> {
        let column = self
            .0
            .column_by_name(name)
            .ok_or_else(|| format!("no column `{name}`"))?;
        column
            .as_any()
            .downcast_ref()
            .ok_or_else(|| format!("column `{name}` is of the type {}", column.data_type()))
    }

    /// Whether there is a column of that name.
    pub(crate) fn has(self, name: &str) -> bool {
        self.0.column_by_name(name).is_some()
    }

    /// The column of that name and type; none where an older version wrote none.
    pub(crate) fn column_if_any<T: Array + 'static>(
        self,
        name: &str,
    ) -> Result<Option<&'a T>, String> {
        self.has(name).then(|| self.column(name)).transpose()
    }

    /// The texts of a column, by row.
    pub(crate) fn texts(self, name: &str) -> Result<impl Fn(usize) -> Option<String> + 'a, String> {
        let column: &StringArray = self.column(name)?;
        Ok(move |row: usize| column.is_valid(row).then(|| column.value(row).to_owned()))
    }
}

/// A value of a column of numbers or bytes, where the row has one.
macro_rules! value {
    ($column:expr, $row:expr) => {
        arrow_array::Array::is_valid($column, $row).then(|| $column.value($row))
    };
}
pub(crate) use value;

/// The child of a struct column, by name and type.
pub(crate) fn child<'a, T: Array + 'static>(
    parent: &'a StructArray,
    name: &str,
) -> Result<&'a T, String> {
    let column = parent
        .column_by_name(name)
        .and_then(|column| column.as_any().downcast_ref());
    column.ok_or_else(|| format!("no field `{name}` of the expected type"))
}
