//! The committed reference page is the generated one. `BLESS=1` writes it.

#[test]
fn the_reference_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let generated = penstock_config::reference_markdown();
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"))
            .expect("the folder can be made");
        std::fs::write(path, &generated).expect("the page can be written");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == generated,
        "out of date: run `BLESS=1 cargo test -p penstock-config --test reference`"
    );
}
