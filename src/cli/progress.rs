//! The steps of a codespace as they happen: a spinner on a terminal, a line a step elsewhere.

use std::{collections::BTreeMap, io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{plain, words};
use crate::api::model::Step;

/// Shows steps on standard error.
pub struct Progress {
    spinner: Option<ProgressBar>,
    shown: BTreeMap<String, String>,
}

impl Progress {
    /// A spinner where a person watches.
    pub fn new() -> Self {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner();
            spinner.set_style(ProgressStyle::default_spinner());
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        Self {
            spinner,
            shown: BTreeMap::new(),
        }
    }

    /// Shows what changed since the last call.
    pub fn show(&mut self, steps: &[Step]) {
        for step in steps {
            let changed = self.shown.insert(step.name.clone(), step.state.clone()).as_ref() != Some(&step.state);
            if changed {
                self.changed(step);
            } else if let (Some(spinner), "running") = (&self.spinner, step.state.as_str()) {
                spinner.set_message(line(step));
            }
        }
    }

    fn changed(&self, step: &Step) {
        let mark = match step.state.as_str() {
            "done" => "✓",
            "failed" => "✗",
            "running" => "…",
            _ => return,
        };
        let text = format!("{mark} {}", line(step));
        match &self.spinner {
            Some(spinner) if mark == "…" => spinner.set_message(line(step)),
            Some(spinner) => spinner.suspend(|| words(&text)),
            None => words(&text),
        }
    }

    /// The steps that were under way when they were last shown, for people; none where all are over.
    pub fn unfinished(&self) -> Option<String> {
        let running = self.shown.iter().filter(|(_, state)| *state == "running");
        let names: Vec<&str> = running.map(|(name, _)| title(name)).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Takes the spinner away.
    pub fn finish(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}

fn line(step: &Step) -> String {
    let name = title(&step.name);
    match step.detail.is_empty() {
        true => plain(name),
        false => plain(&format!("{name}: {}", step.detail)),
    }
}

fn title(name: &str) -> &str {
    match name {
        "storage" => "Storage",
        "agent" => "Agent",
        "clone" => "Clone",
        "image" => "Container",
        "on_create" => "onCreateCommand",
        "update_content" => "updateContentCommand",
        "post_create" => "postCreateCommand",
        "post_start" => "postStartCommand",
        "post_attach" => "postAttachCommand",
        "editor" => "Editor",
        "dotfiles" => "Dotfiles",
        "extensions" => "Extensions",
        "history" => "Full history",
        other => other,
    }
}
