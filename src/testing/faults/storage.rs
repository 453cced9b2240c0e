//! A storage engine that passes each call to a closure.
//!
//! Invariant: each `forward` makes one call to the wrapped engine. The wrapper stores no content, so after a crash the
//! engine has the effects of exactly the forwarded calls.

use std::fmt;
use std::sync::Arc;

use crate::Error;
use crate::storage::{Scan, StorageEngine, WriteBatch};

type InterceptStorage =
    dyn for<'a> Fn(&mut StorageCall<'a>) -> Result<StorageAnswer<'a>, Error> + Send + Sync;

/// The operation of a [`StorageCall`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageOperation {
    /// [`StorageEngine::get`]. Answer: [`StorageAnswer::Value`].
    Get {
        /// The key.
        key: Vec<u8>,
    },
    /// [`StorageEngine::put`]. Answer: [`StorageAnswer::Done`].
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// [`StorageEngine::delete`]. Answer: [`StorageAnswer::Done`].
    Delete {
        /// The key.
        key: Vec<u8>,
    },
    /// [`StorageEngine::scan_prefix`]. Answer: [`StorageAnswer::Scan`].
    ScanPrefix {
        /// The prefix.
        prefix: Vec<u8>,
    },
    /// [`StorageEngine::write_batch`]. Answer: [`StorageAnswer::Done`].
    WriteBatch(WriteBatch),
    /// [`StorageEngine::flush`]. Answer: [`StorageAnswer::Done`].
    Flush,
    /// [`StorageEngine::close`]. Answer: [`StorageAnswer::Done`].
    Close,
}

impl StorageOperation {
    /// The name of the method of [`StorageEngine`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::Put { .. } => "put",
            Self::Delete { .. } => "delete",
            Self::ScanPrefix { .. } => "scan_prefix",
            Self::WriteBatch(_) => "write_batch",
            Self::Flush => "flush",
            Self::Close => "close",
        }
    }
}

/// The result of a successful [`StorageCall`].
#[non_exhaustive]
pub enum StorageAnswer<'a> {
    /// The answer of a call without a return value.
    Done,
    /// The value of the key, if the key exists.
    Value(Option<Vec<u8>>),
    /// The key-value pairs of the scan.
    Scan(Scan<'a>),
}

impl fmt::Debug for StorageAnswer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Value(value) => f.debug_tuple("Value").field(value).finish(),
            Self::Scan(_) => f.write_str("Scan"),
        }
    }
}

/// One intercepted call to a storage engine.
pub struct StorageCall<'a> {
    /// The operation. [`forward`](Self::forward) makes the operation in this field, so the closure can change it.
    pub operation: StorageOperation,
    engine: &'a dyn StorageEngine,
}

impl<'a> StorageCall<'a> {
    /// The wrapped engine. The wrapper does not intercept its calls.
    pub fn engine(&self) -> &'a dyn StorageEngine {
        self.engine
    }

    /// Makes the call. A second `forward` makes it again.
    ///
    /// # Errors
    /// The error of the call.
    pub fn forward(&mut self) -> Result<StorageAnswer<'a>, Error> {
        let engine = self.engine;
        let done = |()| StorageAnswer::Done;
        match &self.operation {
            StorageOperation::Get { key } => engine.get(key).map(StorageAnswer::Value),
            StorageOperation::Put { key, value } => engine.put(key, value).map(done),
            StorageOperation::Delete { key } => engine.delete(key).map(done),
            StorageOperation::ScanPrefix { prefix } => engine.scan_prefix(prefix).map(StorageAnswer::Scan),
            StorageOperation::WriteBatch(batch) => engine.write_batch(batch.clone()).map(done),
            StorageOperation::Flush => engine.flush().map(done),
            StorageOperation::Close => engine.close().map(done),
        }
    }

    /// Returns the answer of a successful call, and does not make the call. A key has no value, and a scan has no
    /// pairs.
    ///
    /// # Errors
    /// None.
    pub fn skip(&self) -> Result<StorageAnswer<'a>, Error> {
        Ok(match &self.operation {
            StorageOperation::Get { .. } => StorageAnswer::Value(None),
            StorageOperation::ScanPrefix { .. } => StorageAnswer::Scan(Box::new(std::iter::empty())),
            _ => StorageAnswer::Done,
        })
    }
}

impl fmt::Debug for StorageCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StorageCall").field(&self.operation).finish()
    }
}

/// A storage engine that passes each call to a closure, which answers the call. Clones share the closure. The
/// [module](super) has examples.
///
/// # Panics
/// A call panics if the closure returns an answer that does not match the operation.
#[derive(Clone)]
pub struct ForwardingStorage {
    inner: Arc<dyn StorageEngine>,
    intercept: Arc<InterceptStorage>,
}

impl ForwardingStorage {
    /// Wraps `engine`. The wrapper passes each call to `intercept` and returns its result. It makes no other calls,
    /// except [`StorageEngine::index_bytes`], which `intercept` does not receive.
    pub fn new(
        engine: Arc<dyn StorageEngine>,
        intercept: impl for<'a> Fn(&mut StorageCall<'a>) -> Result<StorageAnswer<'a>, Error>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            inner: engine,
            intercept: Arc::new(intercept),
        }
    }

    fn call(&self, operation: StorageOperation) -> Result<StorageAnswer<'_>, Error> {
        (self.intercept)(&mut StorageCall {
            operation,
            engine: self.inner.as_ref(),
        })
    }

    fn call_done(&self, operation: StorageOperation) -> Result<(), Error> {
        match self.call(operation)? {
            StorageAnswer::Done => Ok(()),
            answer => answer.panic_wrong_answer("call that returns nothing"),
        }
    }
}

impl StorageAnswer<'_> {
    fn panic_wrong_answer(&self, call: &str) -> ! {
        panic!("the closure of ForwardingStorage answered a {call} with {self:?}")
    }
}

impl StorageEngine for ForwardingStorage {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.call(StorageOperation::Get { key: key.to_vec() })? {
            StorageAnswer::Value(value) => Ok(value),
            answer => answer.panic_wrong_answer("get"),
        }
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let (key, value) = (key.to_vec(), value.to_vec());
        self.call_done(StorageOperation::Put { key, value })
    }

    fn delete(&self, key: &[u8]) -> Result<(), Error> {
        self.call_done(StorageOperation::Delete { key: key.to_vec() })
    }

    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
        let prefix = prefix.to_vec();
        match self.call(StorageOperation::ScanPrefix { prefix })? {
            StorageAnswer::Scan(scan) => Ok(scan),
            answer => answer.panic_wrong_answer("scan_prefix"),
        }
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        self.call_done(StorageOperation::WriteBatch(batch))
    }

    fn flush(&self) -> Result<(), Error> {
        self.call_done(StorageOperation::Flush)
    }

    fn close(&self) -> Result<(), Error> {
        self.call_done(StorageOperation::Close)
    }

    fn index_bytes(&self) -> Result<u64, Error> {
        self.inner.index_bytes()
    }
}

impl fmt::Debug for ForwardingStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardingStorage").finish_non_exhaustive()
    }
}
