//! Maps a file, so that weights are slices of the map that nobody reads.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

/// The file's bytes. An empty file gives no bytes, for some systems refuse to map it.
#[expect(unsafe_code, reason = "mapping a file is unsafe in Rust, for another process may change it meanwhile")]
pub(super) fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: The map is read only, and private to this process. Whoever truncates the file while we read it gets this
    // process killed by a signal, as with every compiler that maps its input; no memory of ours is at risk.
    let map = unsafe { Mmap::map(&file) }?;
    Ok(Bytes::from_owner(map))
}
