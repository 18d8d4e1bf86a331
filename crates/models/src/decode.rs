//! The strict decoder: one line in, one row (or several) or one rejection out.
//!
//! The [general parser](crate::json) decides what a message is. Lines that have the shape of one that it accepted are not
//! parsed but compared with that shape, which gives the same values. Of a message only the event time is needed, so messages
//! that differ from an accepted one in their digits alone are not even compared value by value.

use std::sync::Arc;

use crate::json::{Repeated, Shapes, Template, Templates, parse, parse_rows};
use crate::record::Origin;
use crate::rejection::Rejection;
use crate::row::{EventTimeOnly, Row, Value};
use crate::schema::{Model, Variants};

/// Decodes the lines of one stream, one after the other. Each thread has its own.
#[derive(Debug)]
pub struct Decoder {
    model: Arc<Model>,
    messages: Shapes,
    templates: Templates,
    records: Shapes,
}

impl Decoder {
    /// A decoder for the messages and records of `model`.
    pub fn new(model: Arc<Model>) -> Self {
        Self { model, messages: Shapes::default(), templates: Templates::default(), records: Shapes::default() }
    }

    /// The model it decodes.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The message at the front of `block`, if it differs from one that was accepted in its digits alone. It is complete:
    /// its terminator (LF or CRLF) follows. None says nothing about the block.
    #[inline]
    pub fn repeated(&mut self, block: &[u8]) -> Option<Repeated> {
        self.templates.front(block)
    }

    /// Whether the stream file says that such a message is only counted.
    #[inline]
    pub fn drops(&self, line: &[u8]) -> bool {
        !self.model.drop.is_empty() && self.model.drop.is_match(line)
    }

    /// Validates a message that is one row. Returns its event time in microseconds since 1970, or none if the model has none.
    pub fn message(&mut self, line: &[u8]) -> Result<Option<i64>, Rejection> {
        let model = &self.model;
        let mut event = EventTimeOnly::new(model.event_time);
        if let Some(variant) = self.messages.fill(line, &mut event) {
            // What a template lets vary might be what a message is dropped by.
            if model.drop.is_empty() {
                let template = |variant: usize| {
                    Template::new(&model.message.all.get(variant)?.root, model.event_time, line, event.micros)
                };
                self.templates.missed(|| template(variant));
            }
            return Ok(event.micros);
        }
        let mut row = Vec::with_capacity(model.columns.len());
        learn(&mut self.messages, model, &model.message, line, &mut row)?;
        Ok(event_time(model, &row))
    }

    /// Validates a message that may give several rows, and appends the record of each to `records`. Returns for each row its
    /// event time and where its record ends.
    pub fn rows(
        &self,
        line: &[u8],
        origin: &Origin<'_>,
        records: &mut Vec<u8>,
    ) -> Result<Vec<(Option<i64>, usize)>, Rejection> {
        let rows = parse_rows(&self.model.message, self.model.columns.len(), line)?;
        let write = |mut row: Vec<Value<'_>>| {
            self.model.write_row(&mut row, origin, records);
            (event_time(&self.model, &row), records.len())
        };
        Ok(rows.into_iter().map(write).collect())
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
        if self.records.fill(line, row).is_some() {
            return Ok(());
        }
        let mut values = Vec::with_capacity(self.model.columns.len());
        learn(&mut self.records, &self.model, &self.model.record, line, &mut values)?;
        values.into_iter().enumerate().for_each(|(column, value)| row.set(column, value));
        Ok(())
    }
}

fn event_time(model: &Model, row: &[Value<'_>]) -> Option<i64> {
    match row.get(model.event_time?) {
        Some(Value::Micros(micros)) => Some(*micros),
        _ => None,
    }
}

/// Parses a line that has none of the shapes, and learns its shape.
fn learn<'l>(
    shapes: &mut Shapes,
    model: &Model,
    variants: &Variants,
    line: &'l [u8],
    row: &mut Vec<Value<'l>>,
) -> Result<(), Rejection> {
    let (variant, _) = parse(variants, model.columns.len(), line, row)?;
    if let Some(index) = variants.all.iter().position(|other| std::ptr::eq(other, variant)) {
        shapes.learn(variant, index, line, row);
    }
    Ok(())
}
