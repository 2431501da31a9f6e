//! The one layout that almost every page has: a sign, a heading, words, a way on.

use askama::Template;
use http::StatusCode;
use serde_json::Value;

use super::{Page, problem};
use crate::{domain::Step, web::assets};

/// What a page's sign says before a word is read; never the only carrier of its meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sign {
    Closed,
    Paused,
    Waiting,
    Trouble,
}

impl Sign {
    fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Paused => "paused",
            Self::Waiting => "waiting",
            Self::Trouble => "trouble",
        }
    }
}

/// How the page looks again by itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Watch {
    #[default]
    Never,
    /// Asks with GET until the problem is another one, and shows its steps meanwhile.
    Problem,
    /// Asks with HEAD until the status is none of a gateway's, so that a starting app sees no more than that.
    Status,
    /// Asks as [`Watch::Problem`] does, seldom: nothing will change by itself.
    Rest,
    /// Looks when the person comes back from another tab.
    Return,
}

impl Watch {
    fn as_str(self) -> &'static str {
        match self {
            Self::Never => "",
            Self::Problem => "problem",
            Self::Status => "status",
            Self::Rest => "rest",
            Self::Return => "return",
        }
    }
}

/// One line of a list of things with a link.
pub(super) struct Entry {
    pub name: String,
    pub note: String,
    pub url: String,
}

/// One thing to press.
pub(super) struct Action {
    pub label: String,
    pub url: String,
    /// Opens a tab of its own: for a page inside a frame.
    pub new_tab: bool,
}

/// What a page says; the defaults say nothing.
#[derive(Template)]
#[template(path = "notice.html")]
pub(super) struct Notice<'a> {
    slug: &'a str,
    status: StatusCode,
    prefix: &'a str,
    sign: Sign,
    title: String,
    detail: String,
    advice: Vec<String>,
    command: Option<String>,
    steps: &'a [Step],
    list_title: &'a str,
    entries: Vec<Entry>,
    actions: Vec<Action>,
    /// The label of the button that starts the codespace, and the path that it leads back to.
    start: Option<(&'a str, String)>,
    hint: Option<(&'a str, String)>,
    watch: Watch,
    request_id: Option<&'a str>,
}

impl<'a> Notice<'a> {
    /// Begins a page; `title` and `detail` also make the problem.
    pub fn new(prefix: &'a str, slug: &'a str, status: StatusCode, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            slug,
            status,
            prefix,
            sign: Sign::Trouble,
            title: title.into(),
            detail: detail.into(),
            advice: Vec::new(),
            command: None,
            steps: &[],
            list_title: "",
            entries: Vec::new(),
            actions: Vec::new(),
            start: None,
            hint: None,
            watch: Watch::Never,
            request_id: None,
        }
    }

    pub fn sign(mut self, sign: Sign) -> Self {
        self.sign = sign;
        self
    }

    /// Adds a sentence on what to do.
    pub fn advice(mut self, text: impl Into<String>) -> Self {
        self.advice.push(text.into());
        self
    }

    /// Shows a command to type.
    pub fn command(mut self, command: Option<&str>) -> Self {
        self.command = command.map(str::to_owned);
        self
    }

    pub fn steps(mut self, steps: &'a [Step]) -> Self {
        self.steps = steps;
        self
    }

    pub fn list(mut self, title: &'a str, entries: Vec<Entry>) -> Self {
        self.list_title = title;
        self.entries = entries;
        self
    }

    /// Adds a link; one that is neither a path nor HTTP is left out.
    pub fn action(self, label: impl Into<String>, url: &str) -> Self {
        self.push_action(label.into(), url, false)
    }

    /// Adds a link that opens a tab of its own.
    pub fn action_in_new_tab(self, label: impl Into<String>, url: &str) -> Self {
        self.push_action(label.into(), url, true)
    }

    /// Adds the button that starts the codespace and comes back to a path.
    pub fn start(mut self, label: &'a str, next: String) -> Self {
        self.start = Some((label, next));
        self
    }

    /// Tells programs one thing more.
    pub fn hint(mut self, member: &'a str, value: String) -> Self {
        self.hint = Some((member, value));
        self
    }

    pub fn watch(mut self, watch: Watch) -> Self {
        self.watch = watch;
        self
    }

    pub fn request_id(mut self, id: &'a str) -> Self {
        self.request_id = Some(id);
        self
    }

    /// Ends the page.
    pub fn page(self) -> Page {
        let mut problem = problem(self.slug, self.status, &self.title, &self.detail);
        if !self.steps.is_empty() {
            problem["steps"] = self.steps.iter().map(step_value).collect();
        }
        if let Some((member, value)) = &self.hint {
            problem[member] = value.as_str().into();
        }
        if let Some(id) = self.request_id {
            problem["request_id"] = id.into();
        }
        Page {
            status: self.status,
            html: self.render().unwrap_or_default(),
            problem,
        }
    }

    fn push_action(mut self, label: String, url: &str, new_tab: bool) -> Self {
        if is_web(url) {
            let url = url.to_owned();
            self.actions.push(Action { label, url, new_tab });
        }
        self
    }

    fn asset(&self, name: &str) -> String {
        assets::url(self.prefix, name)
    }
}

/// Whether a link can only lead to a page: never `javascript:` and its like.
pub(super) fn is_web(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://") || url.starts_with('/')
}

fn step_value(step: &Step) -> Value {
    serde_json::json!({ "name": step.name.as_str(), "state": step.state.as_str(), "detail": step.detail })
}

/// What a step is called on a page.
fn step_label(step: &Step) -> &'static str {
    use crate::domain::StepName::{
        Agent, Clone, Dotfiles, Editor, Extensions, History, Image, OnCreate, PostAttach, PostCreate, PostStart, Storage, UpdateContent,
    };
    match step.name {
        Storage => "Prepare storage",
        Agent => "Start the codespace",
        Clone => "Fetch the repository",
        Image => "Make the container",
        OnCreate => "Run onCreateCommand",
        UpdateContent => "Run updateContentCommand",
        Editor => "Start the editor",
        Dotfiles => "Install your dotfiles",
        Extensions => "Install your extensions",
        PostCreate => "Run postCreateCommand",
        PostStart => "Run postStartCommand",
        PostAttach => "Run postAttachCommand",
        History => "Fetch the full history",
    }
}

/// What a step's state is called on a page.
fn step_word(step: &Step) -> &'static str {
    use crate::domain::StepState::{Done, Failed, Pending, Running, Skipped};
    match step.state {
        Pending => "waiting",
        Running => "in progress",
        Done => "done",
        Skipped => "not needed",
        Failed => "failed",
    }
}
