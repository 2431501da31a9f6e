//! The order in which steps are shown.

use crate::domain::{Step, StepName, StepState};

/// Puts steps in the order of their names, but an editor that waits behind what runs before it: which commands it waits for is the
/// repository's to say.
pub(super) fn arrange(steps: &mut [Step]) {
    steps.sort_by_key(|step| step.name);
    let waits = |step: &Step| (step.name, step.state) == (StepName::Editor, StepState::Pending);
    let editor = steps.iter().position(waits);
    let running = steps.iter().rposition(|step| step.state == StepState::Running);
    if let (Some(editor), Some(running)) = (editor, running)
        && editor < running
    {
        steps[editor..=running].rotate_left(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_that_waits_stands_behind_what_it_waits_for() {
        use StepName::{Clone, Editor, History, PostCreate};
        use StepState::{Done, Pending, Running};
        #[track_caller]
        fn check(steps: &[(StepName, StepState)], expected: &[StepName]) {
            let step = |(name, state): &(StepName, StepState)| Step {
                name: *name,
                state: *state,
                detail: String::new(),
            };
            let mut steps: Vec<_> = steps.iter().map(step).collect();
            arrange(&mut steps);
            assert_eq!(steps.iter().map(|step| step.name).collect::<Vec<_>>(), expected);
        }
        let usual = [Clone, Editor, PostCreate, History];
        check(
            &[(History, Pending), (PostCreate, Pending), (Editor, Pending), (Clone, Running)],
            &usual,
        );
        check(
            &[(Clone, Done), (Editor, Running), (PostCreate, Running), (History, Pending)],
            &usual,
        );
        check(
            &[(Clone, Done), (Editor, Pending), (PostCreate, Running), (History, Pending)],
            &[Clone, PostCreate, Editor, History],
        );
        check(&[(PostCreate, Done), (Editor, Done), (Clone, Done), (History, Done)], &usual);
        check(&[], &[]);
    }
}
