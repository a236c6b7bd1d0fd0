//! The lines of a recording made with `strace -f -y -xx`: every string in it is hexadecimal, so that nothing
//! that a program wrote can look like part of the line.
//!
//! strace prints a call that another thread interrupts as two lines. Between them is when it happened, so both
//! are steps of their own; the line of a call that was not interrupted is both at once.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufRead};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A recording that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(String);

impl Unreadable {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

type Result<T> = std::result::Result<T, Unreadable>;

fn missing(what: &str) -> Unreadable {
    Unreadable::new(what)
}

/// A place in the order of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

/// A system call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The thread that made it.
    pub thread: u32,
    /// Its name.
    pub name: String,
    /// When it was entered.
    pub entered: Moment,
    /// The line on which it was entered, from 1.
    pub line: u64,
    args: Vec<Arg>,
}

/// What happened next.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// A call was entered. Of what it gives back nothing is known.
    Entered(&'a Call),
    /// It returned a value, at that moment.
    Returned(&'a Call, Moment, i64),
}

/// One argument, as it was printed.
#[derive(Debug, Clone)]
pub struct Arg(Vec<u8>);

impl Call {
    /// An argument by its place.
    #[must_use]
    pub fn arg(&self, index: usize) -> Option<&Arg> {
        self.args.get(index)
    }

    /// All of them.
    #[must_use]
    pub fn args(&self) -> &[Arg] {
        &self.args
    }
}

impl Arg {
    /// The number of a descriptor.
    #[must_use]
    pub fn fd(&self) -> Option<i64> {
        let end = self
            .0
            .iter()
            .position(|b| *b == b'<')
            .unwrap_or(self.0.len());
        number(self.0.get(..end)?)
    }

    /// A plain number.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        number(&self.0)
    }

    /// What strace says a descriptor, or the working directory, is.
    #[must_use]
    pub fn shown_path(&self) -> Option<PathBuf> {
        let start = self.0.iter().position(|b| *b == b'<')? + 1;
        let end = self.0.iter().rposition(|b| *b == b'>')?;
        let path = unhex(self.0.get(start..end)?).ok()?;
        Some(Path::new(OsStr::from_bytes(&path)).to_path_buf())
    }

    /// The bytes of a string, or those of a list of buffers one after another. Nothing where there are none.
    ///
    /// # Errors
    /// Where strace left some out.
    pub fn bytes(&self) -> Result<Option<Vec<u8>>> {
        let mut found: Option<Vec<u8>> = None;
        let mut rest = self.0.as_slice();
        while let Some(start) = rest.iter().position(|b| *b == b'"') {
            let quoted = rest.get(start + 1..).unwrap_or_default();
            let end = quoted
                .iter()
                .position(|b| *b == b'"')
                .ok_or_else(|| missing("a quote that does not end"))?;
            found
                .get_or_insert_default()
                .extend(unhex(quoted.get(..end).unwrap_or_default())?);
            rest = quoted.get(end + 1..).unwrap_or_default();
            if rest.starts_with(b"...") {
                return Err(missing("strace left bytes out: it needs a larger -s"));
            }
        }
        Ok(found)
    }

    /// Whether a word is in it: a flag.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        self.0
            .split(|b| *b == b'|')
            .any(|flag| flag == word.as_bytes())
    }
}

/// Shows every step to `visit`, in order. Returns how many calls there were.
///
/// # Errors
/// Where a line is not one of strace's; also an error of `visit`.
pub fn read(mut input: impl BufRead, visit: impl FnMut(Step<'_>) -> Result<()>) -> Result<u64> {
    let mut reader = Reader {
        visit,
        last: Moment(0),
        line: 0,
        calls: 0,
        under_way: HashMap::new(),
    };
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        input.read_until(b'\n', &mut buffer)?;
        // A recording that was cut short has lost nothing but its last line.
        let Some(text) = buffer.strip_suffix(b"\n") else {
            return Ok(reader.calls);
        };
        reader.line += 1;
        let line = reader.line;
        parse(text)
            .and_then(|parsed| reader.take(parsed))
            .map_err(|error| Unreadable(format!("line {line}: {error}")))?;
    }
}

struct Reader<V> {
    visit: V,
    last: Moment,
    line: u64,
    calls: u64,
    /// By thread: the call, and its arguments as they were printed.
    under_way: HashMap<u32, (Call, Vec<u8>)>,
}

impl<V: FnMut(Step<'_>) -> Result<()>> Reader<V> {
    fn take(&mut self, line: Line) -> Result<()> {
        match line {
            Line::Note => Ok(()),
            Line::Begun { thread, name, args } => {
                let call = self.enter(thread, name, &args)?;
                self.under_way.insert(thread, (call, args));
                Ok(())
            }
            Line::Ended {
                thread,
                args,
                value,
            } => {
                let (mut call, mut all) = self
                    .under_way
                    .remove(&thread)
                    .ok_or_else(|| missing("a call ends that did not begin"))?;
                if !args.is_empty() {
                    all.extend_from_slice(&args);
                    call.args = split_args(&all);
                }
                self.leave(&call, value)
            }
            Line::Whole {
                thread,
                name,
                args,
                value,
            } => {
                let call = self.enter(thread, name, &args)?;
                self.leave(&call, value)
            }
        }
    }

    fn enter(&mut self, thread: u32, name: String, args: &[u8]) -> Result<Call> {
        self.calls += 1;
        let call = Call {
            thread,
            name,
            entered: self.tick(),
            line: self.line,
            args: split_args(args),
        };
        (self.visit)(Step::Entered(&call))?;
        Ok(call)
    }

    fn leave(&mut self, call: &Call, value: Option<i64>) -> Result<()> {
        let Some(value) = value else { return Ok(()) };
        let now = self.tick();
        (self.visit)(Step::Returned(call, now, value))
    }

    fn tick(&mut self) -> Moment {
        self.last.0 += 1;
        self.last
    }
}

enum Line {
    /// A signal, or the end of a thread.
    Note,
    Begun {
        thread: u32,
        name: String,
        args: Vec<u8>,
    },
    /// No value: it never returned.
    Ended {
        thread: u32,
        args: Vec<u8>,
        value: Option<i64>,
    },
    Whole {
        thread: u32,
        name: String,
        args: Vec<u8>,
        value: Option<i64>,
    },
}

const UNFINISHED: &[u8] = b" <unfinished ...>";

fn parse(line: &[u8]) -> Result<Line> {
    let digits = line.iter().take_while(|b| b.is_ascii_digit()).count();
    let (thread, rest) = line.split_at(digits);
    let thread = number(thread)
        .and_then(|n| u32::try_from(n).ok())
        .ok_or_else(|| missing("no thread"))?;
    let rest = rest.trim_ascii_start();
    if rest.starts_with(b"---") || rest.starts_with(b"+++") {
        return Ok(Line::Note);
    }
    if let Some(rest) = rest.strip_prefix(b"<... ") {
        let name_end = find(rest, b" resumed>").ok_or_else(|| missing("no name"))?;
        let rest = rest
            .get(name_end + b" resumed>".len()..)
            .unwrap_or_default();
        // The process ended in the middle of it.
        if find(rest, UNFINISHED).is_some() {
            return Ok(Line::Ended {
                thread,
                args: Vec::new(),
                value: None,
            });
        }
        let (args, value) = split_return(rest)?;
        return Ok(Line::Ended {
            thread,
            args: args.to_vec(),
            value,
        });
    }
    let open = rest
        .iter()
        .position(|b| *b == b'(')
        .ok_or_else(|| missing("no call"))?;
    let (name, rest) = rest.split_at(open);
    let name = String::from_utf8_lossy(name).into_owned();
    let rest = rest.get(1..).unwrap_or_default();
    if let Some(args) = rest.strip_suffix(UNFINISHED) {
        return Ok(Line::Begun {
            thread,
            name,
            args: args.to_vec(),
        });
    }
    let (args, value) = split_return(rest)?;
    Ok(Line::Whole {
        thread,
        name,
        args: args.to_vec(),
        value,
    })
}

/// Splits `args) = value ...`.
fn split_return(text: &[u8]) -> Result<(&[u8], Option<i64>)> {
    let equals = text
        .windows(3)
        .rposition(|three| three == b" = ")
        .ok_or_else(|| missing("no return value"))?;
    let (args, value) = text.split_at(equals);
    let args = args
        .trim_ascii_end()
        .strip_suffix(b")")
        .ok_or_else(|| missing("no end of arguments"))?;
    let value = value.get(3..).unwrap_or_default();
    let end = value
        .iter()
        .position(|b| matches!(b, b' ' | b'<'))
        .unwrap_or(value.len());
    let value = value.get(..end).unwrap_or_default();
    if value == b"?" {
        return Ok((args, None));
    }
    Ok((
        args,
        Some(number(value).ok_or_else(|| missing("a return value that is no number"))?),
    ))
}

/// Splits arguments at the commas that are not inside of one.
fn split_args(text: &[u8]) -> Vec<Arg> {
    let (mut args, mut depth, mut quoted, mut start) = (Vec::new(), 0_u32, false, 0);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                args.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    args.push(text.get(start..).unwrap_or_default());
    args.iter()
        .map(|arg| Arg(arg.trim_ascii().to_vec()))
        .collect()
}

fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(u64::cast_signed),
        None => text.parse().ok(),
    }
}

/// The bytes of `\x61\x62`.
fn unhex(text: &[u8]) -> Result<Vec<u8>> {
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut bytes = Vec::with_capacity(text.len() / 4);
    for escape in text.chunks(4) {
        let &[b'\\', b'x', high, low] = escape else {
            return Err(missing(
                "a string that is not in hexadecimal: strace needs -xx",
            ));
        };
        let (Some(high), Some(low)) = (digit(high), digit(low)) else {
            return Err(missing(
                "a string that is not in hexadecimal: strace needs -xx",
            ));
        };
        bytes.push(high << 4 | low);
    }
    Ok(bytes)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// The steps of a recording, one a line.
    fn run(recording: &str) -> String {
        let mut steps = String::new();
        let result = read(recording.as_bytes(), |step| {
            let (call, end) = match step {
                Step::Entered(call) => (call, "...".to_owned()),
                Step::Returned(call, _, value) => (call, format!("= {value}")),
            };
            let args: Vec<_> = call.args().iter().map(shown).collect();
            let (thread, name, args) = (call.thread, &call.name, args.join(", "));
            writeln!(steps, "{thread} {name}({args}) {end}").unwrap();
            Ok(())
        });
        match result {
            Ok(calls) => steps + &format!("{calls} calls"),
            Err(error) => steps + &error.to_string(),
        }
    }

    fn shown(arg: &Arg) -> String {
        match (arg.shown_path(), arg.bytes()) {
            (Some(path), _) => format!("{:?}<{}>", arg.fd(), path.display()),
            (None, Ok(Some(bytes))) => format!("{:?}", bytes.escape_ascii().to_string()),
            (None, Ok(None)) => String::from_utf8_lossy(&arg.0).into_owned(),
            (None, Err(error)) => error.to_string(),
        }
    }

    #[test]
    fn calls_of_several_threads_are_put_together() {
        let recording = r#"7  openat(AT_FDCWD<\x2f>, "\x2f\x61", O_RDWR|O_CREAT, 0600) = 3<\x2f\x61>
8     fsync(3<\x2f\x61> <unfinished ...>
7  pwrite64(3<\x2f\x61>, "\x61\x29\x00", 3, 512 <unfinished ...>
8  <... fsync resumed>)                    = 0
9  recvfrom(4<\x73>,  <unfinished ...>
7  <... pwrite64 resumed>)                 = 3
9  <... recvfrom resumed>"\x68\x69", 10, 0, NULL, NULL) = 2
9  --- SIGTERM {si_signo=SIGTERM} ---
9  sendto(4<\x73>, ""..., 0, MSG_NOSIGNAL, NULL, 0) = -1 EAGAIN (Resource temporarily unavailable)
9  writev(3<\x2f\x61>, [{iov_base="\x61", iov_len=1}, {iov_base="\x62", iov_len=1}], 2) = 2
8  mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3<\x2f\x61>, 0) = 0x7f00
9  fsync(3<\x2f\x61> <unfinished ...>
8  exit_group(0) = ?
9  <... fsync resumed> <unfinished ...>) = ?
8  +++ exited with 0 +++
8  fsync(3"#;
        let steps = r#"7 openat(None</>, "/a", O_RDWR|O_CREAT, 0600) ...
7 openat(None</>, "/a", O_RDWR|O_CREAT, 0600) = 3
8 fsync(Some(3)</a>) ...
7 pwrite64(Some(3)</a>, "a)\\x00", 3, 512) ...
8 fsync(Some(3)</a>) = 0
9 recvfrom(Some(4)<s>, ) ...
7 pwrite64(Some(3)</a>, "a)\\x00", 3, 512) = 3
9 recvfrom(Some(4)<s>, "hi", 10, 0, NULL, NULL) = 2
9 sendto(Some(4)<s>, strace left bytes out: it needs a larger -s, 0, MSG_NOSIGNAL, NULL, 0) ...
9 sendto(Some(4)<s>, strace left bytes out: it needs a larger -s, 0, MSG_NOSIGNAL, NULL, 0) = -1
9 writev(Some(3)</a>, "ab", 2) ...
9 writev(Some(3)</a>, "ab", 2) = 2
8 mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, Some(3)</a>, 0) ...
8 mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, Some(3)</a>, 0) = 32512
9 fsync(Some(3)</a>) ...
8 exit_group(0) ...
9 calls"#;
        assert_eq!(run(recording), steps);
    }

    #[test]
    fn what_is_not_of_strace_is_named() {
        for (recording, error) in [
            ("hello\n", "line 1: no thread"),
            ("1 hello\n", "line 1: no call"),
            ("1 fsync(3\n", "line 1: no return value"),
            (
                "1 fsync(3) = x\n",
                "line 1: a return value that is no number",
            ),
            (
                "1 close(3) = 0\n1 <... fsync resumed>) = 0\n",
                "1 close(3) ...\n1 close(3) = 0\nline 2: a call ends that did not begin",
            ),
            (
                "1 unlink(\"/a\") = 0\n",
                "1 unlink(a string that is not in hexadecimal: strace needs -xx) ...\n\
                 1 unlink(a string that is not in hexadecimal: strace needs -xx) = 0\n1 calls",
            ),
        ] {
            assert_eq!(run(recording), error);
        }
    }

    #[test]
    fn flags_are_whole_words() {
        let arg = Arg(b"O_RDWR|O_CREAT".to_vec());
        assert!(arg.has("O_CREAT") && !arg.has("O_CREA") && !arg.has("O_RD"));
    }
}
