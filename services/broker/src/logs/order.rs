//! The order of chunks, whatever order they came in.
//!
//! Owns the chunks that came before an earlier one: that one was sent again after a broker's restart. Holds a bounded
//! number of them; what comes on top is let go and read from the stream again. Invariant: what is held has lower numbers
//! than what was let go.

use std::collections::BTreeMap;

use events::log::Chunk;

/// How many chunks wait for an earlier one: twice as many as a runner has under way, 8 MiB at most.
const MOST: usize = 128;

/// Puts chunks into order.
pub(super) struct Order {
    after: u64,
    /// By their number, with their place in the stream.
    early: BTreeMap<u64, (u64, Chunk)>,
    /// The lowest number that was let go, and the first place in the stream where one was.
    let_go: Option<(u64, u64)>,
}

impl Order {
    /// Begins behind the chunk of this number.
    pub(super) const fn new(after: u64) -> Self {
        Self { after, early: BTreeMap::new(), let_go: None }
    }

    /// Takes in the chunk at a place in the stream.
    pub(super) fn take(&mut self, sequence: u64, chunk: Chunk) {
        let number = chunk.number;
        if number <= self.after {
            return;
        }
        if self.let_go.is_none_or(|(lowest, _)| number < lowest) {
            self.early.insert(number, (sequence, chunk));
        } else {
            self.let_go(number, sequence);
        }
    }

    fn let_go(&mut self, number: u64, sequence: u64) {
        let (lowest, first) = self.let_go.unwrap_or((number, sequence));
        self.let_go = Some((lowest.min(number), first.min(sequence)));
    }

    /// The chunks whose turn it is.
    pub(super) fn ready(&mut self) -> Vec<Chunk> {
        let mut chunks = Vec::with_capacity(self.early.len());
        while let Some((_, chunk)) = self.early.remove(&(self.after + 1)) {
            self.after = chunk.number;
            chunks.push(chunk);
        }
        while self.early.len() > MOST
            && let Some((number, (sequence, _))) = self.early.pop_last()
        {
            self.let_go(number, sequence);
        }
        chunks
    }

    /// The chunks that are held behind a gap, as if it were none.
    pub(super) fn rest(&mut self) -> Vec<Chunk> {
        let rest: Vec<Chunk> =
            std::mem::take(&mut self.early).into_values().map(|(_, chunk)| chunk).collect();
        self.after = rest.last().map_or(self.after, |chunk| chunk.number);
        rest
    }

    /// From where on to read the stream again, once there is room for what was let go.
    pub(super) fn again(&mut self) -> Option<u64> {
        if self.early.is_empty() { self.let_go.take().map(|(_, sequence)| sequence) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use events::log::Stream;
    use proptest::prelude::*;

    use super::*;

    fn chunk(number: u64) -> Chunk {
        let time = events::Timestamp::default();
        Chunk { number, first_line: 1, step: 1, stream: Stream::Stdout, time, bytes: Vec::new() }
    }

    /// Reads a stream of numbers to its end in pieces, as a follower does; `rest` says whether gaps stay.
    fn read(stream: &[u64], piece: usize, rest: bool) -> Vec<u64> {
        let (mut order, mut place, mut numbers) = (Order::new(0), 0, Vec::new());
        loop {
            let end = stream.len().min(place + piece);
            for (sequence, number) in (place as u64..).zip(&stream[place..end]) {
                order.take(sequence, chunk(*number));
            }
            place = end;
            numbers.extend(order.ready().iter().map(|chunk| chunk.number));
            assert!(order.early.len() <= MOST, "memory is bounded");
            let mut again = order.again();
            if again.is_none() && place == stream.len() {
                if rest {
                    numbers.extend(order.rest().iter().map(|chunk| chunk.number));
                    again = order.again();
                }
                if again.is_none() {
                    return numbers;
                }
            }
            place = again.map_or(place, |sequence| usize::try_from(sequence).unwrap_or(usize::MAX));
        }
    }

    #[test]
    fn what_is_behind_a_gap_waits_for_it() {
        let late: Vec<u64> = (2..=1_000).chain([1, 1_001]).collect();
        assert_eq!(read(&late, 64, false), (1..=1_001).collect::<Vec<_>>());
        let missing: Vec<u64> = (2..=1_000).collect();
        assert!(read(&missing, 64, false).is_empty());
        assert_eq!(read(&missing, 64, true), missing);
    }

    proptest! {
        #[test]
        fn every_chunk_comes_once_and_in_order(
            numbers in prop::collection::btree_set(1..600u64, 0..500).prop_map(Vec::from_iter).prop_shuffle(),
            twice in prop::collection::vec(0..500usize, 0..50),
            piece in 1..100usize,
        ) {
            let repeated = twice.iter().filter_map(|place| numbers.get(*place));
            let stream: Vec<u64> = numbers.iter().chain(repeated).copied().collect();
            let mut expected = numbers.clone();
            expected.sort_unstable();
            prop_assert_eq!(read(&stream, piece, true), expected);
        }
    }
}
