//! Lines that differ from one another in their digits alone.
//!
//! A device sends most of its lines in a few lengths, and those of one length mostly have each value in the same place. A
//! [`Template`] says of each byte which ones it may be, so that a line is compared in strides of 16 bytes, without a look
//! at what it consists of. It is made from a line that a [`Shape`](crate::shape::Shape) fits, and fits no line that the
//! shape does not: all bytes are those of that line, but for digits of numbers, which may be any digits that leave them
//! numbers of the same form.

use crate::schema::Kind;
use crate::shape::epoch_micros;

/// The templates of lines lately, by length.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    known: Vec<Option<Template>>,
    misses: u32,
}

impl Templates {
    /// Lengths that differ by a multiple of this share a place.
    const PLACES: usize = 64;
    /// How many lines fit none before one takes a place that is not free: making one costs as much as many comparisons.
    const PATIENCE: u32 = 32;

    /// The event time of `line` in microseconds, if the template of its length fits; none in it if the model has none.
    #[inline]
    #[expect(clippy::option_option, reason = "whether it fits, and whether the model has an event time")]
    pub(crate) fn event_time(&self, line: &[u8]) -> Option<Option<i64>> {
        let template = self.known.get(line.len() % Self::PLACES)?.as_ref()?;
        if !template.fits(line) {
            return None;
        }
        match template.event_time {
            None => Some(None),
            Some((start, kind)) => Some(Some(epoch_micros(kind, line.get(start..)?)?.0)),
        }
    }

    /// No template fits `line`; `make` makes one.
    pub(crate) fn missed(&mut self, line: &[u8], make: impl FnOnce() -> Option<Template>) {
        self.known.resize_with(Self::PLACES, || None);
        let Some(place) = self.known.get_mut(line.len() % Self::PLACES) else { return };
        self.misses += 1;
        if place.is_none() || self.misses >= Self::PATIENCE {
            self.misses = 0;
            *place = make();
        }
    }
}

/// The bytes compared at once.
const STRIDE: usize = 16;

/// Which bytes a line may consist of.
#[derive(Debug)]
pub(crate) struct Template {
    length: usize,
    strides: Vec<Stride>,
    /// The last bytes, some of them for the second time.
    last: Stride,
    /// Where the event time begins, and what it is.
    event_time: Option<(usize, &'static Kind)>,
}

/// Each byte may be `first` and up to `more` above it.
#[derive(Debug, Clone, Copy)]
struct Stride {
    first: [u8; STRIDE],
    more: [u8; STRIDE],
}

impl Stride {
    /// Ors to `misfits` what is not allowed.
    #[inline]
    fn compare(&self, bytes: &[u8; STRIDE], misfits: &mut [u8; STRIDE]) {
        for (((byte, first), more), misfit) in bytes.iter().zip(&self.first).zip(&self.more).zip(misfits) {
            *misfit |= byte.wrapping_sub(*first).saturating_sub(*more);
        }
    }
}

impl Template {
    /// Whether `line` is such a line.
    #[inline]
    pub(crate) fn fits(&self, line: &[u8]) -> bool {
        let Some(last) = line.last_chunk() else { return false };
        let mut misfits = [0; STRIDE];
        for (bytes, stride) in line.as_chunks().0.iter().zip(&self.strides) {
            stride.compare(bytes, &mut misfits);
        }
        self.last.compare(last, &mut misfits);
        line.len() == self.length && misfits == [0; STRIDE]
    }
}

/// A template in the making.
pub(crate) struct Draft {
    first: Vec<u8>,
    more: Vec<u8>,
    event_time: Option<(usize, &'static Kind)>,
}

impl Draft {
    /// Only this line.
    pub(crate) fn new(line: &[u8]) -> Self {
        Self { first: line.to_vec(), more: vec![0; line.len()], event_time: None }
    }

    /// A number of `length` bytes at `start`, plain and complete, may have other digits; it is the event time if its kind
    /// is given. None if that would not do: a number that is negative or has several digits before the point must not
    /// begin with a zero.
    pub(crate) fn number(&mut self, start: usize, length: usize, event_time: Option<&'static Kind>) -> Option<()> {
        self.event_time = event_time.map(|kind| (start, kind)).or(self.event_time);
        let number = self.first.get_mut(start..start + length)?;
        let sign = usize::from(number.first() == Some(&b'-'));
        let whole = number.iter().skip(sign).take_while(|byte| byte.is_ascii_digit()).count();
        for (index, (byte, more)) in number.iter_mut().zip(self.more.get_mut(start..)?).enumerate() {
            let not_zero = index == sign && sign + whole > 1;
            match *byte {
                b'0' if not_zero => return None,
                b'0'..=b'9' => (*byte, *more) = if not_zero { (b'1', 8) } else { (b'0', 9) },
                _ => {}
            }
        }
        Some(())
    }

    /// The template; none if the line is too short for one.
    pub(crate) fn finish(self) -> Option<Template> {
        let Self { first, more, event_time } = self;
        let stride = |(first, more): (&[u8; STRIDE], &[u8; STRIDE])| Stride { first: *first, more: *more };
        let strides = first.as_chunks().0.iter().zip(more.as_chunks().0).map(stride).collect();
        let last = stride((first.last_chunk()?, more.last_chunk()?));
        Some(Template { length: first.len(), strides, last, event_time })
    }
}
