//! Looking at 64 bytes at once: one bit of a `u64` for every byte, lowest bit first.
//!
//! The only module with `unsafe` code: vector instructions of x86-64, chosen when the program runs, and the copying
//! of kept bytes that uses them. Every variant agrees with [`Portable`], which is plain integer arithmetic.
#![allow(unsafe_code)]

use crate::{
    automaton::Automaton,
    outline::Marks,
    skip::{Place, skip},
    walk::{Output, walk},
};

/// 64 bytes.
pub(crate) type Block = [u8; 64];

/// The end of a vector, with room reserved for the bytes of so many blocks.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    out: &'a mut Vec<u8>,
    /// How many bytes of the vector are in use; its own length lags behind.
    used: usize,
    blocks: usize,
}

impl<'a> Room<'a> {
    /// Where the next block may write 64 bytes.
    #[inline(always)]
    fn take(&mut self) -> *mut u8 {
        if self.blocks == 0 {
            // Unreachable as long as only as many blocks are appended as were announced.
            self.keep();
            self.out.reserve(size_of::<Block>());
            self.blocks = 1;
        }
        self.blocks -= 1;
        // SAFETY: not behind the reserved memory, see `keep`.
        unsafe { self.out.as_mut_ptr().add(self.used) }
    }

    /// Makes what was written part of the vector.
    fn keep(&mut self) {
        // SAFETY: `used` began at the length of the vector. It grew by at most 64 bytes for each block taken, all of
        // them written, and there was room for so many blocks.
        unsafe { self.out.set_len(self.used) }
    }
}

/// The compacted document.
impl<'a> Output<'a> for Room<'a> {
    const STREAM: bool = false;
    type Target = Vec<u8>;

    fn reserve(out: &'a mut Vec<u8>, blocks: usize) -> Self {
        out.reserve(blocks.saturating_mul(size_of::<Block>()));
        let used = out.len();
        Room { out, used, blocks }
    }

    #[inline(always)]
    fn block<L: Lanes>(&mut self, lanes: L, block: &Block, marks: Marks) {
        lanes.append(block, marks.kept, self);
    }

    fn finish(mut self) {
        self.keep();
    }
}

/// 64 bytes loaded for comparison. The methods answer with one bit for every byte.
pub(crate) trait Lanes: Copy {
    fn load(block: &Block) -> Self;

    /// Bytes that are `byte`.
    fn equal(self, byte: u8) -> u64;

    /// Bytes that are `byte` once their bit 0x20 is set: both cases of a letter, both kinds of a bracket.
    fn equal_folded(self, byte: u8) -> u64;

    /// Bytes that are `byte` or less.
    fn at_most(self, byte: u8) -> u64;

    #[inline(always)]
    fn digits(self) -> u64 {
        self.at_most(b'9') & !self.at_most(b'0' - 1)
    }

    /// Space, tab, line feed and carriage return.
    #[inline(always)]
    fn whitespace(self) -> u64 {
        self.equal(b' ') | self.equal(b'\t') | self.equal(b'\n') | self.equal(b'\r')
    }

    /// Every bit becomes the parity of itself and all lower bits.
    #[inline(always)]
    fn parities(mut bits: u64) -> u64 {
        for shift in [1, 2, 4, 8, 16, 32] {
            bits ^= bits << shift;
        }
        bits
    }

    /// Appends the bytes of `block`, which was loaded, whose bit is set in `keep`.
    #[inline(always)]
    fn append(self, block: &Block, keep: u64, room: &mut Room<'_>) {
        let mut to = room.take();
        for (group, bytes) in block.as_chunks::<8>().0.iter().enumerate() {
            let keep = (keep >> (group * 8)) as u8;
            if keep == 0xFF {
                // SAFETY: this group and the later ones write at most what is left of the 64 bytes taken.
                unsafe { to.cast::<[u8; 8]>().write_unaligned(*bytes) };
                to = to.wrapping_add(8);
                continue;
            }
            for (place, &byte) in bytes.iter().enumerate() {
                // Written in any case, but overwritten unless kept.
                // SAFETY: as above; the last write is behind at most 63 kept bytes.
                unsafe { to.write(byte) };
                to = to.wrapping_add(usize::from(keep >> place & 1));
            }
        }
        room.used += keep.count_ones() as usize;
    }
}

/// The instructions this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instructions {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Sse2,
    #[cfg(target_arch = "x86_64")]
    Avx2(Has),
    #[cfg(target_arch = "x86_64")]
    Avx512(Has),
}

/// Proof that the machine has been asked. Only this module can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Has(());

impl Instructions {
    /// The best ones.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn detect() -> Self {
        Self::all().last().unwrap_or(Instructions::Sse2)
    }

    /// The best ones.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn detect() -> Self {
        Instructions::Portable
    }

    /// All that this machine has, the best one last.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("pclmulqdq");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi2");
        [
            Some(Instructions::Portable),
            Some(Instructions::Sse2),
            avx2.then_some(Instructions::Avx2(Has(()))),
            avx512.then_some(Instructions::Avx512(Has(()))),
        ]
        .into_iter()
        .flatten()
    }

    /// All that this machine has, the best one last.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Instructions::Portable)
    }

    /// [`walk`] with these instructions.
    pub(crate) fn walk<'a, O: Output<'a>>(
        self,
        automaton: &mut Automaton,
        blocks: &[Block],
        out: &'a mut O::Target,
    ) -> usize {
        match self {
            Instructions::Portable => walk::<Portable, O>(automaton, blocks, out),
            #[cfg(target_arch = "x86_64")]
            Instructions::Sse2 => walk::<x86::Sse2, O>(automaton, blocks, out),
            // SAFETY: `Has` is only made when the machine has these instructions.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2(_) => unsafe { x86::walk_avx2::<O>(automaton, blocks, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512(_) => unsafe { x86::walk_avx512::<O>(automaton, blocks, out) },
        }
    }
}

impl Instructions {
    /// [`skip`] with these instructions.
    pub(crate) fn skip(self, place: &mut Place, blocks: &[Block]) -> Option<usize> {
        match self {
            Instructions::Portable => skip::<Portable>(place, blocks),
            #[cfg(target_arch = "x86_64")]
            Instructions::Sse2 => skip::<x86::Sse2>(place, blocks),
            // SAFETY: `Has` is only made when the machine has these instructions.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2(_) => unsafe { x86::skip_avx2(place, blocks) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512(_) => unsafe { x86::skip_avx512(place, blocks) },
        }
    }
}

/// Eight bytes in each of eight integers.
#[derive(Clone, Copy)]
pub(crate) struct Portable([u64; 8]);

const LOW_BITS: u64 = 0x7F7F_7F7F_7F7F_7F7F;

impl Portable {
    /// `flags` sets the highest bit of every byte that is meant.
    #[inline(always)]
    fn gather(self, flags: impl Fn(u64) -> u64) -> u64 {
        let mut bits = 0;
        for (index, &word) in self.0.iter().enumerate() {
            // The multiplication moves one bit of each byte to its place in the highest byte.
            let byte = (flags(word) >> 7 & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            bits |= byte << (index * 8);
        }
        bits
    }

    #[inline(always)]
    fn zero_flags(word: u64) -> u64 {
        !(((word & LOW_BITS) + LOW_BITS) | word)
    }
}

impl Lanes for Portable {
    #[inline(always)]
    fn load(block: &Block) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(block.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Portable(words)
    }

    #[inline(always)]
    fn equal(self, byte: u8) -> u64 {
        let pattern = u64::from_ne_bytes([byte; 8]);
        self.gather(|word| Self::zero_flags(word ^ pattern))
    }

    #[inline(always)]
    fn equal_folded(self, byte: u8) -> u64 {
        let pattern = u64::from_ne_bytes([byte; 8]);
        let fold = u64::from_ne_bytes([0x20; 8]);
        self.gather(|word| Self::zero_flags((word | fold) ^ pattern))
    }

    #[inline(always)]
    fn at_most(self, byte: u8) -> u64 {
        // `byte` is ASCII: adding this carries into the highest bit of a byte above it.
        let above = u64::from_ne_bytes([0x7F - byte; 8]);
        self.gather(|word| !(((word & LOW_BITS) + above) | word))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Every method here runs inside one of the `walk_*` and `skip_*` functions, whose instructions it needs. They are forced
    //! inline because a function cannot be compiled for more instructions than its caller otherwise.

    use std::arch::x86_64::*;

    use super::{Automaton, Block, Lanes, Output, Place, Room, skip, walk};

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
    pub(super) fn walk_avx2<'a, O: Output<'a>>(
        automaton: &mut Automaton,
        blocks: &[Block],
        out: &'a mut O::Target,
    ) -> usize {
        walk::<Avx2, O>(automaton, blocks, out)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
    pub(super) fn walk_avx512<'a, O: Output<'a>>(
        automaton: &mut Automaton,
        blocks: &[Block],
        out: &'a mut O::Target,
    ) -> usize {
        walk::<Avx512, O>(automaton, blocks, out)
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
    pub(super) fn skip_avx2(place: &mut Place, blocks: &[Block]) -> Option<usize> {
        skip::<Avx2>(place, blocks)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,avx2,bmi1,bmi2,lzcnt,popcnt,pclmulqdq")]
    pub(super) fn skip_avx512(place: &mut Place, blocks: &[Block]) -> Option<usize> {
        skip::<Avx512>(place, blocks)
    }

    /// What every x86-64 processor has.
    #[derive(Clone, Copy)]
    pub(super) struct Sse2([__m128i; 4]);

    impl Sse2 {
        #[inline(always)]
        fn gather(self, flags: impl Fn(__m128i) -> __m128i) -> u64 {
            let mut bits = 0;
            for (index, &lane) in self.0.iter().enumerate() {
                // SAFETY: SSE2 is part of x86-64.
                let mask = unsafe { _mm_movemask_epi8(flags(lane)) };
                bits |= u64::from(mask as u16) << (index * 16);
            }
            bits
        }
    }

    impl Lanes for Sse2 {
        #[inline(always)]
        fn load(block: &Block) -> Self {
            let at = block.as_ptr().cast::<__m128i>();
            // SAFETY: SSE2 is part of x86-64; the loads need no alignment and stay within the 64 bytes.
            unsafe {
                Sse2([
                    _mm_loadu_si128(at),
                    _mm_loadu_si128(at.add(1)),
                    _mm_loadu_si128(at.add(2)),
                    _mm_loadu_si128(at.add(3)),
                ])
            }
        }

        #[inline(always)]
        fn equal(self, byte: u8) -> u64 {
            // SAFETY: SSE2 is part of x86-64.
            self.gather(|lane| unsafe { _mm_cmpeq_epi8(lane, _mm_set1_epi8(byte as i8)) })
        }

        #[inline(always)]
        fn equal_folded(self, byte: u8) -> u64 {
            // SAFETY: SSE2 is part of x86-64.
            self.gather(|lane| unsafe {
                _mm_cmpeq_epi8(_mm_or_si128(lane, _mm_set1_epi8(0x20)), _mm_set1_epi8(byte as i8))
            })
        }

        #[inline(always)]
        fn at_most(self, byte: u8) -> u64 {
            // SAFETY: SSE2 is part of x86-64.
            self.gather(|lane| unsafe { _mm_cmpeq_epi8(_mm_min_epu8(lane, _mm_set1_epi8(byte as i8)), lane) })
        }
    }

    #[derive(Clone, Copy)]
    pub(super) struct Avx2([__m256i; 2]);

    impl Avx2 {
        #[inline(always)]
        fn gather(self, flags: impl Fn(__m256i) -> __m256i) -> u64 {
            let [low, high] = self.0;
            // SAFETY: only used in `*_avx2`.
            unsafe {
                let low = _mm256_movemask_epi8(flags(low)) as u32;
                let high = _mm256_movemask_epi8(flags(high)) as u32;
                u64::from(low) | u64::from(high) << 32
            }
        }
    }

    impl Lanes for Avx2 {
        #[inline(always)]
        fn load(block: &Block) -> Self {
            let at = block.as_ptr().cast::<__m256i>();
            // SAFETY: only used in `*_avx2`; the loads need no alignment and stay within the 64 bytes.
            unsafe { Avx2([_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))]) }
        }

        #[inline(always)]
        fn equal(self, byte: u8) -> u64 {
            // SAFETY: only used in `*_avx2`.
            self.gather(|lane| unsafe { _mm256_cmpeq_epi8(lane, _mm256_set1_epi8(byte as i8)) })
        }

        #[inline(always)]
        fn equal_folded(self, byte: u8) -> u64 {
            // SAFETY: only used in `*_avx2`.
            self.gather(|lane| unsafe {
                let folded = _mm256_or_si256(lane, _mm256_set1_epi8(0x20));
                _mm256_cmpeq_epi8(folded, _mm256_set1_epi8(byte as i8))
            })
        }

        #[inline(always)]
        fn at_most(self, byte: u8) -> u64 {
            // SAFETY: only used in `*_avx2`.
            self.gather(|lane| unsafe {
                _mm256_cmpeq_epi8(_mm256_min_epu8(lane, _mm256_set1_epi8(byte as i8)), lane)
            })
        }

        #[inline(always)]
        fn digits(self) -> u64 {
            // SAFETY: only used in `*_avx2`.
            self.gather(|lane| unsafe {
                let value = _mm256_xor_si256(lane, _mm256_set1_epi8(0x30));
                _mm256_cmpeq_epi8(_mm256_min_epu8(value, _mm256_set1_epi8(9)), value)
            })
        }

        #[inline(always)]
        fn whitespace(self) -> u64 {
            // Looked up by its low four bits, a whitespace byte finds itself and no other byte does: the empty
            // places hold zero, and a zero byte looks into the place of the space.
            self.gather(|lane| {
                // SAFETY: only used in `*_avx2`.
                unsafe {
                    let table = _mm256_setr_epi8(
                        32, 0, 0, 0, 0, 0, 0, 0, 0, 9, 10, 0, 0, 13, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 9, 10,
                        0, 0, 13, 0, 0,
                    );
                    _mm256_cmpeq_epi8(_mm256_shuffle_epi8(table, lane), lane)
                }
            })
        }

        #[inline(always)]
        fn parities(bits: u64) -> u64 {
            parities(bits)
        }

        #[inline(always)]
        fn append(self, block: &Block, keep: u64, room: &mut Room<'_>) {
            let mut to = room.take();
            // SAFETY: only used in `*_avx2`. Eight groups of 8 bytes are written one after another, each where the
            // kept bytes of those before it end, so the last write ends at most behind the 64 bytes taken.
            unsafe {
                if keep == u64::MAX {
                    _mm256_storeu_si256(to.cast(), self.0[0]);
                    _mm256_storeu_si256(to.add(32).cast(), self.0[1]);
                } else {
                    for (group, bytes) in block.as_chunks::<8>().0.iter().enumerate() {
                        let kept = (keep >> (group * 8)) as u8;
                        let places = _mm_loadl_epi64(PLACES[usize::from(kept)].as_ptr().cast());
                        let bytes = _mm_loadl_epi64(bytes.as_ptr().cast());
                        _mm_storel_epi64(to.cast(), _mm_shuffle_epi8(bytes, places));
                        to = to.add(kept.count_ones() as usize);
                    }
                }
            }
            room.used += keep.count_ones() as usize;
        }
    }

    #[derive(Clone, Copy)]
    pub(super) struct Avx512(__m512i);

    impl Lanes for Avx512 {
        #[inline(always)]
        fn load(block: &Block) -> Self {
            // SAFETY: only used in `*_avx512`; the load needs no alignment.
            unsafe { Avx512(_mm512_loadu_si512(block.as_ptr().cast())) }
        }

        #[inline(always)]
        fn equal(self, byte: u8) -> u64 {
            // SAFETY: only used in `*_avx512`.
            unsafe { _mm512_cmpeq_epi8_mask(self.0, _mm512_set1_epi8(byte as i8)) }
        }

        #[inline(always)]
        fn equal_folded(self, byte: u8) -> u64 {
            // SAFETY: only used in `*_avx512`.
            unsafe {
                let folded = _mm512_or_si512(self.0, _mm512_set1_epi8(0x20));
                _mm512_cmpeq_epi8_mask(folded, _mm512_set1_epi8(byte as i8))
            }
        }

        #[inline(always)]
        fn at_most(self, byte: u8) -> u64 {
            // SAFETY: only used in `*_avx512`.
            unsafe { _mm512_cmple_epu8_mask(self.0, _mm512_set1_epi8(byte as i8)) }
        }

        #[inline(always)]
        fn digits(self) -> u64 {
            // SAFETY: only used in `*_avx512`.
            unsafe {
                let value = _mm512_sub_epi8(self.0, _mm512_set1_epi8(0x30));
                _mm512_cmple_epu8_mask(value, _mm512_set1_epi8(9))
            }
        }

        #[inline(always)]
        fn whitespace(self) -> u64 {
            // SAFETY: only used in `*_avx512`.
            unsafe {
                // The table of `Avx2`, in every quarter.
                let table = _mm512_set4_epi32(0x0D00, 0x000A_0900, 0, 32);
                _mm512_cmpeq_epi8_mask(_mm512_shuffle_epi8(table, self.0), self.0)
            }
        }

        #[inline(always)]
        fn parities(bits: u64) -> u64 {
            parities(bits)
        }

        #[inline(always)]
        fn append(self, _block: &Block, keep: u64, room: &mut Room<'_>) {
            let to = room.take();
            // SAFETY: only used in `*_avx512`. The 64 bytes taken are written, those that are kept first.
            unsafe { _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi8(keep, self.0)) };
            room.used += keep.count_ones() as usize;
        }
    }

    #[inline(always)]
    fn parities(bits: u64) -> u64 {
        // SAFETY: only used in `*_avx2` and `*_avx512`.
        unsafe {
            // Multiplying by all ones without carries adds up, in each bit, all lower ones.
            let product = _mm_clmulepi64_si128(_mm_set_epi64x(0, bits as i64), _mm_set1_epi8(-1), 0);
            _mm_cvtsi128_si64(product) as u64
        }
    }

    /// For every choice of eight bytes: where the chosen ones stand.
    static PLACES: [[u8; 8]; 256] = {
        let mut table = [[0; 8]; 256];
        let mut choice = 0;
        while choice < 256 {
            let mut place = 0;
            let mut count = 0;
            while place < 8 {
                if choice >> place & 1 == 1 {
                    table[choice][count] = place;
                    count += 1;
                }
                place += 1;
            }
            choice += 1;
        }
        table
    };
}
