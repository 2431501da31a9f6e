//! What a named reverse proxy says in headers about who somebody is.
//!
//! The headers are taken off every request, whoever sent it; only from the proxies that are named is what they said
//! believed.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use super::{
    options::HeaderOptions,
    person::{Person, Stay, address, shortened},
};
use crate::auth::Auth;

/// The issuer of identities that a proxy's header names.
pub(super) const ISSUER: &str = "trusted-header";
/// The provider's name of the same.
pub(super) const PROVIDER: &str = "header";
/// Longest name of somebody in bytes.
const MAX_SUBJECT: usize = 255;

/// What a trusted proxy said about a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vouched(pub(super) Person);

impl Auth {
    /// Takes the trusted headers off a request, and tells who a proxy that may says it is from. `peer` is the address of
    /// the connection itself.
    pub fn take_trusted_headers(&self, headers: &mut HeaderMap, peer: Option<IpAddr>) -> Option<Vouched> {
        let options = self.inner.outside.header.as_ref()?;
        let trusted = peer.is_some_and(|peer| options.proxies.contains(peer));
        let person = trusted.then(|| read(headers, options)).flatten();
        strip(headers, options);
        person.map(Vouched)
    }
}

fn read(headers: &HeaderMap, options: &HeaderOptions) -> Option<Person> {
    let subject = one(headers, &options.user).filter(|subject| !subject.is_empty() && subject.len() <= MAX_SUBJECT)?;
    let email = options
        .email
        .as_ref()
        .and_then(|name| one(headers, name))
        .filter(|email| email.contains('@'));
    let groups = options.groups.as_ref().map(|name| {
        let lists = headers
            .get_all(name)
            .iter()
            .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
        lists
            .flat_map(|list| list.split(','))
            .map(|group| group.trim().to_owned())
            .filter(|group| !group.is_empty())
            .collect()
    });
    Some(Person {
        issuer: ISSUER.to_owned(),
        names: vec![shortened(&subject)],
        shown: shortened(&subject),
        email: email.and_then(|email| address(&email)),
        groups,
        withheld: false,
        subject,
        stay: Stay::default(),
    })
}

/// The one value of a field; two of them say nothing.
fn one(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    let text = std::str::from_utf8(value.as_bytes()).ok()?.trim();
    values.next().is_none().then(|| text.to_owned())
}

/// Removes the fields, in the spelling too that an app could take for theirs (HDR-3).
fn strip(headers: &mut HeaderMap, options: &HeaderOptions) {
    let ours = |name: &HeaderName| {
        let plain = name.as_str().replace('_', "-");
        let mut names = std::iter::once(&options.user).chain(&options.email).chain(&options.groups);
        names.any(|own| own.as_str().replace('_', "-") == plain)
    };
    let found: Vec<HeaderName> = headers.keys().filter(|name| ours(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::auth::outside::options::Rules;

    fn options() -> HeaderOptions {
        HeaderOptions {
            user: HeaderName::from_static("x-forwarded-user"),
            email: Some(HeaderName::from_static("x-forwarded-email")),
            groups: Some(HeaderName::from_static("x-forwarded-groups")),
            proxies: std::iter::once("10.0.0.1".parse().expect("an address")).collect(),
            rules: Rules::default(),
        }
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn hdr_4_the_headers_say_who_or_nothing() {
        #[track_caller]
        fn check(fields: &[(&'static str, &'static str)], expected: Option<(&str, Option<&str>, &[&str])>) {
            let read = read(&headers(fields), &options());
            let said = read.as_ref().map(|person| {
                let groups = person.groups.iter().flatten().map(String::as_str).collect::<Vec<_>>();
                (person.subject.as_str(), person.email.as_deref(), groups)
            });
            assert_eq!(
                said,
                expected.map(|(subject, email, groups)| (subject, email, groups.to_vec())),
                "{fields:?}"
            );
        }
        check(&[], None);
        check(&[("x-forwarded-user", "")], None);
        check(&[("x-forwarded-user", " ")], None);
        check(&[("x-forwarded-user", "ada")], Some(("ada", None, &[])));
        check(&[("x-forwarded-user", "ada"), ("x-forwarded-user", "eve")], None);
        check(&[("x_forwarded_user", "ada")], None);
        check(
            &[
                ("x-forwarded-user", "Ada"),
                ("x-forwarded-email", "ada@example.com"),
                ("x-forwarded-groups", "eng, ops,,"),
                ("x-forwarded-groups", "all"),
            ],
            Some(("Ada", Some("ada@example.com"), &["eng", "ops", "all"])),
        );
    }

    #[test]
    fn hdr_3_no_spelling_of_them_stays() {
        let mut headers = headers(&[
            ("x-forwarded-user", "ada"),
            ("x_forwarded_user", "ada"),
            ("x-forwarded_groups", "eng"),
            ("x-forwarded-email", "a@b"),
            ("x-forwarded-users", "stays"),
        ]);
        strip(&mut headers, &options());
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key("x-forwarded-users"));
    }
}
