//! YAML as a tree of texts, within bounds: what an alias stands for is counted as often as it is put in, and as deep.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use super::budget::Budget;
use crate::devcontainer::file::Malformed;

/// Deepest nesting.
const MAX_DEPTH: usize = 32;
/// Longest key in bytes.
const MAX_KEY: usize = 1024;

/// A part of a document. Numbers and truth values are texts: what they mean depends on where they are.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Node {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

/// Reads the only document of a text.
pub fn parse(text: &str, budget: &mut Budget) -> Result<Node, Malformed> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut loader = Loader {
        events: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        budget,
    };
    let mut root = None;
    loop {
        match loader.next()? {
            Event::StreamEnd => return Ok(root.unwrap_or(Node::Null)),
            Event::DocumentStart(_) if root.is_some() => return Err(Malformed("it holds more than one document".into())),
            Event::DocumentStart(_) => {
                let first = loader.next()?;
                root = Some(loader.node(first, 0)?);
            }
            _ => {}
        }
    }
}

struct Loader<'a, 'b> {
    events: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    budget: &'b mut Budget,
}

impl<'a> Loader<'a, '_> {
    fn next(&mut self) -> Result<Event<'a>, Malformed> {
        match self.events.next() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(Malformed(error.to_string())),
            None => Ok(Event::StreamEnd),
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node, Malformed> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        let (anchor, node) = match event {
            Event::Alias(id) => {
                // One inside of what it names is not there yet.
                let node = self.anchors.get(&id);
                let node = node.ok_or_else(|| Malformed("an alias stands for itself".into()))?;
                let weight = weight(node);
                self.budget.take(weight.nodes, weight.bytes)?;
                return match depth + weight.height > MAX_DEPTH {
                    true => Err(too_deep()),
                    false => Ok(node.clone()),
                };
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = scalar(&text, style, is_text(tag.as_deref())?);
                self.count(&node)?;
                (anchor, node)
            }
            Event::SequenceStart(anchor, tag) => {
                is_text(tag.as_deref())?;
                self.count(&Node::Null)?;
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => list.push(self.node(event, depth + 1)?),
                    }
                }
                (anchor, Node::List(list))
            }
            Event::MappingStart(anchor, tag) => {
                is_text(tag.as_deref())?;
                self.count(&Node::Null)?;
                (anchor, self.map(depth)?)
            }
            _ => return Err(Malformed("it ends too early".into())),
        };
        if anchor != 0 {
            self.count(&node)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn map(&mut self, depth: usize) -> Result<Node, Malformed> {
        let (mut map, mut others) = (BTreeMap::new(), Vec::new());
        loop {
            let key = match self.next()? {
                Event::MappingEnd => break,
                event => self.node(event, depth + 1)?,
            };
            let key = match key {
                Node::Text(key) if key.len() > MAX_KEY => return Err(Malformed(format!("a key is longer than {MAX_KEY} bytes"))),
                Node::Text(key) => key,
                Node::Null => String::new(),
                _ => return Err(Malformed("a list or a map is no key".into())),
            };
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            match (key.as_str(), value) {
                ("<<", Node::List(maps)) => others.extend(maps),
                ("<<", map) => others.push(map),
                (_, value) => {
                    if map.insert(key.clone(), value).is_some() {
                        return Err(Malformed(format!("{key:?} is there twice")));
                    }
                }
            }
        }
        // What is written here counts first, then the first of those that are merged.
        for other in others {
            let Node::Map(other) = other else {
                return Err(Malformed("<< takes maps".into()));
            };
            for (key, value) in other {
                map.entry(key).or_insert(value);
            }
        }
        Ok(Node::Map(map))
    }

    fn count(&mut self, node: &Node) -> Result<(), Malformed> {
        let weight = weight(node);
        self.budget.take(weight.nodes, weight.bytes)
    }
}

fn too_deep() -> Malformed {
    Malformed(format!(
        "it is nested more than {MAX_DEPTH} deep, what its aliases stand for included"
    ))
}

/// What there is of a node with all that is in it.
struct Weight {
    nodes: usize,
    bytes: usize,
    /// How much deeper it goes.
    height: usize,
}

fn weight(node: &Node) -> Weight {
    let whole = Weight {
        nodes: 1,
        bytes: node.text().map_or(0, str::len),
        height: 0,
    };
    let add = |whole: Weight, (key, part): (usize, &Node)| {
        let part = weight(part);
        Weight {
            nodes: whole.nodes + part.nodes,
            bytes: whole.bytes + key + part.bytes,
            height: whole.height.max(part.height + 1),
        }
    };
    let whole = node.items().iter().map(|part| (0, part)).fold(whole, add);
    node.entries().map(|(key, part)| (key.len(), part)).fold(whole, add)
}

/// Whether a tag says that a scalar is a text; an error for tags that would have to be heeded.
fn is_text(tag: Option<&Tag>) -> Result<bool, Malformed> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() => Ok(tag.suffix == "str"),
        Some(tag) => Err(Malformed(format!(
            "!{} is not supported: write out what is to hold",
            tag.suffix.chars().filter(|c| !c.is_control()).take(40).collect::<String>()
        ))),
    }
}

fn scalar(text: &str, style: ScalarStyle, is_text: bool) -> Node {
    match text {
        _ if is_text || style != ScalarStyle::Plain => Node::Text(text.to_owned()),
        "" | "~" | "null" | "Null" | "NULL" => Node::Null,
        "True" | "TRUE" => Node::Text("true".into()),
        "False" | "FALSE" => Node::Text("false".into()),
        _ => Node::Text(text.to_owned()),
    }
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(key),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_true(&self) -> bool {
        self.text() == Some("true")
    }

    /// The texts of a list, or the only one.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::List(list) => list.iter().filter_map(Self::text).collect(),
            other => other.text().into_iter().collect(),
        }
    }

    /// The parts of a map; none of what is no map.
    pub fn entries(&self) -> impl Iterator<Item = (&String, &Self)> {
        let map = match self {
            Self::Map(map) => Some(map),
            _ => None,
        };
        map.into_iter().flatten()
    }

    /// The parts of a list; none of what is no list.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }

    /// Whether nothing comes of it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.is_empty() || text == "false",
            Self::List(list) => list.is_empty(),
            Self::Map(map) => map.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, json: &str) {
        let found = parse(text, &mut Budget::default()).map(|node| format!("{node:?}"));
        assert_eq!(found.as_deref(), Ok(json), "{text}");
    }

    #[test]
    fn what_documents_say() {
        check("", "Null");
        check(
            "a: 1.10\nb: yes\nc: TRUE\nd: ~\ne: '~'\nf:\n",
            r#"Map({"a": Text("1.10"), "b": Text("yes"), "c": Text("true"), "d": Null, "e": Text("~"), "f": Null})"#,
        );
        check(
            "- 22:22\n- !!str null\n- 0644\n",
            r#"List([Text("22:22"), Text("null"), Text("0644")])"#,
        );
        check(
            "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [{x: 4}, *a]}\n",
            r#"Map({"a": Map({"x": Text("1"), "y": Text("2")}), "b": Map({"x": Text("1"), "y": Text("3")}), "c": Map({"x": Text("4"), "y": Text("2")})})"#,
        );
    }

    #[test]
    fn what_is_refused() {
        let deep = "[".repeat(40);
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for at in 1..12 {
            let before = format!("*a{},", at - 1).repeat(10);
            bomb.push_str(&format!("a{at}: &a{at} [{before}]\n"));
        }
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(9000), "*a,".repeat(999));
        for text in [
            deep.as_str(),
            &bomb,
            &long,
            "a: 1\na: 2\n",
            "a: &a [*a]\n",
            "a: *b\n",
            "a: !reset null\n",
            "--- a\n--- b\n",
            "{[a]: b}",
            "a: [",
            "<<: 1\n",
            "\t- a: b\n\t c",
        ] {
            assert!(parse(text, &mut Budget::default()).is_err(), "{}", &text[..text.len().min(60)]);
        }
    }

    #[test]
    fn what_is_hostile_ends_at_its_bound() {
        let (flow, block) = ("[".repeat(200_000), "- ".repeat(100_000));
        let pairs = "? ".repeat(100_000);
        let mut tower = "a0: &a0 [x]\n".to_owned();
        for at in 1..40 {
            tower.push_str(&format!("a{at}: &a{at} [[[*a{}]]]\n", at - 1));
        }
        let key = format!("? {}\n: 1\n", "k".repeat(2000));
        for (text, told) in [
            (&flow, ""),
            (&block, "deep"),
            (&pairs, ""),
            (&tower, "deep, what its aliases stand for included"),
            (&format!("[{}]", "a,".repeat(30_000)), "says too much"),
            (&format!("[{}]", "{a: b},".repeat(20_000)), "says too much"),
            (&key, "longer than 1024"),
        ] {
            let error = parse(text, &mut Budget::default()).expect_err(told).to_string();
            assert!(error.contains(told) && error.len() < 500, "{told}: {error}");
        }
    }

    #[test]
    fn several_documents_have_one_bound() {
        let mut budget = Budget::default();
        let text = format!("a: {}", "x".repeat(300_000));
        let read = [&text; 5].map(|text| parse(text, &mut budget).is_ok());
        assert_eq!(read, [true, true, true, false, false]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([\\[\\]{}:,&*!<|>'\"\\-# \\n?%a-c]|\\PC){0,80}") {
            let _ = parse(&text, &mut Budget::default());
        }
    }
}
