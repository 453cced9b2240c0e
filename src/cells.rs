//! Rows of cells, one row per slot, in pages that stay where they are: what a tier keeps of its slots.
//!
//! A page is an allocation of its own, so a slot more copies at most the page it is in, and no room is taken ahead of
//! need but in the last page. The first page grows by doubling, since many signals have a key or two in a shard.
//!
//! Invariant: every page but the last holds [`PAGE_SLOTS`] rows, all of the same length, which may be zero.
//!
//! In memory only: there is nothing for a crash to leave behind.

/// The slots of a page. Part of the on-disk format.
pub(crate) const PAGE_SLOTS: usize = 32;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Cells<T> {
    row_len: usize,
    rows_len: usize,
    pub(super) pages: Vec<Vec<T>>,
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

    /// As [`row`](Self::row), to be changed.
    #[inline]
    pub(crate) fn row_mut(&mut self, slot: usize) -> &mut [T] {
        &mut self.pages[slot / PAGE_SLOTS][slot % PAGE_SLOTS * self.row_len..][..self.row_len]
    }

    /// All rows of a page, one after the other.
    pub(crate) fn page(&self, page: usize) -> &[T] {
        &self.pages[page]
    }

    /// Adds a row of `blank` cells and gives it.
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

    /// Makes room for as many more rows, but not beyond the page of the next one.
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

/// Makes room for `additional_len` more elements, one for a slot. When that is not at hand, room is made for twice as many
/// as there are, up to a page, and from then on for an eighth more, but a page at least: most signals have few keys in a
/// shard, and doubling on would leave up to half of the room unused.
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
