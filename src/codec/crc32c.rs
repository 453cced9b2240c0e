//! CRC32C (Castagnoli), the checksum of every format of this crate.
//!
//! Polynomial 0x1EDC6F41, reflected 0x82F63B78, as in RFC 3720 (iSCSI) section 12.1. Each step takes sixteen bytes and
//! looks them up in tables ("slicing", Kounavis and Berry, IEEE ISCC 2005). The compiler computes the tables.

pub(super) const POLYNOMIAL_REFLECTED: u32 = 0x82f6_3b78;
const SLICES: usize = 16;

static TABLES: [[u32; 256]; SLICES] = tables();

const fn tables() -> [[u32; 256]; SLICES] {
    let mut tables = [[0; 256]; SLICES];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ POLYNOMIAL_REFLECTED
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut slice = 1;
    while slice < SLICES {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[slice - 1][byte];
            tables[slice][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        slice += 1;
    }
    tables
}

/// The checksum of `bytes`.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    extend(0, bytes)
}

/// The contribution of four bytes that are `slice` to `slice - 3` bytes before the end of a block.
#[inline]
fn step(slice: usize, head: u32) -> u32 {
    TABLES[slice][(head & 0xff) as usize]
        ^ TABLES[slice - 1][(head >> 8 & 0xff) as usize]
        ^ TABLES[slice - 2][(head >> 16 & 0xff) as usize]
        ^ TABLES[slice - 3][(head >> 24) as usize]
}

/// The checksum of the bytes with the checksum `crc`, followed by `bytes`. Any `crc` may serve as a seed.
pub(crate) fn extend(crc: u32, bytes: &[u8]) -> u32 {
    let mut crc = !crc;
    let (blocks, rest) = bytes.as_chunks::<SLICES>();
    for block in blocks {
        let head = crc ^ u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
        crc = step(15, head)
            ^ TABLES[11][block[4] as usize]
            ^ TABLES[10][block[5] as usize]
            ^ TABLES[9][block[6] as usize]
            ^ TABLES[8][block[7] as usize]
            ^ TABLES[7][block[8] as usize]
            ^ TABLES[6][block[9] as usize]
            ^ TABLES[5][block[10] as usize]
            ^ TABLES[4][block[11] as usize]
            ^ TABLES[3][block[12] as usize]
            ^ TABLES[2][block[13] as usize]
            ^ TABLES[1][block[14] as usize]
            ^ TABLES[0][block[15] as usize];
    }
    // The remaining bytes take up to three steps and not up to fifteen: each step waits for the previous one.
    let (eights, rest) = rest.as_chunks::<8>();
    for block in eights {
        let head = crc ^ u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
        crc = step(7, head)
            ^ TABLES[3][block[4] as usize]
            ^ TABLES[2][block[5] as usize]
            ^ TABLES[1][block[6] as usize]
            ^ TABLES[0][block[7] as usize];
    }
    let (fours, rest) = rest.as_chunks::<4>();
    for block in fours {
        crc = step(3, crc ^ u32::from_le_bytes(*block));
    }
    for &byte in rest {
        crc = crc >> 8 ^ TABLES[0][((crc ^ u32::from(byte)) & 0xff) as usize];
    }
    !crc
}
