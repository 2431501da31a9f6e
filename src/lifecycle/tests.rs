use super::*;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

#[test]
fn transitions() {
    #[track_caller]
    fn check(phase: Phase, prepared: bool, event: Event, expected: Option<(Phase, &[Effect])>) {
        let mut situation = Situation {
            prepared,
            ..Situation::default()
        };
        let found = decide(phase, &mut situation, event.clone(), NOW);
        let found = found.as_ref().map(|transition| (transition.phase, transition.effects.as_slice()));
        assert_eq!(found, expected, "{phase} {event:?}");
    }
    use Phase::{Creating, Deleting, Failed, Running, Starting, Stopped, Stopping};
    let why = || "why".to_owned();
    let launch = Effect::Launch { after: 0 };
    check(Stopped, true, Event::Start, Some((Starting, &[launch])));
    check(Failed, false, Event::Start, Some((Creating, &[launch])));
    for phase in [Creating, Starting, Running] {
        check(phase, true, Event::Start, None);
        check(phase, true, Event::Stop(why()), Some((Stopping, &[Effect::StopInstance])));
        check(phase, true, Event::Stopped, None);
    }
    check(Creating, false, Event::Connected, None);
    check(Creating, false, Event::Prepared, Some((Running, &[])));
    check(Starting, true, Event::Connected, Some((Running, &[])));
    check(Creating, false, Event::CloneFailed(why()), Some((Failed, &[Effect::Undo])));
    check(Creating, false, Event::LaunchFailed(why()), Some((Failed, &[Effect::Undo])));
    check(Starting, true, Event::LaunchFailed(why()), Some((Failed, &[Effect::StopInstance])));
    for phase in [Creating, Starting, Running] {
        check(phase, true, Event::Awaits, Some((Creating, &[launch])));
    }
    for phase in [Running, Stopped, Failed] {
        check(phase, true, Event::Rebuild, Some((Starting, &[launch])));
    }
    for phase in [Stopped, Failed, Stopping, Deleting] {
        check(phase, true, Event::Awaits, None);
    }
    for phase in [Creating, Starting, Stopping, Deleting] {
        check(phase, true, Event::Rebuild, None);
    }
    check(Failed, false, Event::Rebuild, Some((Creating, &[launch])));
    check(Running, true, Event::CloneFailed(why()), None);
    check(Running, true, Event::Lost(None), Some((Starting, &[launch])));
    check(Stopping, true, Event::Lost(None), None);
    check(Stopping, true, Event::Connected, None);
    check(Stopping, true, Event::LaunchFailed(why()), None);
    check(Stopping, true, Event::Stopped, Some((Stopped, &[])));
    check(Stopping, true, Event::StopFailed(why()), Some((Failed, &[])));
    check(Stopped, true, Event::Stop(why()), None);
    check(Stopped, true, Event::Connected, None);
    check(Deleting, true, Event::Start, None);
    check(Deleting, true, Event::Delete, None);
    check(Deleting, true, Event::Deleted, Some((Deleting, &[Effect::Forget])));
    for phase in [Creating, Starting, Running, Stopping, Stopped, Failed] {
        check(phase, true, Event::Delete, Some((Deleting, &[Effect::Delete])));
    }
}

#[test]
fn a_start_while_it_stops_starts_it_afterwards() {
    let mut situation = Situation {
        prepared: true,
        ..Situation::default()
    };
    assert_eq!(decide(Phase::Stopping, &mut situation, Event::Start, NOW), None);
    let next = decide(Phase::Stopping, &mut situation, Event::Stopped, NOW).expect("it changes");
    assert_eq!((next.phase, next.effects), (Phase::Starting, vec![Effect::Launch { after: 0 }]));
    assert_eq!(decide(Phase::Stopping, &mut situation, Event::Start, NOW), None);
    assert_eq!(decide(Phase::Stopping, &mut situation, Event::Stop("no".into()), NOW), None);
    assert_eq!(
        decide(Phase::Stopping, &mut situation, Event::Stopped, NOW).map(|next| next.phase),
        Some(Phase::Stopped)
    );
}

#[test]
fn five_losses_in_five_minutes_are_too_many() {
    let mut situation = Situation {
        prepared: true,
        ..Situation::default()
    };
    let mut lose =
        |seconds| decide(Phase::Running, &mut situation, Event::Lost(None), NOW + Duration::seconds(seconds)).map(|next| next.phase);
    for seconds in [0, 200, 400, 450, 490] {
        assert_eq!(lose(seconds), Some(Phase::Starting), "{seconds}");
    }
    assert_eq!(lose(495), Some(Phase::Failed));
}
