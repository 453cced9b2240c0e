//! Rows that are added to pages of cells.

use crate::cells::{Cells, PAGE_SLOTS};

#[test]
fn added_rows_change_no_earlier_row_and_a_page_is_never_larger_than_its_rows() {
    for row_len in [0, 1, 5] {
        let mut cells = Cells::new(row_len);
        for slot in 0..=3 * PAGE_SLOTS {
            if slot % 7 == 0 {
                cells.reserve(3);
            }
            cells.push_row(0).fill(slot);
            for before in 0..=slot {
                assert_eq!(cells.row(before), vec![before; row_len], "{before} of {slot}");
            }
        }
        let page: Vec<usize> = (PAGE_SLOTS..2 * PAGE_SLOTS)
            .flat_map(|slot| vec![slot; row_len])
            .collect();
        assert_eq!(cells.page(1), page);
        assert_eq!(cells.page(3).len(), row_len);
        assert!(
            cells
                .pages
                .iter()
                .all(|page| page.capacity() <= PAGE_SLOTS * row_len)
        );
    }
}
