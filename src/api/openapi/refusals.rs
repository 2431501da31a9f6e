//! The refusals that operations share, said once: an operation names those that mean something of its own.

use utoipa::{
    Modify,
    openapi::{
        Components, Content, OpenApi, PathItem, Ref, RefOr, Response, ResponseBuilder,
        path::{Operation, ParameterIn},
    },
};

use crate::api::problem;

/// Adds to each operation what every operation of its kind may be refused with, as problems.
pub(super) struct Refusals;

/// Which operations a refusal concerns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Of {
    All,
    /// Those that need somebody.
    SignedIn,
    /// Those whose path names something.
    Named,
    /// Those that change something, which may be sent a body.
    Changes,
    /// Those that begin, end or change codespaces.
    Codespaces,
    /// Those that become WebSockets.
    Sockets,
    /// Those that ask the agent inside, which say by 503 that it may be away.
    Agents,
}

/// Each with its status and what it says; of those of one status, the first that fits is told.
const SHARED: [(Of, &str, &str, &str); 19] = [
    (Of::All, "400", "BadRequest", "The request is malformed"),
    (
        Of::SignedIn,
        "401",
        "SignInRequired",
        "No credential was sent, or one that is not valid",
    ),
    (
        Of::All,
        "403",
        "Forbidden",
        "The credential does not cover it, or another site's page asked",
    ),
    (Of::Named, "404", "NotFound", "It does not exist, or is not shared with you"),
    (Of::Agents, "409", "NotRunning", "The codespace does not run, or refuses"),
    (Of::Changes, "409", "Conflict", "What is there already does not allow it"),
    (Of::Changes, "413", "TooLarge", "The body is too large"),
    (Of::All, "414", "UriTooLong", "The address is too long"),
    (Of::Changes, "415", "NotJson", "The request does not say that it is JSON"),
    (Of::Changes, "422", "Unprocessable", "A field is not right"),
    (Of::Sockets, "426", "WebSocketRequired", "It is no WebSocket handshake"),
    (Of::All, "429", "TooMany", "Too much at once or too often; try again later"),
    (Of::All, "431", "HeadTooLarge", "The head is too large"),
    (Of::All, "500", "Internal", "A fault of the gateway's"),
    (
        Of::Agents,
        "502",
        "AgentBroke",
        "The codespace's answer broke off or makes no sense",
    ),
    (Of::Codespaces, "502", "RuntimeFailed", "The runtime could not do it"),
    (Of::Agents, "504", "AgentSlow", "The codespace did not answer in time"),
    (Of::All, "503", "Unavailable", "Not right now; `Retry-After` says when to try again"),
    (Of::Codespaces, "507", "DiskFull", "The disk is full"),
];

impl Modify for Refusals {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_with(Components::default);
        for (_, _, name, description) in SHARED {
            components.responses.insert(name.to_owned(), response(description).into());
        }
        for item in openapi.paths.paths.values_mut() {
            for (changes, operation) in operations(item) {
                complete(operation, changes);
            }
        }
    }
}

/// The operations of a path, each with whether it changes something.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (bool, &mut Operation)> {
    let changing = [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
    let changing = changing.into_iter().flatten().map(|operation| (true, operation));
    item.get.iter_mut().map(|operation| (false, operation)).chain(changing)
}

fn complete(operation: &mut Operation, changes: bool) {
    let kinds = kinds(operation, changes);
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response
            && status.as_str() >= "400"
        {
            response.content = problem_content();
        }
    }
    let fitting = SHARED.iter().filter(|(of, ..)| kinds.contains(of));
    let told: Vec<_> = responses.keys().cloned().collect();
    let told = SHARED.iter().filter(|(_, status, ..)| told.iter().any(|told| told == status));
    for (_, status, name, _) in fitting.chain(told) {
        let explained = responses.get(*status).is_some_and(is_explained);
        if !explained {
            responses.insert((*status).to_owned(), Ref::from_response_name(*name).into());
        }
    }
}

fn is_explained(response: &RefOr<Response>) -> bool {
    match response {
        RefOr::T(response) => !response.description.is_empty(),
        RefOr::Ref(_) => true,
    }
}

fn kinds(operation: &Operation, changes: bool) -> Vec<Of> {
    let anybody = operation
        .security
        .as_ref()
        .is_some_and(|all| all.iter().any(|one| *one == Default::default()));
    let mut parameters = operation.parameters.iter().flatten();
    let named = parameters.any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Path));
    let of_codespaces = operation.tags.iter().flatten().any(|tag| tag == "codespaces" || tag == "ports");
    let kinds = [
        (Of::All, true),
        (Of::SignedIn, !anybody),
        (Of::Named, named),
        (Of::Changes, changes),
        (Of::Codespaces, changes && of_codespaces),
        (Of::Sockets, operation.responses.responses.contains_key("101")),
        (Of::Agents, operation.responses.responses.contains_key("503")),
    ];
    kinds.into_iter().filter(|(_, is)| *is).map(|(of, _)| of).collect()
}

fn response(description: &str) -> Response {
    let mut response = ResponseBuilder::new().description(description).build();
    response.content = problem_content();
    response
}

fn problem_content<C: FromIterator<(String, RefOr<Content>)>>() -> C {
    let content = Content::new(Some(Ref::from_schema_name("ProblemBody")));
    std::iter::once((problem::MEDIA_TYPE.to_owned(), content.into())).collect()
}
