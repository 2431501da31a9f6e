//! Somebody as a provider describes them, and what the operator's rules say to that. Pure.

use serde_json::Value;

use super::{
    id_token::Claims,
    options::{Rules, Secret, SignUp},
};
use crate::domain::{Organisation, Role, UserName};

/// Most groups of one person that are looked at.
const MAX_GROUPS: usize = 1000;
/// Longest text that is shown or kept of what a provider says.
const MAX_SHOWN: usize = 200;

/// Somebody at a provider.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Person {
    pub issuer: String,
    pub subject: String,
    /// What they might be called here, the best first.
    pub names: Vec<String>,
    /// An address that the provider says is theirs, in so many words.
    pub email: Option<String>,
    /// What they know themselves by; decides nothing.
    pub shown: String,
    /// Their groups; none if the provider is not asked for any.
    pub groups: Option<Vec<String>>,
    /// Whether the provider was asked for groups and said nothing of them: they get nothing by a group, and are not known
    /// to have left any.
    pub withheld: bool,
    pub stay: Stay,
}

/// Their sign-in at the provider.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stay {
    /// What the provider calls it, `sid` (OpenID Connect Back-Channel Logout 1.0 §2.1).
    pub session: Option<String>,
    /// Until when the provider vouches for it, in Unix seconds.
    pub until: Option<i64>,
    /// The ID token, by which the provider knows who wants to sign out.
    pub id_token: Option<Secret>,
}

/// Why somebody may not come in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotAllowed {
    /// There is no account for them, and they may not make one.
    NoAccount,
    /// Their e-mail address is of none of the domains, or not verified.
    Domain,
    /// They are in none of the groups.
    Group,
    /// There is no account at all yet: the first is made with the link that the gateway printed.
    NotSetUp,
}

impl Person {
    /// Reads the claims of a checked ID token or of a userinfo answer.
    pub(super) fn from_claims(claims: &Claims, issuer: &str, groups_claim: Option<&str>) -> Option<Self> {
        let text = |name: &str| {
            claims
                .get(name)
                .and_then(Value::as_str)
                .map(shortened)
                .filter(|text| !text.is_empty())
        };
        let subject = claims.get("sub").and_then(Value::as_str)?.to_owned();
        // OIDC-2: true itself, not the word.
        let verified = claims.get("email_verified") == Some(&Value::Bool(true));
        let email = claims.get("email").and_then(Value::as_str).and_then(address).filter(|_| verified);
        let names = ["preferred_username", "nickname", "email", "name"].into_iter().filter_map(text);
        let said = groups_claim.map(|claim| groups_in(claims, claim));
        Some(Self {
            names: names.collect(),
            shown: email
                .clone()
                .or_else(|| text("preferred_username"))
                .or_else(|| text("name"))
                .unwrap_or_else(|| shortened(&subject)),
            email,
            withheld: matches!(said, Some(None)),
            groups: said.map(Option::unwrap_or_default),
            stay: Stay::default(),
            issuer: issuer.to_owned(),
            subject,
        })
    }

    /// The organisations that the groups make; none where the provider is not asked for groups.
    pub(super) fn organisations(&self, rules: &Rules) -> Option<Vec<Organisation>> {
        let groups = self.groups.as_ref()?.iter();
        let counted = groups.filter(|group| rules.organisations.is_empty() || rules.organisations.contains(group));
        let mut organisations: Vec<_> = counted.filter_map(|group| Organisation::parse(group)).collect();
        organisations.sort();
        organisations.dedup();
        Some(organisations)
    }

    /// Whether they may come in at all, with an account or without.
    pub(super) fn admitted(&self, rules: &Rules) -> Result<(), NotAllowed> {
        let domain = self.email.as_deref().and_then(email_domain);
        let of_domain = domain.is_some_and(|domain| rules.allowed_domains.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain)));
        if !rules.allowed_domains.is_empty() && !of_domain {
            return Err(NotAllowed::Domain);
        }
        let of_group = self.groups.iter().flatten().any(|group| rules.allowed_groups.contains(group));
        if !rules.allowed_groups.is_empty() && !of_group {
            return Err(NotAllowed::Group);
        }
        Ok(())
    }

    /// Whether they may make an account by coming in.
    pub(super) fn may_sign_up(&self, rules: &Rules) -> bool {
        let email = self.email.as_deref();
        match &rules.sign_up {
            SignUp::Nobody => false,
            SignUp::Everybody => true,
            SignUp::These(list) => list
                .iter()
                .any(|one| *one == self.subject || email.is_some_and(|email| email.eq_ignore_ascii_case(one))),
        }
    }

    /// The role that their groups give them; none where no group decides or none was asked for.
    pub(super) fn role(&self, rules: &Rules) -> Option<Role> {
        let groups = self.groups.as_ref().filter(|_| !rules.admin_groups.is_empty())?;
        let administers = groups.iter().any(|group| rules.admin_groups.contains(group));
        Some(if administers { Role::Admin } else { Role::Member })
    }

    /// Names for an account of theirs, the best first: what they are called, then the same with numbers.
    pub(super) fn account_names(&self) -> impl Iterator<Item = UserName> {
        let plain = self
            .names
            .iter()
            .find_map(|name| account_name(name))
            .unwrap_or_else(|| "user".to_owned());
        // The audit log calls the operator by that name.
        let first = (plain != "operator").then(|| plain.clone());
        let numbered = (2..1000).map(move |number| {
            let suffix = format!("-{number}");
            let room = plain.len().min(39 - suffix.len());
            format!("{}{suffix}", &plain[..room])
        });
        first.into_iter().chain(numbered).filter_map(|name| name.parse().ok())
    }
}

/// The part of an e-mail address after its only `@` (OIDC-2).
fn email_domain(email: &str) -> Option<&str> {
    let (local, domain) = email.split_once('@')?;
    (!local.is_empty() && !domain.is_empty() && !domain.contains('@')).then_some(domain)
}

/// What can be an account's name in what somebody is called elsewhere; of an address, the part before the `@`.
fn account_name(text: &str) -> Option<String> {
    let text = text.split('@').next().unwrap_or_default();
    let mut name = String::new();
    for character in text.chars() {
        let character = character.to_ascii_lowercase();
        match character {
            'a'..='z' | '0'..='9' | '.' | '_' => name.push(character),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let name = name.trim_start_matches(['-', '.', '_']);
    let name = name[..name.len().min(39)].trim_end_matches(['-', '.', '_']);
    (!name.is_empty()).then(|| name.to_owned())
}

/// The groups in a claim: a list of texts or one text; none if there is no such claim, which is how a provider leaves out
/// what it does not say (OpenID Connect Core §5.3.2), or what has another shape. `a.b` also finds `b` inside `a`.
fn groups_in(claims: &Claims, claim: &str) -> Option<Vec<String>> {
    let nested = || {
        let mut parts = claim.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    };
    match claims.get(claim).or_else(nested) {
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(several)) => {
            let names = several.iter().filter_map(Value::as_str).take(MAX_GROUPS);
            Some(names.map(str::to_owned).collect())
        }
        _ => None,
    }
}

/// Cuts what a provider says, and takes out what could fool a reader of a page or a log.
pub(super) fn shortened(text: &str) -> String {
    let plain: String = text.chars().filter(|character| !character.is_control()).collect();
    plain[..plain.floor_char_boundary(MAX_SHOWN)].trim().to_owned()
}

/// Reads an e-mail address as it is; none for one that would have to be cut, or its end would be another's domain.
pub(super) fn address(text: &str) -> Option<String> {
    (!text.is_empty() && shortened(text) == text).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn oidc_2_an_address_that_would_have_to_be_cut_is_none() {
        let long = format!("{}@corp.example.evil.org", "a".repeat(MAX_SHOWN - "@corp.example".len()));
        assert!(shortened(&long).ends_with("@corp.example"), "what a cut would make of it");
        for (text, expected) in [
            (long.as_str(), false),
            ("ada@corp.example", true),
            ("ada@corp.example\u{0}", false),
            ("", false),
        ] {
            assert_eq!(address(text).as_deref(), expected.then_some(text), "{text:?}");
        }
    }

    use super::*;

    fn person(claims: &Value) -> Person {
        let claims = claims.as_object().expect("an object");
        Person::from_claims(claims, "https://id.example", Some("groups")).expect("somebody")
    }

    #[test]
    fn oidc_2_an_address_counts_if_it_is_verified_and_has_one_at() {
        #[track_caller]
        fn check(claims: &Value, expected: Result<(), NotAllowed>) {
            let rules = Rules {
                allowed_domains: vec!["example.com".into()],
                ..Rules::default()
            };
            assert_eq!(person(claims).admitted(&rules), expected, "{claims}");
        }
        let no = Err(NotAllowed::Domain);
        check(&json!({"sub": "1", "email": "ada@example.com", "email_verified": true}), Ok(()));
        check(&json!({"sub": "1", "email": "ada@EXAMPLE.com", "email_verified": true}), Ok(()));
        check(&json!({"sub": "1", "email": "ada@example.com", "email_verified": "true"}), no);
        check(&json!({"sub": "1", "email": "ada@example.com", "email_verified": 1}), no);
        check(&json!({"sub": "1", "email": "ada@example.com", "email_verified": false}), no);
        check(&json!({"sub": "1", "email": "ada@example.com"}), no);
        check(
            &json!({"sub": "1", "email": "ada@evil.com@example.com", "email_verified": true}),
            no,
        );
        check(
            &json!({"sub": "1", "email": "ada@example.com@evil.com", "email_verified": true}),
            no,
        );
        check(&json!({"sub": "1", "email": "ada@sub.example.com", "email_verified": true}), no);
        check(&json!({"sub": "1", "email": "ada@xexample.com", "email_verified": true}), no);
        check(&json!({"sub": "1", "email": "@example.com", "email_verified": true}), no);
        check(&json!({"sub": "1", "email": ["ada@example.com"], "email_verified": true}), no);
        check(&json!({"sub": "1"}), no);
    }

    #[test]
    fn groups_admit_and_make_organisations() {
        #[track_caller]
        fn check(groups: &Value, admitted: bool, organisations: &[&str], withheld: bool) {
            let rules = Rules {
                allowed_groups: vec!["eng".into()],
                organisations: vec!["eng".into(), "ops".into()],
                ..Rules::default()
            };
            let person = person(&json!({"sub": "1", "groups": groups}));
            assert_eq!(person.admitted(&rules).is_ok(), admitted, "{groups}");
            assert_eq!(person.withheld, withheld, "{groups}");
            let found = person.organisations(&rules).expect("groups are asked for");
            assert_eq!(
                found.iter().map(Organisation::as_str).collect::<Vec<_>>(),
                organisations,
                "{groups}"
            );
        }
        check(&json!(["ops", "eng", "everyone", "eng"]), true, &["eng", "ops"], false);
        check(&json!("eng"), true, &["eng"], false);
        check(&json!("eng ops"), false, &[], false);
        check(&json!({"eng": true}), false, &[], true);
        check(&json!([1, null]), false, &[], false);
        check(&json!([]), false, &[], false);
        check(&json!(null), false, &[], true);
        let absent = person(&json!({"sub": "1"}));
        assert_eq!((absent.groups, absent.withheld), (Some(Vec::new()), true));
        let nested = json!({"sub": "1", "realm_access": {"roles": ["eng"]}});
        let nested = Person::from_claims(nested.as_object().expect("an object"), "i", Some("realm_access.roles"));
        assert_eq!(nested.and_then(|person| person.groups), Some(vec!["eng".to_owned()]));
        let unasked = Person::from_claims(json!({"sub": "1", "groups": ["eng"]}).as_object().expect("an object"), "i", None);
        assert_eq!(unasked.and_then(|person| person.organisations(&Rules::default())), None);
    }

    #[test]
    fn who_may_make_an_account() {
        let ada = person(&json!({"sub": "s-1", "email": "ada@example.com", "email_verified": true}));
        let eve = person(&json!({"sub": "s-2", "email": "ada@example.com", "email_verified": false}));
        let may = |sign_up: SignUp| {
            let rules = Rules {
                sign_up,
                ..Rules::default()
            };
            (ada.may_sign_up(&rules), eve.may_sign_up(&rules))
        };
        assert_eq!(may(SignUp::Nobody), (false, false));
        assert_eq!(may(SignUp::Everybody), (true, true));
        assert_eq!(may(SignUp::These(vec!["Ada@example.com".into()])), (true, false));
        assert_eq!(may(SignUp::These(vec!["s-2".into()])), (false, true));
    }

    #[test]
    fn names_become_account_names() {
        #[track_caller]
        fn check(names: &[&str], expected: &[&str]) {
            let mut claims = person(&json!({"sub": "1"}));
            claims.names = names.iter().map(|name| (*name).to_owned()).collect();
            let found: Vec<String> = claims.account_names().take(expected.len()).map(|name| name.to_string()).collect();
            assert_eq!(found, expected, "{names:?}");
        }
        check(&["ada"], &["ada", "ada-2", "ada-3"]);
        check(&["Ada Lovelace"], &["ada-lovelace"]);
        check(&["ada@example.com"], &["ada"]);
        check(&["\u{431}\u{431}", "bob"], &["bob"]);
        check(&["--", "", ".ada."], &["ada"]);
        check(&["operator"], &["operator-2"]);
        check(&[], &["user", "user-2"]);
        check(&["<script>alert(1)</script>"], &["script-alert-1-script"]);
        check(&[&"x".repeat(80)], &[&"x".repeat(39), &format!("{}-2", "x".repeat(37))]);
    }
}
