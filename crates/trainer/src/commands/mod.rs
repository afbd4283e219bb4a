//! One file per command: its arguments with their help, and what it does. To add a command, write
//! its file and name it in `commands!`.

pub mod context;
mod output;
mod trained;

mod classifier;
mod compare;
mod completions;
mod converge;
mod decode;
mod denoise;
mod devices;
mod encode;
mod eval;
mod export;
mod fid;
mod gradcheck;
mod import;
mod interpolate;
mod man;
mod manifold;
mod phase;
mod reconstruct;
mod relax;
mod report;
mod runs;
mod sample;
mod serve;
mod show;
pub(crate) mod train;
mod weights;

use anyhow::Result;
use clap::Subcommand;

use context::{Context, Ended, Run};

/// Makes the commands known to the command line, in the order of `hvae --help`.
macro_rules! commands {
    ($($module:ident::$name:ident),* $(,)?) => {
        /// The commands.
        #[derive(Debug, Subcommand)]
        #[allow(missing_docs, reason = "each command is described where it is defined")]
        pub enum Command {
            $($name(Box<$module::$name>)),*
        }

        impl Run for Command {
            fn run(self, cx: &Context) -> Result<Ended> {
                match self {
                    $(Self::$name(command) => command.run(cx)),*
                }
            }
        }
    };
}

commands![
    train::Train,
    sample::Sample,
    encode::Encode,
    decode::Decode,
    reconstruct::Reconstruct,
    interpolate::Interpolate,
    manifold::Manifold,
    denoise::Denoise,
    relax::Relax,
    runs::Runs,
    show::Show,
    report::Report,
    export::Export,
    import::Import,
    gradcheck::Gradcheck,
    converge::Converge,
    phase::Phase,
    completions::Completions,
    man::Man,
    fid::Fid,
    eval::Eval,
    compare::Compare,
    weights::Weights,
    classifier::Classifier,
    devices::Devices,
    serve::Serve,
];
