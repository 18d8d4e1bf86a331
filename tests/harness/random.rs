//! Numbers that look random and can be had again.

use std::time::SystemTime;

/// A generator of numbers that a seed repeats (`SplitMix64`).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by [`seed`].
    pub fn seeded() -> Self {
        Self(seed())
    }

    /// With a seed of the caller's.
    pub fn with_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to `bound`, which it does not reach.
    pub fn below<T: TryFrom<u64> + TryInto<u64>>(&mut self, bound: T) -> T {
        let bound = bound.try_into().ok().unwrap();
        T::try_from(self.number() % bound).ok().unwrap()
    }
}

/// A seed: `SEED` in the environment, or the clock. It is printed, which a test that fails shows.
#[allow(clippy::print_stdout)]
pub fn seed() -> u64 {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() % 1_000_000_007;
    let seed = std::env::var("SEED").map_or(u64::try_from(clock).unwrap(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    seed
}

/// How many rounds a test goes that kills at random: `usual`, or what `ROUNDS` in the environment says.
pub fn rounds(usual: u64) -> u64 {
    std::env::var("ROUNDS").map_or(usual, |rounds| rounds.parse().unwrap())
}
