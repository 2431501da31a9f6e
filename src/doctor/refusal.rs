//! Refusals that apps give because they do not know the host or the origin under which they are asked.
//!
//! Told by the beginning of an answer, as the frameworks write it. What is recognised wrongly costs a line of advice.

use super::Fix;

/// A refusal that is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    ViteHost,
    WebpackHost,
    NextOrigin,
    DjangoHost,
    DjangoCsrf,
    RailsHost,
    RailsCsrf,
    /// Plain HTTP on a port of TLS, said in plain HTTP.
    TlsWanted,
}

/// How much of an answer is looked at, in bytes.
pub const BEGINNING: usize = 8 * 1024;

/// What a framework writes, with the status that goes with it.
const MARKS: &[(u16, &str, Refusal)] = &[
    (403, "Blocked request. This host", Refusal::ViteHost),
    (403, "Invalid Host header", Refusal::WebpackHost),
    (403, "Invalid Host/Origin header", Refusal::WebpackHost),
    (400, "DisallowedHost", Refusal::DjangoHost),
    (400, "Invalid HTTP_HOST header", Refusal::DjangoHost),
    (403, "Origin checking failed", Refusal::DjangoCsrf),
    (403, "CSRF verification failed", Refusal::DjangoCsrf),
    (403, "Blocked host", Refusal::RailsHost),
    (422, "InvalidAuthenticityToken", Refusal::RailsCsrf),
    (400, "Client sent an HTTP request to an HTTPS server", Refusal::TlsWanted),
    (400, "The plain HTTP request was sent to HTTPS port", Refusal::TlsWanted),
    (400, "speaking plain HTTP to an SSL-enabled server port", Refusal::TlsWanted),
];

/// Recognises a refusal by status, path and the beginning of the body.
pub fn recognise(status: u16, path: &str, body: &[u8]) -> Option<Refusal> {
    let body = &body[..body.len().min(BEGINNING)];
    // Next says no more than this, of its own files alone.
    if status == 403 && body.trim_ascii() == b"Unauthorized" && (path.starts_with("/_next/") || path.starts_with("/__nextjs")) {
        return Some(Refusal::NextOrigin);
    }
    MARKS
        .iter()
        .find(|(of, mark, _)| *of == status && memchr::memmem::find(body, mark.as_bytes()).is_some())
        .map(|(.., refusal)| *refusal)
}

impl Refusal {
    /// For programs.
    pub fn slug(self) -> &'static str {
        match self {
            Self::ViteHost => "vite-host",
            Self::WebpackHost => "webpack-host",
            Self::NextOrigin => "next-origin",
            Self::DjangoHost => "django-host",
            Self::DjangoCsrf => "django-csrf",
            Self::RailsHost => "rails-host",
            Self::RailsCsrf => "rails-csrf",
            Self::TlsWanted => "app-speaks-tls",
        }
    }

    /// What the app refused, in one sentence.
    pub fn detail(self) -> &'static str {
        match self {
            Self::ViteHost => "Vite refuses requests for hosts that are not in its list.",
            Self::WebpackHost => "webpack-dev-server refuses requests for hosts that are not in its list.",
            Self::NextOrigin => "Next.js refuses its development files to pages of origins that are not in its list.",
            Self::DjangoHost => "Django refuses requests for hosts that are not in its list.",
            Self::DjangoCsrf => "Django refuses a form because it does not know the origin of its page, or because a cookie is missing.",
            Self::RailsHost => "Rails refuses requests for hosts that are not in its list.",
            Self::RailsCsrf => "Rails refuses a form because the origin of its page is not its own, or because its token is missing.",
            Self::TlsWanted => "The app expects TLS, and this port is set to plain HTTP.",
        }
    }

    /// The app's own setting that would allow it.
    pub fn setting(self) -> &'static str {
        match self {
            Self::ViteHost => "add the host to server.allowedHosts in vite.config",
            Self::WebpackHost => "add the host to devServer.allowedHosts in webpack.config",
            Self::NextOrigin => "add the host to allowedDevOrigins in next.config",
            Self::DjangoHost => "add the host to ALLOWED_HOSTS in settings.py",
            Self::DjangoCsrf => "add the origin, with its scheme, to CSRF_TRUSTED_ORIGINS in settings.py",
            Self::RailsHost => "add the host to config.hosts in config/environments/development.rb",
            Self::RailsCsrf => "set config.force_ssl and the host as the app is reached, or send X-Forwarded-Proto",
            Self::TlsWanted => "have the app serve plain HTTP",
        }
    }

    /// The setting of the port that mends it. In the localhost world the app sees itself at home already.
    pub fn fix(self, preserves_host: bool) -> Option<Fix> {
        match self {
            Self::TlsWanted => Some(Fix::Protocol("https")),
            _ => preserves_host.then_some(Fix::HostHeader("localhost")),
        }
    }

    /// What to do, in one sentence.
    pub fn advice(self, preserves_host: bool) -> String {
        match self.fix(preserves_host) {
            Some(Fix::HostHeader(_)) => format!(
                "Set the port's host_header to localhost, so that the app is asked as at home; or {}.",
                self.setting()
            ),
            Some(Fix::Protocol(_)) => "Set the port's protocol to https.".to_owned(),
            None => format!("The app is asked as localhost already, and still refuses: {}.", self.setting()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_as_the_frameworks_write_them() {
        #[track_caller]
        fn check(status: u16, path: &str, body: &str, expected: Option<Refusal>) {
            assert_eq!(recognise(status, path, body.as_bytes()), expected, "{body}");
        }
        let vite = "Blocked request. This host (\"amber-x-5173.apps.example\") is not allowed.\nTo allow this host, add";
        check(403, "/", vite, Some(Refusal::ViteHost));
        check(200, "/", vite, None);
        check(403, "/", "Invalid Host header", Some(Refusal::WebpackHost));
        check(403, "/_next/static/x.js", "Unauthorized", Some(Refusal::NextOrigin));
        check(403, "/admin", "Unauthorized", None);
        check(400, "/", "<title>DisallowedHost\n          at /</title>", Some(Refusal::DjangoHost));
        let csrf = "<h1>Forbidden <span>(403)</span></h1>\n  <p>CSRF verification failed. Request aborted.</p>";
        check(403, "/", csrf, Some(Refusal::DjangoCsrf));
        check(
            403,
            "/",
            "<h1>Blocked hosts: amber-x-3000.apps.example</h1>",
            Some(Refusal::RailsHost),
        );
        check(
            400,
            "/",
            "Client sent an HTTP request to an HTTPS server.\n",
            Some(Refusal::TlsWanted),
        );
        check(403, "/", "Forbidden", None);
        let late = format!("{}Invalid Host header", " ".repeat(BEGINNING));
        check(403, "/", &late, None);
    }

    #[test]
    fn the_fix_depends_on_the_world_that_the_port_is_in() {
        assert_eq!(Refusal::ViteHost.fix(true), Some(Fix::HostHeader("localhost")));
        assert_eq!(Refusal::ViteHost.fix(false), None);
        assert_eq!(Refusal::TlsWanted.fix(false), Some(Fix::Protocol("https")));
        assert!(Refusal::DjangoCsrf.advice(true).contains("CSRF_TRUSTED_ORIGINS"));
    }
}
