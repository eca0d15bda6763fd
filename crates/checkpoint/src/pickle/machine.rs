//! The machine that reads a pickle of protocol 2, operation by operation: a stack of places, marks on it, and notes of
//! places that later operations name again. Every operation takes at least one byte and makes at most one value, so memory
//! is bounded by the pickle's length; there is no recursion.

use super::{Global, Place, Storage, Tensor, Value, Values};
use crate::refusal::Refusal;

/// Longest pickle: forty times that of the published networks.
const PICKLE_BYTES_MAX: usize = 4 << 20;
/// Most operations: fifty times those of the published networks.
const OPERATIONS_MAX: usize = 1 << 20;
/// The one protocol that torch writes.
const PROTOCOL: u8 = 2;
/// Longest line of a name.
const LINE_BYTES_MAX: usize = 256;

/// Reads a whole pickle.
///
/// # Errors
/// [`Refusal`].
pub(crate) fn run(pickle: &[u8]) -> Result<Values<'_>, Refusal> {
    if pickle.len() > PICKLE_BYTES_MAX {
        return Err(Refusal::PickleBytes(pickle.len(), PICKLE_BYTES_MAX));
    }
    let mut machine = Machine {
        pickle,
        at: 0,
        all: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        notes: Vec::new(),
    };
    machine.begin()?;
    for _ in 0..OPERATIONS_MAX {
        if let Some(root) = machine.operate()? {
            return machine.end(root);
        }
    }
    Err(Refusal::TooMany(OPERATIONS_MAX, "operations".to_owned()))
}

struct Machine<'a> {
    pickle: &'a [u8],
    at: usize,
    all: Vec<Value<'a>>,
    stack: Vec<Place>,
    /// Heights of the stack.
    marks: Vec<usize>,
    /// Numbered from zero without gaps, as Python numbers them.
    notes: Vec<Place>,
}

impl<'a> Machine<'a> {
    fn begin(&mut self) -> Result<(), Refusal> {
        match self.bytes::<2>()? {
            [0x80, PROTOCOL] => Ok(()),
            [0x80, other] => Err(Refusal::Protocol(other)),
            // Older protocols begin with any operation.
            [_, _] => Err(Refusal::Protocol(0)),
        }
    }

    fn end(self, root: Place) -> Result<Values<'a>, Refusal> {
        if self.at != self.pickle.len() {
            return Err(Refusal::malformed(self.at, "it goes on behind its end"));
        }
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return Err(Refusal::malformed(self.at, "it ends with values left over"));
        }
        Ok(Values {
            all: self.all,
            root,
        })
    }

    /// Carries out one operation; gives the pickle's value where it was the last.
    fn operate(&mut self) -> Result<Option<Place>, Refusal> {
        let [operation] = self.bytes::<1>()?;
        match operation {
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Flag(true)),
            0x89 => self.push(Value::Flag(false)),
            b'K' => self.whole(|[byte]: [u8; 1]| i64::from(byte))?,
            b'M' => self.whole(|bytes| i64::from(u16::from_le_bytes(bytes)))?,
            b'J' => self.whole(|bytes| i64::from(i32::from_le_bytes(bytes)))?,
            0x8a => self.long()?,
            b'G' => {
                let real = f64::from_be_bytes(self.bytes()?);
                self.push(Value::Real(real));
            }
            b'X' => self.text()?,
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let items = self.marked()?;
                self.push(Value::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.marked()?;
                self.append(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.marked()?;
                self.set(&items)?;
            }
            b'q' => {
                let [number] = self.bytes::<1>()?;
                self.note(usize::from(number))?;
            }
            b'r' => {
                let number = u32::from_le_bytes(self.bytes()?);
                self.note(number as usize)?;
            }
            b'h' => {
                let [number] = self.bytes::<1>()?;
                self.recall(usize::from(number))?;
            }
            b'j' => {
                let number = u32::from_le_bytes(self.bytes()?);
                self.recall(number as usize)?;
            }
            b'c' => self.global()?,
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            b'b' => self.build()?,
            operation => {
                let at = self.at - 1;
                return Err(Refusal::Operation { operation, at });
            }
        }
        Ok(None)
    }

    fn malformed<T>(&self, what: &str) -> Result<T, Refusal> {
        Err(Refusal::malformed(self.at, what))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let end = self.at.checked_add(length).ok_or(Refusal::CutOff)?;
        let bytes = self.pickle.get(self.at..end).ok_or(Refusal::CutOff)?;
        self.at = end;
        Ok(bytes)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let bytes = self.take(N)?;
        bytes.first_chunk().copied().ok_or(Refusal::CutOff)
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(Place(self.all.len()));
        self.all.push(value);
    }

    /// The topmost place above the last mark.
    fn pop(&mut self) -> Result<Place, Refusal> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(place) if self.stack.len() >= floor => Ok(place),
            Some(_) | None => self.malformed("a value was expected"),
        }
    }

    fn top(&self) -> Result<Place, Refusal> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(place) if self.stack.len() > floor => Ok(*place),
            Some(_) | None => self.malformed("a value was expected"),
        }
    }

    /// All places above the last mark, which is taken off.
    fn marked(&mut self) -> Result<Vec<Place>, Refusal> {
        match self.marks.pop() {
            Some(height) if height <= self.stack.len() => Ok(self.stack.split_off(height)),
            Some(_) | None => self.malformed("a mark was expected"),
        }
    }

    fn whole<const N: usize>(&mut self, number: impl Fn([u8; N]) -> i64) -> Result<(), Refusal> {
        let value = number(self.bytes()?);
        self.push(Value::Whole(value));
        Ok(())
    }

    /// A whole number of as many bytes as it says, in two's complement.
    fn long(&mut self) -> Result<(), Refusal> {
        let [length] = self.bytes::<1>()?;
        let bytes = self.take(usize::from(length))?;
        if bytes.len() > size_of::<i64>() {
            return self.malformed("a whole number has more than 64 bits");
        }
        let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
        let mut whole = [if negative { 0xff } else { 0 }; size_of::<i64>()];
        whole[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Whole(i64::from_le_bytes(whole)));
        Ok(())
    }

    fn text(&mut self) -> Result<(), Refusal> {
        let length = u32::from_le_bytes(self.bytes()?);
        let bytes = self.take(length as usize)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                self.push(Value::Text(text));
                Ok(())
            }
            Err(_) => self.malformed("a text is not UTF-8"),
        }
    }

    fn tuple(&mut self, length: usize) -> Result<(), Refusal> {
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Value::Tuple(items));
        Ok(())
    }

    fn append(&mut self, items: Vec<Place>) -> Result<(), Refusal> {
        let Place(list) = self.top()?;
        match self.all.get_mut(list) {
            Some(Value::List(all)) => {
                all.extend(items);
                Ok(())
            }
            Some(_) | None => self.malformed("a list was expected"),
        }
    }

    fn set(&mut self, items: &[Place]) -> Result<(), Refusal> {
        let (pairs, rest) = items.as_chunks::<2>();
        let Place(dict) = self.top()?;
        match self.all.get_mut(dict) {
            Some(Value::Dict(all)) if rest.is_empty() => {
                all.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            Some(_) | None => self.malformed("a dictionary and pairs were expected"),
        }
    }

    fn note(&mut self, number: usize) -> Result<(), Refusal> {
        let place = self.top()?;
        let next = self.notes.len();
        match self.notes.get_mut(number) {
            Some(noted) => *noted = place,
            None if number == next => self.notes.push(place),
            None => return self.malformed("a note has a number far beyond the last one's"),
        }
        Ok(())
    }

    fn recall(&mut self, number: usize) -> Result<(), Refusal> {
        match self.notes.get(number) {
            Some(place) => {
                self.stack.push(*place);
                Ok(())
            }
            None => self.malformed("a note was never made"),
        }
    }

    fn line(&mut self) -> Result<&'a str, Refusal> {
        let rest = self.pickle.get(self.at..).unwrap_or_default();
        let rest = &rest[..rest.len().min(LINE_BYTES_MAX + 1)];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return match rest.len() {
                0..=LINE_BYTES_MAX => Err(Refusal::CutOff),
                _ => self.malformed("a name is longer than any that is known"),
            };
        };
        let line = self.take(length + 1)?;
        match std::str::from_utf8(&line[..length]) {
            Ok(line) => Ok(line),
            Err(_) => self.malformed("a name is not UTF-8"),
        }
    }

    fn global(&mut self) -> Result<(), Refusal> {
        let (module, name) = (self.line()?, self.line()?);
        self.push(Value::Global(Global::of(module, name)?));
        Ok(())
    }

    fn value(&self, place: Place) -> &Value<'a> {
        self.all
            .get(place.0)
            .expect("places are handed out for values that are there, and none is removed")
    }

    /// The items of a tuple, by value.
    fn items(&self, place: Place) -> Result<Vec<&Value<'a>>, Refusal> {
        let Value::Tuple(items) = self.value(place) else {
            return self.malformed("a tuple was expected");
        };
        Ok(items.iter().map(|item| self.value(*item)).collect())
    }

    /// A name of bytes elsewhere: `("storage", kind, key, device, values)`.
    fn storage(&mut self) -> Result<(), Refusal> {
        let name = self.pop()?;
        let storage = match self.items(name)?.as_slice() {
            [
                Value::Text("storage"),
                Value::Global(Global::Storage(number)),
                Value::Text(key),
                Value::Text(_device),
                Value::Whole(values),
            ] => Storage {
                number: *number,
                key,
                values: self.count(*values)?,
            },
            _ => return self.malformed("a storage was expected"),
        };
        self.push(Value::Storage(storage));
        Ok(())
    }

    fn count(&self, number: i64) -> Result<u64, Refusal> {
        match u64::try_from(number) {
            Ok(count) => Ok(count),
            Err(_) => self.malformed("a count is below zero"),
        }
    }

    /// What Python would call, where it is one of the constructors of plain values.
    fn call(&mut self) -> Result<(), Refusal> {
        let arguments = self.pop()?;
        let called = self.pop()?;
        let Value::Global(global) = self.value(called) else {
            return Err(Refusal::Call("what is no name".to_owned()));
        };
        let made = match *global {
            Global::OrderedDict => self.dictionary(arguments)?,
            Global::Fraction => self.fraction(arguments)?,
            Global::RebuildTensor => self.tensor(arguments)?,
            Global::Storage(_) | Global::Class { .. } => {
                return Err(Refusal::Call(global.shown()));
            }
        };
        self.push(made);
        Ok(())
    }

    fn dictionary(&self, arguments: Place) -> Result<Value<'a>, Refusal> {
        match self.items(arguments)?.as_slice() {
            [] => Ok(Value::Dict(Vec::new())),
            _ => self.malformed("a dictionary is made empty"),
        }
    }

    /// `Fraction("39/5")` as Python wrote until 3.11, or `Fraction(39, 5)`.
    fn fraction(&self, arguments: Place) -> Result<Value<'a>, Refusal> {
        let parts = match self.items(arguments)?.as_slice() {
            [Value::Whole(above), Value::Whole(below)] => Some((*above, *below)),
            [Value::Text(text)] => {
                let (above, below) = text.split_once('/').unwrap_or((text, "1"));
                above.parse().ok().zip(below.parse().ok())
            }
            _ => None,
        };
        match parts {
            Some((above, below)) if below > 0 => Ok(Value::Fraction { above, below }),
            Some(_) | None => self.malformed("a fraction of whole numbers was expected"),
        }
    }

    /// `(storage, offset, shape, strides, requires_grad, hooks)`, and notes of newer versions behind it.
    fn tensor(&self, arguments: Place) -> Result<Value<'a>, Refusal> {
        let (storage, offset, shape, strides) = match self.items(arguments)?.as_slice() {
            [
                Value::Storage(storage),
                Value::Whole(offset),
                Value::Tuple(shape),
                Value::Tuple(strides),
                Value::Flag(_),
                Value::Dict(_),
                ..,
            ] => (*storage, *offset, shape, strides),
            _ => return self.malformed("a tensor was expected"),
        };
        Ok(Value::Tensor(Box::new(Tensor {
            storage,
            offset: self.count(offset)?,
            shape: self.counts(shape)?,
            strides: self.counts(strides)?,
        })))
    }

    fn counts(&self, places: &[Place]) -> Result<Vec<u64>, Refusal> {
        let count = |place: &Place| {
            let Value::Whole(number) = self.value(*place) else {
                return self.malformed("a count was expected");
            };
            self.count(*number)
        };
        places.iter().map(count).collect()
    }

    /// Attributes of a dictionary, such as the versions that torch notes on a network's state: no weights are among them.
    fn build(&mut self) -> Result<(), Refusal> {
        let attributes = self.pop()?;
        let built = self.top()?;
        match (self.value(built), self.value(attributes)) {
            (Value::Dict(_), Value::Dict(_)) => Ok(()),
            _ => Err(Refusal::Call(
                "a method that sets an object's state".to_owned(),
            )),
        }
    }
}
