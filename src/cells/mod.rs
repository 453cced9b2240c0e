//! Rows of cells in pages: the storage of a tier, with one row for each slot.
//!
//! Each page is a separate allocation. So a new slot copies at most the rows of its own page, and only the last page
//! has unused memory. The first page grows by doubling, because many signals have only one or two keys in a shard.
//!
//! Invariant: every page except the last holds [`PAGE_SLOTS`] rows. All rows have the same length, which may be zero.
//!
//! In memory only: a crash leaves nothing of it.

#[cfg(test)]
mod tests;

/// The number of slots of a page. Part of the on-disk format.
pub(crate) const PAGE_SLOTS: usize = 32;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Cells<T> {
    row_len: usize,
    rows_len: usize,
    pages: Vec<Vec<T>>,
}

impl<T: Copy> Cells<T> {
    /// No rows, of `row_len` cells each.
    pub(crate) fn new(row_len: usize) -> Self {
        Self {
            row_len,
            rows_len: 0,
            pages: Vec::new(),
        }
    }

    /// The cells of a slot.
    #[inline]
    pub(crate) fn row(&self, slot: usize) -> &[T] {
        &self.pages[slot / PAGE_SLOTS][slot % PAGE_SLOTS * self.row_len..][..self.row_len]
    }

    /// Like [`row`](Self::row), for changes.
    #[inline]
    pub(crate) fn row_mut(&mut self, slot: usize) -> &mut [T] {
        &mut self.pages[slot / PAGE_SLOTS][slot % PAGE_SLOTS * self.row_len..][..self.row_len]
    }

    /// All rows of a page, one after another.
    pub(crate) fn page(&self, page: usize) -> &[T] {
        &self.pages[page]
    }

    /// Adds a row of `blank` cells and returns it.
    pub(crate) fn push_row(&mut self, blank: T) -> &mut [T] {
        let (row_len, page_rows_len) = (self.row_len, self.rows_len % PAGE_SLOTS);
        let is_first = self.rows_len < PAGE_SLOTS;
        let page = self.page_for_next();
        if page.capacity() - page.len() < row_len {
            let doubled_len = page_rows_len.max(1).min(PAGE_SLOTS - page_rows_len);
            let more_len = if is_first {
                doubled_len
            } else {
                PAGE_SLOTS - page_rows_len
            };
            page.reserve_exact(more_len * row_len);
        }
        let first_cell = page.len();
        page.resize(first_cell + row_len, blank);
        let rows_len = self.rows_len;
        self.rows_len += 1;
        self.row_mut(rows_len)
    }

    /// Reserves memory for this many more rows, but not beyond the page of the next row.
    pub(crate) fn reserve(&mut self, additional_len: usize) {
        let additional_len = additional_len.min(PAGE_SLOTS - self.rows_len % PAGE_SLOTS);
        let cells_len = additional_len * self.row_len;
        self.page_for_next().reserve_exact(cells_len);
    }

    /// The page of the next row.
    fn page_for_next(&mut self) -> &mut Vec<T> {
        let page = self.rows_len / PAGE_SLOTS;
        if page == self.pages.len() {
            self.pages.push(Vec::new());
        }
        &mut self.pages[page]
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        allocated_bytes(&self.pages) + self.pages.iter().map(allocated_bytes).sum::<usize>()
    }
}

/// Reserves memory for `additional_len` more elements, one for each slot. If the capacity is too small, it doubles up
/// to one page. From then on it grows by an eighth, but by at least a page: most signals have few keys in a shard, and
/// further doubling would leave up to half of the memory unused.
pub(crate) fn reserve_slots<T>(vec: &mut Vec<T>, additional_len: usize) {
    if vec.capacity() - vec.len() < additional_len {
        let more_len = (vec.len() / 8).max(vec.len().min(PAGE_SLOTS));
        vec.reserve_exact(additional_len.max(more_len));
    }
}

/// The size of a vector's allocation.
pub(crate) fn allocated_bytes<T>(vec: &Vec<T>) -> usize {
    vec.capacity() * size_of::<T>()
}
