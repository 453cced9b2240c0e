//! Models of file systems and of the disks below them, as data: the order of durable operations, and the allowed tears.
//!
//! A model decides which images a power loss can leave. [`DiskModel::WEAKEST`] is the contract of [`FileAccess`]: an
//! engine that is correct under this model is correct under all models. The other models show how likely a finding is.
//! An engine must also survive an image that no common file system leaves. But an image that
//! [`DiskModel::EXT4_ORDERED`] leaves happens to users.
//!
//! Invariants of all models: a successful sync of a file makes its content durable. A successful sync of a directory
//! makes its names durable. Durable bytes that no write touched do not change, also in a torn sector. Otherwise a torn
//! write could destroy synced bytes, and a log without copies could not keep its promises. Disks write a whole sector
//! or report it as unreadable. `SQLite` relies on the same rule and calls it powersafe overwrite.
//!
//! [`FileAccess`]: crate::fs::FileAccess

use std::fmt;

/// A model of a file system and its disk: it decides which images a power loss can leave.
///
/// An engine that is correct under [`WEAKEST`](Self::WEAKEST) is correct under all models. The other models show how
/// likely a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct DiskModel {
    /// The name of the model.
    pub name: &'static str,
    /// The source of the rules.
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
    /// Any subset of its sectors. A missing sector beyond the file's durable length leaves a gap, or the file ends
    /// before it.
    Sectors,
    /// Also zeros or stale bytes in sectors beyond the file's durable length: the new length is durable before the
    /// content.
    Lengths,
    /// Also garbage, zeros or stale bytes in any sector.
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
    /// A disk that makes one operation durable after another. The last one can be torn.
    pub const IN_ORDER: Self = Self {
        name: "in-order",
        source: "a file system mounted with `sync` on a disk without a write cache",
        order: DiskOrder::Everything,
        ..Self::WEAKEST
    };
    /// ext4 with `data=ordered`, its default.
    pub const EXT4_ORDERED: Self = Self {
        name: "ext4-ordered",
        source: "Linux, Documentation/admin-guide/ext4.rst, `data=ordered` and `auto_da_alloc`: all names are in one \
                 journal; a commit of the journal waits for the content of newly allocated blocks; overwritten blocks \
                 are not ordered (Pillai et al., OSDI 2014, table 1)",
        order: DiskOrder::Names,
        syncs_names: true,
        replaces_with_content: true,
        tears: WriteTears::Sectors,
    };
    /// ext4 with `data=writeback`.
    pub const EXT4_WRITEBACK: Self = Self {
        name: "ext4-writeback",
        source: "Linux, Documentation/admin-guide/ext4.rst, `data=writeback`: content can be written after the journal \
                 commits the file's length, and reads return old content of the blocks until then",
        tears: WriteTears::Lengths,
        ..Self::EXT4_ORDERED
    };
    /// Copy-on-write with ordered transactions, like ZFS.
    pub const COPY_ON_WRITE: Self = Self {
        name: "copy-on-write",
        source: "OpenZFS: a transaction group contains all operations before its end, and becomes durable with the \
                 root block; the intent log that a sync writes contains all changes of names in order",
        order: DiskOrder::Everything,
        syncs_names: true,
        replaces_with_content: true,
        tears: WriteTears::None,
    };
    /// Copy-on-write whose transactions do not wait for content, like btrfs.
    pub const BTRFS: Self = Self {
        name: "btrfs",
        source: "Linux, fs/btrfs: an extent enters the tree after it is written; transactions wait for this only if a \
                 renaming replaces a file (commit 5a3f23d515a2); a sync writes the log of one file only",
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

    /// Models whose images together are the images of the weakest model. With a bound on the images, `IN_ORDER`
    /// guarantees that prefixes are among them.
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
