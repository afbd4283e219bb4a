//! The spaces of the kinds of model.

use hvae_model::Kind;

/// The file of the space of a kind.
pub(crate) fn space(kind: Kind) -> &'static str {
    match kind.name() {
        "f-vae" => include_str!("../../../../configs/search-f-vae.toml"),
        "th-vae" => include_str!("../../../../configs/search-th-vae.toml"),
        "dh-vae" => include_str!("../../../../configs/search-dh-vae.toml"),
        "tdh-vae" => include_str!("../../../../configs/search-tdh-vae.toml"),
        _ => include_str!("../../../../configs/search-h-vae.toml"),
    }
}
