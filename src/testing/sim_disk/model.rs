//! Models of file systems and of the disks below them, as data: the order that each keeps, and the tears that it allows.
//!
//! A model says which images a power loss can leave. [`DiskModel::WEAKEST`] is the contract of [`FileAccess`]: an engine that
//! is right under it is right under all. The other models tell how likely a finding is: an image that no common file
//! system leaves is a fault all the same, but one that [`DiskModel::EXT4_ORDERED`] leaves happens to users.
//!
//! Common to all models: a successful sync of a file makes its content durable, and one of a directory its names. Bytes that
//! were durable and that no write touched stay the same, in a torn sector too: garbage there would destroy bytes that an
//! earlier sync made durable, and then no log without copies could keep a promise. Disks write a sector wholly or report it
//! as unreadable; `SQLite` relies on the same and calls it powersafe overwrite.
//!
//! [`FileAccess`]: crate::fs::FileAccess

use std::fmt;

/// A model of a file system and its disk: it decides which images a power loss can leave.
///
/// An engine that is right under [`WEAKEST`](Self::WEAKEST) is right under all models. The other models tell how likely a
/// finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct DiskModel {
    /// The name.
    pub name: &'static str,
    /// The documents that its rules follow.
    pub source: &'static str,
    /// The operations that become durable in the order in which they were made.
    pub order: DiskOrder,
    /// True if a sync of any file or directory makes all earlier changes of names durable.
    pub syncs_names: bool,
    /// True if a renaming that replaces a file becomes durable only after the content of the renamed file.
    pub replaces_with_content: bool,
    /// The tears of one write that a power loss may leave.
    pub tears: WriteTears,
}

/// The operations that become durable in the order in which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskOrder {
    /// Only operations on the same name.
    Nothing,
    /// Creations, renamings and removals.
    Names,
    /// All operations.
    Everything,
}

/// The tears of one write that a power loss may leave. Each kind includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WriteTears {
    /// The whole write or nothing.
    None,
    /// Any of its sectors. Where a sector beyond the file's durable length is missing, there is a hole, or the file ends
    /// before it.
    Sectors,
    /// Also zeros or stale bytes in the place of sectors beyond the file's durable length: the new length is durable before
    /// the content.
    Lengths,
    /// Also garbage, zeros or stale bytes in the place of any sector.
    Any,
}

impl DiskModel {
    /// Everything that the contract of [`FileAccess`](crate::fs::FileAccess) allows.
    pub const WEAKEST: Self = Self {
        name: "weakest",
        source: "the contract of `FileAccess`, which is that of POSIX",
        order: DiskOrder::Nothing,
        syncs_names: false,
        replaces_with_content: false,
        tears: WriteTears::Any,
    };
    /// A disk that carries out one operation after another; the last one may be torn.
    pub const IN_ORDER: Self = Self {
        name: "in-order",
        source: "a file system mounted with `sync` on a disk without a write cache",
        order: DiskOrder::Everything,
        ..Self::WEAKEST
    };
    /// ext4 with `data=ordered`, its default.
    pub const EXT4_ORDERED: Self = Self {
        name: "ext4-ordered",
        source: "Linux, Documentation/admin-guide/ext4.rst, `data=ordered` and `auto_da_alloc`: names are in one journal, a \
                 commit of which waits for the content of the blocks that it allocates; overwritten blocks are not ordered \
                 (Pillai et al., OSDI 2014, table 1)",
        order: DiskOrder::Names,
        syncs_names: true,
        replaces_with_content: true,
        tears: WriteTears::Sectors,
    };
    /// ext4 with `data=writeback`.
    pub const EXT4_WRITEBACK: Self = Self {
        name: "ext4-writeback",
        source: "Linux, Documentation/admin-guide/ext4.rst, `data=writeback`: content may be written after the journal's \
                 commit of its file's length, and old content of the blocks is seen until then",
        tears: WriteTears::Lengths,
        ..Self::EXT4_ORDERED
    };
    /// Copy-on-write with ordered transactions, as ZFS.
    pub const COPY_ON_WRITE: Self = Self {
        name: "copy-on-write",
        source: "OpenZFS: a transaction group holds all operations before its end, and none of it is in place before the \
                 root block is; the intent log that a sync writes has all changes of names in order",
        order: DiskOrder::Everything,
        syncs_names: true,
        replaces_with_content: true,
        tears: WriteTears::None,
    };
    /// Copy-on-write whose transactions do not wait for content, as btrfs.
    pub const BTRFS: Self = Self {
        name: "btrfs",
        source: "Linux, fs/btrfs: an extent enters the tree once it is written, and transactions do not wait for that, but \
                 for renamings that replace a file (commit 5a3f23d515a2); a sync writes a log of one file alone",
        order: DiskOrder::Names,
        syncs_names: false,
        ..Self::COPY_ON_WRITE
    };

    /// Every model, the weakest one last.
    pub const ALL: &'static [Self] = &[
        Self::COPY_ON_WRITE,
        Self::BTRFS,
        Self::EXT4_ORDERED,
        Self::EXT4_WRITEBACK,
        Self::IN_ORDER,
        Self::WEAKEST,
    ];

    /// The models whose images together are those of the weakest one. Among any number of their images are prefixes.
    pub const EVERY_IMAGE: &'static [Self] = &[Self::IN_ORDER, Self::WEAKEST];

    /// The model with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|model| model.name == name)
    }
}

impl fmt::Debug for DiskModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for DiskModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}
