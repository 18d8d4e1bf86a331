//! Random streams with random messages: what a decoder has learnt changes nothing, whatever the stream.

use harness::{Random, RandomStream, rounds, seed};
use models::{Decoder, Origin, Repeated};

use crate::compile;

#[test]
fn what_was_learnt_changes_no_outcome_of_any_stream() {
    let (mut accepted, mut rejected, mut repeated) = (0, 0, 0);
    let first = seed();
    for seed in first..first + rounds(400) {
        let mut random = Random::with_seed(seed);
        let stream = RandomStream::new(&mut random);
        let model = compile(&stream.file).unwrap_or_else(|problems| panic!("SEED={seed}\n{}\n{problems}", stream.file));
        let mut warm = Decoder::new(model.clone());
        for _ in 0..120 {
            let line = stream.message(&mut random);
            let shown = || format!("SEED={seed} ROUNDS=1\n{}\n{}", stream.file, String::from_utf8_lossy(&line));
            let cold = Decoder::new(model.clone()).message(&line);
            let block = [&line[..], b"\n"].concat();
            if let Some(Repeated { length, event_time, .. }) = warm.repeated(&block) {
                assert_eq!((length, Ok(event_time)), (line.len(), cold.clone()), "{}", shown());
                repeated += 1;
            }
            assert_eq!(warm.message(&line), cold, "{}", shown());
            let record = if model.keeps_messages_as_sent() {
                line.clone()
            } else {
                let origin = Origin { arrival_us: 5, source: None, listener: "" };
                let mut record = Vec::new();
                model.begin_envelope(&origin, &mut record);
                [&record[..], &line, b"}"].concat()
            };
            let (mut warm_row, mut cold_row) = (Vec::new(), Vec::new());
            let read = warm.record(&record, &mut warm_row);
            assert_eq!(read, Decoder::new(model.clone()).record(&record, &mut cold_row), "{}", shown());
            assert_eq!(read.is_ok(), cold.is_ok(), "{}", shown());
            if read.is_ok() {
                // As text, which tells -0.0 from 0.0.
                assert_eq!(format!("{warm_row:?}"), format!("{cold_row:?}"), "{}", shown());
                accepted += 1;
            } else {
                rejected += 1;
            }
        }
    }
    println!("{accepted} accepted, {rejected} rejected, {repeated} known by their digits alone");
    assert!(accepted > 0 && rejected > 0 && repeated > 0);
}
