//! The columns of one kind of message, put together to a tree that the parser can follow.

use std::sync::Arc;

use super::column::{Declared, Source};
use super::problem::Collector;
use super::table::Place;
use crate::leaf::{Demands, Kind, Leaf};
use crate::row::Value;
use crate::schema::{Member, Node, Object, Step, Variant, When, Written};

/// What a stream file says of the objects in a message, by their paths.
#[derive(Clone)]
pub(super) struct Objects {
    pub(super) named: Vec<ObjectOptions>,
    /// Whether an unknown member makes a message invalid, unless an object says otherwise.
    pub(super) closed: Option<bool>,
}

impl Objects {
    /// These, and those of a kind of message, which come first.
    pub(super) fn and(&self, own: &Self) -> Self {
        Self { named: [own.named.as_slice(), &self.named].concat(), closed: own.closed.or(self.closed) }
    }
}

#[derive(Clone)]
pub(super) struct ObjectOptions {
    pub(super) path: Vec<Step>,
    pub(super) place: Place,
    /// Whether it may be missing, and whether it may be null.
    pub(super) optional: Option<(bool, bool)>,
    pub(super) closed: Option<bool>,
}

/// A kind of messages with columns of its own.
pub(super) struct Case {
    pub(super) when: When,
    /// Where the value is that tells it from other kinds.
    pub(super) path: Vec<Step>,
    pub(super) place: Place,
    pub(super) columns: Vec<Declared>,
    pub(super) objects: Objects,
}

/// A tree that is being built.
#[derive(Default)]
struct Building {
    leaf: Option<(Arc<Leaf>, bool)>,
    members: Vec<(Step, Building)>,
}

/// Builds a kind of message of `declared` columns, each with its index in the row; the columns that are `absent` belong to
/// other kinds.
pub(super) fn build(
    declared: &[(usize, &Declared)],
    absent: &[usize],
    case: Option<&Case>,
    objects: &Objects,
    problems: &Collector<'_>,
) -> Variant {
    let mut root = Building::default();
    let mut constants: Vec<_> = absent.iter().map(|column| (*column, Value::Null)).collect();
    let leads_here = |name: &str| {
        let otherwise = declared.iter().filter_map(|(_, column)| column.otherwise());
        otherwise.filter(|(target, _)| *target == name).count()
    };
    let mut reached = Vec::new();
    for (index, column) in declared {
        match &column.source {
            Source::Meta(_) => {}
            Source::Constant(value) => constants.push((*index, value.clone())),
            Source::Path { .. } if leads_here(&column.name) > 0 => {}
            Source::Path { path, may_miss, .. } => {
                let own = [Step::Key(column.name.clone())];
                let path = path.as_deref().unwrap_or(&own);
                let Some(leaf) = chain(*index, column, declared, declared.len(), problems) else { continue };
                reached.extend(leaf.chain().filter_map(|leaf| leaf.column));
                if let Err(words) = root.insert(path, Arc::new(leaf), *may_miss) {
                    problems.add(column.place.clone(), words);
                }
            }
        }
    }
    for (index, column) in declared {
        let words = match (&column.source, leads_here(&column.name)) {
            (_, 0) | (Source::Meta(_) | Source::Constant(_), _) => continue,
            (Source::Path { path: Some(_), .. }, _) => {
                "another column's `else` leads here, so that this one has no `from`"
            }
            (_, 1) if reached.contains(index) || problems.any() => continue,
            (_, 1) => "the columns lead to each other in a circle",
            _ => "the `else` of two columns leads here",
        };
        problems.add(column.place.clone(), words);
    }
    if let Some(case) = case
        && let Err(words) = root.discriminate(&case.path, &case.when)
    {
        problems.add(case.place.clone(), words);
    }
    let root = root.finish(&mut Vec::new(), objects);
    Variant { when: case.map_or(When::Always, |case| case.when.clone()), root, constants }
}

impl Declared {
    /// The column that takes what does not fit this one.
    pub(super) fn otherwise(&self) -> Option<(&str, Place)> {
        match &self.source {
            Source::Path { otherwise: Some((name, place)), .. } => Some((name, place.clone())),
            _ => None,
        }
    }
}

/// The leaf of a column, with those of at most `most` columns that take what does not fit it.
fn chain(
    index: usize,
    column: &Declared,
    all: &[(usize, &Declared)],
    most: usize,
    problems: &Collector<'_>,
) -> Option<Leaf> {
    let Source::Path { leaf, .. } = &column.source else { return None };
    let otherwise = match column.otherwise() {
        None => None,
        Some((name, place)) => match all.iter().find(|(_, column)| column.name == name) {
            Some((target, column)) if matches!(column.source, Source::Path { .. }) => {
                Some(Arc::new(chain(*target, column, all, most.checked_sub(1)?, problems)?))
            }
            found => {
                let words =
                    if found.is_none() { "there is no column" } else { "nothing of the message goes to the column" };
                problems.add(place, format!("{words} `{name}`"));
                return None;
            }
        },
    };
    Some(Leaf { column: Some(index), otherwise, ..leaf.clone() })
}

impl Building {
    /// Puts a leaf at the end of a path.
    fn insert(&mut self, path: &[Step], leaf: Arc<Leaf>, may_miss: bool) -> Result<(), String> {
        let mut at = self;
        for (depth, step) in path.iter().enumerate() {
            let here = || Written(path.get(..depth).unwrap_or_default()).to_string();
            if at.leaf.is_some() {
                return Err(format!(
                    "`{}` is a value that another column reads, and an object or array for this one",
                    here()
                ));
            }
            if at.members.iter().any(|(other, _)| std::mem::discriminant(other) != std::mem::discriminant(step)) {
                return Err(format!("`{}` is an object, an array or an array of rows, but not two of them", here()));
            }
            let known = at.members.iter().position(|(other, _)| other == step);
            let index = known.unwrap_or_else(|| {
                at.members.push((step.clone(), Self::default()));
                at.members.len() - 1
            });
            at = at.members.get_mut(index).map(|(_, next)| next).ok_or_else(String::new)?;
        }
        if at.leaf.is_some() || !at.members.is_empty() {
            return Err(format!("another column reads `{}`, too", Written(path)));
        }
        at.leaf = Some((leaf, may_miss));
        Ok(())
    }

    fn find(&mut self, path: &[Step]) -> Option<&mut Self> {
        path.iter()
            .try_fold(self, |at, step| at.members.iter_mut().find(|(other, _)| other == step).map(|(_, next)| next))
    }

    /// Narrows the value of the discriminator to what it is in this kind of message.
    fn discriminate(&mut self, path: &[Step], when: &When) -> Result<(), String> {
        let Some(Self { leaf: Some((leaf, may_miss)), .. }) = self.find(path) else {
            let kind = match when {
                When::OneOf(literals) => Kind::OneOf(literals.iter().map(|literal| (literal.clone(), 0)).collect()),
                When::Always | When::Pattern(_) => Kind::Text,
            };
            let demands = match when {
                When::Pattern(pattern) => {
                    Some(Box::new(Demands { pattern: Some(pattern.clone()), ..Demands::default() }))
                }
                When::Always | When::OneOf(_) => None,
            };
            return self.insert(path, Arc::new(Leaf { demands, ..Leaf::plain(None, kind) }), false);
        };
        let mut narrowed = Leaf::clone(leaf);
        match (&mut narrowed.kind, when) {
            (_, When::Always) => {}
            (Kind::OneOf(codes), When::OneOf(literals)) => codes.retain(|(code, _)| literals.contains(code)),
            (Kind::OneOf(codes), When::Pattern(pattern)) => {
                codes.retain(|(code, _)| matches!(code, crate::leaf::Literal::Text(text) if pattern.is_match(text)));
            }
            (_, When::OneOf(literals)) => narrowed.demands.get_or_insert_default().listed.clone_from(literals),
            (_, When::Pattern(pattern)) => narrowed.demands.get_or_insert_default().pattern = Some(pattern.clone()),
        }
        (*leaf, *may_miss) = (Arc::new(narrowed), false);
        Ok(())
    }

    /// Whether everything in it may be missing, and whether everything may be null.
    fn optional(&self) -> (bool, bool) {
        match &self.leaf {
            Some((leaf, may_miss)) => (*may_miss, leaf.may_be_null),
            None => self.members.iter().fold((true, true), |(may_miss, may_be_null), (_, next)| {
                let (misses, is_null) = next.optional();
                (may_miss && misses, may_be_null && is_null)
            }),
        }
    }

    fn finish(self, path: &mut Vec<Step>, objects: &Objects) -> Node {
        if let Some((leaf, _)) = self.leaf {
            return Node::Leaf(leaf);
        }
        let own = objects.named.iter().find(|options| options.path == *path).and_then(|options| options.closed);
        let mut members = Vec::new();
        for (step, next) in self.members {
            path.push(step.clone());
            let named = objects.named.iter().find(|options| options.path == *path).and_then(|options| options.optional);
            let (may_miss, may_be_null) = named.unwrap_or_else(|| next.optional());
            let may_be_null = may_be_null && next.leaf.is_none();
            let node = next.finish(path, objects);
            path.pop();
            if step == Step::Each {
                return Node::Each(Box::new(node));
            }
            members.push(Member { step, may_miss, may_be_null, node });
        }
        let object = Object { members, closed: own.or(objects.closed).unwrap_or(false) };
        match object.members.first() {
            Some(Member { step: Step::Index(_), .. }) => Node::Array(object),
            _ => Node::Object(object),
        }
    }
}
