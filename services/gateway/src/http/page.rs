//! Pages: the forms that a browser needs before it can sign in, and the one that signs in a terminal.
//!
//! Owns their text. Each is whole in itself, without scripts and without anything from elsewhere; the policy that is sent
//! with it allows nothing more. What a request brought is written so that it cannot become markup.

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use crate::access::Caller;
use crate::access::terminal::{Terminal, TerminalCode};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:4rem auto;padding:0 1rem}\
                     label{display:block;margin-top:1rem}input{font:inherit;width:100%;box-sizing:border-box}\
                     button{font:inherit;margin-top:1.5rem}[role=alert]{color:#b00020}";

/// The form to sign in with, and the way to the provider of this host; both lead on to the page about a terminal, if it is for
/// one.
pub(super) fn sign_in(provider: Option<&str>, terminal: Option<&Terminal>, why: Option<&str>) -> Response {
    let query = terminal.map(|terminal| format!("?{}", terminal.query_text())).unwrap_or_default();
    let link = |host| {
        format!("<p><a href=\"/signin/oidc{}\">Sign in with {}</a></p>", escaped(&query), escaped(host))
    };
    let elsewhere = provider.map(link);
    let body = format!(
        "<h1>Patchwave</h1>{}{}<form method=\"post\" action=\"/signin\">{}{NAME}\
         <label>Password<input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label>\
         <button>Sign in</button></form>",
        alert(why),
        elsewhere.unwrap_or_default(),
        terminal.map(hidden).unwrap_or_default(),
    );
    page("Sign in", &body)
}

/// What whoever comes back from the provider sees for a moment. A browser that another site sent here sends no strict
/// cookie with that request nor with a redirect from it; this page is of our own, and so is what it asks for.
pub(super) fn come_back(terminal: Option<&Terminal>) -> Response {
    let next = escaped(&terminal.map_or("/signin".to_owned(), Terminal::page));
    let body = format!("<h1>Patchwave</h1><p>Signed in. <a href=\"{next}\">Go on</a></p>");
    let head = format!("<meta http-equiv=\"refresh\" content=\"0;url={next}\">");
    page_with("Signed in", &head, &body, None)
}

/// The question whether a terminal may act as whoever sees it. Its form is answered with the way to the terminal, which the
/// policy lets it take.
pub(super) fn ask_for_terminal(caller: &Caller, terminal: &Terminal) -> Response {
    let body = format!(
        "<h1>Patchwave</h1><p>Let a terminal act as {} ({})?</p><p>Only if you have just started \
         <code>patchwave login --browser</code> yourself, and it shows <strong>{}</strong>. If somebody sent you here, \
         they want to act in your name: close this window.</p><form method=\"post\" action=\"/signin/terminal\">{}\
         <button name=\"way\" value=\"send\">Let it</button> \
         <button name=\"way\" value=\"show\">The terminal is on another machine</button></form>",
        escaped(&caller.name),
        caller.role,
        terminal.mark(),
        hidden(terminal),
    );
    page_with("Terminal", "", &body, Some(&terminal.origin()))
}

/// What is to be typed into a terminal that the browser cannot reach.
pub(super) fn show_code(caller: &Caller, code: &TerminalCode) -> Response {
    let body = format!(
        "<h1>Patchwave</h1><p>Type this into your terminal, which then acts as {} ({}):</p>\
         <p><code>{code}</code></p><p>Tell it nobody, whoever asks for it.</p>",
        escaped(&caller.name),
        caller.role,
    );
    page("Terminal", &body)
}

/// Why somebody who comes from the provider, or wants to go there, cannot.
pub(super) fn turned_away(message: &str, hint: &str) -> Response {
    let body = format!(
        "<h1>Patchwave</h1><p role=\"alert\">Not signed in: {}.</p><p>{}</p><p><a href=\"/signin\">Back</a></p>",
        escaped(message),
        code_in(hint)
    );
    page("Not signed in", &body)
}

/// What whoever signed in sees.
pub(super) fn signed_in(caller: &Caller) -> Response {
    let body = format!(
        "<h1>Patchwave</h1><p>Signed in as {} ({}).</p><form method=\"post\" action=\"/signout\">\
         <button>Sign out</button></form>",
        escaped(&caller.name),
        caller.role
    );
    page("Signed in", &body)
}

/// The form that makes the first administrator.
pub(super) fn setup(token: &str, why: Option<&str>) -> Response {
    let body = format!(
        "<h1>Patchwave</h1><p>There are no users yet. Make the first administrator.</p>{}\
         <form method=\"post\" action=\"/setup\"><input type=\"hidden\" name=\"token\" value=\"{}\">{NAME}\
         <label>Password, 12 characters at least<input name=\"password\" type=\"password\" minlength=\"12\" \
         autocomplete=\"new-password\" required></label><button>Create</button></form>",
        alert(why),
        escaped(token),
    );
    page("First administrator", &body)
}

/// What the first administrator sees.
pub(super) fn set_up(name: &str) -> Response {
    let body = format!(
        "<h1>Patchwave</h1><p>{} is the administrator.</p><p><a href=\"/signin\">Sign in</a>, or \
         <code>patchwave login</code>.</p>",
        escaped(name)
    );
    page("First administrator", &body)
}

const NAME: &str = "<label>Name<input name=\"name\" autocomplete=\"username\" maxlength=\"64\" \
                    pattern=\"[a-z0-9\\-._@]+\" autocapitalize=\"none\" required autofocus></label>";

/// The fields of a form that say which terminal it is about.
fn hidden(terminal: &Terminal) -> String {
    let field = |(name, value): (&str, String)| {
        format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escaped(&value))
    };
    terminal.query().map(field).concat()
}

fn alert(why: Option<&str>) -> String {
    why.map(|why| format!("<p role=\"alert\">{}</p>", escaped(why))).unwrap_or_default()
}

/// A text in which what stands between backticks is something to type.
fn code_in(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(index, part)| match index % 2 {
        0 => escaped(part),
        _ => format!("<code>{}</code>", escaped(part)),
    });
    parts.collect()
}

fn page(title: &str, body: &str) -> Response {
    page_with(title, "", body, None)
}

/// A page whose forms are answered by us, and may then lead to one more origin.
fn page_with(title: &str, head: &str, body: &str, leads_to: Option<&str>) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title} · Patchwave</title><style>{STYLE}</style>{head}</head>\
         <body>{body}</body></html>"
    );
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'{}; base-uri 'none'; frame-ancestors 'none'",
        BASE64.encode(&Sha256::digest(STYLE)),
        leads_to.map(|origin| format!(" {origin}")).unwrap_or_default(),
    );
    let headers: [(HeaderName, String); 3] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        // The link of the first page holds a token, which is nobody else's affair. With `no-referrer` a browser would not say
        // either that a form is ours: it sends `Origin: null` then.
        (header::REFERRER_POLICY, "same-origin".to_owned()),
    ];
    (headers, html).into_response()
}

/// A text that is shown as it is.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::{code_in, escaped};

    #[test]
    fn what_a_request_brings_cannot_become_markup() {
        assert_eq!(escaped("<a b='\"&'>"), "&lt;a b=&#39;&quot;&amp;&#39;&gt;");
        assert_eq!(code_in("a `<b>` c"), "a <code>&lt;b&gt;</code> c");
        assert_eq!(code_in("a `b"), "a <code>b</code>");
    }
}
