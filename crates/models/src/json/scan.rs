//! Goes through a line that was accepted, and finds where its values are.

use std::sync::Arc;

use crate::leaf::Leaf;
use crate::schema::{Member, Node, Object, Step};

/// A value of a line whose bytes may differ in the next one.
pub(crate) struct Found<'l> {
    /// The bytes between the value before and this one.
    pub(crate) fixed: &'l [u8],
    pub(crate) value: &'l [u8],
    /// None for a number or text that no column reads.
    pub(crate) leaf: Option<Arc<Leaf>>,
}

/// The values of a line with `root`, and the bytes after the last one. A value may be missing among them, for example where
/// its key has an escape: who uses them compares.
pub(crate) fn scan<'l>(root: &Node, line: &'l [u8]) -> Option<(Vec<Found<'l>>, &'l [u8])> {
    let mut scanner = Scanner { line, at: 0, fixed: 0, found: Vec::new() };
    scanner.spaces();
    scanner.value(Some(root))?;
    Some((scanner.found, line.get(scanner.fixed..)?))
}

struct Scanner<'l> {
    line: &'l [u8],
    at: usize,
    /// Where the fixed bytes before the next value begin.
    fixed: usize,
    found: Vec<Found<'l>>,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// A value that the model knows as `node`, or does not know.
    fn value(&mut self, node: Option<&Node>) -> Option<()> {
        let start = self.at;
        match (node, self.peek()?) {
            (Some(Node::Object(object)), b'{') | (Some(Node::Array(object)), b'[') => self.members(object),
            (Some(Node::Leaf(leaf)), _) => {
                self.skip()?;
                self.found(start, Some(leaf.clone()))
            }
            (None, b'"' | b'-' | b'0'..=b'9') => {
                self.skip()?;
                self.found(start, None)
            }
            _ => self.skip(),
        }
    }

    fn found(&mut self, start: usize, leaf: Option<Arc<Leaf>>) -> Option<()> {
        let (fixed, value) = (self.line.get(self.fixed..start)?, self.line.get(start..self.at)?);
        self.fixed = self.at;
        self.found.push(Found { fixed, value, leaf });
        Some(())
    }

    /// The members of an object or the elements of an array.
    fn members(&mut self, object: &Object) -> Option<()> {
        let is_object = self.peek()? == b'{';
        self.at += 1;
        self.spaces();
        let mut index = 0;
        while !matches!(self.peek()?, b'}' | b']') {
            let find = |is: &dyn Fn(&Member) -> bool| object.members.iter().find(|member| is(member));
            let known = if is_object {
                let start = self.at;
                self.skip()?;
                let key = self.line.get(start..self.at)?.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
                self.spaces();
                self.at += 1;
                self.spaces();
                find(&|member| member.has_key(key))
            } else {
                index += 1;
                find(&|member| member.step == Step::Index(index - 1))
            };
            self.value(known.map(|member| &member.node))?;
            self.spaces();
            if self.peek()? == b',' {
                self.at += 1;
                self.spaces();
            }
        }
        self.at += 1;
        Some(())
    }

    /// A value of any kind, to its end.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => self.at += 1,
                _ => {
                    let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
                    self.at += self.line.get(self.at..)?.iter().take_while(|byte| !ends(byte)).count();
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        loop {
            self.at += 1;
            match self.peek()? {
                b'\\' => self.at += 1,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => {}
            }
        }
    }
}
