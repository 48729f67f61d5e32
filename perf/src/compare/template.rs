//! Templates of the peers' configurations: their variables, and their rendering.

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Serialize;
use thiserror::Error;

use super::peer::Peer;

/// What a peer's templates see.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Context {
    pub(super) host: &'static str,
    pub(super) port: u16,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) routes: Vec<String>,
    pub(super) tls: Option<Tls>,
    pub(super) dir: PathBuf,
    pub(super) program: PathBuf,
    pub(super) venv: PathBuf,
    pub(super) testbed: PathBuf,
    pub(super) load_cores: String,
}

/// A server behind the gateway.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Endpoint {
    pub(super) host: Ipv4Addr,
    pub(super) port: u16,
}

/// PEM files: the certificate, its key, and both in one.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Tls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) pem: PathBuf,
}

/// Why a peer's files could not be made.
#[derive(Debug, Error)]
pub(super) enum TemplateError {
    #[error("the template `{0}` is malformed")]
    Render(String, #[source] minijinja::Error),
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

/// A peer's arguments and variables.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
}

impl Context {
    /// Writes the peer's files and renders how it is started.
    pub(super) fn render(&self, peer: &Peer) -> Result<Rendered, TemplateError> {
        let mut environment = Environment::new();
        // A name that nobody sets is a mistake of the peer's author, not an empty text.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_keep_trailing_newline(true);
        let values = Value::from_serialize(self);
        let render = |name: &str, template: &str| {
            environment
                .render_named_str(name, template, &values)
                .map_err(|error| TemplateError::Render(name.to_owned(), error))
        };
        for (name, template) in &peer.files {
            let path = self.dir.join(name);
            write(&path, &render(name, template)?)?;
        }
        let arguments =
            peer.start.iter().map(|argument| render("start", argument)).collect::<Result<Vec<_>, _>>()?;
        // An argument of several lines is several arguments: a list whose length the template decides.
        let arguments = arguments
            .iter()
            .flat_map(|argument| argument.lines())
            .filter(|argument| !argument.is_empty())
            .map(str::to_owned)
            .collect();
        let environment = peer
            .environment
            .iter()
            .map(|(name, value)| Ok((name.clone(), render(name, value)?)))
            .collect::<Result<_, _>>()?;
        Ok(Rendered { arguments, environment })
    }
}

fn write(path: &Path, text: &str) -> Result<(), TemplateError> {
    fs::write(path, text).map_err(|error| TemplateError::Write(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(dir: &Path, endpoints: u16, routes: usize, has_tls: bool) -> Context {
        Context {
            host: "127.0.0.1",
            port: 8080,
            endpoints: (0..endpoints)
                .map(|index| Endpoint {
                    host: Ipv4Addr::from_bits(0x7f00_0001 + u32::from(index)),
                    port: 9000,
                })
                .collect(),
            routes: (1..=routes).map(|index| format!("model-{index}")).collect(),
            tls: has_tls.then(|| Tls {
                certificate: "c.pem".into(),
                key: "k.pem".into(),
                pem: "b.pem".into(),
            }),
            dir: dir.to_owned(),
            program: "program".into(),
            venv: "venv".into(),
            testbed: "testbed".into(),
            load_cores: "1".to_owned(),
        }
    }

    #[test]
    fn every_peer_renders_in_every_size() {
        let dir = tempfile::tempdir().unwrap();
        for name in Peer::names() {
            let peer = Peer::find(name).unwrap();
            for (endpoints, routes, has_tls) in [(1, 1, false), (100, 1, true), (3, 2000, false)] {
                context(dir.path(), endpoints, routes, has_tls).render(&peer).unwrap();
                let rendered =
                    peer.files.keys().map(|file| fs::read_to_string(dir.path().join(file)).unwrap());
                let rendered = rendered.collect::<String>();
                assert!(!rendered.contains("{{") && !rendered.contains("{%"), "{name}: {rendered}");
            }
        }
    }

    #[test]
    fn penstocks_configuration_is_sound() {
        let dir = tempfile::tempdir().unwrap();
        let peer = Peer::find("penstock").unwrap();
        for (endpoints, routes) in [(3, 1), (100, 2000)] {
            context(dir.path(), endpoints, routes, false).render(&peer).unwrap();
            let text = fs::read_to_string(dir.path().join("penstock.yaml")).unwrap();
            penstock_config::Snapshot::compile(&text, &penstock_config::NoProfileCheck).unwrap();
        }
    }

    #[test]
    fn a_list_of_arguments_is_as_long_as_the_template_makes_it() {
        let dir = tempfile::tempdir().unwrap();
        let peer = Peer::find("sglang-router").unwrap();
        let rendered = context(dir.path(), 2, 1, false).render(&peer).unwrap();
        let [.., one, other] = &rendered.arguments[..] else { panic!("{rendered:?}") };
        assert_eq!((one.as_str(), other.as_str()), ("http://127.0.0.1:9000", "http://127.0.0.2:9000"));
        let peer = Peer::find("bare-pingora").unwrap();
        assert_eq!(context(dir.path(), 2, 1, false).render(&peer).unwrap().arguments.len(), 2);
    }
}
