//! Which layer wins, and what is refused.

use super::*;
use std::io::Write as _;

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    listen: String,
    data: Option<String>,
    decoders: u32,
    folder_sources: bool,
    source: Vec<String>,
}

const PROGRAM: Program = Program {
    name: "coordinator",
    about: "a test",
    version: "1.2.3",
    settings: &[
        Setting {
            key: "listen",
            kind: Kind::Text(Some("127.0.0.1:1")),
            help: "address",
        },
        Setting {
            key: "data",
            kind: Kind::Text(None),
            help: "folder",
        },
        Setting {
            key: "decoders",
            kind: Kind::Number(2),
            help: "how many",
        },
        Setting {
            key: "folder-sources",
            kind: Kind::Switch,
            help: "whether",
        },
        Setting {
            key: "source",
            kind: Kind::List,
            help: "NAME=DIR",
        },
    ],
};

fn load(args: &[&str], env: &[(&str, &str)]) -> Result<Loaded<Config>, ConfigError> {
    let find = |name: &str| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    PROGRAM.load_from(["coordinator"].iter().chain(args), find)
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn without_any_layer_the_defaults_hold() {
    let loaded = load(&[], &[]).unwrap();
    let expected = Config {
        listen: "127.0.0.1:1".into(),
        data: None,
        decoders: 2,
        folder_sources: false,
        source: Vec::new(),
    };
    assert_eq!(loaded.config, expected);
    assert_eq!(loaded.origin("listen"), Some(&Origin::Default));
    assert_eq!(loaded.origin("data"), None);
}

#[test]
fn flags_beat_the_environment_which_beats_the_file_which_beats_defaults() {
    let file =
        file("[coordinator]\nlisten = 'f'\ndata = 'f'\ndecoders = 7\n[node-agent]\nanything = 1\n");
    let path = file.path().to_str().unwrap();
    let env = [
        ("TRACKSCAN_LISTEN", "e"),
        ("TRACKSCAN_DATA", "e"),
        ("TRACKSCAN_CONFIG", path),
    ];
    let loaded = load(&["--listen", "g"], &env).unwrap();
    assert_eq!(
        (loaded.config.listen.as_str(), loaded.config.data.as_deref()),
        ("g", Some("e"))
    );
    assert_eq!(loaded.config.decoders, 7);
    assert_eq!(loaded.origin("listen"), Some(&Origin::Flag));
    assert_eq!(
        loaded.origin("data"),
        Some(&Origin::Environment("TRACKSCAN_DATA".into()))
    );
    assert_eq!(
        loaded.origin("decoders"),
        Some(&Origin::File(file.path().into()))
    );
    assert!(
        loaded.print().contains("listen = \"g\"  # flag\n"),
        "{}",
        loaded.print()
    );
}

#[test]
fn lists_are_repeated_flags_or_text_split_at_commas() {
    let flags = load(
        &["--source", "a=/x", "--source", "b=/y"],
        &[("TRACKSCAN_SOURCE", "c=/z")],
    )
    .unwrap();
    assert_eq!(flags.config.source, ["a=/x", "b=/y"]);
    let env = load(&[], &[("TRACKSCAN_SOURCE", "a=/x,b=/y")]).unwrap();
    assert_eq!(env.config.source, ["a=/x", "b=/y"]);
}

#[track_caller]
fn check_refused(text: &str, expected: &str) {
    let file = file(text);
    let error = load(&["--config", file.path().to_str().unwrap()], &[])
        .unwrap_err()
        .to_string();
    let error = error.replace(file.path().to_str().unwrap(), "FILE");
    assert_eq!(error, expected);
}

#[test]
fn what_no_setting_takes_is_refused_by_name() {
    check_refused(
        "[coordinator]\nlissten = 1",
        "configuration file `FILE` has the unknown key `coordinator.lissten`",
    );
    check_refused(
        "listen = 'x'",
        "configuration file `FILE` has the unknown key `listen`",
    );
    check_refused(
        "coordinator = 1",
        "configuration file `FILE` has the unknown key `coordinator`",
    );
    check_refused(
        "[coordinator]\nlisten = 5",
        "setting `listen` from file FILE: expected a text",
    );
    check_refused(
        "[coordinator]\nsource = [1]",
        "setting `source` from file FILE: expected a list of texts",
    );
    check_refused("= = =", "parse configuration file `FILE`");
    assert!(matches!(
        load(&["--lissten", "x"], &[]),
        Err(ConfigError::Flags(_))
    ));
    assert!(matches!(
        load(&[], &[("TRACKSCAN_DECODERS", "two")]),
        Err(ConfigError::Kind {
            key: "decoders",
            ..
        })
    ));
    assert!(matches!(
        load(&["--config", "/nowhere/at/all"], &[]),
        Err(ConfigError::Read { .. })
    ));
}

#[test]
fn a_number_that_the_configuration_cannot_hold_is_refused() {
    assert!(matches!(
        load(&["--decoders=-1"], &[]),
        Err(ConfigError::Value(_))
    ));
}

#[test]
fn printing_is_asked_for_by_a_flag_of_its_own() {
    assert!(load(&["--print-config"], &[]).unwrap().print_only);
}

#[test]
fn the_command_line_is_well_formed() {
    PROGRAM.command().debug_assert();
}
