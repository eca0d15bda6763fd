//! An S3 server for tests that need one as a process: `s3_server FOLDER HOST:PORT`. Folders in FOLDER are buckets; it prints its
//! address as one line once it listens, and serves until it is killed. Its keys are in `conformance/server.rs`; it is no product.

use std::process::ExitCode;

#[path = "../src/conformance/server.rs"]
mod server;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, listen] = args.as_slice() else {
        eprintln!(
            "usage: s3_server FOLDER HOST:PORT (keys: {} {})",
            server::ACCESS_KEY,
            server::SECRET_KEY
        );
        return ExitCode::FAILURE;
    };
    match server::S3Server::start(root.as_ref(), listen) {
        Ok(server) => {
            #[expect(
                clippy::print_stdout,
                reason = "the address is what its parent waits for"
            )]
            {
                println!("{}", server.address);
            }
            server.wait();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("serve `{root}` on {listen}: {error}");
            ExitCode::FAILURE
        }
    }
}
