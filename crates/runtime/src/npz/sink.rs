//! A sink for the archive writer, which prints what goes wrong while it is dropped.

use std::cell::RefCell;
use std::io::{self, Seek, SeekFrom, Write};
use std::rc::Rc;

/// Hands on what is written until that fails; from then on takes everything and keeps the first error.
pub(super) struct Sink<W> {
    inner: W,
    position: u64,
    failure: Failure,
}

/// The first error of a [`Sink`], for whoever gave the sink away.
#[derive(Clone, Default)]
pub(super) struct Failure(Rc<RefCell<Option<io::Error>>>);

impl Failure {
    /// # Errors
    ///
    /// When something went wrong.
    pub(super) fn check(&self) -> io::Result<()> {
        self.0.borrow_mut().take().map_or(Ok(()), Err)
    }
}

impl<W> Sink<W> {
    pub(super) fn new(inner: W) -> (Self, Failure) {
        let failure = Failure::default();
        (Self { inner, position: 0, failure: failure.clone() }, failure)
    }

    /// What `act` gives, or `otherwise` if it fails or something failed before.
    fn unless_failed<T>(
        &mut self,
        otherwise: T,
        act: impl FnOnce(&mut W) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut failure = self.failure.0.borrow_mut();
        if failure.is_some() {
            return Ok(otherwise);
        }
        match act(&mut self.inner) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                *failure = Some(error);
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.unless_failed(bytes.len(), |inner| match inner.write(bytes)? {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WriteZero.into()),
            written => Ok(written),
        })?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_failed((), Write::flush)
    }
}

impl<W: Seek> Seek for Sink<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let here = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::Current(by) => self.position.saturating_add_signed(by),
            SeekFrom::End(_) => self.position,
        };
        self.position = self.unless_failed(here, |inner| inner.seek(to))?;
        Ok(self.position)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_kept_and_no_other_is_shown() {
        let mut room = [0; 3];
        let (mut sink, failure) = Sink::new(io::Cursor::new(&mut room[..]));
        sink.write_all(b"ab").unwrap();
        assert_eq!(sink.stream_position().unwrap(), 2);
        failure.check().unwrap();
        sink.write_all(b"cd").unwrap();
        sink.write_all(b"ef").unwrap();
        sink.flush().unwrap();
        assert_eq!(sink.seek(SeekFrom::Current(-1)).unwrap(), 5);
        assert!(failure.check().is_err());
        assert_eq!(&room, b"abc");
    }
}
