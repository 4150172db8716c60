//! A store that fails on purpose, for tests of whoever uses one.

use std::sync::atomic::{AtomicU64, Ordering};

use super::kv::{Kv, KvError, KvOp, MemoryKv};

/// Keeps bytes in memory until it is told to fail.
#[derive(Debug, Default)]
pub struct FaultyKv {
    kv: MemoryKv,
    writes: AtomicU64,
    fails_at: Option<u64>,
    read_only: bool,
}

impl FaultyKv {
    /// The `n`-th write (batch, swap or flush; 1 is the first) and every later one fails, before it has any effect.
    pub fn failing_at(n: u64) -> Self {
        Self { fails_at: Some(n), ..Self::default() }
    }

    /// No write is taken.
    pub fn read_only() -> Self {
        Self { read_only: true, ..Self::default() }
    }

    /// How many writes were asked for.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    fn write(&self) -> Result<(), KvError> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        if self.read_only {
            return Err(KvError::ReadOnly);
        }
        match self.fails_at {
            Some(n) if number >= n => Err(KvError::Failed(format!("no space left (write {number})"))),
            _ => Ok(()),
        }
    }
}

impl Kv for FaultyKv {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        self.kv.get(key)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, KvError> {
        self.kv.list(prefix)
    }

    fn batch(&self, changes: &[KvOp]) -> Result<(), KvError> {
        self.write()?;
        self.kv.batch(changes)
    }

    fn compare_and_swap(&self, key: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool, KvError> {
        self.write()?;
        self.kv.compare_and_swap(key, old, new)
    }

    fn flush(&self) -> Result<(), KvError> {
        self.write()
    }
}
