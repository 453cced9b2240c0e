//! CRC32C (Castagnoli), the checksum of every format of this crate.
//!
//! Polynomial 0x1EDC6F41, reflected 0x82F63B78, as in RFC 3720 (iSCSI) section 12.1. Computed by table, sixteen
//! bytes a step ("slicing", Kounavis and Berry, IEEE ISCC 2005); tables are made at compile time.

const POLYNOMIAL_REFLECTED: u32 = 0x82f6_3b78;
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

/// What four bytes contribute that are `slice` to `slice - 3` bytes before the end of a block.
#[inline]
fn step(slice: usize, head: u32) -> u32 {
    TABLES[slice][(head & 0xff) as usize]
        ^ TABLES[slice - 1][(head >> 8 & 0xff) as usize]
        ^ TABLES[slice - 2][(head >> 16 & 0xff) as usize]
        ^ TABLES[slice - 3][(head >> 24) as usize]
}

/// The checksum of the bytes that gave `crc`, followed by `bytes`. Any `crc` may serve as a seed.
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
    // What is left is up to three steps, not up to fifteen: each waits for the one before.
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

#[cfg(test)]
mod tests {
    use super::{POLYNOMIAL_REFLECTED, crc32c, extend};

    #[test]
    fn the_published_vectors_come_out() {
        // RFC 3720, appendix B.4, and the check value of the CRC catalogue.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn every_length_equals_the_bit_by_bit_definition_and_splits_anywhere() {
        let bytes: Vec<u8> = (0..100_u32).map(|i| (i * 37 + 11) as u8).collect();
        for len in 0..bytes.len() {
            let mut naive = u32::MAX;
            for &byte in &bytes[..len] {
                naive ^= u32::from(byte);
                for _ in 0..8 {
                    naive = if naive & 1 == 1 {
                        naive >> 1 ^ POLYNOMIAL_REFLECTED
                    } else {
                        naive >> 1
                    };
                }
            }
            assert_eq!(crc32c(&bytes[..len]), !naive, "length {len}");
            let (head, tail) = bytes[..len].split_at(len / 3);
            assert_eq!(extend(crc32c(head), tail), !naive, "length {len}, split");
        }
    }
}
