//! Writes a file whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Writes beside the file and renames, so that nobody ever sees half of it. What is no regular file (a device, a pipe)
/// is written to as it is.
pub(super) fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|existing| !existing.is_file()) {
        return OpenOptions::new().write(true).open(path)?.write_all(text);
    }
    let mut beside = OsString::from(path);
    beside.push(format!(".{}.part", std::process::id()));
    let written = File::create_new(&beside).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&beside, path));
    if done.is_err() {
        // The error that counts is the first one.
        let _ = fs::remove_file(&beside);
    }
    done
}
