//! The strict decoder: one line in, one row or one rejection out.
//!
//! The [general parser](crate::parse) decides what a message is. Lines that have the [`Shape`] of one that it accepted are
//! not parsed but compared with that shape, which gives the same values. Of a message only the event time is needed, so
//! messages that differ from an accepted one in their digits alone are not even compared field by field ([`Templates`]).

use crate::parse::parse;
use crate::rejection::Rejection;
use crate::row::{self, Row, Value};
use crate::schema::{Field, Model};
use crate::shape::Shape;
use crate::template::{Repeated, Templates};

/// Decodes the lines of one stream, one after the other. Each thread has its own.
#[derive(Debug)]
pub struct Decoder {
    model: &'static Model,
    messages: Shapes,
    templates: Templates,
    records: Shapes,
}

impl Decoder {
    /// A decoder for the messages and records of `model`.
    pub fn new(model: &'static Model) -> Self {
        Self { model, messages: Shapes::default(), templates: Templates::default(), records: Shapes::default() }
    }

    /// The model it decodes.
    pub fn model(&self) -> &'static Model {
        self.model
    }

    /// The message at the front of `block`, if it differs from one that was accepted in its digits alone. It is complete:
    /// its terminator (LF or CRLF) follows. None says nothing about the block.
    #[inline]
    pub fn repeated(&self, block: &[u8]) -> Option<Repeated> {
        self.templates.front(block)
    }

    /// Validates a message. Returns its event time in microseconds since 1970, or none if the model has none.
    pub fn message(&mut self, line: &[u8]) -> Result<Option<i64>, Rejection> {
        let column = self.model.event_time;
        if let Some(event_time) = self.messages.find(|shape| shape.event_time(line, column)) {
            // The shape that fits is the first one now.
            self.templates.missed(|| self.messages.known.first()?.template(line, column));
            return Ok(event_time);
        }
        let mut row = Vec::with_capacity(self.model.columns.len());
        self.messages.learn(self.model, self.model.message, line, &mut row)?;
        Ok(match column.and_then(|column| row.get(column)) {
            Some(Value::Micros(micros)) => Some(*micros),
            _ => None,
        })
    }

    /// Decodes a record of raw/ into `row`, one value for each of the model's columns. After a rejection the row's content
    /// is unspecified.
    pub fn record<'l>(&mut self, line: &'l [u8], row: &mut Vec<Value<'l>>) -> Result<(), Rejection> {
        row.clear();
        row.resize(self.model.columns.len(), Value::Null);
        self.record_into(line, row.as_mut_slice())
    }

    /// Decodes a record of raw/ straight into the caller's `row`. After a rejection the row's content is unspecified.
    #[inline]
    pub fn record_into<'l>(&mut self, line: &'l [u8], row: &mut (impl Row<'l> + ?Sized)) -> Result<(), Rejection> {
        if self.records.find(|shape| shape.fill(line, row).then_some(())).is_some() {
            return Ok(());
        }
        let mut values = Vec::with_capacity(self.model.columns.len());
        self.records.learn(self.model, self.model.record, line, &mut values)?;
        row::copy(values, row);
        Ok(())
    }
}

/// The shapes of recent lines; the one that fitted last is the first.
#[derive(Debug, Default)]
struct Shapes {
    known: Vec<Shape>,
    /// Accepted lines that had none of them, counted since there are as many as are kept.
    misses: u32,
}

impl Shapes {
    /// A stream has a few kinds of devices. Each further shape would be one more comparison for a line that fits none.
    const MOST: usize = 4;
    /// After how many lines that fit no shape a new one replaces the shape that was not used for longest. Where each line
    /// has a shape of its own, learning is of no use and has to be rare.
    const PATIENCE: u32 = 32;

    /// The result of `fit` for the first shape that fits. That shape is tried first the next time.
    #[inline]
    fn find<T>(&mut self, mut fit: impl FnMut(&Shape) -> Option<T>) -> Option<T> {
        let (index, found) = self.known.iter().enumerate().find_map(|(index, shape)| Some((index, fit(shape)?)))?;
        if index > 0
            && let Some(used) = self.known.get_mut(..=index)
        {
            used.rotate_right(1);
        }
        Some(found)
    }

    /// Parses a line that has none of the shapes, and learns its shape.
    fn learn<'l>(
        &mut self,
        model: &Model,
        fields: &'static [Field],
        line: &'l [u8],
        row: &mut Vec<Value<'l>>,
    ) -> Result<(), Rejection> {
        parse(model, fields, line, row)?;
        if self.known.len() == Self::MOST {
            self.misses += 1;
            if self.misses < Self::PATIENCE {
                return Ok(());
            }
            self.misses = 0;
            self.known.pop();
        }
        if let Some(shape) = Shape::learn(fields, line, row) {
            self.known.insert(0, shape);
        }
        Ok(())
    }
}
