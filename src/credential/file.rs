//! How are files read and written that hold secrets?
//!
//! Reading keeps the bytes in a buffer that is zeroized, refuses what is too
//! large to be a key, and remarks on a file that others can read. Writing is
//! atomic: whoever looks sees the old file or the whole new one, with a mode
//! of 0600 from the first byte on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::generate::random_text;
use super::warning::Warning;

/// The most bytes of a key, configuration or passphrase file.
///
/// A sealed key of 8192 bits has about 10 KiB; a limit a hundred times that
/// stops a wrong path (a disk image, an endless device) and nothing else.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why a file of secrets was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused to open or read it.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is larger than any such file.
    #[error("{} is larger than {MAX_FILE_BYTES} bytes, expected a key, configuration or passphrase file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The system refused to create, fill or move it into place.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Reads a whole file; adds a warning if others can read it, too.
pub(crate) fn read(
    path: &Path,
    warnings: &mut Vec<Warning>,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let refused = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(refused)?;
    let metadata = file.metadata().map_err(refused)?;
    // A pipe (`<(…)` of a shell) does not tell its length. The buffer is made
    // large enough at once, since a vector that grows leaves copies behind.
    let capacity = if metadata.is_file() {
        metadata.len().min(MAX_FILE_BYTES)
    } else {
        MAX_FILE_BYTES
    };
    let capacity = usize::try_from(capacity).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
        });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & 0o044 != 0 {
        warnings.push(Warning::Readable {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(bytes)
}

/// Writes a whole file with a mode of 0600, in the place of any older one.
///
/// The bytes go to a new file in the same folder, reach the disk, and are
/// moved into place.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_and_rename(path, bytes).map_err(|source| FileError::Write {
        path: path.to_owned(),
        source,
    })
}

fn write_and_rename(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut unfinished = name.to_owned();
    unfinished.push(format!(
        ".{}.tmp",
        random_text(8).map_err(io::Error::other)?
    ));
    let unfinished = folder.join(unfinished);
    let outcome = write_new(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, path))
        // The name is on the disk once the folder is.
        .and_then(|()| File::open(folder)?.sync_all());
    if outcome.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    outcome
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
