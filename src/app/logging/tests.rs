//! What no directive lets out.

use std::{
    io::{self, Write},
    sync::Arc,
};

use parking_lot::Mutex;

use super::*;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn who_may_write_what() {
    let check = |target, most: Level| {
        for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
            assert_eq!(may_be_written(target, level), level <= most, "{target} {level}");
        }
    };
    check("portico", Level::TRACE);
    check("portico::tunnel::link", Level::TRACE);
    check("portico::access", Level::TRACE);
    check("rustls::client::hs", Level::DEBUG);
    for target in [
        "tungstenite::handshake::client",
        "tokio_tungstenite",
        "h2::codec::framed_read",
        "hyper",
        "hyper_util::client::legacy::connect",
        "bollard::docker",
        "sqlx::query",
        "axum::rejection",
        "porticos",
        "",
    ] {
        check(target, Level::WARN);
    }
}

#[test]
fn log_1_no_directive_lifts_the_veto() {
    for directives in [
        "trace",
        "info,tungstenite::handshake=trace",
        "info,tungstenite::handshake::client=trace,h2::codec::framed_write=trace",
        "off,tungstenite=trace,h2=trace,bollard=debug,portico=info",
        "trace,tungstenite[{canary}]=trace,[FramedWrite::buffer{frame}]=trace",
        "[{canary}]=trace,portico=info",
        "[carried]=trace,portico=info",
    ] {
        let page = Page::default();
        let kept = page.clone();
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter(directives));
        let subscriber = subscriber.with_writer(move || kept.clone()).finish().with(veto());
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "tungstenite::handshake::client", canary = "canary", "canary");
            tracing::debug!(target: "bollard::docker", "canary");
            let span = tracing::trace_span!(target: "h2::codec::framed_write", "FramedWrite::buffer", frame = "canary");
            let _inside = span.entered();
            let other = tracing::trace_span!(target: "h2::carried", "carried", canary = "canary");
            let _within = other.entered();
            tracing::info!(target: "portico::test", "control");
        });
        let text = String::from_utf8(page.0.lock().clone()).expect("text");
        assert!(text.contains("control"), "{directives}: {text}");
        assert!(!text.contains("canary"), "{directives}: {text}");
    }
}
