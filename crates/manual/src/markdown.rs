//! Markdown to roff, as far as the pages of docs/ use it: headings, paragraphs, lists, tables, blocks of code, links.

use clap_mangen::roff::{Inline, Roff, bold, italic, line_break, roman};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// A page of docs/ in roff, without its title. What comes before the first section becomes the section DESCRIPTION.
pub fn to_roff(markdown: &str) -> String {
    let mut page = Page::default();
    page.roff.control("SH", ["DESCRIPTION"]);
    Parser::new_ext(markdown, Options::ENABLE_TABLES).for_each(|event| page.event(event));
    page.roff.render()
}

/// The page so far, and where in it we are.
#[derive(Default)]
struct Page {
    roff: Roff,
    /// The line that is being put together.
    line: Vec<Inline>,
    /// What makes text bold or italic.
    style: Option<fn(String) -> Inline>,
    is_code: bool,
    depth: usize,
    /// Whether the next paragraph is the first of an item, which has made room already.
    is_item_start: bool,
    /// The columns' names of the table, the cells of its row so far.
    columns: Vec<String>,
    cells: Vec<Vec<Inline>>,
}

impl Page {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Text(text) if self.is_code => text.lines().for_each(|line| _ = self.roff.text([roman(line)])),
            Event::Text(text) => self.line.push(self.style.unwrap_or(roman)(text.into_string())),
            Event::Code(text) => self.line.push(bold(text.into_string())),
            Event::SoftBreak => self.line.push(roman(" ")),
            Event::HardBreak => self.line.push(line_break()),
            Event::Start(Tag::Paragraph) => match (self.depth, std::mem::take(&mut self.is_item_start)) {
                (_, true) => {}
                (0, false) => self.control("PP", &[]),
                (_, false) => self.control("IP", &["\"\"", "4"]),
            },
            Event::End(TagEnd::Paragraph) => self.flush(),
            Event::End(TagEnd::Heading(level)) => {
                let text = plain(self.line.drain(..));
                match level {
                    HeadingLevel::H1 => {}
                    HeadingLevel::H2 => self.control("SH", &[&text.to_uppercase()]),
                    _ => self.control("SS", &[&text]),
                }
            }
            Event::Start(Tag::List(_)) => {
                self.flush();
                self.depth += 1;
                if self.depth > 1 {
                    self.control("RS", &["4"]);
                }
            }
            Event::End(TagEnd::List(_)) => {
                if self.depth > 1 {
                    self.control("RE", &[]);
                }
                self.depth -= 1;
            }
            Event::Start(Tag::Item) => {
                self.control("IP", &["•", "4"]);
                self.is_item_start = true;
            }
            Event::End(TagEnd::Item) => {
                self.flush();
                self.is_item_start = false;
            }
            Event::Start(Tag::CodeBlock(_)) => {
                self.is_code = true;
                self.control("PP", &[]);
                self.control("RS", &["4"]);
                self.control("nf", &[]);
            }
            Event::End(TagEnd::CodeBlock) => {
                self.is_code = false;
                self.control("fi", &[]);
                self.control("RE", &[]);
            }
            Event::Start(Tag::Strong) => self.style = Some(bold),
            Event::Start(Tag::Emphasis) => self.style = Some(italic),
            Event::End(TagEnd::Strong | TagEnd::Emphasis) => self.style = None,
            Event::End(TagEnd::TableCell) => self.cells.push(std::mem::take(&mut self.line)),
            Event::End(TagEnd::TableHead) => self.columns = self.cells.drain(..).map(plain).collect(),
            Event::End(TagEnd::TableRow) => self.row(),
            _ => {}
        }
    }

    /// A row of a table: the first cell as a term, the second as what is said of it, further ones with their column's name.
    fn row(&mut self) {
        let mut cells = std::mem::take(&mut self.cells).into_iter();
        self.control("TP", &[]);
        self.roff.text(cells.next().unwrap_or_default());
        for (number, (cell, name)) in cells.zip(self.columns.iter().skip(1)).enumerate() {
            if number > 0 {
                self.line.push(roman(format!("; {name}: ")));
            }
            self.line.extend(cell);
        }
        self.flush();
    }

    fn control(&mut self, name: &str, arguments: &[&str]) {
        self.flush();
        self.roff.control(name, arguments.iter().copied());
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            self.roff.text(std::mem::take(&mut self.line));
        }
    }
}

fn plain(line: impl IntoIterator<Item = Inline>) -> String {
    let texts = line.into_iter().map(|inline| match inline {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text,
        Inline::LineBreak => " ".into(),
    });
    texts.collect()
}
